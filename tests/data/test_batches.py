"""Tensors of a pair half."""

import pytest
import torch

from midalign.data.batches import collate_halves, collate_pairs, collate_task
from midalign.data.schedule import MicroBatch

PAIRS = [
    {"source": [1, 2, 3], "target": [4], "source_text": 0, "target_text": 1, "language": "de"},
    {"source": [5], "target": [6, 7], "source_text": 2, "target_text": 1, "language": "tr"},
]


def test_sources_stand_above_targets_padded_on_the_right():
    batch = collate_pairs(PAIRS, pad_token_id=0)
    (chunk,) = batch["chunks"]
    assert chunk["input_ids"].tolist() == [[1, 2, 3], [5, 0, 0], [4, 0, 0], [6, 7, 0]]
    assert chunk["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0], [1, 0, 0], [1, 1, 0]]
    assert batch["target_text"].tolist() == [1, 1]
    assert batch["padding"] == pytest.approx(5 / 12)


def test_packed_sentences_leave_less_padding():
    batch = collate_pairs(PAIRS, pad_token_id=0, packed=True)
    assert batch["chunks"][0]["input_ids"].tolist() == [[1, 2, 3], [6, 7, 5], [4, 0, 0]]
    assert batch["padding"] == pytest.approx(2 / 9)


def test_a_chunk_holds_both_sides_of_its_pairs():
    chunks = collate_pairs(PAIRS, pad_token_id=0, chunk=1)["chunks"]
    assert [chunk["input_ids"].tolist() for chunk in chunks] == [[[1, 2, 3], [4, 0, 0]], [[5, 0], [6, 7]]]


def task_row(ids):
    return {"input_ids": ids, "labels": [-100] * (len(ids) - 1) + ids[-1:]}


def test_task_rows_are_packed_where_that_computes_less():
    padded = {}
    alike = [task_row([7] * 50 + [i, 1]) for i in range(4)]
    assert "segments" in collate_task(alike, lambda rows: padded, hidden_size=64)
    long = [task_row([i] * 500) for i in range(4)]  # nothing in common: 2,000^2 pairs of tokens against 4 x 500^2
    assert collate_task(long, lambda rows: padded, hidden_size=64) is padded


def test_a_task_half_over_the_token_limit_comes_in_parts_of_similar_length():
    rows = [task_row([1] * length) for length in (9, 2, 8, 3)]

    def pad(rows):
        width = max(len(row["input_ids"]) for row in rows)
        return {"input_ids": torch.zeros(len(rows), width)}

    batch = collate_halves((rows, []), pad, None, task_tokens=18)
    assert [tuple(part["input_ids"].shape) for part in (*batch["parts"], batch)] == [(2, 3), (2, 9)]
    assert "parts" not in collate_halves((rows, []), pad, None, task_tokens=36)


def test_a_micro_batch_has_only_the_halves_it_was_given():
    assert MicroBatch([], [0]).task == []
    assert "pairs" not in collate_halves(([{"x": 1}], []), lambda rows: {"input_ids": rows}, None)
    assert set(collate_halves(([], PAIRS), None, lambda pairs: pairs)) == {"pairs"}
