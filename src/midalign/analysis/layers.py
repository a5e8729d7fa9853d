"""Every figure of every layer, one pair of languages at a time.

Legend: L decoder layers, N sentences, H hidden width, P pairs of sides, U units (sentences of the pivot), m languages.
"""

from dataclasses import dataclass

import numpy as np
import torch

from midalign.alignment.losses import similarity, u_centred_gram
from midalign.analysis.collapse import effective_rank, mean_of_non_pairs
from midalign.analysis.figures import cka, language_share
from midalign.analysis.retrieval import mexa, nearest, nearest_by_margin

# Of a pair of sides, in this order; `_back` is from the second to the first.
OF_PAIR = ("cosine", "cosine_back", "margin", "margin_back", "mexa", "cosine_of_pairs", "cosine_of_others", "cka")
FOR_CKA = 4  # sentences that the unbiased estimate takes


@dataclass(frozen=True)
class Measured:
    """pairs: (L + 1, P, figures of `OF_PAIR`); effective_rank: (L + 1, m); language_share: (L + 1,), all float64.

    languages: m names in the order of effective_rank.
    right: (L + 1, U), what each unit adds to the mean retrieval@1 by cosine of a layer; asked: (U,), the most that it
    could add, so that right.sum(1) / asked.sum() is that mean, over pairs and both ways alike.
    """

    pairs: np.ndarray
    effective_rank: np.ndarray
    language_share: np.ndarray
    languages: list
    right: np.ndarray
    asked: np.ndarray


def measure(states, sides, couples, advance=lambda: None):
    """The figures of one model and one pooling.

    states: (L + 1, N, H) float32.   sides, couples: as `sides.layout` gives them.   advance(): called after each layer.
    In memory are the sides of one layer and one matrix of cosines: nothing grows with the number of pairs but the
    figures themselves.
    """
    units = 1 + max(int(side.units.max()) for side in sides)
    asked, right = np.zeros(units), np.zeros((len(states), units))
    for i, _ in couples:
        asked[sides[i].units] += 1 / len(sides[i].units) / len(couples)
    rows = {}
    for side in sides:
        rows[side.language] = torch.cat([rows.get(side.language, side.rows), side.rows]).unique()
    pairs = np.empty((len(states), len(couples), len(OF_PAIR)))
    rank, share = np.empty((len(states), len(rows))), np.empty(len(states))
    for layer, own in enumerate(states):
        grams = [u_centred_gram(own[side.rows]) if len(side.rows) >= FOR_CKA else None for side in sides]
        for place, (i, j) in enumerate(couples):
            scores = similarity(own[sides[i].rows], own[sides[j].rows])
            pairs[layer, place], found = _of_pair(scores, grams[i], grams[j])
            right[layer, sides[i].units] += found.numpy() / len(found) / len(couples)
        of_languages = [own[some] for some in rows.values()]
        rank[layer] = [effective_rank(one).item() for one in of_languages]
        share[layer] = language_share(of_languages)
        advance()
    return Measured(pairs, rank, share, list(rows), right, asked)


def _of_pair(scores, gram, other):
    """(the figures of `OF_PAIR`, (n,): the share of both ways on which each sentence finds its translation)."""
    there, back = nearest(scores).double(), nearest(scores.T).double()
    margin, margin_back = nearest_by_margin(scores)
    both = (there, back, margin.double(), margin_back.double(), mexa(scores).double(), scores.diagonal())
    similar = cka(gram, other) if gram is not None else float("nan")
    return [*(some.mean().item() for some in both), mean_of_non_pairs(scores).item(), similar], (there + back) / 2
