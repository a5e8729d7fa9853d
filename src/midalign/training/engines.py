"""What differs between one process, DDP, DeepSpeed and FSDP2."""

import logging
import os
import time
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import distributed
from torch.distributed.fsdp import FSDPModule
from torch.nn.parallel import DistributedDataParallel

logger = logging.getLogger("midalign")

STALE = 10  # minutes: DeepSpeed's builds take two or three


def tell_of_stale_locks():
    """Name the locks of builds that were killed: DeepSpeed compiles where it is first used, and then waits.

    To be called before DeepSpeed is, so before a recipe is read.
    """
    if os.environ.get("ACCELERATE_USE_DEEPSPEED", "").lower() != "true" or os.environ.get("RANK", "0") != "0":
        return
    from torch.utils.cpp_extension import get_default_build_root  # here: it imports a compiler's tools

    root = Path(os.environ.get("TORCH_EXTENSIONS_DIR") or get_default_build_root())
    for lock in (*root.glob("*/lock"), *root.glob("*/*/lock")):
        minutes = (time.time() - lock.stat().st_mtime) / 60
        if minutes > STALE:
            logger.warning(
                "%s is %d minutes old, so of a build that was killed: DeepSpeed waits until it is gone; delete it.",
                lock,
                minutes,
            )


def engine_around(model):
    """The engine that really drives a model, by what it is wrapped in: a name of `compatibility.ENGINES`."""
    if isinstance(model, DistributedDataParallel):
        return "ddp"
    if isinstance(model, FSDPModule):
        return "fsdp2"
    if hasattr(model, "zero_optimization_stage"):
        return f"zero{model.zero_optimization_stage()}"
    return "single"


def start_from_zero_gradients(model, optimizer):
    """Give every trained parameter a gradient of zero, for a step whose loss does not reach all of them.

    An optimizer passes over a parameter without a gradient; ZeRO-2, which has one flat gradient, cannot, and ZeRO-3
    keeps in its partitions whatever the last step left there (DeepSpeed 0.19). Zero is the gradient of a parameter that
    the loss does not depend on, so all engines start from it: momentum and weight decay go on in each of them alike.

    model: bare.   optimizer: as accelerate has prepared it.
    """
    zero = getattr(optimizer, "optimizer", optimizer)
    if hasattr(zero, "grad_partitions_flat_buffer"):
        zero.grad_partitions_flat_buffer.zero_()
        return
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.grad = torch.zeros_like(parameter)


@contextmanager
def only_adding(accelerator, model):
    """Backward passes inside add to the gradients and do nothing else.

    accelerate's `no_sync` alone leaves it to DeepSpeed to take a step after each.
    """
    state, own = accelerator.gradient_state, accelerator.sync_gradients
    state._set_sync_gradients(False)
    try:
        with accelerator.no_sync(model):
            yield
    finally:
        state._set_sync_gradients(own)


def keep_adapters_in_float32(model):
    """Undo TRL's cast of a quantised model's adapter to bf16, in which AdamW's small steps round to nothing.

    bf16 keeps 8 bits: a weight of 0.02 moves by 6e-5 or not at all. PEFT's own default is float32.
    """
    if not (getattr(model, "is_loaded_in_4bit", False) or getattr(model, "is_loaded_in_8bit", False)):
        return
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()


@contextmanager
def checkpointing_as_given(args):
    """Undo what TRL does to the settings of gradient checkpointing: with PEFT and ZeRO-3 it sets use_reentrant.

    Reentrant checkpointing goes through the task and the pair half in two backward passes; DeepSpeed keeps one of them.
    """
    reentrant = (args.activation_checkpointing_kwargs or {}).get("use_reentrant", False)
    yield
    for settings in (args.activation_checkpointing_kwargs, args.gradient_checkpointing_kwargs):
        if settings and "use_reentrant" in settings:
            settings["use_reentrant"] = reentrant


def whole_norm(norm, device):
    """A gradient norm as a tensor on `device`: DeepSpeed gives a float, FSDP2 a tensor in parts."""
    return norm.full_tensor() if hasattr(norm, "full_tensor") else torch.as_tensor(norm, device=device)


def part():
    """End the group of processes, if this is one of several.

    Its threads drop tensors, for which they need Python; one that is still at it when Python ends aborts the process,
    and a run that has written everything ends with signal 6.
    """
    if distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()
