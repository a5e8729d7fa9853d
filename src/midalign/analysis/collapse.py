"""Whether sentences still differ: the two ways in which pooled states can become the same.

Legend: n sentences, H hidden width.
"""

import torch


def effective_rank(states):
    """In how many directions sentences differ: exp of the entropy of the singular values' shares (Roy, Vetterli 2007).

    states: (n, H); their mean is subtracted first, since all states of a layer share one large direction.
    Returns a float64 scalar on the CPU, 1 to min(n - 1, H): the number of directions where all weigh the same; 0 where
    all states are equal as far as float32 can tell, NaN where one is not finite.
    """
    states = states.detach().cpu().double()
    if not states.isfinite().all():
        return states.new_tensor(torch.nan)
    values = torch.linalg.svdvals(states - states.mean(dim=0))
    if values.sum() <= 1e-6 * states.norm():
        return values.new_zeros(())
    shares = values / values.sum()
    return torch.special.entr(shares).sum().exp()


def mean_of_non_pairs(scores, exclude=None):
    """The mean similarity of sentences that do not translate each other: 1 for cosines where all states are the same.

    scores: (n, n), row = source, column = target, pairs on the diagonal.   exclude: (n, n) bool, entries that are
    translations too (`alignment.negatives.false_negatives`).   Returns a scalar, NaN where nothing is left.
    """
    others = ~torch.eye(len(scores), dtype=torch.bool, device=scores.device)
    if exclude is not None:
        others &= ~exclude
    return scores[others].mean()
