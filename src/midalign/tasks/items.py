"""Answers that are lists of (label, words), such as slots and entities: their hits, spurious and missed items.

A generated answer has no positions, so an answer and its gold are two multisets: an answered item is a hit when the
gold has it, each gold item once; any other answer is spurious (false positive), a gold item without a hit is missed
(false negative). seqeval counts tags, so every item gets a position of its own, a span of one token:

    gold    [time : nine am] [date : friday]      B-time   O        B-date
    answer  time: nine am; date: monday           B-time   B-date   O           a hit, a spurious item, a miss

An outcome is what became of one answer: (hits, spurious, missed), three tuples of labels.
"""

from collections import Counter

import numpy as np
from seqeval.metrics.sequence_labeling import precision_recall_fscore_support

from midalign.languages import language_of, primary_of

WITHOUT_SPACES = frozenset({"ja", "km", "lo", "my", "th", "yue", "zh"})


def without_spaces(name):
    """Whether a language is written without spaces.   name: any of its tags, or a treebank of it, such as zh_gsd."""
    tag = name.partition("_")[0]
    return primary_of(language_of(tag) or tag) in WITHOUT_SPACES


def match(gold, answered):
    """The outcome of an answer.   gold, answered: lists of (label, ...) items, compared as multisets."""
    hits, spurious, missed = [], [], list(gold)
    for item in answered:
        if item in missed:
            missed.remove(item)
            hits.append(item[0])
        else:
            spurious.append(item[0])
    return tuple(hits), tuple(spurious), tuple(label for label, _ in missed)


def label_counts(outcomes):
    """(tp, fp, fn) over all outcomes when items are compared by label alone, as multisets."""
    hits, right, spurious, missed = 0, 0, 0, 0
    for exact, extra, left in outcomes:
        hits += len(exact)
        right += (Counter(extra) & Counter(left)).total()
        spurious += len(extra)
        missed += len(left)
    return hits + right, spurious - right, missed - right


def seqeval_figures(outcomes, known, nothing=1.0):
    """(precision, recall, micro-F1, {label: {precision, recall, f1, support}}) of outcomes, by seqeval; shares 0..1.

    known: labels; any other that was answered and is not in the gold becomes "?", whatever text it is.
    nothing: what 0/0 counts as.
    """
    known = {*known, *(label for hits, _, missed in outcomes for label in hits + missed)} - {""}
    tag = {label: f"B-{label}" for label in known}
    gold_tags, answered_tags = [], []
    for outcome in outcomes:
        if any(outcome):
            hits, spurious, missed = ([tag.get(label, "B-?") for label in labels] for labels in outcome)
            gold_tags.append(hits + ["O"] * len(spurious) + missed)
            answered_tags.append(hits + spurious + ["O"] * len(missed))
    if not gold_tags:
        return nothing, nothing, nothing, {}
    # Two passes of seqeval; its classification_report makes five.
    micro = precision_recall_fscore_support(gold_tags, answered_tags, average="micro", zero_division=0)
    table = precision_recall_fscore_support(gold_tags, answered_tags, average=None, zero_division=0)
    labels = sorted({tag[2:] for tags in gold_tags + answered_tags for tag in tags if tag != "O"})
    # Sorted, because seqeval's table has the labels in that order and does not name them.
    per_label = {
        label: {"precision": float(p), "recall": float(r), "f1": float(f), "support": int(support)}
        for label, p, r, f, support in zip(labels, *table, strict=True)
    }
    return *map(float, micro[:3]), per_label


def precision(sums):
    """Share of answered items that the gold has; 0 where nothing was answered but something was to be found.

    sums: (..., 3), true positives, false positives, false negatives.   Returns (...), 1 where all are 0.
    """
    return _share(sums, 1, 2)


def recall(sums):
    """Share of gold items that were answered; 0 where there are none but something was answered. See `precision`."""
    return _share(sums, 2, 1)


def _share(sums, wrong, otherwise):
    sums = np.asarray(sums, dtype=float)
    tp, of = sums[..., 0], sums[..., 0] + sums[..., wrong]
    return np.where(of > 0, tp / np.maximum(of, 1), sums[..., otherwise] == 0)
