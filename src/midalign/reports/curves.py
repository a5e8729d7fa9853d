"""The log of one or several runs as small pictures, one a quantity, and as a table of what they show."""

import math
import re
from dataclasses import dataclass

import numpy as np

from midalign import pages

MANY = 50  # values from which on a line is smoothed
SHARE = 20  # of its values that a smoothed one is a mean of: one in so many
DRAWN = 400  # values of a line that a picture of this size can show
MOST = 300  # pictures on a page
STEEP = 20  # highest value over the median, or longest run over the shortest, from which on a scale is a logarithm's
# Of an evaluation, and of a log, what says nothing about how training goes: counts and clocks.
CLOCKS = re.compile(r"(eval_)?(\w*runtime|\w*_per_second|num_tokens)|.*(tokens_saved|padding)")
GROUPS = (
    ("Losses", re.compile(r"loss|loss/.*|aux_loss")),
    ("Alignment", re.compile(r"align/.*")),
    ("Held out", re.compile(r"eval_(?!(plain_)?retrieval_at_1_).*")),
    ("Held out: retrieval@1 of each language", re.compile(r"eval_(plain_)?retrieval_at_1_.*")),
    ("Diagnostics", re.compile(r"diag/(?!retrieval_at_1/).*")),
    ("Diagnostics: retrieval@1 of each language", re.compile(r"diag/retrieval_at_1/.*")),
    ("Optimizer", re.compile(r"learning_rate|grad_norm")),
    ("What else was logged", re.compile(r".*", re.DOTALL)),
)
TOLD = (
    (re.compile(r"loss"), "the sum that is trained"),
    (re.compile(r"(loss/|eval_)task(/.*)?"), "nats a token of the answer"),
    (re.compile(r"loss/align|eval_align"), "nats; ln of align_batch_size is chance"),
    (re.compile(r"align/retrieval_at_1|eval_(plain_)?retrieval_at_1.*"), "share of pairs found"),
    (re.compile(r"diag/retrieval_at_1/.*"), "share of held-out pairs found"),
    (re.compile(r"diag/cosine_random"), "mean cosine of sentences that are no translations"),
    (re.compile(r"diag/effective_rank"), "directions that the pooled states use"),
    (re.compile(r"diag/grad_cosine"), "of the two halves' gradients; 0: they do not meet"),
    (re.compile(r"diag/grad_norm_.*|grad_norm"), "length of the gradient"),
)


@dataclass(frozen=True)
class Panel:
    """One quantity of all runs that logged it."""

    key: str
    told: str  # what it is, "" where we do not know
    svg: str  # Markup
    lines: list  # of each run {"run", "count", "first", "lowest", "highest", "last" each (value, step) or None, "odd"}


def panels(runs):
    """([(title of a group, its Panels)], how many quantities more are not drawn).   runs: [Logged], in their order."""
    keys = list(dict.fromkeys(key for run in runs for key in run.curves if not CLOCKS.fullmatch(key)))
    by_group = {title: [] for title, _ in GROUPS}
    for key in keys:
        by_group[next(title for title, pattern in GROUPS if pattern.fullmatch(key))].append(key)
    drawn = [(title, key) for title, of in by_group.items() for key in (sorted(of) if "each" in title else of)]
    ends = [end for run in runs if (end := max((of[-1][0] for of in run.curves.values()), default=0))]
    along = "x" if ends and max(ends) > STEEP * min(ends) else ""
    left, right = 0 if along else -0.02, 1.02  # of the longest run, so that what stands at an end is whole
    reach = (left * max(ends, default=1), right * max(ends, default=1))
    found = {title: [] for title, of in by_group.items() if of}
    for title, key in drawn[:MOST]:
        found[title].append(_panel(key, runs, reach, along, _limits(title, by_group[title], runs)))
    return [(title, of) for title, of in found.items() if of], len(drawn[MOST:])


def _limits(title, keys, runs):
    """The (low, high) that pictures of languages share, so that they can be compared; None for others."""
    if "each" not in title:
        return None
    values = [value for run in runs for key in keys for _, value in run.curves.get(key, ()) if math.isfinite(value)]
    return (0, max([*values, 0]) * 1.05 or 1)


def _panel(key, runs, reach, along, limits):
    own = [(number, run, *_arrays(run.curves[key])) for number, run in enumerate(runs) if key in run.curves]
    finite = np.concatenate([values[np.isfinite(values)] for *_, values in own])
    steep = limits is None and len(finite) > 2 and finite.min() > 0 and finite.max() > STEEP * np.median(finite)
    lines = [line for number, _, steps, values in own for line in _lines(number, steps, values)]
    lines.sort(key=lambda line: not line[3])  # what is thin lies below
    told = next((said for pattern, said in TOLD if pattern.fullmatch(key)), "")
    scale = "log scale" if steep else ""
    described = f"{key} over the steps of {', '.join(run.name for _, run, *_ in own)}; the table below has its figures"
    return Panel(
        key,
        ", ".join(filter(None, (told, scale))),
        pages.curves(lines, described, "step", reach, limits, along + "y" * bool(steep)),
        [{"run": run.name, **figures(steps, values)} for _, run, steps, values in own],
    )


def _arrays(curve):
    steps, values = np.array(curve, float).T
    return steps, values


def _lines(number, steps, values):
    """A line as it was logged, or of many values those thin, and thick their running mean."""
    plain = np.where(np.isfinite(values), values, np.nan)
    if len(values) < MANY:
        return [(number, steps, plain, False)]
    smooth = smoothed(plain)
    every = np.unique(np.linspace(0, len(steps) - 1, DRAWN).astype(int))
    return [(number, *thinned(steps, plain), True), (number, steps[every], smooth[every], False)]


def smoothed(values):
    """The mean of each value and its neighbours, one in `SHARE` of all, without those that are NaN.

    values: (n,).   Returns (n,): NaN where there is none in reach, and where the value itself is: a gap stays one.
    """
    half = max(len(values) // SHARE // 2, 1)
    there = np.isfinite(values)
    near = np.ones(2 * half + 1)  # sums of neighbours alone: a running sum loses small values behind a large one
    sums, counts = (np.convolve(of, near)[half:-half] for of in (np.where(there, values, 0.0), there))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(there, sums / counts, np.nan)


def thinned(steps, values):
    """Of more than `DRAWN` values the lowest and the highest of each of half as many stretches, in order.

    steps, values: (n,).   Returns them.
    """
    if len(values) <= DRAWN:
        return steps, values
    kept = set()
    for part in np.array_split(np.arange(len(values)), DRAWN // 2):
        there = part[np.isfinite(values[part])]
        kept |= {there[values[there].argmin()], there[values[there].argmax()]} if len(there) else {part[0]}
    kept = np.array(sorted(kept))
    return steps[kept], values[kept]


def figures(steps, values):
    """What a reader of a line would note: JSON."""
    there = np.flatnonzero(np.isfinite(values))
    odd = np.flatnonzero(~np.isfinite(values))

    def at(place):
        return (float(values[place]), int(steps[place])) if len(there) else None

    first, last = (there[0], there[-1]) if len(there) else (0, 0)
    return {
        "count": len(values),
        "first": at(first),
        "lowest": at(there[values[there].argmin()]) if len(there) else None,
        "highest": at(there[values[there].argmax()]) if len(there) else None,
        "last": at(last),
        "odd": {"count": len(odd), "step": int(steps[odd[0]])} if len(odd) else None,
    }
