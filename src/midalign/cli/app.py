"""The `midalign` program and the options that its verbs share."""

from enum import StrEnum
from typing import Annotated

import typer

import midalign

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

HUB, REVISION = "AmazonScience/massive", "refs/convert/parquet"
Data = Annotated[str, typer.Option(help="Rows: a folder, a hub data set or `demo`, as task_data in a recipe.")]
Revision = Annotated[str, typer.Option(help="Revision of a hub data set.")]


def _version(wanted: bool):
    if wanted:
        print(f"midalign {midalign.__version__}")
        raise typer.Exit()


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and stop.")
    ] = False,
):
    """Everything that is not training."""


class Dtype(StrEnum):
    """Precision of the weights."""

    bfloat16 = "bfloat16"
    float16 = "float16"
    float32 = "float32"
