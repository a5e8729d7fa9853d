"""The `midalign` program and the options that its verbs share."""

from enum import StrEnum
from typing import Annotated

import typer

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    help="Everything that is not training.",
)

HUB, REVISION = "AmazonScience/massive", "refs/convert/parquet"
Data = Annotated[str, typer.Option(help="Rows: a folder, a hub data set or `demo`, as task_data in a recipe.")]
Revision = Annotated[str, typer.Option(help="Revision of a hub data set.")]


class Dtype(StrEnum):
    """Precision of the weights."""

    bfloat16 = "bfloat16"
    float16 = "float16"
    float32 = "float32"
