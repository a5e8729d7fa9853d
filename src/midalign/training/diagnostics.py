"""Figures beside the losses, every few steps: whether sentences still differ, and how the two halves' gradients lie.

None of it changes a run: held-out pairs go through the model without dropout and gradient, and a pair half's own
gradient comes from its graph beside the backward pass that trains.
"""

import logging
import math

import torch

from midalign.alignment import losses
from midalign.alignment.negatives import false_negatives
from midalign.analysis.collapse import effective_rank, mean_of_non_pairs
from midalign.analysis.gradients import norms_and_cosine
from midalign.compatibility import DIAGNOSED, engine_of
from midalign.training.exactness import evaluating
from midalign.training.held_out import by_language
from midalign.training.pair_half import by_layer

logger = logging.getLogger("midalign")

PAIRS = 32  # held-out pairs of a language that are looked at
KEPT = 0.1, 0.25  # a space collapses when it keeps less than this of 1 - cosine, or of the rank, that it had at first
SPREAD = ("diag/cosine_random", "diag/effective_rank")
GRADIENTS = ("diag/grad_norm_task", "diag/grad_norm_align", "diag/grad_cosine")


class Diagnosed:
    """The trainer's part that looks at itself; mixed into `MidAlignTrainer`, whose means take what it finds."""

    def _begin_diagnostics(self):
        """To be called once the held-out pairs are known."""
        args = self.args
        self._looked_at = {language: pairs[:PAIRS] for language, pairs in by_language(self.eval_pairs).items()}
        engine = engine_of(args)
        self._no_gradients = why_no_gradients(args, engine)
        seen = sum(map(len, self._looked_at.values()))
        self._every = interval(args, seen) if seen or not self._no_gradients else 0
        # A forward pass between two steps: ZeRO-3, with all weights trained, then fails in the next backward pass.
        if self._every and engine not in DIAGNOSED:
            self._every = 0
            if self.is_world_process_zero():
                logger.info("diagnostics are off: they have not run under %s.", engine)
        self.diagnosed = ()
        if self._every:
            languages = [f"diag/retrieval_at_1/{language}" for language in self._looked_at]
            self.diagnosed = (*languages, *SPREAD, *GRADIENTS)
            left_out = f" diag/grad_* are left out: {self._no_gradients}." if self._no_gradients else ""
            if self.is_world_process_zero():
                logger.info("diagnostics every %d steps, on %d held-out pairs.%s", self._every, seen, left_out)
        self._first = self._task_gradient = self._pair_gradient = None
        self._gradients_due = self._warned = False

    def get_batch_samples(self, epoch_iterator, num_batches, device):
        batches, tokens = super().get_batch_samples(epoch_iterator, num_batches, device)
        if self._every and batches:
            step, alternate = self.state.global_step, self.args.align_schedule == "alternate"
            due = is_due(step, self._every)
            if due and self._looked_at:
                self._look_at_held_out()
            if not self._no_gradients and (due or (alternate and is_due(step ^ 1, self._every))):
                self._gradients_due = True
            self._pair_gradient = {} if self._gradients_due and not alternate else None
        return batches, tokens

    @torch.no_grad()
    def _look_at_held_out(self):
        retrieval, others = {}, []
        with evaluating(self.model):
            for language, pairs in self._looked_at.items():
                source, target, *texts = map(torch.cat, zip(*self._states_of_pairs(pairs), strict=True))
                exclude = false_negatives(*texts)
                retrieval[f"diag/retrieval_at_1/{language}"] = self._retrieval(source, target, exclude).item()
                others += [spread(*sides, exclude) for sides in by_layer(source, target)]
        now = dict(zip(SPREAD, torch.tensor(others).mean(dim=0).tolist(), strict=True))
        self._collect({**retrieval, **now})
        logged = [entry for entry in self.state.log_history if SPREAD[0] in entry]
        self._first = self._first or (logged or [now])[0]  # of a run that goes on: what its first part began with
        sentence = collapse(self._first, now, self.args.align_loss)
        if sentence and not self._warned:
            self._warned = True
            if self.is_world_process_zero():
                logger.warning("step %d: %s", self.state.global_step + 1, sentence)

    def _take_apart(self, term):
        """Keep a pair half's gradient where it is asked for.   term: what it adds to the loss of a micro-batch."""
        if self._pair_gradient is None or not term.requires_grad:  # no layer up to align_layer is trained
            return
        weights = self._trained()
        with torch.autocast(term.device.type, enabled=False):  # as any backward pass
            gradients = torch.autograd.grad(term, weights, retain_graph=True, allow_unused=True)
        for weight, gradient in zip(weights, gradients, strict=True):
            if gradient is not None:
                kept = self._pair_gradient.get(weight)
                self._pair_gradient[weight] = gradient if kept is None else kept + gradient

    def _look_at_gradients(self):
        """Compare the gradients of the two halves, once those of a whole step are there and not yet clipped.

        In the alternate schedule they are those of two steps, the first of which has been taken in between.
        """
        if not self._gradients_due:
            return
        weights, zero = self._trained(), torch.zeros((), device=self.args.device)
        whole = {weight: weight.grad for weight in weights if weight.grad is not None}
        if self.args.align_schedule != "alternate":
            pair, self._pair_gradient = self._pair_gradient, None
            if pair and self.args.world_size > 1:
                pair = self.accelerator.reduce(pair, "mean")
            parts = ((whole[weight] - pair.get(weight, zero), pair.get(weight, zero)) for weight in whole)
        elif self._pair_halves:
            task, self._task_gradient = self._task_gradient, None
            pair = whole if task else None  # a run may go on between the two
            parts = ((task.get(weight, zero), whole.get(weight, zero)) for weight in weights)
        else:
            pair, self._task_gradient = None, {weight: gradient.clone() for weight, gradient in whole.items()}
        if pair:
            self._collect(dict(zip(GRADIENTS, norms_and_cosine(parts), strict=True)))
            self._gradients_due = False

    def _trained(self):
        return [weight for weight in self.model.parameters() if weight.requires_grad]

    def _collect(self, figures):
        for name, value in figures.items():
            if math.isfinite(value):  # a number that is none in the run itself is named by the guards
                self._means.add(name, torch.tensor(value, device=self.args.device))


def is_due(step, every):
    """Whether optimizer step `step` (from 0) is looked at: the first, and n, 2 n, ... counted from 1."""
    return step == 0 or (step + 1) % every == 0


def spread(source, target, exclude):
    """(mean cosine of sentences that do not translate each other, effective rank, the mean of both sides).

    source, target: (B, H).   exclude: (B, B) bool, see `mean_of_non_pairs`.   Two floats, of one layer.
    """
    cosine = mean_of_non_pairs(losses.similarity(source, target), exclude)
    return cosine.item(), (effective_rank(source) + effective_rank(target)).item() / 2


def interval(args, held_out):
    """Every how many steps to look; 0 for never.   args: MidAlignConfig.   held_out: pairs that are looked at.

    Unset, so rarely that it costs at most 2 % of the steps: a pair, which is two sentences through about half of the
    layers, counts as a task row; what goes through the model without a gradient counts half, and a pair half's own
    gradient, with which its states may be computed again, as the pair half.
    """
    if args.align_diagnostics_steps is not None:
        return args.align_diagnostics_steps
    rows, pairs = args.per_device_train_batch_size, args.align_batch_size / args.align_every
    schedule, windows = args.align_schedule, args.gradient_accumulation_steps
    rows, pairs = windows * rows * (schedule != "align_only"), windows * pairs * (schedule != "sft")
    if schedule == "alternate":
        rows, pairs = rows / 2, pairs / 2
    return math.ceil(50 * (held_out / 2 + pairs) / (rows + pairs))


def why_no_gradients(args, engine):
    """The reason why those of the two halves are not looked at, or None.   engine: of `compatibility.ENGINES`."""
    if args.align_schedule in ("sft", "align_only"):
        return f"align_schedule {args.align_schedule} has one half, whose gradient is that of the step (grad_norm)"
    if engine not in ("single", "ddp"):
        return f"{engine} does not keep them apart"
    if args.fp16:
        return "fp16 scales them; use bf16"
    if args.activation_checkpointing and (args.activation_checkpointing_kwargs or {}).get("use_reentrant"):
        return "use_reentrant: true allows no gradient of one half"
    return None


def collapse(first, now, loss):
    """The sentence that warns of a space in which sentences have become alike, or None.

    first, now: {name in SPREAD: figure} at the beginning and now.   loss: align_loss.
    """
    cosine, rank, cosine_now, rank_now = (figures[name] for figures in (first, now) for name in SPREAD)
    found = []
    if 1 - cosine_now < KEPT[0] * (1 - cosine):
        found.append(f"the mean cosine of random sentences rose from {cosine:.3f} to {cosine_now:.4f}")
    if rank_now < KEPT[1] * rank:
        found.append(f"the effective rank of their states fell from {rank:.1f} to {rank_now:.1f}")
    if not found:
        return None
    negatives = "" if loss == "infonce" else ", or use align_loss infonce, whose negatives keep sentences apart"
    return (
        f"{' and '.join(found)}: the space of align_layer collapses, and what tells sentences apart goes with it; "
        f"lower align_weight or learning_rate{negatives}."
    )
