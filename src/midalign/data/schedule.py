"""Which rows and pairs are in which micro-batch: a pure function of seed, epoch and position.

Nothing here has a state to save. A resumed run skips to its position and reads the same rows and pairs.
"""

from itertools import islice
from typing import NamedTuple

import numpy as np
import torch
from torch.utils.data import Sampler

from midalign.data.columns import codes_of, numbers
from midalign.errors import InputError


class MicroBatch(NamedTuple):
    """Indices into the task rows and into the pairs; one of them may be empty."""

    task: list[int]
    pairs: list[int]


def pair_order(languages, epoch, seed, temperature, sentences=None):
    """One pass over the pairs: indices, shuffled, languages resampled.

    languages: the language of each pair, or its number in their order.   temperature: language l with n_l pairs gets a
    share proportional to n_l^(1/temperature) of the pass; 1 keeps the natural shares. The pass is as long as the data.
    A language drawn more often than it has pairs repeats whole shuffles of them, so no pair is far ahead of another.
    sentences: the sentence that each pair translates, as a number; pairs of one then follow each other.
    Returns (len(languages),) int64.
    """
    languages = np.asarray(languages)
    rng = np.random.default_rng([seed, epoch])
    names, counts = np.unique(languages, return_counts=True)
    logarithms = np.log(counts)
    shares = np.exp((logarithms - logarithms.max()) / temperature)
    ends = np.rint(np.cumsum(shares / shares.sum()) * len(languages)).astype(int)
    drawn = []
    for name, start, end in zip(names, [0, *ends[:-1]], ends, strict=True):
        own = np.flatnonzero(languages == name)
        rounds = max(1, -(-(end - start) // len(own)))  # a tiny share may round to no pair at all
        drawn.append(np.concatenate([rng.permutation(own) for _ in range(rounds)])[: end - start])
    order = rng.permutation(np.concatenate(drawn))
    return order if sentences is None else together(order, sentences)


def together(order, sentences):
    """The pairs of a sentence behind its first; a pair that is drawn again is of another turn of its sentence.

    Else the copies of a language with few pairs would stand side by side, where they say nothing new.
    """
    by_pair = np.argsort(order, kind="stable")
    _, first, copies = np.unique(order[by_pair], return_index=True, return_counts=True)
    turns = np.empty_like(order)
    turns[by_pair] = np.arange(len(order)) - np.repeat(first, copies)
    _, sentences = np.unique(np.asarray(sentences)[order], return_inverse=True)
    _, first, group = np.unique(turns * len(order) + sentences, return_index=True, return_inverse=True)
    return order[np.argsort(first[group], kind="stable")]


def is_align_step(schedule, step):
    """Whether optimizer step `step` (from 0) has no task half."""
    return schedule == "align_only" or (schedule == "alternate" and step % 2 == 1)


def is_anchor_step(schedule, step):
    """Whether the pair half of optimizer step `step` (from 0) is anchored: every second step that can have one."""
    return step % 4 == 1 if schedule == "alternate" else step % 2 == 0


def require_full_batch(pairs, batch_size, processes):
    """Raises InputError when so many pairs do not fill one batch of every process."""
    if pairs < batch_size * processes:
        raise InputError(
            f"{pairs} pairs do not fill a batch of align_batch_size={batch_size} on {processes} process(es); "
            "lower align_batch_size or add pairs."
        )


class MicroBatchSampler(Sampler):
    """The micro-batches of one epoch of one process, in order.

    An epoch is one pass over the task rows (`align_only`: over the pairs); the pairs run in passes of their
    own beside it. Task rows come in the order in which stock SFTTrainer, given the same seed, reads them, so
    `sft` and `joint` see the same rows at the same step. In `alternate`, an accumulation window that the
    epoch's last rows cannot fill is filled with rows from the beginning of the same epoch.
    """

    def __init__(
        self,
        schedule,
        task_rows,
        languages,
        *,
        task_batch_size,
        pair_batch_size,
        accumulation=1,
        align_every=1,
        temperature=10.0,
        seed=0,
        processes=1,
        rank=0,
        align_until=None,
        sentences=None,
    ):
        """task_rows: how many.   languages: of each pair.   Batch sizes are those of one process.

        align_until: joint only, the optimizer step (from 0) from which on there is no pair half.   sentences: of each
        pair, see `pair_order`.

        Raises InputError when the pairs do not fill one batch of all processes.
        """
        self.schedule, self.task_rows, self.languages = schedule, task_rows, languages
        self.task_batch_size, self.pair_batch_size = task_batch_size, pair_batch_size
        self.accumulation, self.align_every = accumulation, align_every
        self.temperature, self.seed, self.processes, self.rank = temperature, seed, processes, rank
        self.align_until, self.sentences = align_until, sentences
        self.epoch = 0
        # An incomplete last batch of a pass is left out: its loss would have fewer negatives.
        self.pair_batches = len(languages) // (pair_batch_size * processes)
        if schedule != "sft":
            require_full_batch(len(languages), pair_batch_size, processes)
        self.task_batches = -(-task_rows // (task_batch_size * processes))
        self._pass = (None, None)

    @classmethod
    def of(cls, args, task_rows, pairs, processes=1, rank=0):
        """The sampler of a recipe.   args: MidAlignConfig.   task_rows: how many.   pairs: Dataset of `pair_rows`."""
        return cls(
            args.align_schedule,
            task_rows,
            codes_of(pairs, "language")[1],
            task_batch_size=args.per_device_train_batch_size,
            pair_batch_size=args.align_batch_size,
            accumulation=args.gradient_accumulation_steps,
            align_every=args.align_every,
            temperature=args.align_sampling_temperature,
            seed=args.data_seed if args.data_seed is not None else args.seed,
            processes=processes,
            rank=rank,
            align_until=args.align_until,
            sentences=numbers(pairs, "target_text") if args.align_loss == "multiway" else None,
        )

    def of_step(self, step, micro_batch=None):
        """The micro-batches of optimizer step `step` (from 0), or only one of them; moves to its epoch."""
        steps = -(-len(self) // self.accumulation)
        self.set_epoch(step // steps)
        start = step % steps * self.accumulation
        window = list(islice(self, start, start + self.accumulation))
        return window if micro_batch is None else window[micro_batch : micro_batch + 1]

    def set_epoch(self, epoch):
        """Called by the trainer at the start of each epoch."""
        self.epoch = epoch

    def __len__(self):
        if self.schedule == "align_only":
            return self.pair_batches
        if self.schedule == "alternate":
            return 2 * self.accumulation * -(-self.task_batches // self.accumulation)
        return self.task_batches

    def __iter__(self):
        generator = torch.Generator().manual_seed(self.seed + self.epoch)
        order = torch.randperm(self.task_rows, generator=generator).numpy()
        start = self.epoch * len(self)
        before = self.epoch * -(-len(self) // self.accumulation)  # optimizer steps of the epochs before
        for i in range(len(self)):
            step, inside = divmod(i, self.accumulation)
            if self.schedule == "sft":
                yield MicroBatch(self._task(order, i), [])
            elif self.schedule == "joint":
                number, due = divmod(start + i, self.align_every)
                aligns = due == 0 and (self.align_until is None or before + step < self.align_until)
                yield MicroBatch(self._task(order, i), self._pairs(number) if aligns else [])
            elif not is_align_step(self.schedule, step):
                yield MicroBatch(self._task(order, step // 2 * self.accumulation + inside), [])
            elif self.schedule == "align_only":
                yield MicroBatch([], self._pairs(start + i))
            else:
                yield MicroBatch([], self._pairs(start // 2 + step // 2 * self.accumulation + inside))

    def _task(self, order, batch):
        first = (batch * self.processes + self.rank) * self.task_batch_size
        last = first + self.task_batch_size
        if self.processes == 1 and first < self.task_rows:
            last = min(last, self.task_rows)
        return order[np.arange(first, last) % self.task_rows].tolist()

    def _pairs(self, number):
        pairs_pass, batch = divmod(number, self.pair_batches)
        if self._pass[0] != pairs_pass:
            self._pass = (
                pairs_pass,
                pair_order(self.languages, pairs_pass, self.seed, self.temperature, self.sentences),
            )
        first = (batch * self.processes + self.rank) * self.pair_batch_size
        return self._pass[1][first : first + self.pair_batch_size].tolist()
