"""The pair half of a step: batches of pairs in, their loss at the middle layer out."""

from functools import partial

import torch
from peft import LoraConfig

from midalign.alignment import losses
from midalign.alignment.hidden import decoder_of, require_early_exit
from midalign.alignment.negatives import false_negatives, from_all_processes
from midalign.data.batches import collate_pairs
from midalign.data.schedule import is_anchor_step
from midalign.errors import InputError
from midalign.layers import resolve_layer
from midalign.models.adapters import CHANGES_BASE
from midalign.training.exactness import evaluating
from midalign.training.forward import pooled_pairs


class PairHalf:
    """The trainer's part that aligns; mixed into `MidAlignTrainer`, which collects its means.

    Legend: B pairs, H hidden width. States are (B, H), where align_layer is a list (B, layers, H).
    """

    def _begin_pair_half(self, packed, hidden_size):
        """To be called once there is a model.   packed: whether pack_pairs is on.   hidden_size: as of `collate_task`.

        Raises ValueError for a decoder without an early exit, InputError for a layer that it lacks.
        """
        args = self.args
        self.align_layer = resolve_layer(args.align_layer, len(decoder_of(self.model).layers))
        if args.align_schedule != "sft":
            require_early_exit(decoder_of(self.model))
        if args.align_anchor_weight and args.align_schedule != "sft":
            require_base(self.model.peft_config.values())
        self._pair_halves = 0  # in the accumulation window at hand
        self._collate_pairs = partial(
            collate_pairs,
            pad_token_id=self._tokenizer.pad_token_id,
            packed=packed,
            chunk=args.align_chunk_size,
            hidden_size=hidden_size,
        )
        self._candidates = args.align_batch_size * (args.world_size if args.align_gather_negatives else 1)

    def _pair_loss(self, model, pairs):
        """What a pair half adds to the loss of its optimizer step: a scalar."""
        args, step = self.args, self.state.global_step
        source, target = self._pooled(model, pairs["chunks"])
        loss = self._align_loss((source, target), pairs) * (args.align_weight / self._pair_halves)
        if args.align_anchor_weight and is_anchor_step(args.align_schedule, step):
            anchor = self._anchor_loss(target, pairs["chunks"])
            loss = loss + anchor * (args.align_anchor_weight / self._pair_halves)
        return loss

    def _align_loss(self, states, pairs):
        """states: of both sides, see `_pooled`.   pairs: what `collate_pairs` gives."""
        batch = [*states, pairs["source_text"], pairs["target_text"]]
        if self.args.align_gather_negatives:
            batch = map(from_all_processes, batch)
        source, target, *texts = batch
        exclude = false_negatives(*texts)
        loss = self._loss(source, target, texts)
        retrieval = self._retrieval(source, target, exclude)
        told_apart = retrieval * (
            exclude.sum() < exclude.numel() - len(exclude)
        )  # 0 where no sentence is another's negative
        self._note("pair half", loss, told_apart)
        self._means.add("loss/align", loss)
        self._means.add("align/retrieval_at_1", retrieval)
        self._metrics["train"]["align/padding"].append(pairs["padding"])
        return loss

    def _anchor_loss(self, target, chunks):
        """Mean squared difference to the states that the model has without its adapter (REPINA, arXiv 2205.11603).

        target: the states of the side in align_pivot. The base model runs without dropout, so the random state stays
        that of a run without an anchor.
        """
        with torch.no_grad(), self.model.disable_adapter(), evaluating(self.model):
            _, base = self._pooled(self.model, chunks)
        loss = losses.mse_loss(target, base)
        self._note("anchor", loss)
        self._means.add("loss/anchor", loss)
        return loss

    def _pooled(self, model, chunks):
        """(source, target): the pooled states of both sides."""
        args = self.args
        if len(chunks) > 1 or args.align_schedule == "joint":
            model = self.model  # a second forward of the wrapper would tell DDP that the upper layers are not used
        return pooled_pairs(model, chunks, self.align_layer, args.align_pooling, args.align_pool_skip_first)

    def _loss(self, source, target, texts):
        """The mean over layers.   texts: (B,) of each side, equal where texts are."""
        if self.args.align_stop_gradient:
            target = target.detach()
        each = [self._loss_at_one_layer(*sides, texts) for sides in by_layer(source, target)]
        return sum(each) / len(each)

    def _loss_at_one_layer(self, source, target, texts):
        args = self.args
        if args.align_loss == "mse":
            return losses.mse_loss(source, target)
        if args.align_loss == "cka":
            return losses.cka_loss(source, target)
        if args.align_loss == "multiway":
            return losses.multiway_loss(source, target, *texts, args.align_temperature, center=args.align_center)
        return losses.alignment_loss(
            source,
            target,
            args.align_temperature,
            args.align_symmetric,
            center=args.align_center,
            exclude=false_negatives(*texts),
        )

    @torch.no_grad()
    def _retrieval(self, source, target, exclude):
        """retrieval@1, the mean over layers.   exclude: (B, B) bool."""
        scores = [losses.similarity(*sides, self.args.align_center) for sides in by_layer(source, target)]
        return sum(losses.retrieval_at_1(own, exclude) for own in scores) / len(scores)


def require_base(adapters):
    """Raises InputError where the model without its adapters is not the base model.   adapters: their PeftConfigs."""
    for adapter in adapters:
        if isinstance(adapter, LoraConfig) and str(adapter.init_lora_weights).startswith(CHANGES_BASE):
            raise InputError(
                f"align_anchor_weight compares with the base model, which init_lora_weights "
                f"{adapter.init_lora_weights} changes; use another init, or delete align_anchor_weight."
            )


def by_layer(source, target):
    """The (B, H) states of both sides at each layer: list of (source, target)."""
    if source.dim() == 2:
        return [(source, target)]
    return list(zip(source.unbind(1), target.unbind(1), strict=True))
