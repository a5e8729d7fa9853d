"""Intervals and tests of figures that are functions of summed counts, beside scipy's and by hand."""

import numpy as np
import pytest
from scipy import stats

from midalign.evaluation.statistics import (
    benjamini_hochberg,
    holm,
    interval,
    no_interval,
    paired_interval,
    paired_test,
)
from midalign.tasks.slots.scoring import micro_f1


def accuracy(sums):
    """sums: (..., 2), right and asked."""
    return sums[..., 0] / sums[..., 1]


def right(*rows):
    return [(row, 1) for row in rows]


def mean_f1(sums):
    """sums: (..., L, 3)."""
    return micro_f1(sums).mean(axis=-1)


@pytest.mark.parametrize(
    ("a", "b", "p"),
    [
        ([1], [0], 1),  # swapping the only row leaves the difference as large
        ([1] * 20, [0] * 4 + [1] * 16, 2 / 2**4),
        ([1] * 20, [1] * 15 + [0] * 5, 2 / 2**5),
        ([0, 1, 1, 1, 1, 1], [1, 0, 0, 0, 0, 0], 2 * (1 + 6) / 2**6),  # five one way, one the other
        ([1, 0], [0, 1], 1),
        ([1] * 40, [1] * 40, 1),
    ],
)
def test_the_p_value_of_right_and_wrong_is_that_of_the_sign_test(a, b, p):
    assert paired_test(right(*a), right(*b), accuracy) == (pytest.approx(p, rel=1e-12), "exact")
    assert paired_test(right(*b), right(*a), accuracy)[0] == pytest.approx(p, rel=1e-12)


@pytest.mark.parametrize(("better", "worse"), [(30, 12), (300, 250), (1, 999)])
def test_many_rows_of_one_kind_are_still_counted_exactly(better, worse):
    a, b = [1] * better + [0] * worse + [1] * 50, [0] * better + [1] * worse + [1] * 50
    p, method = paired_test(right(*a), right(*b), accuracy)
    assert method == "exact"
    assert p == pytest.approx(stats.binomtest(better, better + worse).pvalue, rel=1e-9)


def random_counts(units, seed, *shape):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 4, (units, *shape, 3)), rng.integers(0, 4, (units, *shape, 3))


def of_scipy(a, b, statistic, **options):
    """The two-sided p-value of `scipy.stats.permutation_test`, which swaps the numbers of units."""
    a, b = np.asarray(a), np.asarray(b)

    def far(x, y, axis):
        x, y = np.moveaxis(np.asarray(x, int), axis, -1), np.moveaxis(np.asarray(y, int), axis, -1)  # (..., U)
        both = np.concatenate([a, b])
        return np.abs(statistic(both[x].sum(axis=x.ndim - 1)) - statistic(both[y].sum(axis=x.ndim - 1)))

    numbers = np.arange(len(a)), np.arange(len(a)) + len(a)
    done = stats.permutation_test(
        numbers, far, permutation_type="samples", alternative="greater", vectorized=True, **options
    )
    return done.pvalue


@pytest.mark.parametrize("seed", range(4))
def test_the_exact_p_value_is_scipys(seed):
    a, b = random_counts(9, seed)
    p, method = paired_test(a, b, micro_f1)
    assert method == "exact"
    assert p == pytest.approx(of_scipy(a, b, micro_f1, n_resamples=np.inf), abs=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_the_exact_p_value_of_a_mean_over_languages_is_scipys(seed):
    a, b = random_counts(8, seed, 3)
    p, method = paired_test(a, b, mean_f1)
    assert method == "exact"
    assert p == pytest.approx(of_scipy(a, b, mean_f1, n_resamples=np.inf), abs=1e-12)


def test_random_swaps_come_close_to_the_exact_p_value(monkeypatch):
    a, b = random_counts(10, 5)
    exact, _ = paired_test(a, b, micro_f1)
    monkeypatch.setattr("midalign.evaluation.statistics.EXACT", 1)
    drawn, method = paired_test(a, b, micro_f1)
    assert method == "9,999 draws"
    assert abs(drawn - exact) < 4 * np.sqrt(exact * (1 - exact) / 9_999)


def test_a_drawn_p_value_is_never_zero():
    a, b = np.arange(1, 101)[:, None] * [1, 1], np.arange(1, 101)[:, None] * [0, 1]
    assert paired_test(a, b, accuracy, draws=199) == (1 / 200, "199 draws")


def test_figures_that_differ_by_rounding_only_count_as_equal():
    def rounded(sums):
        return sums[..., 0] / sums[..., 1] + 1e-13 * sums[..., 2]

    a, b = [(1, 1, 0), (1, 1, 7)], [(0, 1, 0), (1, 1, 0)]  # the second row differs in the noise alone
    assert paired_test(a, b, rounded)[0] == 1


@pytest.mark.parametrize(("units", "languages"), [(10, 1), (40, 1), (40, 5)])
def test_a_true_null_is_rejected_in_five_percent(units, languages):
    """Both systems answer alike on average; what is hard is hard in all languages of an utterance."""
    rng, tries = np.random.default_rng(7), 400
    p = []
    for _ in range(tries):
        hardness = rng.normal(size=(2, units, 1)) + rng.normal(size=(2, units, languages)) / 3
        hits = (4 / (1 + np.exp(hardness))).round()  # (2, units, languages)
        counts = np.stack([hits, rng.integers(0, 2, hits.shape), 4 - hits], axis=-1)
        p.append(paired_test(*counts, mean_f1, draws=199)[0])
    rejected = np.mean(np.array(p) <= 0.05)
    assert abs(rejected - 0.05) < 3 * np.sqrt(0.05 * 0.95 / tries)  # 0.033


def test_corrections_are_those_worked_out_by_hand():
    p = [0.01, 0.04, 0.03, 0.005]
    assert holm(p) == pytest.approx([0.03, 0.06, 0.06, 0.02])  # 4 x .005, 3 x .01, 2 x .03, at least that
    assert benjamini_hochberg(p) == pytest.approx([0.02, 0.04, 0.04, 0.02])
    assert holm([0.6, 0.7]) == [1, 1] and holm([0.2]) == [0.2] and holm([]) == benjamini_hochberg([]) == []


def test_the_false_discovery_correction_is_scipys():
    p = np.random.default_rng(0).random(52) ** 2
    assert benjamini_hochberg(p) == pytest.approx(stats.false_discovery_control(p).tolist())


def test_holm_is_never_below_the_false_discovery_correction_nor_above_bonferroni():
    p = np.random.default_rng(1).random(20) ** 3
    assert (np.array(holm(p)) >= benjamini_hochberg(p)).all()
    assert (np.array(holm(p)) <= np.minimum(20 * p, 1)).all()


def test_the_interval_of_a_share_is_the_normal_one():
    # Half of 400 rows hit: F1 is a share with standard error sqrt(0.25 / 400) = 0.025; 1.96 of it is 0.049.
    low, high = interval([(1, 0, 0), (0, 1, 1)] * 200, micro_f1)
    assert (low, high) == (pytest.approx(0.451, abs=0.006), pytest.approx(0.549, abs=0.006))


def test_no_interval_is_one_point():
    assert interval(right(1), accuracy) is None
    assert interval(right(*[0, 1] * 14, 1), accuracy) is None  # 29 rows
    assert interval(right(*[0, 1] * 15), accuracy) is not None  # 30
    assert interval(right(*[1] * 50), accuracy) is None
    assert interval(right(*[0] * 50), accuracy) is None
    low, high = interval(right(*[1] * 49, 0), accuracy)
    assert low < 0.98 < high
    assert no_interval(29) == "no interval: under 30 rows"
    assert no_interval(50) == "no interval: one value in every resample"


def test_intervals_repeat_with_their_seed():
    counts = [(1, 0, 0), (0, 1, 1), (2, 0, 1)] * 20
    assert interval(counts, micro_f1, seed=3) == interval(counts, micro_f1, seed=3)
    assert interval(counts, micro_f1, seed=3) != interval(counts, micro_f1, seed=4)


def test_the_interval_of_a_gain_knows_that_both_answered_the_same_rows():
    a, b = right(*[1, 0] * 100), right(*[1, 0] * 98, *[0, 0] * 2)  # two rows differ, a hundred are hard for both
    low, high = paired_interval(a, b, accuracy)
    assert 0 <= low < 0.01 < high < 0.03
    assert paired_interval(a, a, accuracy) is None
