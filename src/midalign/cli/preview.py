"""`midalign preview`."""

from typing import Annotated

import typer
from rich.console import Console

from midalign.cli.app import app


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def preview(
    context: typer.Context,
    recipe: Annotated[str, typer.Argument(help="A recipe, with --key value to change it.")],
    gpu: Annotated[float, typer.Option(min=1, help="Memory of the GPU to fit into, in GiB.")] = 24,
):
    """What a recipe would train on, and what it would cost, without loading weights."""
    from midalign.training.preview import preview_recipe

    for part in preview_recipe([recipe, *context.args], gpu):
        Console().print(part, highlight=False)
