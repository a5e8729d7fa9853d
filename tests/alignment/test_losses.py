"""Pooling and alignment losses on tensors small enough to work out by hand."""

import math

import pytest
import torch

from midalign.alignment.losses import (
    alignment_loss,
    bos_pool,
    cka_loss,
    last_pool,
    mean_pool,
    mse_loss,
    multiway_loss,
    retrieval_at_1,
    similarity,
    weighted_pool,
    without_first_token,
)
from midalign.alignment.negatives import false_negatives

RIGHT_PADDED = torch.tensor([[1, 1, 0]])
LEFT_PADDED = torch.tensor([[0, 1, 1]])
STATES = torch.tensor([[[2.0, 0.0], [4.0, 6.0], [8.0, 9.0]]])  # (1, 3, 2)


def test_mean_pool_averages_tokens_and_leaves_padding_out():
    assert mean_pool(STATES, RIGHT_PADDED).tolist() == [[3.0, 3.0]]


def test_pooling_bf16_states_gives_float32():
    assert mean_pool(STATES.bfloat16(), RIGHT_PADDED).dtype == torch.float32


def test_last_pool_takes_the_last_token_on_either_padding_side():
    assert last_pool(STATES, RIGHT_PADDED).tolist() == [[4.0, 6.0]]
    assert last_pool(STATES, LEFT_PADDED).tolist() == [[8.0, 9.0]]


def test_bos_pool_takes_the_first_token_on_either_padding_side():
    assert bos_pool(STATES, RIGHT_PADDED).tolist() == [[2.0, 0.0]]
    assert bos_pool(STATES, LEFT_PADDED).tolist() == [[4.0, 6.0]]


def test_weighted_pool_counts_the_second_token_twice():
    assert weighted_pool(STATES, RIGHT_PADDED)[0].tolist() == pytest.approx([(2 + 2 * 4) / 3, (0 + 2 * 6) / 3])


def test_without_first_token_keeps_a_sentence_of_one_token():
    mask = torch.tensor([[1, 1, 0], [0, 1, 1], [1, 0, 0]])
    assert without_first_token(mask).tolist() == [[0, 1, 0], [0, 0, 1], [1, 0, 0]]


def test_a_sentence_without_tokens_pools_to_nan():
    assert mean_pool(STATES, torch.tensor([[0, 0, 0]])).isnan().all()


def test_autocast_to_bf16_changes_neither_pooling_nor_loss():
    # One direction shared by all: the cosines differ in the third digit, which bf16 does not have.
    torch.manual_seed(0)
    states = 20 * torch.randn(1, 64) + torch.randn(32, 5, 64)
    mask = torch.ones(32, 5, dtype=torch.int64)

    def numbers():
        found = []
        for pool in (mean_pool, weighted_pool):
            source, target = pool(states, mask).chunk(2)
            scores = similarity(source, target)
            found += [source, scores, *(loss(source, target) for loss in (alignment_loss, cka_loss, mse_loss))]
        return found

    plain = numbers()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = numbers()
    assert all(number.dtype == torch.float32 for number in mixed)
    assert all(torch.equal(one, other) for one, other in zip(plain, mixed, strict=True))


def test_loss_is_log_batch_size_when_all_sentences_are_equal():
    z = torch.ones(8, 4)
    assert alignment_loss(z, z, temperature=0.1).item() == pytest.approx(math.log(8))


def test_loss_of_two_orthogonal_pairs_is_softmax_of_one_against_zero():
    z = torch.eye(2)
    assert alignment_loss(z, z, temperature=0.5).item() == pytest.approx(math.log(1 + math.exp(-2)))


def test_symmetric_loss_is_the_mean_of_both_directions():
    source, target = torch.tensor([[1.0, 0.0], [1.0, 1.0]]), torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    both = alignment_loss(source, target, symmetric=True)
    assert both == pytest.approx((alignment_loss(source, target) + alignment_loss(target, source)).item() / 2)


def test_centring_brings_out_a_difference_that_a_shared_direction_hides():
    shared = torch.tensor([100.0, 0.0])
    z = shared + torch.tensor([[0.0, 1.0], [0.0, -1.0]])
    assert alignment_loss(z, z).item() == pytest.approx(math.log(2), abs=2e-3)
    assert similarity(z, z, center=True).tolist() == [pytest.approx([1, -1]), pytest.approx([-1, 1])]


def test_identical_texts_are_not_each_others_negatives():
    exclude = false_negatives(torch.tensor([7, 7, 8, 9]), torch.tensor([1, 2, 3, 3]))
    assert exclude.nonzero().tolist() == [[0, 1], [1, 0], [2, 3], [3, 2]]


def test_excluded_candidates_do_not_count_in_the_loss():
    z = torch.eye(3)
    exclude = torch.zeros(3, 3, dtype=torch.bool)
    exclude[0, 2] = exclude[1, 2] = True
    expected = (2 * math.log(1 + math.exp(-1)) + math.log(1 + 2 * math.exp(-1))) / 3
    assert alignment_loss(z, z, temperature=1.0, exclude=exclude).item() == pytest.approx(expected)


def test_retrieval_counts_sentences_whose_translation_is_nearest():
    scores = torch.tensor([[0.9, 0.1], [0.8, 0.2]])
    assert retrieval_at_1(scores).item() == 0.5
    assert retrieval_at_1(scores, exclude=torch.tensor([[False, False], [True, False]])).item() == 1.0


def test_mse_is_the_mean_squared_difference():
    assert mse_loss(torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 2.0]])).item() == 2.0


def test_cka_is_zero_after_rotation_shift_and_scaling():
    z = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 2.0], [0.0, -2.0]])
    rotation = torch.tensor([[0.0, 1.0], [-1.0, 0.0]])
    for scale in (3.0, 1e-6, 1e6):
        assert cka_loss(z, scale * (z @ rotation + 5)).item() == pytest.approx(0, abs=1e-5)


def test_cka_of_four_pairs_by_hand():
    # u-centred Gram matrices, pairs 12 13 14 23 24 34:  left -2 4 -2 -2 4 -2 (/3), right 4 -2 -2 -2 -2 4 (/3), both
    # 2 (2 x 16 + 4 x 4) / 9 = 32/3 long;  cross -10 5 5 5 5 -10 (/6), 50/3 long.
    left, right = torch.tensor([[1.0], [-1.0], [1.0], [-1.0]]), torch.tensor([[1.0], [1.0], [-1.0], [-1.0]])
    cross = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 2.0], [0.0, -2.0]])
    assert cka_loss(left, right).item() == pytest.approx(1 + 1 / 2)  # inner product -16/3
    assert cka_loss(left, cross).item() == pytest.approx(1 - 1 / 2)  # 20/3, over the root of 32/3 x 50/3


def test_cka_is_one_minus_the_ratio_of_unbiased_hsics():
    def hsic(k, n):
        k, other = (gram - gram.diag().diag() for gram in k)
        one = torch.ones(n, dtype=torch.float64)
        both = (one @ k @ one) * (one @ other @ one) / ((n - 1) * (n - 2)) - 2 / (n - 2) * (one @ k @ other @ one)
        return ((k @ other).trace() + both) / (n * (n - 3))

    torch.manual_seed(0)
    source = torch.randn(7, 3, dtype=torch.float64)
    target = source @ torch.randn(3, 5, dtype=torch.float64) + torch.randn(7, 5, dtype=torch.float64)
    k, other = source @ source.T, target @ target.T
    expected = 1 - hsic((k, other), 7) / (hsic((k, k), 7) * hsic((other, other), 7)).sqrt()
    assert cka_loss(source + 100, target).item() == pytest.approx(expected.item(), abs=1e-4)


@pytest.mark.parametrize(("pairs", "width"), [(16, 576), (64, 32), (5, 100)])
def test_cka_of_unrelated_states_is_one_on_average_whatever_the_batch(pairs, width):
    torch.manual_seed(1)
    losses = [cka_loss(torch.randn(pairs, width), torch.randn(pairs, width)).item() for _ in range(200)]
    assert sum(losses) / 200 == pytest.approx(1, abs=0.05)


def test_cka_has_a_finite_gradient_also_where_all_states_are_the_same():
    for source in (torch.randn(4, 8), torch.ones(4, 8), torch.zeros(4, 8), 1e4 + torch.randn(4, 8)):
        source.requires_grad_()
        loss = cka_loss(source, torch.randn(4, 8))
        loss.backward()
        assert loss.isfinite() and source.grad.isfinite().all()


def test_cka_of_three_pairs_is_refused():
    with pytest.raises(ValueError, match="needs 4 pairs or more, found 3"):
        cka_loss(torch.randn(3, 8), torch.randn(3, 8))


def at_angles(*degrees):
    """Unit vectors in the plane."""
    angles = torch.tensor(degrees).deg2rad()
    return torch.stack([angles.cos(), angles.sin()], dim=1)


def test_multiway_loss_of_a_pair_is_that_of_the_roots_of_one_plus_and_minus_its_cosine():
    source, target, texts = at_angles(60.0), 5 * at_angles(0.0), (torch.tensor([1]), torch.tensor([0]))
    gap = math.sqrt(1 + 0.5) - math.sqrt(1 - 0.5)
    for temperature in (1.0, 0.1):
        loss = multiway_loss(source, target, *texts, temperature)
        assert loss.item() == pytest.approx(math.log(1 + math.exp(-gap / temperature)), rel=1e-5)


def test_multiway_loss_of_m_equal_translations_is_that_of_one_singular_value_alone():
    source, texts = 3 * torch.ones(4, 6), (torch.tensor([1, 2, 3, 4]), torch.zeros(4, dtype=torch.int64))
    loss = multiway_loss(source, torch.ones(4, 6), *texts, 0.5)  # with the sentence itself m is 5
    assert loss.item() == pytest.approx(math.log(1 + 4 * math.exp(-math.sqrt(5) / 0.5)), rel=1e-4)


def test_multiway_loss_is_the_mean_over_sentences_whatever_the_number_of_their_translations():
    torch.manual_seed(0)
    source, target = torch.randn(5, 8), torch.randn(5, 8)
    texts, sentences = torch.tensor([1, 2, 3, 4, 5]), torch.tensor([7, 8, 7, 9, 7])
    target = target[[0, 1, 0, 3, 0]]
    groups = (torch.tensor([0, 2, 4]), torch.tensor([1]), torch.tensor([3]))
    each = [multiway_loss(source[own], target[own], texts[own], sentences[own], 1.0) for own in groups]
    assert multiway_loss(source, target, texts, sentences, 1.0).item() == pytest.approx(sum(each).item() / 3, rel=1e-5)


def test_multiway_loss_equals_the_published_formula_in_value_and_gradient_where_states_are_on_one_side():
    torch.manual_seed(0)
    states = (torch.randn(5, 8) + 2).requires_grad_()
    texts, sentences = torch.tensor([1, 2, 3, 4]), torch.zeros(4, dtype=torch.int64)
    found = multiway_loss(states[:4], states[4:].expand(4, -1), texts, sentences, 0.3)
    s = torch.linalg.svdvals(torch.nn.functional.normalize(states, dim=1).T)
    expected = -(s / 0.3).log_softmax(dim=0)[0]
    assert found.item() == pytest.approx(expected.item(), rel=1e-4)
    one, other = (torch.autograd.grad(loss, states)[0] for loss in (found, expected))
    torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-3)


def test_opposite_states_are_of_rank_one_but_cost_more_than_orthogonal_ones_and_are_turned_back():
    texts = (torch.tensor([1]), torch.tensor([0]))
    found = [multiway_loss(at_angles(angle), at_angles(0.0), *texts).item() for angle in (10.0, 80.0, 100.0, 170.0)]
    assert found == sorted(found)
    opposite = at_angles(150.0).requires_grad_()
    multiway_loss(opposite, at_angles(0.0), *texts).backward()
    assert opposite.grad[0, 0] < 0  # downhill is towards the other


def test_a_text_counts_once_in_its_sentence_as_the_mean_of_its_copies():
    texts, once = (torch.tensor([1, 1, 2]), torch.tensor([0, 0, 0])), (torch.tensor([1, 2]), torch.tensor([0, 0]))
    copies = torch.tensor([[1.0, 0.2], [1.0, -0.2], [0.6, 0.8]])
    mean = torch.tensor([[1.0, 0.0], [0.6, 0.8]])
    sides = torch.tensor([[0.8, 0.6]])
    expected = multiway_loss(mean, sides.expand(2, -1), *once).item()
    assert multiway_loss(copies, sides.expand(3, -1), *texts).item() == pytest.approx(expected, rel=1e-5)


def test_multiway_loss_has_a_finite_gradient_where_states_are_the_same_or_nothing():
    for states in (torch.ones(3, 4), torch.zeros(3, 4), torch.eye(3, 4)):
        states.requires_grad_()
        loss = multiway_loss(states, states.detach(), torch.tensor([4, 5, 6]), torch.tensor([1, 1, 2]))
        loss.backward()
        assert loss.isfinite() and states.grad.isfinite().all()
