"""How two gradients lie to each other."""

import torch


def norms_and_cosine(parts):
    """The norms of two gradients and the cosine between them: 1 where they pull together, 0 where neither helps nor
    hinders the other, -1 where they pull apart.

    parts: (first, second) of each parameter, of equal shape; the gradients are these laid end to end.
    Returns three floats; the cosine is NaN where one of the two is 0.
    """
    sums = [
        torch.stack([(one * one).sum(), (other * other).sum(), (one * other).sum()])
        for one, other in ((first.float(), second.float()) for first, second in parts)
    ]
    first, second, product = torch.stack(sums).cpu().double().sum(dim=0)
    norms = first.sqrt(), second.sqrt()
    return *(norm.item() for norm in norms), (product / (norms[0] * norms[1])).item()
