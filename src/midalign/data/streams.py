"""The two streams of a run, as a recipe describes them: tokenised task rows and tokenised pairs."""

import hashlib
from functools import partial

from midalign.data.checks import Sieve, among_tests, fit_problem
from midalign.data.prepared import prepared
from midalign.data.reading import hold_out, of_languages, read_pairs, task_rows
from midalign.data.tokens import example_columns, pair_rows, sentence_columns
from midalign.errors import InputError
from midalign.tasks.slots import massive


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
    return sorted(rows, key=lambda row: hashlib.sha256(row["id"].encode()).digest())


def read_locales(data, locales, partition, count, sieve=None):
    """Sampled rows of several locales, one list.   sieve: see `task_rows`."""
    rows = []
    for locale in locales:
        rows += sample(task_rows(data.task_data, locale, partition, data.task_revision, sieve), count)
    return rows


def scored_texts(data):
    """The utterances of all test rows that the run will score, and of the test rows beside its training rows."""
    texts = set()
    for locale in {*(data.score_languages or ()), *data.task_languages}:
        try:  # a bad row has no text to keep apart; whether it may be there is for the run's own sieve to say
            rows = task_rows(data.task_data, locale, "test", data.task_revision, Sieve("skip"))
        except InputError:
            if locale in (data.score_languages or ()):
                raise
            continue  # no test rows beside these training rows
        texts.update(row["utt"].strip() for row in rows)
    return texts


def load_task(data, tokenizer, max_length, evaluate, sieve, texts=frozenset(), processes=None):
    """(training rows, held-out rows or None): Datasets with input_ids, labels and place.

    evaluate: whether the latter are needed.   sieve: takes the rows that cannot be used; the caller settles it.
    texts: of test rows, not to be trained on.   processes: how many tokenise.
    """

    def load(locales, partition, count):
        rows = []
        for locale in locales:
            found = task_rows(data.task_data, locale, partition, data.task_revision, sieve)
            if partition == "train":
                found = sieve.keep(found, among_tests(texts, ("utt",)))
            rows += sample(found, count)
        table = prepared(tokenizer, [massive.example(row) for row in rows], example_columns, processes)
        return _fit(table, [row["place"] for row in rows], max_length, sieve)

    held_out = data.task_eval_languages or data.task_languages
    return (
        load(data.task_languages, "train", data.task_rows),
        load(held_out, "validation", data.task_eval_rows) if evaluate else None,
    )


def _fit(table, places, max_length, sieve):
    """The tokenised rows that can be trained on, with their places."""
    rows = [
        {"place": place, "length": len(ids), "trained": any(label != -100 for label in labels), "index": index}
        for index, (place, ids, labels) in enumerate(zip(places, table["input_ids"], table["labels"], strict=True))
    ]
    kept = sieve.keep(rows, partial(fit_problem, max_length=max_length))
    table = table.select([row["index"] for row in kept]) if len(kept) < len(rows) else table
    return table.add_column("place", [row["place"] for row in kept])


def load_pairs(data, tokenizer, max_length, sieve, texts=frozenset(), processes=None):
    """(training pairs, held-out pairs), rows of `pair_rows`; two empty lists without align_data.

    sieve, texts, processes: see `load_task`.
    """
    if not data.align_data:
        return [], []
    pairs = read_pairs(data.align_data, sieve)
    trained = data.align_languages or sorted({pair["source_lang"] for pair in pairs})
    measured = data.align_eval_languages or trained
    pairs = sieve.keep(of_languages(pairs, {*trained, *measured}), among_tests(texts, ("source", "target")))
    training, held_out = hold_out(pairs, data.align_eval_pairs, trained)

    def tokenise(texts):
        return prepared(tokenizer, texts, sentence_columns, processes)["input_ids"]

    return (
        pair_rows(of_languages(training, trained), max_length, tokenise, sieve),
        pair_rows(of_languages(held_out, measured), max_length, tokenise, sieve),
    )
