"""Task rows from files, the hub or the embedded corpus.

A task row is a dict in MASSIVE's format with `id`, `locale`, `partition`, `utt` and `annot_utt`, and a `place`: the
file and line, or whatever else it is found by.
"""

import os
from functools import partial
from pathlib import Path

import datasets

from midalign.data.checks import TASK_FIELDS, Sieve, field_problem, repeated_id, task_problem
from midalign.demo import corpus
from midalign.errors import InputError
from midalign.files import SUFFIXES, place_of, records
from midalign.languages import primary_of
from midalign.tasks.slots.massive import LOCALES
from midalign.texts import comparable, shown


class NoSplitError(InputError):
    """The data has no such partition: it could be read, and there is neither a file nor a row of it."""


def task_rows(source, locale, partition, revision, sieve=None):
    """Rows of one locale, at least one.   partition: train, validation or test (MASSIVE writes `dev` in the rows).

    source: `demo`; a folder with <locale>/<partition>.jsonl, or with <locale>.jsonl holding all partitions as
    Amazon ships it (also .jsonl.gz and .parquet); or a hub data set, read at `revision` from its Parquet branch so
    that no script runs.   sieve: takes the bad rows, and is settled by the caller; without one they are refused.
    Raises InputError, NoSplitError where there is no such partition.
    """
    found, where, _ = _found(source, locale, partition, revision)
    value, own = _value(partition), sieve or Sieve()
    rows = own.passing(_with_fields(found, TASK_FIELDS, own), partial(task_problem, locale=locale))
    rows = own.keep((row for row in rows if row["partition"] == value), repeated_id())
    if not rows:
        own.fail(f"{where} has no row with partition {value}; add some or name another locale.")
    if not sieve:
        own.settle()
    return rows


def texts_of_tests(source, locale, revision, sieve):
    """The utterances of all test rows of a locale, also of those that cannot be scored, as `texts.comparable` has them.

    sieve: takes rows without an utterance, which may be one that is trained on; the caller settles it.
    Raises InputError, NoSplitError where there is no such partition: one that is there must be readable.
    """
    found, where, alone = _found(source, locale, "test", revision)
    texts = set()
    for place, record, problem in found:
        problem = problem or field_problem(record, TASK_FIELDS)
        if problem and (not isinstance(record, dict) or field_problem(record, ("utt",))):
            sieve.leave_out(place, problem)
        elif alone or record.get("partition") not in ("train", "dev"):
            texts.add(comparable(record["utt"]))
    if alone and not texts:
        sieve.fail(f"{where} has no utterance, so nothing keeps the test rows apart; write it anew or delete it.")
    return texts


def _value(partition):
    """What MASSIVE writes in the rows of a partition."""
    return {"validation": "dev"}.get(partition, partition)


def _found(source, locale, partition, revision):
    """(what is where the rows should be, as `files.records` gives it; a name of the place; whether no other partition
    is there). Raises InputError."""
    if source == "demo":
        _require_known(locale, corpus.DEMO_LOCALES, "the demo corpus")
        rows = corpus.rows(locale, _value(partition))
        return ((f"demo row {row['id']}", row, None) for row in rows), f"demo, locale {locale},", True
    _require_known(locale, LOCALES, "MASSIVE")
    folder = Path(source)
    if not folder.is_dir():
        return _hub_records(source, locale, partition, revision), f"{source}, split {partition},", True
    for stem in (f"{locale}/{partition}", locale):
        for suffix in SUFFIXES:
            file = folder / f"{stem}{suffix}"
            if os.path.lexists(file):  # whatever it is: what cannot be read is said when it is read
                return records(file), place_of(file), stem != locale
    raise NoSplitError(
        f"task_data {source} has neither {locale}/{partition}.jsonl nor {locale}.jsonl (or .jsonl.gz, .parquet); "
        "add one or name another locale."
    )


def _with_fields(found, fields, sieve):
    """Yields the records that are objects with text in all fields, as rows that know their place."""
    for place, record, problem in found:
        problem = problem or field_problem(record, fields)
        if problem:
            sieve.leave_out(place, problem)
        else:
            yield {**{field: record[field] for field in fields}, "place": place}


def find_locale(name):
    """The MASSIVE locale that `sw-KE` or `sw` means. Raises InputError for an unknown or ambiguous name."""
    found = [name] if name in LOCALES else [locale for locale in LOCALES if primary_of(locale) == name]
    if not found:
        raise InputError(f"locale {shown(name)} is not in MASSIVE; use any of {', '.join(LOCALES)}.")
    if len(found) > 1:
        raise InputError(f"locale {name} could be {' or '.join(found)}; name one.")
    return found[0]


def _require_known(locale, known, where):
    if locale not in known:
        raise InputError(f"locale {shown(locale)} is not in {where}; use any of {', '.join(known)}.")


def _hub_records(source, locale, partition, revision):
    try:
        # All splits, which are fetched anyway: a split that is not there is no error of the hub then.
        splits = datasets.load_dataset(source, locale, revision=revision)
    except Exception as error:  # the hub raises a dozen types; each means that nothing was read
        raise InputError(
            f"task_data {source} is no folder here and could not be read from the hub "
            f"({type(error).__name__}); name a folder with <locale>/{partition}.jsonl, or check name and network."
        ) from error
    if partition not in splits:
        raise NoSplitError(f"task_data {source} has no split {partition}, only {', '.join(splits)}; name another.")
    table = splits[partition]
    missing = [field for field in TASK_FIELDS if field not in table.column_names]
    if missing:
        raise InputError(f"task_data {source} has no column {missing[0]}; it needs {', '.join(TASK_FIELDS)}.")
    return ((f"{source}, split {partition}, row {number},", row, None) for number, row in enumerate(table))
