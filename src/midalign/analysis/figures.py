"""What a space of sentence states is like: how alike two languages' geometries are, how much of it is language.

Legend: n sentences of a language, H hidden width, m languages.
"""

import torch
import torch.nn.functional as F

NOTHING = 1e-6  # relative size below which float32 states do not differ


def cka(gram_source, gram_target):
    """Unbiased linear CKA of two sides, a float; about 0 when they have nothing in common, 1 when they agree up to
    rotation and scale. May fall below 0, as an unbiased estimate of nothing does.

    gram_source, gram_target: (n, n), `losses.u_centred_gram` of each side's states, n at least 4.
    """
    return F.cosine_similarity(gram_source.flatten(), gram_target.flatten(), dim=0).item()


def language_share(states, rank=None):
    """Share of the variance of all sentences that lies in the directions in which the languages' means differ (0..1).

    states: m tensors (n_i, H), one of each language, m at least 2.   rank: of those directions the first so many, those
    in which means differ most; all m - 1 when None. The subspace is that of the left singular vectors of the centred
    means (as LSAR, Xie et al. 2022, arXiv 2204.12681). Returns a float; 0 where nothing varies.
    """
    means = torch.stack([own.double().mean(dim=0) for own in states])  # (m, H)
    grand = means.mean(dim=0)
    _, values, directions = torch.linalg.svd(means - grand, full_matrices=False)
    differ = values > NOTHING * means.norm()
    directions = directions[differ][: len(states) - 1 if rank is None else rank]  # (rank, H)
    along = total = 0.0
    for own in states:
        centred = own.double() - grand
        along += (centred @ directions.T).square().mean(dim=0).sum().item()
        total += centred.square().mean(dim=0).sum().item()
    return along / total if total > NOTHING**2 * means.square().sum().item() else 0.0
