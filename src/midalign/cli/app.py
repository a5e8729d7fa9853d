"""The `midalign` program and the options that its verbs share."""

from enum import StrEnum
from typing import Annotated

import typer

import midalign
from midalign.errors import InputError

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

COMET = "Unbabel/wmt22-comet-da"
REVISION = "refs/convert/parquet"
TaskName = Annotated[str, typer.Option("--task", help="What the rows are, as task in a recipe, or a recipe.")]
Data = Annotated[
    str | None,
    typer.Option(help="Rows: a folder, a hub data set or `demo`, as task_data in a recipe.", show_default="the task's"),
]
CometPython = Annotated[
    str | None,
    typer.Option(help="Python of an environment with unbabel-comet, which scores translations by COMET too."),
]
CometModel = Annotated[str, typer.Option(help="What COMET scores with: a name of the hub or a .ckpt file.")]
Revision = Annotated[
    str | None, typer.Option(help="Revision of a hub data set.", show_default="the recipe's, else its Parquet branch")
]


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
    """Fine-tune a decoder on a task in a few languages, and align its middle layer for the others."""


class Partition(StrEnum):
    """Part of the data."""

    train = "train"
    validation = "validation"
    test = "test"


class Dtype(StrEnum):
    """Precision of the weights."""

    bfloat16 = "bfloat16"
    float16 = "float16"
    float32 = "float32"


def task_named(name):
    """(task, its part of its recipe or None).   name: as `task` in a recipe, or a recipe, of which it is the first.

    Raises InputError.
    """
    from midalign.tasks import find_task, tasks_of

    if not name.endswith((".yaml", ".yml")):
        return find_task(name), None
    from midalign.recipe import read_recipe

    data, _, _ = read_recipe([name])
    return tasks_of(data)[0], data.each()[0]


def task_and_source(name, data, revision):
    """(task, where its rows are, revision): rows as told, else of a recipe that is named, else the published ones.

    name: see `task_named`. Raises InputError.
    """
    task, recipe = task_named(name)
    if recipe and not data:
        data, revision = recipe.task_data, revision or recipe.task_revision
    return task, source_of_task(task, data), revision or REVISION


def source_of_task(task, data):
    """Where the rows are: as told, else where the task's published ones are. Raises InputError where it has none."""
    if not (data or task.source):
        raise InputError(f"task {task.name} has no rows of its own; give --data, a folder or a hub data set.")
    return data or task.source
