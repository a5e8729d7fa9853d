"""What is left of a run's answers when figures, intervals and tests are all that is wanted: counts, and no text.

`midalign evaluate` writes `counts.json` beside the answers of a run, a few KB, and takes such a file in place of the
run. It has the counts of the compared figure for every row, the sums of the others, and what must be equal in two runs
for them to be compared.

Legend: C counts of the compared figure.
"""

import base64
import binascii
import json
import math
import operator
import zlib
from typing import NamedTuple

import numpy as np

from midalign.errors import InputError
from midalign.evaluation.transfer import GROUPS
from midalign.files import whole, write_result
from midalign.texts import place_of, shown

NAME = "counts.json"
LARGEST = 1 << 26  # bytes of a file, and of the counts of one language
TYPES = ("|u1", "<i2", "<i4", "<f8")  # the first that holds all numbers is written


class Counted(NamedTuple):
    """A run's answers, counted."""

    name: str
    seed: int | None  # of the training run; None where no record tells it
    languages: dict  # {locale: {figure: share, "rows": number}}, what tables show and maybe more
    units: dict  # {locale: (rows,) int}, the utterance of each row; translations of one have one number
    counts: dict  # {locale: (rows, C)}
    parts: dict | None = None  # as in `Task.report` under `per_<part>`, over all languages; None in a file


def counted(task, name, rows, answers, seed=None):
    """The counts of a run.   task: `tasks.base.Task`.   rows: {locale: [row]}.   answers: {locale: [answer]}."""
    numbers = {own: i for i, own in enumerate(dict.fromkeys(row["id"] for some in rows.values() for row in some))}
    every = [pair for locale, some in rows.items() for pair in zip(some, answers[locale], strict=True)]
    return Counted(
        name,
        seed,
        {locale: task.report(some, answers[locale]) for locale, some in rows.items()},
        {locale: np.array([numbers[row["id"]] for row in some]) for locale, some in rows.items()},
        {
            locale: np.array([task.counts(*pair)[task.compared] for pair in zip(some, answers[locale], strict=True)])
            for locale, some in rows.items()
        },
        task.report(*zip(*every, strict=True))[f"per_{task.part}"] if task.part else None,
    )


def counted_each(task, rows, answers):
    """{run: [its counts]}: every run an arm of its own.   answers: {run: {locale: [answer]}}."""
    return {name: [counted(task, name, rows, of_run)] for name, of_run in answers.items()}


def asked_of(task, partition, sha256, max_new_tokens):
    """What was asked, in which two runs that are compared must be equal; JSON.   sha256: of the rows."""
    return {
        **task.depends_on(),
        **{"task": task.label, "partition": partition, "rows": sha256, "max_new_tokens": max_new_tokens},
    }


def write_counts(path, task, run, groups, asked, record):
    """Write the file of one run.

    groups: {locale: group}.   asked: of `asked_of`.   record: JSON, "data" and "model" as scores.json tells of them.
    Raises InputError.
    """
    languages = {
        locale: {
            "group": groups[locale],
            "rows": figures["rows"],
            "figures": {name: figures[name] for name in task.shown},
            "units": _packed(np.diff(run.units[locale], prepend=-1)),  # mostly 1, which packs well
            "counts": _packed(run.counts[locale]),
        }
        for locale, figures in run.languages.items()
    }
    content = {"run": run.name, "seed": run.seed, "compared": task.compared, "asked": asked, "record": record}
    text = json.dumps({**content, "languages": languages}, indent=1) + "\n"
    write_result(path, text, "make room for it and evaluate again")


class CountsFile(NamedTuple):
    """What a file of counts says."""

    path: str
    run: Counted
    groups: dict
    compared: str
    asked: dict
    record: dict


def read_counts(path):
    """A file that `write_counts` wrote. Raises InputError."""
    try:
        content = json.loads(whole(path, LARGEST))
        languages, seed, record = content["languages"], content["seed"], content["record"]
        record = {"data": {"source": str(record["data"]["source"]), **record["data"]}, "model": dict(record["model"])}
        run = Counted(
            str(content["run"]),
            None if seed is None else operator.index(seed),
            {locale: {**own["figures"], "rows": int(own["rows"])} for locale, own in languages.items()},
            {locale: _numbers(own["units"], own["rows"]) for locale, own in languages.items()},
            {locale: _unpacked(own["counts"], own["rows"]) for locale, own in languages.items()},
        )
        groups = {locale: GROUPS[GROUPS.index(own["group"])] for locale, own in languages.items()}
        found = CountsFile(str(path), run, groups, content["compared"], dict(content["asked"]), record)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError, zlib.error) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{place_of(path)} is no {NAME} of `midalign evaluate`; name one, or the run.") from error
    return found


def require_comparable(task, asked, rows, files):
    """Refuse files of counts of another figure, of other rows or otherwise asked. Raises InputError.

    asked: of `asked_of`.   rows: {locale: how many}.
    """
    for file in files:
        changed = ", ".join(key for key in asked if file.asked.get(key) != asked[key])
        if changed or file.asked.keys() != asked.keys():
            raise InputError(
                f"{place_of(file.path)} has counts of something else (other {changed or 'keys'}); compare runs that "
                "were asked the same rows in the same way."
            )
        own = {locale: figures["rows"] for locale, figures in file.run.languages.items()}
        if not own == rows == file.record["data"].get("rows"):
            raise InputError(f"{place_of(file.path)} has other languages or numbers of rows than it says.")
        first = files[0].run.units
        if not all(np.array_equal(units, first[locale]) for locale, units in file.run.units.items()):
            raise InputError(
                f"{place_of(file.path)} and {place_of(files[0].path)} differ in which rows are translations; evaluate "
                "one of the runs again."
            )
        for locale, figures in file.run.languages.items():
            if file.compared != task.compared or not _agree(task, figures, file.run.counts[locale]):
                raise InputError(
                    f"{place_of(file.path)} does not have the figures of task {task.name} in {shown(locale)}; "
                    "evaluate the run again."
                )


def _agree(task, figures, counts):
    """Whether figures are those that a task shows, and the compared one that of the counts."""
    try:
        share = float(task.share(counts.sum(axis=0)))
    except (ValueError, LookupError, TypeError):  # another number of counts
        return False
    told = task.shown.keys() <= figures.keys() and all(map(math.isfinite, figures.values()))
    return told and abs(share - figures[task.compared]) <= 1e-9


def _packed(values):
    """Numbers as text: their type, then their bytes, column by column, deflated.   values: (rows,) or (rows, C)."""
    values = np.asarray(values)
    with np.errstate(invalid="ignore"):  # of a number that the type has not
        kind = next(own for own in TYPES if own == TYPES[-1] or (values.astype(own) == values).all())
    return f"{kind} {base64.b64encode(zlib.compress(values.astype(kind).tobytes('F'), 9)).decode()}"


def _numbers(text, rows):
    """(rows,) int: the utterance of each row, none of them twice. Raises as `_unpacked`."""
    numbers = _unpacked(text, rows)[:, 0].cumsum(dtype=np.int64) - 1
    if len(np.unique(numbers)) < rows:
        raise ValueError("two rows of one language are one utterance")
    return numbers


def _unpacked(text, rows):
    """(rows, C) of what `_packed` wrote. Raises ValueError, LookupError or zlib.error."""
    kind, packed = text.split(" ")
    stream = zlib.decompressobj()
    try:
        content = stream.decompress(base64.b64decode(packed, validate=True), LARGEST)
    except binascii.Error as error:
        raise ValueError(error) from error
    if not stream.eof:  # cut off, and with it the checksum
        raise ValueError("cut off")
    return np.frombuffer(content, TYPES[TYPES.index(kind)]).reshape(rows, -1, order="F")
