"""Task rows from files, the hub or the embedded corpus.

A task row is a dict with `id`, `locale`, `partition`, what its task reads (`tasks.base`), and a `place`: the file and
line, or whatever else it is found by.
"""

from functools import partial

from midalign.data.checks import Sieve, field_problem, repeated_id, task_problem
from midalign.tasks.sources import ALWAYS, value_of
from midalign.texts import comparable


def task_rows(task, source, locale, partition, revision, sieve=None):
    """Rows of one locale, at least one: dicts that also know their `place`.

    task: `tasks.base.Task`.   source, revision: see its `find`.   partition: train, validation or test (MASSIVE writes
    `dev` in the rows).   sieve: takes the bad rows, and is settled by the caller; without one they are refused.
    Raises InputError, NoSplitError where there is no such partition.
    """
    own = sieve or Sieve()
    rows = list(each_task_row(task, source, locale, partition, revision, own))
    if not sieve:
        own.settle()
    return rows


def each_task_row(task, source, locale, partition, revision, sieve):
    """Yields the rows of `task_rows`.   sieve: settled by the caller."""
    found, where, _ = task.find(source, locale, partition, revision)
    value, fields = value_of(partition), tuple(dict.fromkeys((*ALWAYS, *task.fields)))
    rows = sieve.passing(with_fields(found, fields, sieve, task.also), partial(task_problem, task=task, locale=locale))
    rows = sieve.passing((row for row in rows if row["partition"] == value), repeated_id())
    first = next(rows, None)
    if first is None:
        sieve.fail(f"{where} has no row with partition {value}; add some or name another locale.")
    yield first
    yield from rows


def texts_of_tests(task, source, locale, revision, sieve):
    """The texts of all test rows of a locale, also of those that cannot be scored, as `texts.comparable` has them.

    sieve: takes rows without a text, which may be one that is trained on; the caller settles it.
    Raises InputError, NoSplitError where there is no such partition: one that is there must be readable.
    """
    found, where, alone = task.find(source, locale, "test", revision)
    texts = set()
    for place, record, problem in found:
        problem = problem or field_problem(record, task.fields)
        if problem and (not isinstance(record, dict) or field_problem(record, task.guarded)):
            sieve.leave_out(place, problem)
        elif alone or record.get("partition") not in ("train", "dev"):
            texts.update(comparable(record[field]) for field in task.guarded)
    if alone and not texts:
        fields = ", ".join(task.fields)
        sieve.fail(f"{where} has no row with text in {fields}, to keep test rows apart by; mend it or delete it.")
    return texts


def with_fields(found, fields, sieve, also=()):
    """Yields the records that are objects with text in all fields, as rows that know their place.

    also: fields that are kept as they are.
    """
    for place, record, problem in found:
        problem = problem or field_problem(record, fields)
        if problem:
            sieve.leave_out(place, problem)
        else:
            row = {field: record[field] for field in fields} | {field: record.get(field) for field in also}
            yield {**row, "place": place}
