"""Which sentences count as negatives of which: those of all processes, but not what is right by accident."""

import torch
import torch.distributed as dist


def from_all_processes(rows):
    """The rows of every process, in the order of the ranks; `rows` itself in a single process.

    rows: (B, ...), as many on each process.   Returns (P B, ...).
    Every process computes the loss of the whole batch from them. The backward pass sums what all these P losses say
    about a process's own rows, and the engines average gradients over processes: P / P, the gradient that one process
    would have with the whole batch.
    """
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return rows
    return _Gather.apply(rows.contiguous())


class _Gather(torch.autograd.Function):
    """all_gather with a gradient; torch's own, in torch.distributed.nn, is deprecated."""

    @staticmethod
    def forward(ctx, rows):
        every = rows.new_empty(dist.get_world_size() * len(rows), *rows.shape[1:])
        dist.all_gather_into_tensor(every, rows)
        return every

    @staticmethod
    def backward(ctx, gradient):
        own = gradient.new_empty(len(gradient) // dist.get_world_size(), *gradient.shape[1:])
        dist.reduce_scatter_tensor(own, gradient.contiguous())
        return own


def false_negatives(source_text, target_text):
    """Pairs (i, j), i != j, in which target j is as right an answer to source i as its own translation.

    source_text, target_text: (B,) integer ids, equal where the texts are identical.
    Returns (B, B) bool. Real corpora repeat sentences ("yes", "stop"): the authors count these as negatives,
    which asks the loss to tell a sentence from itself.
    """
    same = (source_text[:, None] == source_text) | (target_text[:, None] == target_text)
    return same & ~torch.eye(len(same), dtype=torch.bool, device=same.device)
