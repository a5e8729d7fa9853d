"""The two streams of a run, as a recipe describes them: tokenised task rows and tokenised pairs."""

import hashlib
import heapq
from contextlib import suppress
from functools import partial

from datasets import ClassLabel, concatenate_datasets

from midalign.data.chat_rows import chat_rows
from midalign.data.checks import Sieve, among_tests
from midalign.data.pair_rows import pair_rows
from midalign.data.pairs import hold_out, of_languages, read_pairs, spoken, without_tests
from midalign.data.reading import each_task_row, task_rows, texts_of_tests
from midalign.languages import language_of
from midalign.tasks.sources import NoSplitError
from midalign.texts import label_of


def sample(rows, count):
    """`count` of the rows, in their order; all when None. Chosen by a hash of the id: with ids that are parallel
    across locales, as MASSIVE's are, every locale and every run gets the same utterances.
    """
    if count is None or count >= len(rows):
        return rows
    kept = {row["id"] for row in sample_order(rows)[:count]}
    return [row for row in rows if row["id"] in kept]


def sample_order(rows):
    """The rows such that the first n are those that `sample` takes."""
    return sorted(rows, key=lambda row: _place(row["id"]))


def drawn(rows, count):
    """Yields the `sample` of rows that are never in memory together.   rows: () -> those, the same at each call."""
    if count is None:
        return rows()
    kept = set(heapq.nsmallest(count, (row["id"] for row in rows()), key=_place))
    return (row for row in rows() if row["id"] in kept)


def _place(name):
    return hashlib.sha256(name.encode()).digest()


def free_of_tests(task, source, locale):
    """Training rows of a locale, but for those with the text of a test row of it (as with `on_bad_row: skip`)."""
    tests = texts_of_tests(task, source, locale, None, Sieve())
    return Sieve().keep(task_rows(task, source, locale, "train", None), among_tests(tests, task.guarded))


def read_locales(task, data, locales, partition, count, sieve=None):
    """Sampled rows of several locales, one list.   task, sieve: see `task_rows`."""
    rows = []
    for locale in locales:
        rows += sample(task_rows(task, data.task_data, locale, partition, data.task_revision, sieve), count)
    return rows


def scored_texts(task, data, sieve):
    """The texts of all test rows that the run will score, and of the test rows beside its training rows, as
    `texts.comparable` has them.   sieve: takes test rows without one; the caller settles it.
    Raises InputError where test rows are there and cannot be read.
    """
    texts = set()
    for locale in dict.fromkeys((*data.task_languages, *(data.score_languages or ()))):
        try:
            texts |= texts_of_tests(task, data.task_data, locale, data.task_revision, sieve)
        except NoSplitError:  # no test rows beside these training rows
            if locale in (data.score_languages or ()):
                raise
    return texts


def texts_beside(task, data, languages, sieve):
    """`scored_texts` of the other languages that the folder of the task's data has, of those given: whoever has such
    test rows will ask them, and a pair that says the same would be known by then.

    languages: of pairs, as `language_of` names them.   sieve: see `scored_texts`. Raises InputError as that.
    """
    texts = set()
    for name in task.languages_in(data.task_data, languages):
        if name not in (*data.task_languages, *(data.score_languages or ())):
            with suppress(NoSplitError):
                texts |= texts_of_tests(task, data.task_data, name, data.task_revision, sieve)
    return texts


def load_tasks(tasks, data, tokenizer, max_length, evaluate, sieve, texts=frozenset(), processes=None):
    """`load_task` of each task, one after the other; rows of several have a column `task`, a ClassLabel of labels.

    tasks: of `data.each()`.   texts: of the test rows of all of them.
    """
    tables = [
        load_task(task, own, tokenizer, max_length, evaluate, sieve, texts, processes)
        for task, own in zip(tasks, data.each(), strict=True)
    ]
    return tuple(_one_after_the_other(own, data.task) if own[0] else None for own in zip(*tables, strict=True))


def _one_after_the_other(tables, names):
    if len(tables) == 1:
        return tables[0]
    kind = ClassLabel(names=[label_of(name) for name in names])
    return concatenate_datasets(
        [table.add_column("task", [number] * len(table), feature=kind) for number, table in enumerate(tables)]
    )


def load_task(task, data, tokenizer, max_length, evaluate, sieve, texts=frozenset(), processes=None):
    """(training rows, held-out rows or None): Datasets with input_ids, labels and place.

    task: `tasks.base.Task`.   evaluate: whether the latter are needed.   sieve: takes the rows that cannot be used;
    the caller settles it.
    texts: of test rows, not to be trained on, as `scored_texts` gives them.   processes: how many tokenise.
    """

    def rows(locale, partition):
        found = each_task_row(task, data.task_data, locale, partition, data.task_revision, sieve)
        return sieve.passing(found, among_tests(texts, task.guarded)) if partition == "train" else found

    def load(locales, partition, count):
        def chats():
            for locale in locales:
                for row in drawn(partial(rows, locale, partition), count):
                    yield {"example": task.example(row), "place": row["place"], "vital": task.vital(row)}

        table = chat_rows(chats, tokenizer, max_length, sieve, processes)
        if not len(table):
            sieve.fail(f"task_data {data.task_data} has no {partition} row of {', '.join(locales)} that can be used.")
        return table

    held_out = data.task_eval_languages or data.task_languages
    return (
        load(data.task_languages, "train", data.task_rows),
        load(held_out, "validation", data.task_eval_rows) if evaluate else None,
    )


def load_pairs(data, tokenizer, max_length, sieve, texts=frozenset(), processes=None, context=None, beside=None):
    """(training pairs, held-out pairs), Datasets as `pair_rows` gives them; without rows where there is no align_data.

    sieve, texts: see `load_task`.   processes, context: see `pair_rows`.   beside: languages -> more such texts.
    """
    tokenise = partial(pair_rows, tokenizer=tokenizer, max_length=max_length, sieve=sieve)
    tokenise = partial(tokenise, processes=processes, context=context)
    pairs = read_pairs(data.align_data or (), sieve, data.align_pivot, data.align_revision)
    if not data.align_data:
        return tokenise(pairs), tokenise(pairs)
    if not len(pairs):
        sieve.fail(f"align_data {', '.join(data.align_data)} has no pair that can be used.")
    trained = _languages(data.align_languages) or spoken(pairs)
    measured = _languages(data.align_eval_languages) or trained
    pairs = of_languages(pairs, {*trained, *measured}, sieve)
    if beside:
        texts = texts | beside({*trained, *measured, language_of(data.align_pivot)})
    pairs = without_tests(pairs, texts, sieve)
    training, held_out = hold_out(pairs, data.align_eval_pairs, trained, sieve)
    return tokenise(of_languages(training, trained)), tokenise(of_languages(held_out, measured))


def _languages(tags):
    """The languages that a recipe's list names, each once."""
    return list(dict.fromkeys(map(language_of, tags or ())))
