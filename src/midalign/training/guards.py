"""Guards of a run: numbers that are none, a loss that teaches nothing, a step that does not fit.

The numbers stay on the device until they are looked at, at every log and before every checkpoint: a guard that waited
for each step would cost more than it saves. So the run stops a few steps after the first bad number, which is the
one that is named, and no checkpoint holds weights from after it.
"""

import logging
import math
from contextlib import contextmanager

import torch

from midalign.errors import NoSignalError, NotFiniteError, OutOfMemoryError
from midalign.models.loading import is_out_of_memory
from midalign.models.weights import first_not_finite
from midalign.training.checkpoints import newest_whole
from midalign.training.engines import whole_norm

logger = logging.getLogger(__name__)

FLAT_STEPS = 50


class Watch:
    """Losses and gradient norms as they come, looked at together."""

    def __init__(self, pairs_in_batch, contrastive):
        self.chance, self.contrastive = math.log(pairs_in_batch), contrastive
        self.noted, self.flat, self.still, self.done = [], 0, 0, False

    def note(self, step, micro_batch, what, value, told_apart=None):
        """value: a 0-dim tensor, the loss of the task or pair half, or the gradient norm of a step.

        told_apart: 0-dim, the share of a pair half's sentences whose translation is found among other sentences.
        """
        told_apart = value if told_apart is None else told_apart
        both = torch.stack([one.detach().float().reshape(()) for one in (value, told_apart)])
        self.noted.append((step, micro_batch, what, both))

    def first_not_finite(self):
        """(step, micro-batch, what) of the first number that is none since the last look, or None; forgets the others.

        Raises NoSignalError once the alignment loss has been exactly ln(pairs) or 0 for FLAT_STEPS pair halves, or the
        gradient exactly 0 for FLAT_STEPS steps. A loss of 0 with every translation found is the goal, not a fault: at a
        low temperature float32 has no smaller number, and no gradient is left.
        """
        if not self.noted:
            return None
        values = torch.stack([value for *_, value in self.noted]).tolist()
        noted, self.noted = self.noted, []
        for (step, micro_batch, what, _), (value, told_apart) in zip(noted, values, strict=True):
            if not math.isfinite(value):
                return step, micro_batch, what
            if what == "pair half":
                self.done = value == 0 and told_apart == 1
                self._require_signal(value, step)
            if what == "gradient":
                self._require_gradient(value, step)
        return None

    def _require_gradient(self, norm, step):
        self.still = self.still + 1 if norm == 0 and not self.done else 0
        if self.still == FLAT_STEPS:
            raise NoSignalError(
                f"the gradient has been exactly 0 for {FLAT_STEPS} steps, up to step {step}: nothing is trained. "
                "Likely the loss reaches no trained weight; look at lora_target_modules and at what is quantised."
            )

    def _require_signal(self, loss, step):
        at = "0" if loss == 0 else f"ln(align_batch_size) = {self.chance:.4f}"
        still = (loss == 0 and not self.done) or (self.contrastive and abs(loss - self.chance) < 1e-6)
        self.flat = self.flat + 1 if still else 0
        if self.flat == FLAT_STEPS:
            raise NoSignalError(
                f"the alignment loss has been exactly {at} for {FLAT_STEPS} pair halves, up to step {step}: it teaches "
                "nothing. Likely all pooled states are the same (align_pooling bos), no layer up to align_layer is "
                "trained, or both sides of the pairs are equal; use align_pooling mean and look at the pairs."
            )


class Guarded:
    """Mixin over SFTTrainer that looks before every checkpoint and at the end; `_watch` is its Watch."""

    def _finalize_training(self, *args):
        self._require_finite()
        self._require_finite_weights()
        return super()._finalize_training(*args)

    def _save_checkpoint(self, model, trial):
        self._require_finite()
        self._require_finite_weights()
        super()._save_checkpoint(model, trial)

    def _clip_grad_norm(self, model):
        norm = super()._clip_grad_norm(model)
        if not self.args.fp16:  # a loss scaler skips steps that are not finite by design
            self._watch.note(self.state.global_step + 1, None, "gradient", whole_norm(norm, self.args.device))
        return norm

    def _note(self, what, value, told_apart=None):
        self._watch.note(self.state.global_step + 1, self._micro_batch, what, value, told_apart)

    def _require_finite(self):
        found = self._watch.first_not_finite()
        if found:
            step, micro_batch, _ = found
            raise not_finite(found, self._places(step - 1, micro_batch), newest_whole(self.args.output_dir)[0])

    def _require_finite_weights(self):
        trained = ((name, weight) for name, weight in self.model.named_parameters() if weight.requires_grad)
        name = first_not_finite(trained, self.accelerator.reduce)
        if name:
            raise weight_not_finite(name, self.state.global_step, newest_whole(self.args.output_dir)[0])

    def _places(self, step, micro_batch):
        """Where the rows and pairs of a micro-batch, or of a whole step, come from."""
        window = self._sampler().of_step(step, micro_batch)
        rows = self.train_dataset["place"] if "place" in self.train_dataset.column_names else None
        places = [rows[i] for half in window for i in half.task] if rows else []
        return places + [self.pairs[i]["place"] for half in window for i in half.pairs]


def not_finite(found, places, checkpoint):
    """NotFiniteError for what `Watch.first_not_finite` found.   places: of the rows and pairs of that micro-batch."""
    step, micro_batch, what = found
    where = "" if micro_batch is None else f", micro-batch {micro_batch}"
    shown = "; ".join(places[:4]) + (f" and {len(places) - 4} more" if len(places) > 4 else "")
    return NotFiniteError(
        f"the {what} is not finite at step {step}{where}, with {shown}; {_last_good(checkpoint)}. Look at these rows, "
        "or lower learning_rate or max_grad_norm, and start anew in another output_dir."
    )


def weight_not_finite(name, step, checkpoint):
    """NotFiniteError for a weight that an optimizer step has made NaN or infinite.   step: how many were taken."""
    return NotFiniteError(
        f"the weight {name} is not finite after step {step}; {_last_good(checkpoint)}. Look at the numbers of the "
        "optimizer (learning_rate, weight_decay, adam_*), and start anew in another output_dir."
    )


def _last_good(checkpoint):
    return f"the last good checkpoint is {checkpoint}" if checkpoint else "there is no checkpoint yet"


@contextmanager
def fitting(args, what="the step"):
    """Around what takes memory: raises OutOfMemoryError where it runs out, with the keys to change."""
    try:
        yield
    except Exception as error:
        if is_out_of_memory(error):
            raise out_of_memory(args, what) from error
        raise


def out_of_memory(args, what):
    """OutOfMemoryError with the keys to change; a run may go on from its checkpoint with all of them changed."""
    chunk, tokens, rows = args.align_chunk_size, args.task_tokens_per_batch, args.per_device_eval_batch_size
    changes = [("activation_checkpointing", args.activation_checkpointing, True)]
    if what == "the step":  # of a run, which may have been an evaluation
        changes.append(("per_device_eval_batch_size", rows, max(rows // 2, 1)))
    if args.align_schedule == "joint" or (args.align_schedule != "sft" and args.world_size == 1):
        changes.append(("align_chunk_size", chunk, max((chunk or args.align_batch_size) // 4, 1)))
    changes.append(("task_tokens_per_batch", tokens, max((tokens or 4096) // 2, 1)))
    if args.align_schedule in ("joint", "alternate"):
        changes.append(("align_diagnostics_steps", args.align_diagnostics_steps, 0))  # holds one more gradient
    shown = "; ".join(f"{key}: {new} (found {old})" for key, old, new in changes if old != new)
    return OutOfMemoryError(
        f"{what} does not fit into memory. Change, in this order, what leaves the experiment as it is: {shown}."
    )


def hint_at_flat_logits(first, pairs, center, skip_first, pooling):
    """Say so in the log when the first alignment loss of `pairs` pairs is that of a coin.

    center, skip_first, pooling: the recipe's.
    """
    one_token = pooling in ("last", "bos")  # and no first one to be left out
    beside = "" if one_token else " together with align_pool_skip_first: true,"
    remedy = "" if center and (skip_first or one_token) else f"align_center: true{beside} or "
    chance = math.log(pairs)
    if abs(first - chance) < 0.02 * chance:
        logger.warning(
            "loss/align starts at %.3f, within 2 %% of ln(align_batch_size) = %.3f: the cosines of true and wrong "
            "pairs hardly differ at this temperature. Try %sa lower align_temperature.",
            first,
            chance,
            remedy,
        )
