"""Whether weights are numbers: a NaN among them answers everything with nothing, and says so nowhere."""

import torch
from torch.distributed.tensor import DTensor

from midalign.errors import InputError


def first_not_finite(weights, together=lambda flags: flags):
    """The name of the first weight that holds NaN or infinity, or None.

    weights: (name, tensor) pairs.   together: adds up a (weights,) float tensor over the processes that share them.
    """
    weights = list(weights)
    bad = [~torch.isfinite(_own_part(weight.detach())).all() for _, weight in weights]
    if not bad:
        return None
    flags = together(torch.stack(bad).float()).tolist()  # looked at once: each look waits for the device
    return next((name for (name, _), flag in zip(weights, flags, strict=True) if flag), None)


def require_finite(weights, place):
    """Raises InputError for a model or adapter, from `place`, that is no model.   weights: (name, tensor) pairs."""
    name = first_not_finite(weights)
    if name:
        raise InputError(
            f"{place}: the weight {name} is not finite (NaN or infinity); use one whose training went well."
        )


def _own_part(weight):
    """What this process holds of a weight that an engine shares out."""
    if hasattr(weight, "ds_tensor"):  # ZeRO-3
        return weight.ds_tensor
    return weight.to_local() if isinstance(weight, DTensor) else weight
