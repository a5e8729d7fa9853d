"""Chats -> token ids and labels, as batches are made of them."""

import hashlib
import json
from functools import partial

import pyarrow

from midalign.data.checks import fit_problem
from midalign.data.columns import PIECE, pieces, rows_of
from midalign.data.prepared import in_processes, prepared, tokenizer_key
from midalign.data.tokens import example_columns

IDS = pyarrow.list_(pyarrow.int32())
SCHEMA = pyarrow.schema({"input_ids": IDS, "labels": IDS, "place": pyarrow.string()})


def chat_rows(examples, places, tokenizer, max_length, sieve, processes=None):
    """Chats, examples as `tokens.example_ids` takes them, as a Dataset with input_ids, labels and place.

    places: of each.   sieve: takes those that cannot be trained on; the caller settles it.   processes: how many
    tokenise.   Made once, see `data.prepared`.
    """
    make = partial(_rows, tokenizer=tokenizer, max_length=max_length)
    some = [(examples[i : i + PIECE], places[i : i + PIECE]) for i in range(0, len(examples), PIECE)]
    rules = tokenizer_key(tokenizer)
    key = None
    if rules and examples:
        first = make((examples[:1], places[:1])).to_pylist()  # a template may read a clock
        parts = [hashlib.sha256(json.dumps(own).encode()).hexdigest() for own in some]
        key = [rules, parts, max_length, first]
    rows, others = prepared(key, lambda: in_processes(make, some, processes), SCHEMA, len(examples))
    for row in rows_of(others):
        sieve.leave_out(row["place"], row["problem"])
    return rows


def _rows(some, tokenizer, max_length):
    """A table of `SCHEMA` and `problem`.   some: (examples, places)."""
    examples, places = some
    columns = example_columns(tokenizer, examples)
    fits = (_problem(*own, max_length) for own in zip(columns["input_ids"], columns["labels"], strict=True))
    columns["problem"] = [said or problem for said, problem in zip(columns["problem"], fits, strict=True)]
    return pyarrow.table({**columns, "place": places}, SCHEMA.append(pyarrow.field("problem", pyarrow.string())))


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
