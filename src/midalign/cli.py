"""`midalign <verb>`: everything that is not training.

Heavy imports wait until a verb needs them: `midalign --help` and `midalign score` need no torch.
"""

import hashlib
import json
import sys
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markdown import Markdown
from rich.progress import MofNCompleteColumn, Progress, TimeElapsedColumn
from rich.table import Table

from midalign.data.reading import find_locale, task_rows
from midalign.data.streams import sample
from midalign.errors import InputError
from midalign.evaluation.predictions import is_jsonl, read_predictions, read_text
from midalign.tasks import massive, slots

app = typer.Typer(
    no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False, help=__doc__.split(":")[1]
)

HUB, REVISION = "AmazonScience/massive", "refs/convert/parquet"
Data = Annotated[str, typer.Option(help="Rows: a folder, a hub data set or `demo`, as task_data in a recipe.")]
Revision = Annotated[str, typer.Option(help="Revision of a hub data set.")]


class Partition(str, Enum):
    """Part of the data."""

    train = "train"
    validation = "validation"
    test = "test"


class Compat(str, Enum):
    """Whose figures."""

    reference = "reference"


class Dtype(str, Enum):
    """Precision of the weights."""

    bfloat16 = "bfloat16"
    float16 = "float16"
    float32 = "float32"


def main():
    """The console script. Exit code 2 and one sentence when the user has something to mend."""
    try:
        app()
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


@app.command()
def score(
    predictions: Annotated[Path, typer.Argument(help="JSONL with id and prediction, lm-eval samples, or plain lines.")],
    locale: Annotated[str, typer.Option(help="MASSIVE locale, sw-KE or sw.")],
    data: Data = HUB,
    revision: Revision = REVISION,
    partition: Annotated[Partition, typer.Option(help="Part of the data that was answered.")] = Partition.test,
    against: Annotated[Path | None, typer.Option(help="Another file: adds a paired bootstrap p-value.")] = None,
    compat: Annotated[Compat | None, typer.Option(help="The authors' figures, quirks included.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print all figures, per slot too, as JSON.")] = False,
):
    """Score a file of MASSIVE slot predictions made anywhere."""
    rows = task_rows(data, find_locale(locale), partition.value, revision)
    if compat is None:
        report = _own_report(rows, predictions, against)
    elif against:
        raise InputError("--against compares our own figures; leave --compat out.")
    elif is_jsonl(predictions):
        report = slots.score(*read_predictions(predictions, rows), compat=compat.value)
    else:
        report = slots.score_reference_file(rows, read_text(predictions))
    if as_json:
        print(json.dumps(report, indent=1))
    else:
        Console().print(_score_table(report))


def _own_report(rows, predictions, against):
    """The report of `slots.score` with f1_ci, and with --against also f1_against, gain and p."""
    answered, answers = read_predictions(predictions, rows)
    report = slots.score(answered, answers)
    counts = [slots.row_counts(row, answer) for row, answer in zip(answered, answers, strict=True)]
    report["f1_ci"] = slots.bootstrap_ci(counts)
    if against:
        others, other_answers = read_predictions(against, rows)
        if [row["id"] for row in others] != [row["id"] for row in answered]:
            raise InputError(f"{against} and {predictions} answer different rows; compare files of the same rows.")
        report["f1_against"] = slots.score(others, other_answers)["f1"]
        report["gain"] = report["f1"] - report["f1_against"]
        report["p"] = slots.paired_bootstrap(answered, answers, other_answers)
    return report


def _score_table(report):
    table = Table(show_header=False)
    for name in ("f1", "precision", "recall", "exact_match", "f1_against", "gain"):
        if name in report:
            value = f"{100 * report[name]:.2f} %"
            if name == "f1" and "f1_ci" in report:
                low, high = report["f1_ci"]
                value += f" (95 % interval {100 * low:.2f} to {100 * high:.2f})"
            table.add_row(name, value)
    if "p" in report:
        table.add_row("p", f"{report['p']:.3f}")
    table.add_row("rows", f"{report['rows']:,}")
    table.add_row("malformed parts", f"{report['malformed']:,}")
    return table


@app.command()
def evaluate(
    runs: Annotated[list[str], typer.Argument(help="Trained recipes, adapter folders, or models.")],
    output: Annotated[Path, typer.Option(help="Folder for answers, scores and report.")] = Path("data/evaluation"),
    locales: Annotated[list[str] | None, typer.Option("--locale", help="en-US,sw or repeated.")] = None,
    rows: Annotated[
        int | None, typer.Option(min=1, help="Test rows of each locale; else score_rows, else all.")
    ] = None,
    data: Annotated[str | None, typer.Option(help="Rows: a folder, a hub data set or `demo`.")] = None,
    revision: Annotated[str | None, typer.Option(help="Revision of a hub data set.")] = None,
    supervised: Annotated[list[str] | None, typer.Option(help="Locales that had labels.")] = None,
    aligned: Annotated[list[str] | None, typer.Option(help="Locales that had translation pairs only.")] = None,
    base: Annotated[bool, typer.Option(help="Evaluate the models below the adapters too.")] = True,
    dtype: Annotated[Dtype | None, typer.Option(help="bfloat16, ...; recipe's or checkpoint's if unset.")] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Prompts answered at a time.")] = 32,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Where an answer is cut.")] = 128,
):
    """Slot F1 per language of one or several models side by side, with a report.

    Gains are over the first run that is named; a single run is compared with the model below it. Data, locales, rows
    and who was supervised or aligned come from the options, else from the first recipe, else from the paper. A run
    that was cut goes on where it stopped.
    """
    from midalign.evaluation.answers import answer
    from midalign.evaluation.report import write_report
    from midalign.training.runs import find_run, fingerprint, load_run, with_bases

    named = [find_run(run, dtype and dtype.value) for run in runs]
    everyone = with_bases(named) if base else named
    names = [run.name for run in everyone]
    if len(set(names)) < len(names):
        raise InputError(f"two runs have one name in {', '.join(names)}; rename a folder.")
    recipe = _recipe(named)
    rows = rows or (recipe.score_rows if recipe else None)
    rows_by_locale, source = _rows(*_source(named, locales, data, revision), rows)
    groups = _groups(named, rows_by_locale, supervised, aligned)
    models = {run.name: fingerprint(run) for run in everyone}
    answers = {}
    with Progress(*Progress.get_default_columns(), MofNCompleteColumn(), TimeElapsedColumn()) as progress:
        total = sum(map(len, rows_by_locale.values()))
        bars = {name: progress.add_task(name, total=total) for name in names}
        for run in everyone:
            answers[run.name] = answer(
                rows_by_locale,
                output / run.name,
                models[run.name],
                partial(load_run, run),
                batch_size,
                max_new_tokens,
                partial(progress.advance, bars[run.name]),
            )
    baseline = (named if len(named) > 1 else everyone)[0].name
    record = {"data": source, "models": models, "max_new_tokens": max_new_tokens}
    Console().print(Markdown(write_report(output, rows_by_locale, answers, groups, baseline, record)))
    print(f"{output / 'report.html'} has the intervals as bars, failing slots and examples.")


def _recipe(named):
    """The data block of the first recipe among the runs, None without one."""
    return next((run.data for run in named if run.data), None)


def _split(values):
    """["en,sw", "cy"] -> the locales meant."""
    return [find_locale(name.strip()) for value in values for name in value.split(",")]


def _source(named, locales, data, revision):
    """(locales, data, revision): as given, else of the first recipe, else the paper's and the hub's."""
    recipe = _recipe(named)
    if locales:
        locales = _split(locales)
    else:
        locales = (recipe and recipe.score_languages) or [*massive.SUPERVISED, *massive.ALIGNED]
    data = data or (recipe.task_data if recipe else HUB)
    return locales, data, revision or (recipe.task_revision if recipe else REVISION)


def _rows(locales, data, revision, count):
    """({locale: test rows}, where they are from)."""
    locales = list(dict.fromkeys(locales))
    rows = {locale: sample(task_rows(data, locale, "test", revision), count) for locale in locales}
    digest = hashlib.sha256(json.dumps(rows, sort_keys=True).encode()).hexdigest()
    source = {"source": data, "revision": None if data == "demo" or Path(data).is_dir() else revision}
    return rows, {**source, "partition": "test", "rows": {k: len(v) for k, v in rows.items()}, "sha256": digest}


def _groups(named, locales, supervised, aligned):
    """{locale: its part in training}."""
    from midalign.evaluation.transfer import group_of
    from midalign.training.runs import aligned_languages

    recipe = _recipe(named)
    supervised = _split(supervised) if supervised else recipe.task_languages if recipe else massive.SUPERVISED
    if aligned or not recipe:
        languages = {locale.split("-")[0] for locale in (_split(aligned) if aligned else massive.ALIGNED)}
    else:
        languages = set().union(*(aligned_languages(run.data) for run in named if run.data))
    return {locale: group_of(locale, supervised, languages) for locale in locales}


@app.command()
def link_tasks(
    remove: Annotated[bool, typer.Option("--remove", help="Take the links away again.")] = False,
):
    """Make `lm_eval --tasks massive_slots` work without --include_path.

    Puts one link per task file into the folder where the installed lm-eval keeps its tasks. Undo it with --remove,
    best before uninstalling lm-eval: pip would leave that folder behind.
    """
    from midalign.evaluation.lm_link import link_tasks, unlink_tasks

    folder = unlink_tasks() if remove else link_tasks()
    print(f"{folder} {'is gone' if remove else 'shows massive_slots to lm_eval'}.")


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def bench(
    context: typer.Context,
    run: Annotated[str, typer.Argument(help="A recipe, with --key value to change it, an adapter folder or a model.")],
    against: Annotated[
        str | None,
        typer.Option(help="trl,naive: training, default for a recipe; lm_eval: generation, default for other runs."),
    ] = None,
    repeats: Annotated[int, typer.Option(min=1, help="Turns of each, medians are shown.")] = 3,
    growth: Annotated[bool, typer.Option(help="Training: also as batch, length, layer and vocabulary grow.")] = True,
    locales: Annotated[list[str] | None, typer.Option("--locale", help="Generation: en-US,sw or repeated.")] = None,
    rows: Annotated[int, typer.Option(min=1, help="Generation: test rows of each locale.")] = 100,
    data: Annotated[str | None, typer.Option(help="Generation: a folder, a hub data set or `demo`.")] = None,
    revision: Annotated[str | None, typer.Option(help="Revision of a hub data set.")] = None,
    dtype: Annotated[Dtype | None, typer.Option(help="bfloat16, ...; recipe's or checkpoint's if unset.")] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Generation: prompts answered at a time, by both.")] = 32,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Generation: where an answer is cut.")] = 128,
):
    """What a training step costs beside plain TRL and the naive forward, or generation beside `lm_eval --model hf`."""
    names = set((against or ("trl,naive" if run.endswith((".yaml", ".yml")) else "lm_eval")).split(","))
    if names <= {"trl", "naive"}:
        from midalign.training.bench_tables import bench_recipe

        argv = [run, *context.args, *(("--dtype", dtype.value) if dtype else ())]
        for part in bench_recipe(argv, names, repeats, growth):
            Console().print(part)
    elif names == {"lm_eval"}:
        if context.args:
            raise InputError(f"{context.args[0]} is no option of bench against lm_eval; see midalign bench --help.")
        source = (locales, data, revision)
        Console().print(_bench_generation(run, source, rows, dtype, batch_size, max_new_tokens, repeats))
    else:
        raise InputError(f"--against {against}: use trl, naive, trl,naive or lm_eval.")


def _bench_generation(run, source, rows, dtype, batch_size, max_new_tokens, repeats):
    from midalign.evaluation.lm_link import require_lm_eval
    from midalign.training.runs import find_run, load_run

    require_lm_eval()
    from midalign.evaluation.bench import compare_generation

    found = find_run(run, dtype and dtype.value)
    names, data, revision = _source([found], *source)
    model, tokenizer = load_run(found)
    result = compare_generation(model, tokenizer, data, revision, names, rows, batch_size, max_new_tokens, repeats)
    table = Table(title=f"{found.name}, {result['rows']} rows, batch size {batch_size}")
    for column in ("", "rows a second"):
        table.add_column(column, justify="right")
    table.add_row("midalign evaluate", f"{result['ours']:.2f}")
    table.add_row("lm_eval --model hf", f"{result['lm_eval']:.2f}")
    table.add_row("ratio", f"{result['ratio']:.2f}", style="bold")
    table.caption = f"{100 * result['equal']:.1f} % of the answers are equal"
    return table
