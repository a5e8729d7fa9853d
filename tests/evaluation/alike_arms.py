"""How often two arms that are alike are found to differ.

`python tests/evaluation/alike_arms.py 500` prints the table of recipes/seeds.md.

Right or wrong answers to utterances that are more or less hard: a training run moves its ability (`between`, in
logits), an arm has utterances that suit it, and each answer has luck of its own.
"""

import sys

import numpy as np

from midalign.evaluation import statistics
from midalign.tasks.base import accuracy


def two_arms(rng, runs, rows, between):
    """Counts of two arms that are equal on average: (rows, 2 * runs, 2), one arm's runs first."""
    hard = rng.normal(0.5, 2, (rows, 1, 1))
    ability = rng.normal(0, between, (1, 2, runs)) / np.sqrt(2)
    right = ability + rng.normal(0, 0.5, (rows, 2, 1)) + rng.normal(0, 0.7, (rows, 2, runs)) > hard
    return np.stack([right, np.ones_like(right)], axis=-1).reshape(rows, 2 * runs, 2).astype(int)


def paired(runs):
    """Differences seed by seed."""
    return [np.hstack([np.eye(runs), -np.eye(runs)])]


def unpaired(runs):
    """Two arms that share no seed."""
    return [np.eye(runs, 2 * runs), -np.eye(runs, 2 * runs, runs)]


def resampled(units, runs, rng, resamples=200):
    """The interval that resampling seeds and utterances gives: (low, high)."""
    rows = rng.multinomial(len(units), np.full(len(units), 1 / len(units)), size=resamples)
    seeds = rng.multinomial(runs, np.full(runs, 1 / runs), size=resamples)
    shares = accuracy(np.tensordot(rows, units, axes=1))  # (R, 2 * runs)
    return np.quantile(((shares[:, :runs] - shares[:, runs:]) * seeds).sum(axis=1) / runs, [0.025, 0.975])


def simulate(runs, rows, between, tries, seed=0, samples=paired):
    """(seed's standard deviation of the difference; shares of tries that find one at .05: `over_seeds`, t test of the
    runs' differences alone, bootstrap over utterances, bootstrap over both; half of the interval of `over_seeds`).
    """
    rng, found, spread, halves = np.random.default_rng(seed), [], [], []
    for _ in range(tries):
        units = two_arms(rng, runs, rows, between)
        ends, p, _ = statistics.over_seeds(units, samples(runs), accuracy, resamples=200)
        shares = accuracy(units.sum(axis=0))
        gains = shares[:runs] - shares[runs:]
        alone = abs(gains.mean()) > statistics.stdtrit(runs - 1, 0.975) * gains.std(ddof=1) / np.sqrt(runs)
        summed = units.reshape(rows, 2, runs, 2).sum(axis=2)
        one = statistics.paired_interval(summed[:, 0], summed[:, 1], accuracy)
        both = resampled(units, runs, rng)
        found.append((p < 0.05, alone, *(not low <= 0 <= high for low, high in (one, both))))
        spread.append(gains.var(ddof=1))
        halves.append((ends[1] - ends[0]) / 2)
    return (np.sqrt(np.mean(spread)), *np.mean(found, axis=0), np.mean(halves))


if __name__ == "__main__":
    tries = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    print("| seeds | rows | sd of a seed's gain | this | t of the runs | utterances only | both resampled | half |")
    print("|---:|---:|---:|---:|---:|---:|---:|---:|")
    for runs in (2, 3, 5):
        for rows, between in ((300, 0.0), (300, 0.15), (2974, 0.15)):
            sd, *shares, half = simulate(runs, rows, between, tries)
            cells = [f"{100 * own:.1f}" for own in (sd, *shares, half)]
            print(f"| {runs} | {rows:,} | {' | '.join(cells)} |", flush=True)
