"""What is logged as a mean over the steps since the last log."""

from collections import Counter, defaultdict

import torch


class Means:
    """Sums and counts by name: those of several processes, or of two parts of a run, merge by addition.

    Values are 0-dim tensors that stay on the device until `take`.
    """

    def __init__(self):
        self.values, self.counts = defaultdict(list), Counter()

    def add(self, name, *values, count=1):
        """count: of what the mean is over; a step may add several values, or count before its values come."""
        self.values[name] += [value.detach() for value in values]
        self.counts[name] += count

    def take(self, names, reduce, device):
        """{name: mean} of the names that have been counted, and forgets them.

        reduce: adds up a tensor over all processes, which must ask for the same names together.
        """
        sums = [
            torch.stack(self.values[name]).sum() if self.values[name] else torch.zeros((), device=device)
            for name in names
        ]
        counts = torch.tensor([float(self.counts[name]) for name in names], device=device)
        sums, counts = reduce(torch.stack([torch.stack(sums), counts]))
        self.values.clear()
        self.counts.clear()
        return {
            name: (total / count).item() for name, total, count in zip(names, sums, counts, strict=True) if count > 0
        }

    def state(self):
        """JSON, for a checkpoint."""
        return {
            name: {"values": list(map(float, self.values[name])), "count": count} for name, count in self.counts.items()
        }

    def merge(self, state, share, device):
        """Add a share of what another process, or the first part of a run, had collected."""
        for name, kept in state.items():
            self.add(name, *torch.tensor(kept["values"], device=device) * share, count=kept["count"] * share)
