"""Pairs -> token ids, as batches are made of them."""

import hashlib
import json
from functools import partial

import numpy as np
import pyarrow
from datasets import Dataset, concatenate_datasets

from midalign.data.checks import fit_problem
from midalign.data.columns import rows_of
from midalign.data.context import PROBE, frame_of, prompt_columns
from midalign.data.pairs import SIDES, spoken
from midalign.data.prepared import in_processes, prepared, tokenizer_key
from midalign.data.tokens import sentence_ids

IDS = pyarrow.list_(pyarrow.int32())
PLAIN = pyarrow.schema(
    {
        **dict.fromkeys(SIDES, IDS),
        **dict.fromkeys(("source_text", "target_text"), pyarrow.int64()),
        **dict.fromkeys(("language", "place"), pyarrow.string()),
    }
)
IN_PROMPT = pyarrow.schema(
    [
        *PLAIN,
        *(pyarrow.field(f"{side}_start", pyarrow.int32()) for side in SIDES),
        pyarrow.field("plain", pyarrow.struct([(side, IDS) for side in SIDES])),
    ]
)


def pair_rows(pairs, tokenizer, max_length, sieve, processes=None, context=None):
    """Pairs as token ids, in the order given.   pairs: `data.pairs.Pairs`.

    sieve: takes pairs without a token on one side and with more than `max_length` of them (None: no limit), the prompt
    included; the caller settles it.   processes: how many tokenise, None for this one and the tokenizer's own threads.
    context: (the task in whose prompt sentences stand, whether all of the prompt is wanted); None for none.
    Returns a Dataset of {"source", "target": list[int], "source_text", "target_text": int, "language", "place"}; texts
    that are one sentence (`texts.comparable`) have equal numbers. In a prompt source and target are with it, up to the
    sentence's last token or all of it, with "source_start", "target_start": int, of the sentence's own tokens; and
    "plain" has the "source" and "target" of the sentences alone. Made once of each file, see `data.prepared`.
    """
    schema, found = IN_PROMPT if context else PLAIN, []
    frames = _frames(pairs, tokenizer, context[0]) if context else {}
    make = partial(_rows, tokenizer=tokenizer, max_length=max_length, context=context, frames=frames)
    rules = tokenizer_key(tokenizer)
    for own in filter(len, pairs.each()):
        key = rules and [rules, max_length, *_key(own, context, make)]
        rows, others = prepared(key, partial(_tables, own, make, processes), schema, len(own))
        for row in rows_of(others):
            sieve.leave_out(row["place"], row["problem"])
        found.append(rows)
    return concatenate_datasets(found) if found else Dataset(schema.empty_table())


def _tables(pairs, make, processes):
    return in_processes(make, pairs.pieces(), processes)


def _key(pairs, context, make):
    """A hash of the pairs, and the first row that comes out of them: a template may read a clock."""
    digest, first = hashlib.sha256(), None
    for table in pairs.pieces():
        first = first or make(table.slice(0, 1)).to_pylist()
        for batch in table.drop_columns("rank").to_batches():
            digest.update(batch.serialize())
        if context:
            digest.update(json.dumps([context[0].asks(*one) for one in _sentences(table)]).encode())
    return [digest.hexdigest(), context and context[1], first]


def _sentences(table):
    """[(text, language)] of all sources, then of all targets."""
    each = [zip(table[side].to_pylist(), table[f"{side}_lang"].to_pylist(), strict=True) for side in SIDES]
    return [sentence for own in each for sentence in own]


def _frames(pairs, tokenizer, task):
    """{language: `frame_of` its prompts}."""
    languages = {name for side in SIDES for name in spoken(pairs, side)}
    return {language: frame_of(tokenizer, task.asks(PROBE, language)) for language in sorted(languages)}


def _rows(table, tokenizer, max_length, context, frames):
    """A table of `PLAIN` or `IN_PROMPT` and `problem`."""
    sentences = _sentences(table)
    ids = sentence_ids(tokenizer, [text for text, _ in sentences])
    same = {name: table[name] for name in ("source_text", "target_text", "place")} | {"language": table["source_lang"]}
    alone = _by_side("{}", ids)
    columns, problems = same | alone, [None] * len(table)
    lengths, schema = [list(map(len, ids))], PLAIN
    if context:
        prompts = _prompts(sentences, tokenizer, *context, frames)
        columns["plain"] = [dict(zip(alone, own, strict=True)) for own in zip(*alone.values(), strict=True)]
        columns |= _by_side("{}", prompts["input_ids"]) | _by_side("{}_start", prompts["own"])
        lengths.append(list(map(len, prompts["input_ids"])))
        said, schema = _by_side("{}", prompts["problem"]).values(), IN_PROMPT
        problems = [one or two or None for one, two in zip(*said, strict=True)]
    lengths = np.reshape(lengths, (-1, len(table)))  # of the sources, then of the targets, alone and in a prompt
    unfit = (lengths == 0) | (lengths > (max_length or np.inf))
    for row in np.flatnonzero(unfit.any(axis=0)).tolist():
        length = int(lengths[unfit[:, row], row][0])
        problems[row] = problems[row] or fit_problem({"length": length, "trained": True}, max_length)
    return pyarrow.table({**columns, "problem": problems}, schema.append(pyarrow.field("problem", pyarrow.string())))


def _by_side(name, values):
    """Columns, with {} in their name, of what is there of all sources, then of all targets."""
    half = len(values) // 2
    return {name.format("source"): values[:half], name.format("target"): values[half:]}


def _prompts(sentences, tokenizer, task, whole, frames):
    """`prompt_columns` of sentences."""
    items = [
        {"chat": task.asks(text, language), "text": text, "frame": frames[language], "whole": whole}
        for text, language in sentences
    ]
    return prompt_columns(tokenizer, items)
