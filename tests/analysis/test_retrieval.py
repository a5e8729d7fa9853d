"""Retrieval by cosine, by margin and MEXA, against plain loops in numpy and by hand."""

import math

import numpy as np
import pytest
import torch

from midalign.alignment.losses import similarity
from midalign.analysis.collapse import mean_of_non_pairs
from midalign.analysis.retrieval import mexa, nearest, nearest_by_margin


def sides(n, width=6, noise=0.8):
    generator = torch.Generator().manual_seed(n)
    source = torch.randn(n, width, generator=generator)
    return source, source + noise * torch.randn(n, width, generator=generator)


def plain_margin(scores, k):
    """Of LASER: the k nearest of each side, their margins, the best of them."""
    k, found = min(k, len(scores)), []
    ahead, back = np.sort(scores, axis=1)[:, -k:].mean(axis=1), np.sort(scores, axis=0)[-k:].mean(axis=0)
    for i, row in enumerate(scores):
        margins = {j: row[j] / ((ahead[i] + back[j]) / 2) for j in np.argsort(-row)[:k]}
        found.append(max(margins, key=margins.get) == i)
    return found


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 30])
def test_every_figure_is_that_of_a_plain_loop(n):
    source, target = sides(n)
    scores = similarity(source, target)
    plain = np.array([[s @ t / np.linalg.norm(s) / np.linalg.norm(t) for t in target.numpy()] for s in source.numpy()])
    np.testing.assert_allclose(scores.numpy(), plain, atol=1e-6)
    assert nearest(scores).tolist() == [plain[i].argmax() == i for i in range(n)]
    assert nearest(scores.T).tolist() == [plain[:, i].argmax() == i for i in range(n)]
    there, back = nearest_by_margin(scores)
    assert there.tolist() == plain_margin(plain, 4) and back.tolist() == plain_margin(plain.T, 4)
    alone = [all(plain[i, i] > plain[i, j] and plain[i, i] > plain[j, i] for j in range(n) if j != i) for i in range(n)]
    assert mexa(scores).tolist() == alone
    others = mean_of_non_pairs(scores).item()
    assert math.isnan(others) if n == 1 else others == pytest.approx(plain[~np.eye(n, dtype=bool)].mean(), abs=1e-6)


def test_figures_differ_on_the_data_of_the_comparison():
    scores = similarity(*sides(30))
    there, back = nearest_by_margin(scores)
    kinds = [nearest(scores), nearest(scores.T), there, back, mexa(scores)]
    assert len({tuple(kind.tolist()) for kind in kinds}) == 5  # or the loops above would compare nothing


def test_a_hub_that_is_near_to_all_loses_by_margin_only():
    # Target 2 is nearest to every source by cosine; divided by how near it is to all, it is nobody's but its own.
    scores = torch.tensor([[0.80, 0.10, 0.82], [0.10, 0.80, 0.82], [0.10, 0.10, 0.90]])
    assert nearest(scores).tolist() == [False, False, True]
    assert nearest_by_margin(scores, neighbours=2)[0].tolist() == [True, True, True]


def test_equal_sentences_find_one_translation_in_n_and_none_for_mexa():
    scores = torch.ones(5, 5)
    for found in (nearest(scores), nearest(scores.T), *nearest_by_margin(scores)):
        assert found.sum() == 1
    assert not mexa(scores).any()


def test_two_identical_sentences_take_no_more_than_one_right_answer_from_each_other():
    source = torch.eye(4)
    source[1] = source[0]
    scores = similarity(source, source)
    assert nearest(scores).tolist() == [True, False, True, True]
    assert mexa(scores).tolist() == [False, False, True, True]


def test_two_pairs():
    scores = torch.tensor([[0.9, 0.1], [0.95, 0.5]])
    assert nearest(scores).tolist() == [True, False] and nearest(scores.T).tolist() == [False, True]
    assert mexa(scores).tolist() == [False, False]


def test_swapping_the_sides_swaps_there_and_back():
    scores = similarity(*sides(30))
    there, back = nearest_by_margin(scores)
    turned = nearest_by_margin(scores.T)
    assert torch.equal(there, turned[1]) and torch.equal(back, turned[0])


def test_a_tie_in_the_column_alone_counts_for_nothing_in_mexa():
    scores = torch.tensor([[0.5, 0.1], [0.5, 0.9]])
    assert mexa(scores).tolist() == [False, True] and mexa(scores.T).tolist() == [False, True]
