"""Which sentences find their translation, by exact search in one matrix of cosines.

Legend: n pairs; scores: (n, n) float32, cosine of source i (row) with target j (column), as `losses.similarity` gives
it; sentence i translates sentence i. The way back is the same with `scores.T`.
"""

import torch

NEIGHBOURS = 4


def nearest(scores):
    """Whether each source's most similar target is its translation.   Returns (n,) bool.

    Of equal targets the first counts: states that are all the same find one translation in n, which is chance.
    """
    return scores.argmax(dim=1) == torch.arange(len(scores))


def nearest_by_margin(scores, neighbours=NEIGHBOURS):
    """The same by the ratio margin (Artetxe and Schwenk 2019, as in LASER).   Returns two (n,) bool: there and back.

    margin(x, y) = cos(x, y) / mean of (mean cosine of x to its `neighbours` nearest targets, that of y to its nearest
    sources). The winner is that of the nearest neighbours of x, in LASER's words the forward ones, with the largest
    margin. Fewer than `neighbours` sentences are all neighbours. Means below 0 turn the order round, as they do there:
    cosines of a model's states are hardly ever so.
    """
    k = min(neighbours, len(scores))
    ahead, back = scores.topk(k, dim=1), scores.topk(k, dim=0)
    hub, hub_back = ahead.values.mean(dim=1), back.values.mean(dim=0)  # (n,): of each source, of each target
    sources = torch.arange(len(scores))
    margins = ahead.values / ((hub[:, None] + hub_back[ahead.indices]) / 2)  # (n, k)
    margins_back = back.values / ((hub_back + hub[back.indices]) / 2)  # (k, n)
    found = ahead.indices[sources, margins.argmax(dim=1)]
    found_back = back.indices[margins_back.argmax(dim=0), sources]
    return found == sources, found_back == sources


def mexa(scores):
    """Whether each pair's cosine is strictly above all others of its row and its column.   Returns (n,) bool.

    The mean is MEXA (Kargaran et al. 2024, arXiv 2410.05873). It counts no pair twice and gives nothing to ties.
    """
    own, others = scores.diagonal(), scores.clone().fill_diagonal_(float("-inf"))
    return (own > others.amax(dim=0)) & (own > others.amax(dim=1))
