"""`midalign report`."""

from pathlib import Path
from typing import Annotated

import typer

from midalign.cli.app import app


@app.command()
def report(
    runs: Annotated[list[str], typer.Argument(help="Folders of runs (output_dir), or trained recipes.")],
    scores: Annotated[
        list[Path] | None, typer.Option(help="scores.json of `midalign evaluate`, or its folder; repeat for more.")
    ] = None,
    layers: Annotated[
        list[Path] | None, typer.Option(help="layers.json of `midalign layers`, or its folder; repeat for more.")
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="The page that is written.")] = Path(
        "data/report.html"
    ),
):
    """One page of one or several runs: curves, scores, layers, what differs between recipes, what was run.

    A run that is under way is shown as far as its newest checkpoint. The page needs no network and has no script.
    """
    from midalign.reports import page
    from midalign.reports.runs import find_all
    from midalign.texts import place_of

    page.require_own(output)
    found = find_all(runs)
    page.write(output, found, page.read_scores(scores or []), page.read_layers(layers or []))
    print(f"{place_of(output)} shows {page.counted(found)}.")
