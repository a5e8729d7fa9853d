"""Batches without padding and without repetition."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from midalign.data import packing
from midalign.data.packing import cost, pack_behind_prefix, pack_sentences, pack_task, prefix_groups, unpack


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
    assert packed.pop("labelled").tolist() == [2, 3, 6]
    assert {key: value[0].tolist() for key, value in packed.items()} == {
        "input_ids": [1, 2, 3, 8, 9, 4, 5, 7],
        "position_ids": [0, 1, 2, 3, 4, 2, 3, 4],
        "segments": [0, 0, 1, 1, 1, 2, 2, 2],
        "prefixes": [0, 0, 0, 0, 0, 0, 0, 0],
        "copies": [2, 2, 1, 1, 1, 1, 1, 1],
        "labels": [-100, -100, -100, 8, 9, -100, -100, 7],
        "shift_labels": [-100, -100, 8, 9, -100, -100, 7, -100],
    }


IDS = st.lists(st.integers(1, 5), min_size=1, max_size=6)


@given(
    prefixes=st.lists(st.lists(st.integers(1, 5), max_size=6), min_size=1, max_size=3),
    rows=st.lists(st.tuples(st.integers(0, 2), IDS, IDS), min_size=1, max_size=8),
    hidden_size=st.sampled_from([None, 1]),
)
def test_every_row_and_every_label_can_be_read_back_from_a_packed_batch(prefixes, rows, hidden_size):
    rows = [row([*prefixes[which % len(prefixes)], *own, *answer], len(answer)) for which, own, answer in rows]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packing, "LEAST", 20)
        batch = pack_task(rows, hidden_size)
    saved = batch.pop("saved")
    total = sum(len(r["input_ids"]) for r in rows)
    assert saved == 1 - batch["input_ids"].numel() / total
    found, copies = [], 0
    for number in range(len(batch["input_ids"])):
        packed = {key: value[number] for key, value in batch.items()}
        copies += packed["copies"].sum()
        for piece in packed["segments"].unique():
            own = packed["segments"] == piece
            prefix = packed["prefixes"][own][0]
            if prefix != piece:
                shared = packed["segments"] == prefix
                ids = torch.cat([packed["input_ids"][shared], packed["input_ids"][own]])
                shifted = torch.cat([packed["shift_labels"][shared], packed["shift_labels"][own]])
                positions = torch.cat([packed["position_ids"][shared], packed["position_ids"][own]])
                assert positions.tolist() == list(range(len(ids)))
                found.append((ids.tolist(), shifted.tolist()))
    assert sorted(found) == sorted((r["input_ids"], [*r["labels"][1:], -100]) for r in rows)
    assert copies == total
    trained = sum(label != -100 for r in rows for label in r["labels"][1:])
    assert (batch["shift_labels"] != -100).sum() == trained  # what fills a sequence up has nothing to learn


def of_length(*lengths, start=()):
    """Rows of so many tokens, which begin alike."""
    return [row([*start, *range(1000 * i, 1000 * i + length - len(start))], 1) for i, length in enumerate(lengths, 1)]


def test_long_rows_with_little_in_common_lie_in_several_short_sequences():
    rows = of_length(900, 800, 700, 300, 200, 100)
    assert pack_task(rows)["input_ids"].shape == (1, 3000)
    assert pack_task(rows, 576)["input_ids"].shape == (3, 1000)  # 900 + 100, 800 + 200, 700 + 300
    assert cost(3, 1000, 576) < cost(1, 3000, 576) / 1.4
    assert pack_task(of_length(300, 300, 300), 576)["input_ids"].shape == (1, 900)  # short enough


def test_a_long_shared_prefix_is_not_repeated_where_that_costs_more():
    rows = of_length(*[1020] * 30, start=range(1000))
    assert pack_task(rows, 576)["input_ids"].shape == (1, 1600)


def test_a_prefix_is_in_each_sequence_that_has_rows_of_its_group():
    rows = of_length(*[900] * 4, start=range(50))
    packed = pack_task(rows, 576)
    assert packed["input_ids"].shape == (4, 900)
    assert packed["copies"].unique().tolist() == [1]
    assert packed["segments"].unique().tolist() == [0, 1]
    two = pack_task(of_length(500, 500, 500, 500, start=range(50)), 576)
    assert two["input_ids"].shape == (2, 950)
    assert two["copies"][:, :50].tolist() == [[2] * 50] * 2


def test_a_prefix_counts_where_a_group_begins_in_a_sequence():
    rows = [row([1, 2, 3, 4, 5, 6, 7], 1), row([2, 2, 2, 4, 5, 6], 1), row([2, 2, 2, 7, 8], 1)]
    # Beside seven tokens there is room for the three of the second row's own, not for its prefix too.
    assert [packing._length(own) for own in packing._cut(prefix_groups(rows), 10)] == [7, 8]


def test_sentences_behind_a_prompt_are_read_back_from_several_sequences(monkeypatch):
    monkeypatch.setattr(packing, "LEAST", 8)
    sentences = [[7, 7, 7, 1, 2, 3, 4], [7, 7, 7, 3], [7, 7, 7, 4, 5, 6, 7], [7, 7, 7, 6, 8, 9, 10]]
    packed = pack_behind_prefix(sentences, [3, 3, 2, 3], hidden_size=1)
    assert packed["input_ids"].tolist() == [
        [7, 7, 7, 1, 2, 3, 4, 3],
        [7, 7, 7, 4, 5, 6, 7, 0],
        [7, 7, 7, 6, 8, 9, 10, 0],
    ]
    back = unpack(packed["input_ids"][..., None], packed["places"])[..., 0]
    found = [ids[mask].tolist() for ids, mask in zip(back, packed["pooled"].bool(), strict=True)]
    assert found == [[1, 2, 3, 4], [3], [7, 4, 5, 6, 7], [6, 8, 9, 10]]


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
