"""`midalign preview`."""

from enum import Enum
from typing import Annotated

import typer

from midalign.cli.app import app
from midalign.compatibility import ENGINES
from midalign.console import console

Engine = Enum("Engine", {name: name for name in ENGINES}, type=str)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def preview(
    context: typer.Context,
    recipe: Annotated[str, typer.Argument(help="A recipe, with --key value to change it.")],
    gpu: Annotated[float, typer.Option(min=1, help="Memory of a GPU to fit into, in GiB.")] = 24,
    processes: Annotated[int, typer.Option(min=1, help="GPUs to train on.")] = 1,
    engine: Annotated[Engine | None, typer.Option(help="What drives them; ddp where there are several.")] = None,
    try_it: Annotated[
        bool, typer.Option("--try", help="Also load the weights and take the largest micro-batch, here and now.")
    ] = False,
):
    """What a recipe would train on, and what it would cost, without loading weights."""
    from midalign.training.preview import preview_recipe

    engine = engine.value if engine else "ddp" if processes > 1 else "single"
    for part in preview_recipe([recipe, *context.args], gpu, engine, processes, try_it):
        console().print(part)
