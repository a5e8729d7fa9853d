"""`midalign train`."""

import typer

from midalign.cli.app import app


@app.command(
    add_help_option=False,  # --help is the program's: it lists the keys of a recipe
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "allow_interspersed_args": False},
)
def train(context: typer.Context):
    """Run a recipe: train, save, score.  midalign train RECIPE [--key value ...]

    The same program as `accelerate launch -m midalign.train`, for one process. --help lists the keys.
    """
    from midalign.train import main

    raise typer.Exit(main(context.args))
