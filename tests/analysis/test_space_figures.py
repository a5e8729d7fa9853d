"""CKA, effective rank and the share of variance that is language, against numpy and by hand."""

import math

import numpy as np
import pytest
import torch

from midalign.alignment.losses import u_centred_gram
from midalign.analysis.collapse import effective_rank
from midalign.analysis.figures import cka, language_share


def states(*size, seed=0):
    return torch.randn(*size, generator=torch.Generator().manual_seed(seed))


def test_cka_is_the_unbiased_formula_of_hsic():
    def hsic(k, m):
        n, one = len(k), np.ones(len(k))
        first = np.trace(k @ m) + (one @ k @ one) * (one @ m @ one) / ((n - 1) * (n - 2))
        return (first - 2 / (n - 2) * one @ k @ m @ one) / (n * (n - 3))

    source, target = states(7, 3), states(7, 5, seed=1)
    k, m = (own.double().numpy() @ own.double().numpy().T for own in (source, target))
    for gram in (k, m):
        np.fill_diagonal(gram, 0)
    expected = hsic(k, m) / math.sqrt(hsic(k, k) * hsic(m, m))
    assert cka(u_centred_gram(source), u_centred_gram(target)) == pytest.approx(expected, abs=1e-5)


def test_cka_is_1_for_a_turned_copy_and_about_0_for_strangers():
    source = states(200, 16)
    turned = 3 * source @ torch.linalg.qr(states(16, 16, seed=2)).Q + 5
    assert cka(u_centred_gram(source), u_centred_gram(turned)) == pytest.approx(1, abs=1e-5)
    assert abs(cka(u_centred_gram(source), u_centred_gram(states(200, 16, seed=3)))) < 0.05


def test_effective_rank_is_the_exponential_of_the_entropy_of_singular_values():
    own = states(9, 4)
    values = np.linalg.svd(own.numpy() - own.numpy().mean(axis=0), compute_uv=False)
    shares = values / values.sum()
    assert effective_rank(own) == pytest.approx(math.exp(-(shares * np.log(shares)).sum()), rel=1e-5)


@pytest.mark.parametrize("own", [torch.full((5, 3), 0.1), torch.zeros(3, 2), torch.ones(1, 4)])
def test_equal_states_have_no_share_of_language(own):
    assert language_share([own, own]) == 0


def test_language_share_by_hand():
    # Along the first axis the languages differ (means -3 and 3), along the second only their sentences do.
    first, second = torch.tensor([[-3.0, 1], [-3, -1]]), torch.tensor([[3.0, 1], [3, -1]])
    assert language_share([first, second]) == pytest.approx(9 / 10)
    assert language_share([first, first]) == 0
    assert language_share([first[:1], second[:1]]) == pytest.approx(1)


def test_language_share_is_the_projection_on_the_singular_vectors_of_the_means():
    own = [states(6, 5, seed=seed) + seed * states(5, seed=9) + states(5, seed=20 + seed) for seed in range(4)]
    arrays = [one.double().numpy() for one in own]
    means = np.array([one.mean(axis=0) for one in arrays])
    centred = means - means.mean(axis=0)
    for rank in (1, 2, 3):
        directions = np.linalg.svd(centred.T, full_matrices=False)[0][:, :rank]
        everything = np.concatenate(arrays) - means.mean(axis=0)
        expected = ((everything @ directions) ** 2).sum() / (everything**2).sum()
        assert language_share(own, rank) == pytest.approx(expected)
    assert language_share(own) == language_share(own, 3)


def test_a_language_with_many_sentences_weighs_as_much_as_one_with_few():
    few, many = torch.tensor([[-1.0, 0]]), torch.tensor([[1.0, 2], [1, -2]])
    assert language_share([few, many]) == pytest.approx(language_share([few, many.repeat(50, 1)]))
