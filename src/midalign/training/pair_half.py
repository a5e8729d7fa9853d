"""The pair half of a step: batches of pairs in, their loss at the middle layer out."""

from functools import partial

import torch

from midalign.alignment import losses
from midalign.alignment.hidden import decoder_of, require_early_exit
from midalign.alignment.negatives import false_negatives, from_all_processes
from midalign.config import resolve_layer
from midalign.data.batches import collate_pairs
from midalign.training.forward import pooled_pairs


class PairHalf:
    """The trainer's part that aligns; mixed into `MidAlignTrainer`, which scales the loss and collects its means."""

    def _begin_pair_half(self, packed):
        """To be called once there is a model.   packed: whether pack_pairs is on.

        Raises ValueError for a decoder without an early exit, InputError for a layer that it lacks.
        """
        args = self.args
        self.align_layer = resolve_layer(args.align_layer, len(decoder_of(self.model).layers))
        if args.align_schedule != "sft":
            require_early_exit(decoder_of(self.model))
        self._pair_halves = 0  # in the accumulation window at hand
        self._collate_pairs = partial(
            collate_pairs,
            pad_token_id=self._tokenizer.pad_token_id,
            packed=packed,
            chunk=args.align_chunk_size,
        )
        self._candidates = args.align_batch_size * (args.world_size if args.align_gather_negatives else 1)

    def _align_loss(self, model, pairs):
        batch = [*self._pooled(model, pairs["chunks"]), pairs["source_text"], pairs["target_text"]]
        if self.args.align_gather_negatives:
            batch = map(from_all_processes, batch)
        source, target, *texts = batch
        exclude = false_negatives(*texts)
        loss = self._loss(source, target, exclude)
        with torch.no_grad():
            scores = losses.similarity(source, target, self.args.align_center)
            retrieval = losses.retrieval_at_1(scores, exclude)
            told_apart = retrieval * (
                exclude.sum() < exclude.numel() - len(exclude)
            )  # 0 where no sentence is another's negative
        self._note("pair half", loss, told_apart)
        self._means.add("loss/align", loss)
        self._means.add("align/retrieval_at_1", retrieval)
        self._metrics["train"]["align/padding"].append(pairs["padding"])
        return loss

    def _pooled(self, model, chunks):
        args = self.args
        if len(chunks) > 1 or args.align_schedule == "joint":
            model = self.model  # a second forward of the wrapper would tell DDP that the upper layers are not used
        return pooled_pairs(model, chunks, self.align_layer, args.align_pooling, args.align_pool_skip_first)

    def _loss(self, source, target, exclude):
        args = self.args
        if args.align_stop_gradient:
            target = target.detach()
        if args.align_loss == "mse":
            return losses.mse_loss(source, target)
        if args.align_loss == "cka":
            return losses.cka_loss(source, target)
        return losses.alignment_loss(
            source, target, args.align_temperature, args.align_symmetric, center=args.align_center, exclude=exclude
        )
