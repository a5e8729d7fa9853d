"""Figures of a space that collapses, by hand."""

import math

import pytest
import torch

from midalign.alignment.losses import similarity
from midalign.analysis.collapse import effective_rank, mean_of_non_pairs


def test_states_that_differ_in_k_directions_alike_have_rank_k():
    for k in (1, 2, 5):
        axes = torch.eye(k, 7)
        assert effective_rank(torch.cat([axes, -axes])).item() == pytest.approx(k)


def test_a_direction_that_all_share_does_not_count_as_one():
    axes = torch.eye(2, 5)
    assert effective_rank(torch.cat([axes, -axes]) + 100).item() == pytest.approx(2, abs=1e-4)


def test_directions_weigh_as_much_as_states_differ_in_them():
    # singular values sqrt(2) times 3 and 1: shares 3/4 and 1/4
    states = torch.tensor([[3.0, 0], [-3, 0], [0, 1], [0, -1]])
    expected = (4 / 3) ** (3 / 4) * 4 ** (1 / 4)
    assert effective_rank(states).item() == pytest.approx(expected)
    assert effective_rank(1e-3 * states).item() == pytest.approx(expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_states_that_are_all_the_same_have_rank_0(dtype):
    state = torch.randn(1, 300, generator=torch.Generator().manual_seed(1)).to(dtype)
    assert effective_rank(state.repeat(9, 1)).item() == 0
    assert effective_rank(torch.zeros(4, 3)).item() == 0


def test_states_that_are_no_numbers_have_no_rank():
    assert math.isnan(effective_rank(torch.tensor([[1.0, math.nan], [0, 1]])).item())


def test_two_sentences_differ_in_one_direction():
    assert effective_rank(torch.tensor([[1.0, 2], [3, 7]])).item() == pytest.approx(1)


def test_orthogonal_sentences_have_a_mean_cosine_of_0_and_equal_ones_of_1():
    assert mean_of_non_pairs(similarity(torch.eye(4), torch.eye(4))).item() == 0
    same = torch.ones(4, 3)
    assert mean_of_non_pairs(similarity(same, same)).item() == pytest.approx(1)


def test_neither_pairs_nor_what_translates_too_are_among_the_non_pairs():
    scores = torch.tensor([[9.0, 1, 2], [3, 9, 8], [4, 8, 9]])
    assert mean_of_non_pairs(scores).item() == pytest.approx((1 + 2 + 3 + 8 + 4 + 8) / 6)
    exclude = scores == 8
    assert mean_of_non_pairs(scores, exclude).item() == pytest.approx((1 + 2 + 3 + 4) / 4)
    assert math.isnan(mean_of_non_pairs(scores, ~torch.eye(3, dtype=torch.bool)).item())
