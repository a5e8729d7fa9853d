"""The page of `midalign report`."""

import os
from pathlib import Path

from midalign import pages
from midalign.analysis import page as analysis
from midalign.errors import InputError
from midalign.evaluation import report as evaluation
from midalign.files import write_result
from midalign.reports import curves, differences, given, scores
from midalign.texts import place_of

GENERATOR = '<meta name="generator" content="midalign report">'
HEAD = 2_000  # letters of a page in which that line stands


def write(output, runs, evaluated=(), layers=()):
    """Write the page of some runs.   evaluated, layers: what `read_scores` and `read_layers` give.

    output: path of the file, which is new or such a page. Raises InputError.
    """
    text = page_of(runs, evaluated, layers)
    require_own(output)
    write_result(output, text, "name another --output")


def read_scores(places):
    """What scores.json of `midalign evaluate` holds, of each file or folder. Raises InputError for what is none."""
    return given.read("--scores", places, evaluation.FILES[0], lambda result: page_of([], [result]))


def read_layers(places):
    """The same of layers.json of `midalign layers`."""
    return given.read("--layers", places, analysis.FILES[0], lambda result: page_of([], [], [result]))


def require_own(output):
    """Refuse to write over what is no page of ours. Raises InputError."""
    if not os.path.lexists(output):
        return
    own = Path(output).is_file()  # before it is opened: a pipe would wait for a writer
    try:
        if own:
            with open(output, encoding="utf-8") as file:
                own = GENERATOR in file.read(HEAD)
    except (OSError, ValueError):
        own = False
    if not own:
        raise InputError(
            f"{place_of(output)} would be written over, and is no page of `midalign report`; name another --output."
        )


def page_of(runs, evaluated=(), layers=()):
    """The text of the page."""
    names = [run.name for run in runs]
    groups, undrawn = curves.panels(runs)
    return pages.page(
        "reports/page.html",
        {**evaluation.FILTERS, "figure": figure},
        runs=[{**_told(run), "swatch": pages.swatch(number)} for number, run in enumerate(runs)],
        names=names,
        groups=groups,
        undrawn=undrawn,
        many=curves.MANY,
        share=curves.SHARE,
        scored=scores.sections(runs, evaluated),
        layered=[analysis.parts(result) for result in _together(layers)],
        recipes=differences.recipes(runs),
        records=differences.records(runs),
        with_recipe=sum(bool(run.record.get("recipe")) for run in runs),
        notes=[note for run in runs for note in run.notes],
    )


def _together(layers):
    """Results of the same sentences, before and after a training say, as one."""
    found = []
    for result in layers:
        same = next((other for other in found if _measured(other) == _measured(result)), None)
        if same and all(
            same["models"][name] == result["models"][name] for name in same["models"].keys() & result["models"].keys()
        ):
            same["models"] |= result["models"]
        else:
            found.append({**result, "models": dict(result["models"])})
    return found


def _measured(result):
    """What layers were measured with."""
    record = result["record"]
    return [result[key] for key in ("pivot", "directions", "sentences")], record["pairs"]["sha256"], record["pooling"]


def counted(runs):
    """[Logged] -> "2 runs, 14 quantities"."""
    keys = {key for run in runs for key in run.curves}
    return f"{len(runs)} run{'s' * (len(runs) != 1)}, {len(keys)} quantities"


def figure(at):
    """(0.12345, 300) -> "0.1235 at step 300"; None, of a line without a number, -> "none"."""
    return f"{at[0]:.4g} at step {at[1]:,}" if at else "none"


def _told(run):
    """What the list of runs says of one."""
    record, recipe = run.record, run.record.get("recipe")
    recipe = recipe if isinstance(recipe, dict) else {}
    minutes = record.get("seconds")
    told = {
        "model": recipe.get("model_name_or_path"),
        "task": recipe.get("task"),
        "align_layer": recipe.get("align_layer") if recipe.get("align_data") else None,
        "seed": recipe.get("seed"),
        "minutes": f"{minutes / 60:.1f} minutes" if isinstance(minutes, float) else None,
        "peak memory": f"{record['peak_gib']} GiB" if "peak_gib" in record else None,
    }
    return {
        "name": run.name,
        "path": str(run.path),
        "state": run.state,
        "told": {key: differences.text(value) for key, value in told.items() if value is not None},
        "recipe": recipe,
    }
