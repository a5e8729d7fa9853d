"""The two streams of a run, as a recipe describes them: tokenised task rows and tokenised pairs."""

import hashlib

from midalign.data.prepared import prepared
from midalign.data.reading import hold_out, of_languages, read_pairs, task_rows
from midalign.data.tokens import example_columns, pair_rows, require_length, sentence_columns
from midalign.tasks import massive


def sample(rows, count):
    """`count` of the rows, in their order; all when None. Chosen by a hash of the id: with ids that are parallel
    across locales, as MASSIVE's are, every locale and every run gets the same utterances.
    """
    if count is None or count >= len(rows):
        return rows
    chosen = sorted(rows, key=lambda row: hashlib.sha256(row["id"].encode()).digest())[:count]
    kept = {row["id"] for row in chosen}
    return [row for row in rows if row["id"] in kept]


def read_locales(data, locales, partition, count):
    """Sampled rows of several locales, one list."""
    rows = []
    for locale in locales:
        rows += sample(task_rows(data.task_data, locale, partition, data.task_revision), count)
    return rows


def load_task(data, tokenizer, max_length, evaluate, processes=None):
    """(training rows, held-out rows or None) with input_ids and labels.

    evaluate: whether the latter are needed.   processes: how many tokenise.
    """

    def load(locales, partition, count):
        examples = [massive.example(row) for row in read_locales(data, locales, partition, count)]
        rows = prepared(tokenizer, examples, example_columns, processes)
        require_length(rows["input_ids"], max_length, "a task row")
        return rows

    held_out = data.task_eval_languages or data.task_languages
    return (
        load(data.task_languages, "train", data.task_rows),
        load(held_out, "validation", data.task_eval_rows) if evaluate else None,
    )


def load_pairs(data, tokenizer, max_length, processes=None):
    """(training pairs, held-out pairs), rows of `pair_rows`; two empty lists without align_data."""
    if not data.align_data:
        return [], []
    pairs = read_pairs(data.align_data)
    trained = data.align_languages or sorted({pair["source_lang"] for pair in pairs})
    measured = data.align_eval_languages or trained
    training, held_out = hold_out(of_languages(pairs, {*trained, *measured}), data.align_eval_pairs, trained)

    def tokenise(texts):
        return prepared(tokenizer, texts, sentence_columns, processes)["input_ids"]

    return (
        pair_rows(of_languages(training, trained), max_length, tokenise),
        pair_rows(of_languages(held_out, measured), max_length, tokenise),
    )
