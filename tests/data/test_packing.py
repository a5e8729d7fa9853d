"""Batches without padding and without repetition."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from midalign.data.packing import block_mask, pack_sentences, pack_task, prefix_groups, unpack


def row(ids, answer):
    """A row whose last `answer` tokens are trained."""
    return {"input_ids": ids, "labels": [-100] * (len(ids) - answer) + ids[len(ids) - answer :]}


def lengths(rows):
    return [(prefix, len(members)) for prefix, members in prefix_groups(rows)]


def test_the_prefix_ends_where_rows_differ():
    assert lengths([row([1, 2, 3, 9, 9], 1), row([1, 2, 4, 9, 9], 1)]) == [(2, 2)]


def test_the_prefix_leaves_each_row_an_untrained_token_of_its_own():
    # Equal rows: the last prompt token predicts the answer, so it stays with the row.
    assert lengths([row([1, 2, 3, 7, 7], 2)] * 2) == [(2, 2)]


def test_two_instructions_form_two_groups_although_they_begin_alike():
    one, two = [1, 2, 3, 4, 5], [1, 6, 7, 8]
    rows = [row([*start, own, 9, 9], 1) for own in (10, 11, 12) for start in (one, two)]
    assert sorted(lengths(rows)) == [(4, 3), (5, 3)]


def test_rows_without_a_common_start_are_packed_one_after_the_other():
    packed = pack_task([row([1, 5, 6], 1), row([2, 5, 6], 1)])
    assert packed["input_ids"].tolist() == [[1, 5, 6, 2, 5, 6]]
    assert packed["position_ids"].tolist() == [[0, 1, 2, 0, 1, 2]]
    assert packed["saved"] == 0


def test_a_packed_batch_restarts_positions_and_shifts_labels_within_a_row():
    packed = pack_task([row([1, 2, 3, 8, 9], 2), row([1, 2, 4, 5, 7], 1)])
    assert packed.pop("saved") == pytest.approx(0.2)  # 8 of 10
    assert {key: value[0].tolist() for key, value in packed.items()} == {
        "input_ids": [1, 2, 3, 8, 9, 4, 5, 7],
        "position_ids": [0, 1, 2, 3, 4, 2, 3, 4],
        "segments": [0, 0, 1, 1, 1, 2, 2, 2],
        "prefixes": [0, 0, 0, 0, 0, 0, 0, 0],
        "copies": [2, 2, 1, 1, 1, 1, 1, 1],
        "labels": [-100, -100, -100, 8, 9, -100, -100, 7],
        "shift_labels": [-100, -100, 8, 9, -100, -100, 7, -100],
    }


def test_a_token_sees_its_row_and_the_prefix_of_its_row_only():
    segments = torch.tensor([[0, 1, 1, 2, 3, 4]])  # two prefixes, 0 and 3
    prefixes = torch.tensor([[0, 0, 0, 0, 3, 3]])
    visible = (block_mask(segments, prefixes, torch.float32) == 0)[0, 0].int().tolist()
    assert visible == [
        [1, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0],
        [1, 1, 1, 0, 0, 0],
        [1, 0, 0, 1, 0, 0],
        [0, 0, 0, 0, 1, 0],
        [0, 0, 0, 0, 1, 1],
    ]


IDS = st.lists(st.integers(1, 5), min_size=1, max_size=6)


@given(
    prefixes=st.lists(st.lists(st.integers(1, 5), max_size=6), min_size=1, max_size=3),
    rows=st.lists(st.tuples(st.integers(0, 2), IDS, IDS), min_size=1, max_size=8),
)
def test_every_row_and_every_label_can_be_read_back_from_a_packed_batch(prefixes, rows):
    rows = [row([*prefixes[which % len(prefixes)], *own, *answer], len(answer)) for which, own, answer in rows]
    packed = pack_task(rows)
    saved = packed.pop("saved")
    packed = {key: value[0] for key, value in packed.items()}
    total = sum(len(r["input_ids"]) for r in rows)
    assert saved == 1 - len(packed["input_ids"]) / total >= 0
    found = []
    for number in packed["segments"].unique():
        own = packed["segments"] == number
        prefix = packed["prefixes"][own][0]
        if prefix != number:
            shared = packed["segments"] == prefix
            ids = torch.cat([packed["input_ids"][shared], packed["input_ids"][own]])
            shifted = torch.cat([packed["shift_labels"][shared], packed["shift_labels"][own]])
            positions = torch.cat([packed["position_ids"][shared], packed["position_ids"][own]])
            assert positions.tolist() == list(range(len(ids)))
            found.append((ids.tolist(), shifted.tolist()))
    assert sorted(found) == sorted((r["input_ids"], [*r["labels"][1:], -100]) for r in rows)


@given(st.lists(IDS, min_size=1, max_size=12))
def test_sentences_laid_end_to_end_can_be_read_back(sentences):
    packed = pack_sentences(sentences)
    states = packed["input_ids"][..., None]  # as if a state were its token
    back = unpack(states, packed["places"])[..., 0]
    for ids, mask, sentence in zip(back, packed["attention_mask"].bool(), sentences, strict=True):
        assert ids[mask].tolist() == sentence
    for number, sentence in enumerate(sentences):
        own = packed["segments"] == number
        assert packed["position_ids"][own].tolist() == list(range(len(sentence)))
        assert own.any(dim=1).sum() == 1  # in one sequence


def test_short_sentences_fill_the_room_beside_long_ones():
    assert pack_sentences([[1] * 4, [2], [3] * 3, [4] * 2, [5] * 2])["input_ids"].tolist() == [
        [1, 1, 1, 1],
        [3, 3, 3, 2],
        [4, 4, 5, 5],
    ]
