"""Chats -> token ids and labels, as batches are made of them."""

import hashlib
import json
from functools import partial
from itertools import islice

import pyarrow

from midalign.data.checks import fit_problem, token_problem
from midalign.data.columns import pieces, rows_of
from midalign.data.prepared import in_processes, prepared, tokenizer_key
from midalign.data.tokens import example_columns

CHATS = 1_000  # at a time: one takes as long as a hundred sentences
IDS = pyarrow.list_(pyarrow.int32())
SCHEMA = pyarrow.schema({"input_ids": IDS, "labels": IDS, "place": pyarrow.string()})


def chat_rows(chats, tokenizer, max_length, sieve, processes=None):
    """Chats as a Dataset with input_ids, labels and place.

    chats: () -> {"example": as `tokens.example_ids` takes it, "place", "vital": [(what, text)] of which a tokenizer
    must keep a token}, one after the other, the same at each call.   sieve: takes those that cannot be trained on; the
    caller settles it.   processes: how many tokenise.   Made once, see `data.prepared`.
    """
    make = partial(_rows, tokenizer=tokenizer, max_length=max_length)
    rules, digest, count, first = tokenizer_key(tokenizer), hashlib.sha256(), 0, None
    for some in _some(chats()) if rules else ():
        digest.update(json.dumps(some).encode())
        first = first or make(some[:1]).to_pylist()  # a template may read a clock
        count += len(some)
    key = rules and [rules, digest.hexdigest(), max_length, first]
    rows, others = prepared(key, lambda: in_processes(make, _some(chats()), processes), SCHEMA, count or None)
    for row in rows_of(others):
        sieve.leave_out(row["place"], row["problem"])
    return rows


def _some(chats):
    """Yields lists of up to CHATS."""
    chats = iter(chats)
    while some := list(islice(chats, CHATS)):
        yield some


def _rows(some, tokenizer, max_length):
    """A table of `SCHEMA` and `problem`."""
    columns = example_columns(tokenizer, [chat["example"] for chat in some])
    unread = _unread(tokenizer, [text for chat in some for _, text in chat["vital"]])
    columns["problem"] = [
        token_problem(chat["vital"], unread) or said or _problem(ids, labels, max_length)
        for chat, ids, labels, said in zip(some, *columns.values(), strict=True)
    ]
    columns["place"] = [chat["place"] for chat in some]
    return pyarrow.table(columns, SCHEMA.append(pyarrow.field("problem", pyarrow.string())))


def _unread(tokenizer, texts):
    """Those texts of which a tokenizer keeps no token."""
    texts = sorted(set(texts))
    ids = tokenizer(texts, add_special_tokens=False, split_special_tokens=True)["input_ids"] if texts else ()
    return {text for text, own in zip(texts, ids, strict=True) if not own}


def _problem(ids, labels, max_length):
    return fit_problem({"length": len(ids), "trained": any(label != -100 for label in labels)}, max_length)


def fitted(rows, places, max_length, sieve):
    """The rows that can be trained on, with their places.   rows: Dataset with input_ids and labels."""
    tokens = (row.values() for table in pieces(rows, "input_ids", "labels") for row in table.to_pylist())
    problems = [_problem(*own, max_length) for own in tokens]
    for place, problem in zip(places, problems, strict=True):
        if problem:
            sieve.leave_out(place, problem)
    kept = [number for number, problem in enumerate(problems) if not problem]
    rows = rows.select(kept) if len(kept) < len(rows) else rows
    return rows.add_column("place", [places[number] for number in kept])
