"""`midalign score`."""

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from midalign.cli.app import (
    COMET,
    CometModel,
    CometPython,
    Data,
    Partition,
    Revision,
    TaskName,
    app,
    task_and_source,
)
from midalign.console import console
from midalign.errors import InputError


class Compat(StrEnum):
    """Whose figures."""

    reference = "reference"


@app.command()
def score(
    predictions: Annotated[Path, typer.Argument(help="JSONL with id and prediction, lm-eval samples, or plain lines.")],
    locale: Annotated[str, typer.Option(help="Language of the rows; of MASSIVE sw-KE or sw.")],
    task: TaskName = "slots",
    data: Data = None,
    revision: Revision = None,
    partition: Annotated[Partition, typer.Option(help="Part of the data that was answered.")] = Partition.test,
    against: Annotated[Path | None, typer.Option(help="Another file: adds gain and a paired p-value.")] = None,
    compat: Annotated[Compat | None, typer.Option(help="The authors' figures, quirks included.")] = None,
    comet_python: CometPython = None,
    comet_model: CometModel = COMET,
    as_json: Annotated[bool, typer.Option("--json", help="Print all figures, per slot too, as JSON.")] = False,
):
    """Score a file of predictions made anywhere."""
    from midalign.data.reading import task_rows
    from midalign.evaluation.comet import require_comet
    from midalign.evaluation.predictions import is_json, read_predictions, read_text
    from midalign.tasks.slots import scoring

    kind, data, revision = task_and_source(task, data, revision)
    if comet_python:
        require_comet(kind, comet_python)
    rows = task_rows(kind, data, kind.language(locale, data), partition.value, revision)
    if compat is None:
        report = _own_report(kind, rows, predictions, against, comet_python and (comet_python, comet_model))
    elif kind.name != "slots":
        raise InputError("--compat reference scores slots as the authors do; leave it out, or leave --task out.")
    elif against:
        raise InputError("--against compares our own figures; leave --compat out.")
    elif is_json(predictions):
        report = scoring.score(*read_predictions(predictions, rows, kind.text), compat=compat.value)
    else:
        report = scoring.score_reference_file(rows, read_text(predictions))
    if as_json:
        print(json.dumps(report, indent=1))
    else:
        console().print(_score_table(kind, report))


def _own_report(task, rows, predictions, against, comet):
    """The report of `Task.report` with the interval of the compared figure (f1_ci, say), and with --against also
    f1_against, gain, gain_ci, p and p_method.   comet: (python, model), or None.
    """
    from midalign.evaluation import statistics
    from midalign.evaluation.comet import judge
    from midalign.evaluation.predictions import read_predictions
    from midalign.texts import place_of

    name = task.compared
    answered, answers = read_predictions(predictions, rows, task.text)
    others, other_answers = read_predictions(against, rows, task.text) if against else ([], [])
    if comet:
        judge(task, *comet, [*zip(answered, answers, strict=True), *zip(others, other_answers, strict=True)])
    report = task.report(answered, answers)
    counts = [task.counts(*pair)[name] for pair in zip(answered, answers, strict=True)]  # (rows, C)
    report[f"{name}_ci"] = statistics.interval(counts, task.share)
    if against:
        if [row["id"] for row in others] != [row["id"] for row in answered]:
            raise InputError(
                f"{place_of(against)} and {place_of(predictions)} answer different rows; compare files of the same "
                "rows."
            )
        report[f"{name}_against"] = task.report(others, other_answers)[name]
        report["gain"] = report[name] - report[f"{name}_against"]
        theirs = [task.counts(*pair)[name] for pair in zip(others, other_answers, strict=True)]
        report["gain_ci"] = statistics.paired_interval(counts, theirs, task.share)
        report["p"], report["p_method"] = statistics.paired_test(counts, theirs, task.share)
    return report


def _score_table(task, report):
    table = Table(show_header=False)
    for name in (*task.figures, f"{task.compared}_against", "gain"):
        if name in report:
            value = f"{100 * report[name]:.2f} %"
            if f"{name}_ci" in report:
                value += f" ({_interval(report[f'{name}_ci'], report['rows'])})"
            table.add_row(name, value)
    if "p" in report:
        table.add_row("p", f"{report['p']:.4f} (paired permutation test over rows, {report['p_method']})")
    table.add_row("rows", f"{report['rows']:,}")
    for name, signature in report.get("signatures", {}).items():
        table.add_row(f"{name} by sacrebleu", signature)
    if "malformed" in report:
        table.add_row("malformed parts", f"{report['malformed']:,}")
    return table


def _interval(interval, rows):
    from midalign.evaluation import statistics

    if interval is None:
        return statistics.no_interval(rows)
    return "95 % interval over rows {:.2f} to {:.2f}".format(*(100 * end for end in interval))
