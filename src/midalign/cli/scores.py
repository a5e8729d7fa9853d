"""`midalign score`."""

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from midalign.cli.app import HUB, REVISION, Data, Revision, app
from midalign.console import console
from midalign.errors import InputError


class Partition(StrEnum):
    """Part of the data."""

    train = "train"
    validation = "validation"
    test = "test"


class Compat(StrEnum):
    """Whose figures."""

    reference = "reference"


@app.command()
def score(
    predictions: Annotated[Path, typer.Argument(help="JSONL with id and prediction, lm-eval samples, or plain lines.")],
    locale: Annotated[str, typer.Option(help="MASSIVE locale, sw-KE or sw.")],
    data: Data = HUB,
    revision: Revision = REVISION,
    partition: Annotated[Partition, typer.Option(help="Part of the data that was answered.")] = Partition.test,
    against: Annotated[Path | None, typer.Option(help="Another file: adds gain and a paired p-value.")] = None,
    compat: Annotated[Compat | None, typer.Option(help="The authors' figures, quirks included.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print all figures, per slot too, as JSON.")] = False,
):
    """Score a file of MASSIVE slot predictions made anywhere."""
    from midalign.data.reading import find_locale, task_rows
    from midalign.evaluation.predictions import is_json, read_predictions, read_text
    from midalign.tasks.slots import scoring

    rows = task_rows(data, find_locale(locale), partition.value, revision)
    if compat is None:
        report = _own_report(rows, predictions, against)
    elif against:
        raise InputError("--against compares our own figures; leave --compat out.")
    elif is_json(predictions):
        report = scoring.score(*read_predictions(predictions, rows), compat=compat.value)
    else:
        report = scoring.score_reference_file(rows, read_text(predictions))
    if as_json:
        print(json.dumps(report, indent=1))
    else:
        console().print(_score_table(report))


def _own_report(rows, predictions, against):
    """The report of `scoring.score` with f1_ci, and with --against also f1_against, gain, gain_ci, p and p_method."""
    from midalign.evaluation import statistics
    from midalign.evaluation.predictions import read_predictions
    from midalign.tasks.slots import scoring

    answered, answers = read_predictions(predictions, rows)
    report = scoring.score(answered, answers)
    counts = list(map(scoring.row_counts, answered, answers))  # (rows, 3)
    report["f1_ci"] = statistics.interval(counts, scoring.micro_f1)
    if against:
        others, other_answers = read_predictions(against, rows)
        if [row["id"] for row in others] != [row["id"] for row in answered]:
            raise InputError(f"{against} and {predictions} answer different rows; compare files of the same rows.")
        report["f1_against"] = scoring.score(others, other_answers)["f1"]
        report["gain"] = report["f1"] - report["f1_against"]
        theirs = list(map(scoring.row_counts, others, other_answers))
        report["gain_ci"] = statistics.paired_interval(counts, theirs, scoring.micro_f1)
        report["p"], report["p_method"] = statistics.paired_test(counts, theirs, scoring.micro_f1)
    return report


def _score_table(report):
    table = Table(show_header=False)
    for name in ("f1", "precision", "recall", "exact_match", "f1_against", "gain"):
        if name in report:
            value = f"{100 * report[name]:.2f} %"
            if f"{name}_ci" in report:
                value += f" ({_interval(report[f'{name}_ci'], report['rows'])})"
            table.add_row(name, value)
    if "p" in report:
        table.add_row("p", f"{report['p']:.4f} (paired permutation test over rows, {report['p_method']})")
    table.add_row("rows", f"{report['rows']:,}")
    table.add_row("malformed parts", f"{report['malformed']:,}")
    return table


def _interval(interval, rows):
    from midalign.evaluation import statistics

    if interval is None:
        return statistics.no_interval(rows)
    return "95 % interval over rows {:.2f} to {:.2f}".format(*(100 * end for end in interval))
