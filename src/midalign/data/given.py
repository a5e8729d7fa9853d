"""Rows and pairs that somebody has in memory -> the two streams of a run, as `data.streams` makes them of a recipe."""

from collections.abc import Mapping

from datasets import Dataset

from midalign.data.chat_rows import chat_rows, fitted
from midalign.data.pair_rows import PLAIN, pair_rows
from midalign.data.pairs import hold_out, pairs_of, sharing, spoken
from midalign.errors import InputError
from midalign.tasks.chat.rows import parse
from midalign.tasks.chat.sources import without_nulls
from midalign.texts import quoted, shown

TOKENS = ["input_ids", "labels"]


def is_tokenised(rows):
    return isinstance(rows, Dataset) and "input_ids" in rows.column_names


def task_stream(name, rows, tokenizer, args, sieve):
    """Rows as a Dataset with input_ids, labels and place.   sieve: takes the bad ones; the caller settles it.

    rows: list of dicts or Dataset; of chats, see `tasks.chat.rows`, or with input_ids and labels. Raises InputError.
    """
    if is_tokenised(rows):
        if "labels" not in rows.column_names:
            raise InputError(f"{name} has input_ids and no labels; add them, with -100 where nothing is trained.")
        places = list(rows["place"]) if "place" in rows.column_names else [f"{name}[{i}]" for i in range(len(rows))]
        return fitted(rows.select_columns(TOKENS), places, args.max_length, sieve)
    rows = listed(name, rows)

    def chats():
        for number, row in enumerate(rows):
            row = without_nulls(row) if isinstance(rows, Dataset) else row
            chat, problem = parse(dict(row) if isinstance(row, Mapping) else row)
            if problem:
                sieve.leave_out(f"{name}[{number}]", problem)
            else:
                example = {key: chat[key] for key in ("prompt", "completion", "tools")}
                yield {"example": example, "place": f"{name}[{number}]", "vital": []}

    table = chat_rows(chats, tokenizer, args.max_length, sieve, args.dataset_num_proc)
    if not len(table):
        sieve.fail(f"{name} has no row that can be used.")
    return table


def listed(name, rows):
    """Rows one after the other. Raises InputError for what has no length and no order."""
    if isinstance(rows, Mapping):
        raise InputError(f"{name} has the parts {', '.join(map(shown, rows))}; give one of them.")
    if not isinstance(rows, (list, tuple, Dataset)):
        found = "missing" if rows is None else f"of type {type(rows).__name__}"
        raise InputError(f"{name} is {found}; give a list of dicts or a datasets.Dataset.")
    return rows


def pair_streams(pairs, eval_pairs, pivot, tokenizer, args, sieve):
    """(training pairs, held-out pairs), Datasets as `pair_rows` gives them.

    pairs: list or Dataset of {"source", "target", "source_lang", "target_lang"}, or already such rows.
    eval_pairs: the same, or how many of each language are held out.   pivot: the language that one side is in.
    sieve: takes the bad ones; the caller settles it. Raises InputError.
    """

    def read(name, rows):
        return pairs_of(((f"{name}[{number}]", row, None) for number, row in enumerate(rows)), sieve, pivot)

    def tokenise(rows):
        return pair_rows(rows, tokenizer, args.max_length, sieve, args.dataset_num_proc)

    if len(pairs) and isinstance(pairs[0], Mapping) and "source_text" in pairs[0]:
        return as_rows(pairs), as_rows(eval_pairs)
    training = read("pairs", pairs)
    if len(pairs) and not len(training):
        sieve.fail("pairs has none that can be used.")
    if type(eval_pairs) is int:
        if eval_pairs < 2:
            raise InputError(f"eval_pairs={eval_pairs}; set it to 2 or more of each language, or give pairs.")
        training, held_out = hold_out(training, eval_pairs, spoken(training), sieve)
        return tokenise(training), tokenise(held_out)
    held_out = read("eval_pairs", eval_pairs)
    leaked = sharing(training, held_out)
    for pair in training.only(leaked):
        problem = f"has {quoted(pair['target'])}, which eval_pairs has too; what is measured must not be trained on"
        sieve.leave_out(pair["place"], problem)
    return tokenise(training.but(leaked)), tokenise(held_out)


def as_rows(pairs):
    """Tokenised pairs as a Dataset.   pairs: one, or a list of its rows."""
    if isinstance(pairs, Dataset):
        return pairs
    return Dataset.from_list(list(pairs)) if len(pairs) else Dataset(PLAIN.empty_table())
