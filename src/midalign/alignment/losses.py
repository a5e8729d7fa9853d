"""Pooling, similarity and alignment losses over pairs of sentences.

Legend: B sentences, T tokens, H hidden width. Everything is computed in float32: bf16 keeps 2-3 digits, too
few to rank cosines that differ in the third (the authors' bf16 loss reads 4.156 where float32 gives 4.129).
"""

import functools

import torch
import torch.nn.functional as F


def _in_float32(function):
    """Products of float32 tensors stay float32 where a caller is under autocast, which would round them to bf16."""

    @functools.wraps(function)
    def call(first, *args, **kwargs):
        with torch.autocast(first.device.type, enabled=False):
            return function(first, *args, **kwargs)

    return call


def mean_pool(hidden, mask):
    """Average the non-padding tokens of each sentence, BOS included.

    hidden: (B, T, H), one layer's states.   mask: (B, T), 1 = token, 0 = padding.
    Returns (B, H) float32. A row without any token gives NaN: rows are checked where they are read.
    """
    return _weighted_mean(hidden, mask.float())


def last_pool(hidden, mask):
    """The state of each sentence's last token, on whichever side the padding is.   Returns (B, H) float32."""
    positions = torch.arange(mask.size(1), device=mask.device)
    last = (mask * positions).argmax(dim=1)  # (B,)
    return hidden[torch.arange(len(hidden), device=hidden.device), last].float()


def weighted_pool(hidden, mask):
    """Average in which the i-th token of a sentence weighs i (SGPT, arXiv 2202.08904).

    A causal model knows more of the sentence at later tokens.   Returns (B, H) float32.
    """
    return _weighted_mean(hidden, mask.float().cumsum(dim=1) * mask)


def bos_pool(hidden, mask):
    """The state of each sentence's first token.   Returns (B, H) float32.

    Carries no signal where every sentence starts with the same token: the loss is then exactly ln(B).
    """
    return hidden[torch.arange(len(hidden), device=hidden.device), mask.argmax(dim=1)].float()


def without_first_token(mask):
    """Drop the first token, the attention sink, from the mask of every sentence that has another one.

    mask: (B, T).   Returns (B, T), same dtype.
    """
    first = F.one_hot(mask.argmax(dim=1), mask.size(1)).to(mask.dtype)
    return torch.where(mask.sum(dim=1, keepdim=True) > 1, mask - first, mask)


@_in_float32
def _weighted_mean(hidden, weights):
    return torch.einsum("bth,bt->bh", hidden.float(), weights) / weights.sum(dim=1, keepdim=True)


POOLINGS = {"mean": mean_pool, "last": last_pool, "weighted": weighted_pool, "bos": bos_pool}


@_in_float32
def similarity(source, target, center=False):
    """Cosine of every source sentence with every target sentence.

    source, target: (B, H).   center: subtract each side's batch mean first. Middle layers are anisotropic
    (all sentences share one large direction), which leaves cosines near 1 for true and wrong pairs alike.
    Returns (B, B) float32; row = source, column = target.
    """
    source, target = source.float(), target.float()
    if center:
        source = source - source.mean(dim=0)
        target = target - target.mean(dim=0)
    return F.normalize(source, dim=-1) @ F.normalize(target, dim=-1).T


def alignment_loss(source, target, temperature=0.1, symmetric=False, *, center=False, exclude=None):
    """InfoNCE over a batch of translation pairs; row i of `source` translates row i of `target`.

    source, target: (B, H).   temperature divides cosines: 0.1 puts logits in [-10, 10].
    symmetric: mean of both directions; otherwise source is the anchor and target the candidates.
    center: see `similarity`.   exclude: (B, B) bool, candidates that are not negatives (`negatives.false_negatives`).
    Returns a scalar, float32, in nats; ln(B) is chance.
    """
    logits = similarity(source, target, center) / temperature  # (B, B)
    if exclude is not None:
        logits = logits.masked_fill(exclude, float("-inf"))
    labels = torch.arange(len(logits), device=logits.device)
    loss = F.cross_entropy(logits, labels)
    if symmetric:
        loss = (loss + F.cross_entropy(logits.T, labels)) / 2
    return loss


def mse_loss(source, target):
    """Mean squared difference of the pooled states, over pairs and dimensions.   source, target: (B, H)."""
    return F.mse_loss(source.float(), target.float())


@_in_float32
def cka_loss(source, target):
    """One minus linear CKA of the two sides (Kornblith et al. 2019), by the unbiased HSIC of Song et al. (2012).

    source, target: (B, H), B at least 4, else ValueError.   Returns a scalar, float32: 0 when they agree up to rotation
    and scale, about 1 when they have nothing in common, whatever B and H (the biased estimator says 0.02 for unrelated
    states where B is much smaller than H). May pass 1: an unbiased estimate of no similarity falls on both sides of it.
    """
    if len(source) < 4:
        raise ValueError(f"cka_loss needs 4 pairs or more, found {len(source)}.")
    gram_s, gram_t = (u_centred_gram(states.float()).flatten() for states in (source, target))
    # The inner product of such Gram matrices is n (n - 3) times the unbiased HSIC: CKA is their cosine.
    return 1 - F.cosine_similarity(gram_s, gram_t, dim=0)


@_in_float32
def multiway_loss(source, target, source_text, target_text, temperature=0.1, *, center=False):
    """Rank-one loss of all translations of a sentence (MLC, arXiv 2602.16660), mean over sentences.

    source, target: (B, H), the translations and the sentences.   source_text, target_text: (B,) integer ids, equal
    where the texts are: pairs of one target are one group, in which each text counts once, as the mean of its states.
    temperature divides singular values.   center: see `similarity`.
    Where s are the singular values of the matrix of a group's m unit-normed states z, sqrt(m), 0, ..., 0 if all are the
    same, the loss is -log softmax(s / temperature)_1. Singular values see no sign: a state and its opposite are of rank
    one, too. So the numerator has |sum_i |v_i| z_i| with v the first right singular vector: it is s_1 where all states
    lie on one side of their main direction, and less where one lies on the other.
    Returns a scalar, float32, in nats.
    """
    source, target = source.float(), target.float()
    if center:
        source, target = source - source.mean(dim=0), target - target.mean(dim=0)
    keys = torch.cat([torch.stack([target_text, text], dim=1) for text in (source_text, target_text)])  # (2B, 2)
    keys, copy = keys.unique(dim=0, return_inverse=True)  # sorted by group
    sums = source.new_zeros(len(keys), source.size(1)).index_add(0, copy, torch.cat([source, target]))
    _, group, sizes = keys[:, 0].unique_consecutive(return_inverse=True, return_counts=True)
    place = torch.arange(len(keys), device=group.device) - (sizes.cumsum(0) - sizes)[group]
    most = int(sizes.max())
    states = sums.new_zeros(len(sizes), most, sums.size(1))  # (groups, m, H): rows of zero have singular values of zero
    states = states.index_put((group, place), F.normalize(sums, dim=-1))
    with torch.no_grad():  # the gradient of a singular value does not go through its vectors
        wide = states.double()
        vectors = (
            torch.linalg.eigh(wide @ wide.mT).eigenvectors.flip(-1).mT.float()
        )  # (groups, m, m), rows, largest first
    values = (vectors @ states).norm(dim=-1)  # (groups, m)
    first = (vectors[:, :1].abs() @ states).norm(dim=-1)  # (groups, 1)
    missing = torch.arange(most, device=sizes.device) >= sizes[:, None]
    below = ((values - first) / temperature).masked_fill(missing, float("-inf"))
    return below.logsumexp(dim=1).mean()


def u_centred_gram(states):
    """(n, H) -> (n, n): inner products between different rows, less what belongs to a row alone (Szekely, Rizzo 2014).

    Every row and column sums to 0, the diagonal is 0. A shift of all rows changes nothing, so they are centred first,
    and scaled, for the sake of float32.
    """
    n = len(states)
    states = states - states.mean(dim=0)
    states = states / states.norm().clamp(min=1e-12)
    off_diagonal = 1 - torch.eye(n, device=states.device)
    gram = (states @ states.T) * off_diagonal
    rows = gram.sum(dim=1) / (n - 2)
    return (gram - rows[:, None] - rows + gram.sum() / ((n - 1) * (n - 2))) * off_diagonal


def retrieval_at_1(scores, exclude=None):
    """Share of source sentences whose most similar target is their own translation (0..1).

    scores: (B, B) similarities.   exclude: (B, B) bool, candidates left out.   Returns a scalar, float32.
    """
    if exclude is not None:
        scores = scores.masked_fill(exclude, float("-inf"))
    return (scores.argmax(dim=1) == torch.arange(len(scores), device=scores.device)).float().mean()
