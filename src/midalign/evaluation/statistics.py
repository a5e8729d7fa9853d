"""How sure a figure and a difference are, for every figure that is a function of summed counts.

Micro-F1, accuracy, BLEU and chrF are of this kind: each row has a vector of counts, a corpus has their sum, and a
`statistic` turns sums into the figure. A *unit* is what is drawn or swapped as a whole: a row, or an utterance with its
rows in several languages, which are right and wrong together.

`interval`, `paired_interval` and `paired_test` are over utterances: what another training run, with another seed, would
have scored is not in them. `over_seeds` is over both.

Legend: U units, S the shape of a unit's counts, such as (3,) or (languages, 3), R draws, N runs.
statistic: (..., *S) -> (...), float.
"""

import math
from functools import reduce

import numpy as np
from scipy.optimize import brentq
from scipy.special import ndtri, stdtrit

FEWEST = 30  # rows below which resampling sees too few different samples for an interval
EXACT = 4096  # ways to swap up to which all of them are counted
DRAWS = 9_999  # the smallest p-value is 1 / 10,000: with 52 languages still below 0.01 after the correction
ROUNDING = 1e-9  # figures that differ by less are equal


def interval(units, statistic, resamples=1000, level=0.95, seed=0):
    """Percentile bootstrap interval (low, high) of the statistic, or None where resampling has nothing to say.

    units: (U, *S).   None comes back for fewer than `FEWEST` units, and where the interval would be one point: of rows
    that are all right, every resample is all right, and the rows that were never asked would not be.
    """
    if len(units) < FEWEST:
        return None
    low, high = np.quantile(statistic(_resampled(units, resamples, seed)), [(1 - level) / 2, (1 + level) / 2])
    return (float(low), float(high)) if low < high else None


def _resampled(units, resamples, seed):
    """The summed counts of samples of as many units, drawn with replacement: (R, *S)."""
    # Units with equal counts are interchangeable: how often each *kind* comes up has the same distribution.
    kinds, times = np.unique(np.asarray(units), axis=0, return_counts=True)
    draws = np.random.default_rng(seed).multinomial(len(units), times / len(units), size=resamples)  # (R, kinds)
    return np.tensordot(draws, kinds, axes=1)


def no_interval(rows):
    """Why `interval` gave none for so many rows."""
    return f"no interval: under {FEWEST} rows" if rows < FEWEST else "no interval: one value in every resample"


def paired_interval(a, b, statistic):
    """`interval` of the statistic of `a` less that of `b`, both of the same drawn units.   a, b: (U, *S)."""
    return interval(np.stack([a, b], axis=1), lambda sums: _difference(sums[:, 0], sums[:, 1], statistic))


def paired_test(a, b, statistic, draws=DRAWS, seed=0):
    """Permutation test of "it makes no difference which of two systems gave an answer": (two-sided p, method).

    a, b: (U, *S), the counts of the same units under the two systems. The two answers to a unit are swapped or not, and
    p is the share of swaps after which the statistics differ at least as far as they do. All swaps are counted where
    there are at most `EXACT` different ones, method "exact"; else `draws` random ones and the observed one, so that p
    is never 0, method "9,999 draws".
    """
    a, b = np.asarray(a, float), np.asarray(b, float)
    observed = abs(_difference(a.sum(axis=0), b.sum(axis=0), statistic))
    moves = (b - a).reshape(len(a), -1)
    moves = moves[moves.any(axis=1)]
    down = np.take_along_axis(moves, (moves != 0).argmax(axis=1)[:, None], axis=1) < 0  # (changed, 1)
    # A unit and its swap are one kind: start with all of a kind on one side.
    kinds, times = np.unique(np.where(down, -moves, moves), axis=0, return_counts=True)
    start = moves[down[:, 0]].sum(axis=0)
    shape, outcomes = a.shape[1:], math.prod((times + 1).tolist())

    def as_far(swaps):
        """(R,) bool.   swaps: (R, kinds), how many units of each kind are swapped."""
        moved = (start + swaps @ kinds).reshape(-1, *shape)
        # Figures that are equal but for rounding are as far.
        return abs(_difference(a.sum(axis=0) + moved, b.sum(axis=0) - moved, statistic)) >= observed - ROUNDING

    if outcomes <= EXACT:
        chances = [np.array([math.comb(m, i) / 2**m for i in range(m + 1)]) for m in times.tolist()]
        swaps = np.indices(times + 1).reshape(len(times), outcomes).T
        return float(reduce(np.multiply.outer, chances, np.ones(())).ravel()[as_far(swaps)].sum()), "exact"
    rng, hits, left = np.random.default_rng(seed), 0, draws
    while left:
        some = min(left, 1000)  # bounds the memory: 1,000 draws of 3,000 kinds are 24 MB
        hits += int(as_far(rng.binomial(times, 0.5, size=(some, len(times)))).sum())
        left -= some
    return (1 + hits) / (1 + draws), f"{draws:,} draws"


def over_seeds(units, samples, statistic, resamples=1000, level=0.95, seed=0):
    """Interval and p-value of a mean over training runs, in which other seeds and other utterances are.

    units: (U, N, *S), the counts of the same units in all runs.   samples: arrays (n, N) of weights, a line for each
    seed of a sample: `eye(n)` is the mean of n runs; lines that take one run from another of the same seed are their
    paired difference; two samples, the second negative, are the difference of two arms that share no seed. The value is
    the sum of the samples' means. A sample of one run is taken as it is: nothing tells how its seed moves it.
    Returns (interval, p of "it is 0", degrees of freedom); all None for fewer than `FEWEST` units, and where nothing
    varies.

    The variance between seeds, v = s^2 / n (with two samples their sum, and Welch's degrees of freedom), is known from
    a handful of runs and gets Student's t; that between utterances, w, of the mean over these very runs, is that of
    bootstrap samples and gets z. The interval is value +- sqrt(t^2 v + z^2 w), which is exact where there is only one
    of the two (Howe, J. Am. Stat. Assoc. 69, 1974; "MOVER" with Zou and Donner), and p the level at which it begins to
    hold 0. What a seed does to single utterances is in v and in w: a bit too wide where seeds do little. Resampling
    seeds with the utterances is too narrow: of three runs a bootstrap sees two thirds of the variance. Simulated in
    recipes/seeds.md.
    """
    if len(units) < FEWEST:
        return None, None, None
    weights = sum(sample.mean(axis=0) for sample in samples)  # (N,)
    figures = statistic(np.asarray(units).sum(axis=0))  # (N,)
    value = float(figures @ weights)
    each = [((sample @ figures).var(ddof=1) / len(sample), len(sample) - 1) for sample in samples if len(sample) > 1]
    v, w = sum(own for own, _ in each), (statistic(_resampled(units, resamples, seed)) @ weights).var(ddof=1)
    if v + w < ROUNDING**2:
        return None, None, None
    freedom = v**2 / sum(own**2 / free for own, free in each) if v else 1  # Welch

    def half(outside):
        """Half of the interval that leaves out this share of cases."""
        return math.sqrt(stdtrit(freedom, outside / 2) ** 2 * v + ndtri(outside / 2) ** 2 * w)

    ends = value - half(1 - level), value + half(1 - level)
    least = 1e-12  # brentq wants a change of sign
    p = brentq(lambda p: half(p) - abs(value), least, 1) if half(least) > abs(value) else least
    return ends, p, freedom


def holm(p_values):
    """p-values corrected by Holm: the chance of *any* false finding stays below the level. In the order given."""
    p = np.asarray(p_values, float)
    order = np.argsort(p)
    corrected = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    return np.minimum(corrected, 1)[np.argsort(order)].tolist()


def benjamini_hochberg(p_values):
    """p-values corrected by Benjamini and Hochberg: of what is below the level, that *share* is false at most."""
    p = np.asarray(p_values, float)
    order = np.argsort(p)
    corrected = np.minimum.accumulate((p[order] * len(p) / np.arange(1, len(p) + 1))[::-1])[::-1]
    return np.minimum(corrected, 1)[np.argsort(order)].tolist()


def _difference(a, b, statistic):
    return statistic(a) - statistic(b)
