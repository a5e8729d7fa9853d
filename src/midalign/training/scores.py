"""The scores after training: which rows are answered, and the tables they are shown in."""

from midalign.data.checks import Sieve
from midalign.data.streams import read_locales
from midalign.evaluation.transfer import group_of, score_locales, transfer_table


def test_rows(tasks, data):
    """[{locale: rows}] of the score_languages of each task, [] without them.   tasks: of `data.each()`.

    Raises InputError.
    """
    if not data.score_languages:
        return []
    sieve = Sieve(data.on_bad_row)
    rows = [
        {locale: read_locales(task, own, [locale], "test", own.score_rows, sieve) for locale in own.score_languages}
        for task, own in zip(tasks, data.each(), strict=True)
    ]
    sieve.settle()
    return rows


def scores_of(tasks, model, tokenizer, tests):
    """{locale: {figure: share}}, of several tasks {task: those}; {} where nothing is scored.   tests: `test_rows`."""
    scores = {
        task.label: score_locales(task, model, tokenizer, rows) for task, rows in zip(tasks, tests, strict=bool(tests))
    }
    return scores if len(tasks) > 1 else scores.get(tasks[0].label, {})


def tables(tasks, data, aligned, scores, baseline):
    """Yields for each task a table of its scores by part in training.

    aligned: as in `group_of`.   scores, baseline: `scores_of`, the latter None without one.
    """
    for task, own in zip(tasks, data.each(), strict=True):
        found, before = (of[task.label] if of and len(tasks) > 1 else of for of in (scores, baseline))
        groups = {locale: group_of(task, locale, own.task_languages, aligned) for locale in found}
        yield transfer_table(task, found, groups, before, of_several=len(tasks) > 1)
