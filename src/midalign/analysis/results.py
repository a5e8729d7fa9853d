"""What layers.json and layers.csv hold.

`result` is {"pivot", "directions", "sentences" {language: n}, "left_out", "models", "record"}; of each model {"layers",
"poolings" {pooling: what `summary` gives}, "recommendation", "transfer"}, the last two as `recommendation` has them.
"""

import csv
import io
import math
import warnings

import numpy as np

from midalign.analysis.layers import OF_PAIR
from midalign.languages import language_of
from midalign.texts import shown

# Figures of a layer, in the order of tables, and what a reader calls them.
TITLES = {
    "retrieval_at_1": "retrieval@1, cosine",
    "margin_at_1": "retrieval@1, margin",
    "mexa": "MEXA",
    "cosine_of_pairs": "cosine, pairs",
    "cosine_of_others": "cosine, others",
    "cka": "CKA",
    "language_share": "language share",
    "effective_rank": "effective rank",
}
BOTH_WAYS = {"retrieval_at_1": ("cosine", "cosine_back"), "margin_at_1": ("margin", "margin_back")}
HEAD = ("model", "pooling", "layer", "source", "target", "sentences", "retrieval_at_1", "margin_at_1", *OF_PAIR[4:])


def summary(measured, sides, couples, without=None):
    """{"curves": {figure of TITLES: one value a layer}, "languages": {language: the same, of its own pairs}}.

    Means over pairs, both ways, in which a language takes part; a figure that cannot be had is None.
    without: a language that is no entry of its own, the pivot where all pairs have it.
    """
    of_pair = dict(zip(OF_PAIR, np.moveaxis(measured.pairs, 2, 0), strict=True))  # each (L + 1, P)
    by_figure = {name: (of_pair[one] + of_pair[other]) / 2 for name, (one, other) in BOTH_WAYS.items()}
    by_figure |= {name: of_pair[name] for name in OF_PAIR[4:]}
    ranks = dict(zip(measured.languages, measured.effective_rank.T, strict=True))
    curves = {name: _mean(values) for name, values in by_figure.items()}
    curves["language_share"] = _plain(measured.language_share)
    curves["effective_rank"] = _mean(measured.effective_rank)
    languages = {}
    for language in sorted(ranks.keys() - {without}):
        own = [place for place, couple in enumerate(couples) if language in {sides[side].language for side in couple}]
        languages[language] = {name: _mean(values[:, own]) for name, values in by_figure.items()}
        languages[language]["effective_rank"] = _plain(ranks[language])
    return {"curves": curves, "languages": languages}


def lines_of(model, pooling, measured, sides, couples):
    """The lines of layers.csv of one model and pooling, as lists in the order of `HEAD`: both ways of every pair."""
    for layer, pairs in enumerate(measured.pairs):
        for (i, j), figures in zip(couples, pairs, strict=True):
            there, back, margin, margin_back, *same = _plain(figures)
            first, second, count = sides[i].language, sides[j].language, len(sides[i].rows)
            yield [model, pooling, layer, first, second, count, there, margin, *same]
            yield [model, pooling, layer, second, first, count, back, margin_back, *same]


def as_csv(lines):
    """The text of layers.csv."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([HEAD, *lines])
    return text.getvalue()


def of_scores(scores, pivot):
    """({run: {language: first figure}}, its title) of scores.json; languages that had labels, and the pivot, left out.

    scores: as `evaluation.report` writes it.   Raises LookupError, TypeError, AttributeError or ValueError where it is
    something else.
    """
    (figure, title), *_ = scores["task"]["shown"].items()
    asked = {
        locale: language_of(locale)
        for locale, group in scores["groups"].items()
        if group != "supervised" and language_of(locale) not in (None, pivot)
    }
    runs = {
        name: {language: float(run["languages"][locale][figure]) for locale, language in asked.items()}
        for name, run in scores["runs"].items()
    }
    if not all(math.isfinite(figure) for own in runs.values() for figure in own.values()):
        raise ValueError("a figure is not finite")
    return runs, shown(str(title))


def _mean(values):
    """(L + 1, some) -> one value a layer; of figures that a pair does not have, over those that do."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of a layer without any: NaN is what is wanted
        return _plain(np.nanmean(values, axis=1))


def _plain(values):
    """Floats for JSON, None for NaN."""
    return [None if math.isnan(value) else round(float(value), 6) for value in values]
