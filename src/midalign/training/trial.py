"""The largest micro-batch of a run, once, before its first step: whether it fits, how long it takes."""

import copy
import heapq
import logging
import random
import time
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch

from midalign.alignment.hidden import decoder_of
from midalign.data.batches import collate_halves
from midalign.data.capability import FLEX
from midalign.data.columns import lengths
from midalign.models.memory import GIB, Load, state_bytes
from midalign.models.room import peak_bytes, within_free_memory
from midalign.training.engines import engine_around, start_from_zero_gradients
from midalign.training.guards import fitting
from midalign.training.several import shifted_labels

logger = logging.getLogger("midalign")

KEPT = 8  # halves with the most tokens in their rows, of which the one is taken that computes most
# What a micro-batch moves in a trainer.
MOVED = ("_means", "_watch", "_metrics", "_total_train_tokens", "_micro_batch", "_pair_halves", "_pair_gradient")
MOVED += ("_tokens_of_tasks", "current_gradient_accumulation_steps")


class Tried(NamedTuple):
    """The largest micro-batch, and the seconds that it took."""

    load: Load
    seconds: float


class TriedAtStart:
    """Mixin over SFTTrainer that takes the largest micro-batch before the first step, once the engine has the model.

    Nothing of it stays: weights, gradients, random numbers, what is logged and what is counted are as before.
    """

    tried = None  # a Tried, once it has been

    def _prepare_for_training(self, max_steps, *args, **kwargs):
        model, loader = super()._prepare_for_training(max_steps, *args, **kwargs)
        engine = engine_around(model)
        if not self.args.try_on_start:
            self._tell("is not tried before the first step: try_on_start is false")
        elif engine not in ("single", "ddp"):
            self._tell("is not tried before the first step: %s cannot give its gradients back", engine)
        else:
            with fitting(self.args, "the largest micro-batch, tried before the first step,"):
                self.tried = self._try_largest(model, max_steps)
            highest = peak_bytes(self.args.device) / GIB
            self._tell(
                "fits: %.1f s, tried before the first step, and %.2f GiB at most so far", self.tried.seconds, highest
            )
        return model, loader

    @property
    def keeps_gradients_apart(self):
        """Whether diagnostics hold the gradient of one half beside that of the step."""
        return bool(self._every and not self._no_gradients)

    def _tell(self, sentence, *figures):
        if self.is_world_process_zero():
            logger.info(f"the largest micro-batch {sentence}.", *figures)

    def _try_largest(self, model, max_steps):
        task, pairs = self._largest_halves(max_steps)
        halves = [(task, pairs)] if self.args.align_schedule == "joint" else [(task, []), ([], pairs)]
        batches = [self._collate(*own) for own in halves if any(own)]
        with unchanged(self), within_free_memory(self.args.device):
            room = self._room_of_optimizer()
            started = time.perf_counter()
            for batch in batches:
                self._take(model, dict(batch))
            if self.args.device.type == "cuda":
                torch.cuda.synchronize(self.args.device)
            seconds = time.perf_counter() - started
            del room
        dense = decoder_of(self.model).config._attn_implementation != FLEX
        return Tried(load_of(batches, dense), seconds)

    def _take(self, model, batch):
        """Forward and backward of a micro-batch, as a run takes it; DDP hears nothing of it."""
        args = self.args
        items = self._get_num_items_in_batch([batch], args.device)
        if args.task_tokens_per_batch and args.world_size > 1:
            self._level([batch])
        # In a run the gradient of the micro-batches before is there already, and the pair half's own when it is due.
        if args.gradient_accumulation_steps > 1:
            start_from_zero_gradients(self.model, self.optimizer)
        kept_apart = self.keeps_gradients_apart and args.align_schedule == "joint"
        self._micro_batch, self._pair_halves, self._pair_gradient = 0, 1, {} if kept_apart else None
        self.current_gradient_accumulation_steps = 1
        with self.accelerator.no_sync(model):
            self.training_step(model, batch, items)

    def _room_of_optimizer(self):
        """As many bytes as its state takes from the first step on, where it has none yet."""
        if self.optimizer.state:
            return None
        sizes = [(weight.numel(), weight.element_size()) for weight in self._trained()]
        size = state_bytes(self.args.optim, sizes)
        return torch.ones(size, dtype=torch.uint8, device=self.args.device)  # ones: zeros take no memory on a CPU

    def _collate(self, task, pairs):
        return collate_halves((task, pairs), self.data_collator, self._collate_pairs, self.args.task_tokens_per_batch)

    def _largest_halves(self, max_steps):
        """(task rows, pairs): the task half and the pair half of this process's run that compute the most tokens."""
        sampler = self._sampler()
        rows = self._rows()
        each = lengths(rows, "input_ids"), lengths(self.pairs, "source", "target")
        # Side by side a batch is as wide as its longest row.
        packed = (self.share_prefix, self._collate_pairs.keywords["packed"])
        largest, number = ([], []), 0
        steps = -(-len(sampler) // self.args.gradient_accumulation_steps)
        for epoch in range(-(-max_steps // steps)):
            sampler.set_epoch(epoch)
            for micro_batch in sampler:
                number += 1
                for half, own, length, sums in zip(largest, micro_batch, each, packed, strict=True):
                    if own:
                        size = length[own].sum() if sums else length[own].max() * len(own)
                        keep = heapq.heappush if len(half) < KEPT else heapq.heappushpop
                        keep(half, (size, number, own))
        task = [[rows[i] for i in own] for _, _, own in largest[0]]
        pairs = [[self.pairs[i] for i in own] for _, _, own in largest[1]]
        return max(task, key=self._computed, default=[]), max(pairs, key=self._computed_of_pairs, default=[])

    def _computed(self, rows):
        return self.data_collator(rows)["input_ids"].numel()

    def _computed_of_pairs(self, pairs):
        return sum(chunk["input_ids"].numel() for chunk in self._collate_pairs(pairs)["chunks"])


def load_of(batches, dense=True):
    """What micro-batches of `collate_halves` need memory for: Load.   dense: whether masks are matrices."""

    def entries(batch):
        sequences, tokens = batch["input_ids"].shape
        return sequences * tokens**2 if dense and "segments" in batch else 0

    passes = [part for batch in batches for part in (*batch.get("parts", ()), batch) if "input_ids" in part]
    chunks = [chunk for batch in batches if "pairs" in batch for chunk in batch["pairs"]["chunks"]]
    return Load(
        max((part["input_ids"].numel() for part in passes), default=0),
        max(((shifted_labels(part) != -100).sum().item() for part in passes), default=0),
        max((chunk["input_ids"].numel() for chunk in chunks), default=0),
        all("labelled" in part for part in passes),
        sum(max(map(entries, half), default=0) for half in (passes, chunks)),
    )


@contextmanager
def unchanged(trainer):
    """What a micro-batch moves is as before at the end: in the trainer, in its model, among the random numbers."""
    device, model, own = trainer.args.device, trainer.model, vars(trainer)
    before = {name: own[name] for name in MOVED if name in own}
    modules = [(module, _plain(module), dict(module._buffers)) for module in model.modules()]
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
    states = random.getstate(), np.random.get_state()
    devices = [] if device.type == "cpu" else [device]
    with torch.random.fork_rng(devices, device_type=device.type if devices else "cuda"):
        try:
            own.update(copy.deepcopy(before))
            yield
        finally:
            for name in MOVED:
                own.pop(name, None)
            own.update(before)
            for buffer, values in buffers:
                buffer.copy_(values)
            for module, plain, named in modules:
                vars(module).update(plain)
                module._buffers.update(named)
            for weight in model.parameters():
                weight.grad = None
            random.setstate(states[0])
            np.random.set_state(states[1])


def _plain(module):
    """Its mode, and what some modules remember of the longest text they have seen."""
    return {name: value for name, value in vars(module).items() if isinstance(value, (bool, int, float))}
