"""SFTTrainer with an alignment half in its micro-batches.

Reads no files. All scaling of the loss happens in `compute_loss`, so that the
objective of an optimizer step is mean over task tokens + align_weight x mean over pairs, whatever the
gradient accumulation.
"""

import contextlib
import logging
from functools import partial

import torch
from transformers import EarlyStoppingCallback, PrinterCallback, ProgressCallback
from trl import SFTTrainer

from midalign.alignment.hidden import decoder_of
from midalign.data.batches import Halves, HalvesLoader, collate_halves, collate_task, pad_task
from midalign.data.capability import FLEX, Capability
from midalign.data.given import as_rows
from midalign.data.schedule import MicroBatchSampler, is_align_step
from midalign.training.callbacks import AlignLearningRate, Shown
from midalign.training.checks import check_task_tokens, fast_paths, longest_row, longest_sentence
from midalign.training.diagnostics import Diagnosed
from midalign.training.engines import (
    checkpointing_as_given,
    keep_adapters_in_float32,
    only_adding,
    start_from_zero_gradients,
)
from midalign.training.exactness import ExactAtStart
from midalign.training.experts import balance_loss, routers_of, take_over_balance
from midalign.training.forward import block_mask, only_states
from midalign.training.from_python import FromPython, Given, begin
from midalign.training.guards import Guarded, Watch, hint_at_flat_logits
from midalign.training.held_out import HeldOut
from midalign.training.means import Means
from midalign.training.pair_half import PairHalf
from midalign.training.resume import Resumable
from midalign.training.several import SeveralTasks
from midalign.training.trial import TriedAtStart

logger = logging.getLogger(__name__)
MEANS = ("loss/task", "loss/align", "loss/anchor", "align/retrieval_at_1", "aux_loss")


class MidAlignTrainer(
    FromPython, Guarded, TriedAtStart, ExactAtStart, Resumable, Diagnosed, HeldOut, PairHalf, SeveralTasks, SFTTrainer
):
    """Fine-tunes on task rows and aligns the states of translation pairs at layer `args.align_layer`.

    model: a name, a folder or a model.   args: MidAlignConfig.   processing_class: the tokenizer, the model's own when
    None; its chat template is fitted in place (`data.templates.fit`).   peft_config: for an adapter.
    train_dataset, eval_dataset: list of dicts or datasets.Dataset, of {"prompt": [messages], "completion": [message]}
    or {"messages": [...]}, whose last message is trained; or with input_ids and labels. eval_dataset may be a dict.
    pairs: list of dicts or Dataset of {"source", "target", "source_lang", "target_lang"}.   eval_pairs: such pairs, or
    how many of each language are kept out of `pairs`; scored per language at each evaluation.
    align_pivot: the language with the labels, in which one side of each pair is.
    on_bad_row: error, or skip to leave out what cannot be used; `left_out` has a sentence for each then.
    made_from: what `training.job` has prepared this from, and checked, a recipe: rows and pairs are tokenised.
    What it shares with a run of a recipe: the checks and their sentences, tokens, batches, losses, guards, whole
    checkpoints and what a resumed run must have in common. What it does not do: score languages, lock or look into
    output_dir (but for checkpoints, which a new run is not begun over), write run.json and a model card.
    Raises InputError, ValueError for a decoder without an early exit; `train` raises InputError where the early exit is
    not exact.
    """

    _tag_names = ["sft", "midalign"]  # noqa: RUF012  as in SFTTrainer
    _name = "MidAlign"
    _paper = {  # noqa: RUF012
        "title": "Middle-Layer Representation Alignment for Cross-Lingual Transfer in Fine-Tuned LLMs",
        "id": "2502.14830",
    }
    # Read by transformers: do not divide by the accumulation steps again.
    loss_is_scaled_for_ga = True

    def __init__(
        self,
        model,
        args=None,
        *,
        train_dataset=None,
        eval_dataset=None,
        pairs=(),
        eval_pairs=(),
        processing_class=None,
        peft_config=None,
        callbacks=None,
        align_pivot="en",
        on_bad_row="error",
        made_from=None,
        **kwargs,
    ):
        self.from_recipe = made_from is not None
        if self.from_recipe:
            streams = (train_dataset, eval_dataset, as_rows(pairs), as_rows(eval_pairs))
            given = Given(model, args, processing_class, *streams, [], made_from)
        else:
            streams = (train_dataset, eval_dataset, pairs, eval_pairs)
            given = begin(model, args, processing_class, *streams, peft_config, align_pivot, on_bad_row, kwargs)
        args, self.pairs, self.eval_pairs = given.args, given.pairs, given.held_out_pairs
        self.left_out, self.made_from = given.left_out, given.made_from
        callbacks = list(callbacks or ())
        if args.align_learning_rate is not None:
            callbacks.append(AlignLearningRate(args.align_learning_rate / args.learning_rate))
        if args.early_stopping_patience is not None:
            callbacks.append(EarlyStoppingCallback(args.early_stopping_patience))
        with checkpointing_as_given(args):
            super().__init__(
                model=given.model,
                args=args,
                train_dataset=given.task,
                eval_dataset=given.held_out_task,
                processing_class=given.tokenizer,
                peft_config=peft_config,
                callbacks=callbacks,
                **kwargs,
            )
        if self.pop_callback(ProgressCallback) or self.pop_callback(PrinterCallback):  # not the one of a notebook
            self.add_callback(Shown())
        keep_adapters_in_float32(self.model)
        self._tell_tasks_apart()
        self._balance = take_over_balance(self)
        self.share_prefix, pack_pairs = self._fast_paths()
        config = decoder_of(self.model).config
        hidden_size = None if config._attn_implementation == FLEX else config.hidden_size
        if self.share_prefix:
            self.data_collator = partial(collate_task, pad=self.data_collator, hidden_size=hidden_size)
        elif self.tasks:
            self.data_collator = partial(pad_task, pad=self.data_collator)
        self._begin_pair_half(pack_pairs, hidden_size)
        self._means = Means()
        self._watch = Watch(self._candidates, args.align_loss == "infonce")
        self._micro_batch = 0  # in the accumulation window at hand
        self._hint_given = False
        self._begin_diagnostics()

    def _fast_paths(self):
        """Whether share_prefix and pack_pairs are on, said in the log with the reason where they are not."""
        held_out = self.eval_dataset if isinstance(self.eval_dataset, dict) else {"": self.eval_dataset}
        row = longest_row(self.train_dataset)
        check_task_tokens(self.args.task_tokens_per_batch, row)
        row = max(row, longest_row(*held_out.values()))
        sentence = longest_sentence(self.pairs, self.eval_pairs)
        capability = Capability.of(decoder_of(self.model).config, self._balance)
        capability.require_training(self.args.device)
        paths = fast_paths(self.args, capability, row, sentence)
        for (key, (on, reason)), longest in zip(paths.items(), (row, sentence), strict=True):
            if longest and self.is_world_process_zero():
                logger.info("%s is %s%s.", key, "on" if on else "off", f": {reason}" if reason else "")
        return [on for on, _ in paths.values()]

    # Batches

    def _sampler(self):
        args = self.args
        return MicroBatchSampler.of(args, len(self.train_dataset), self.pairs, args.world_size, args.process_index)

    def _rows(self):
        """The task rows, without what their batches have no use for."""
        return self.train_dataset.select_columns(["input_ids", "labels", *(["task"] if self.tasks else [])])

    def get_train_dataloader(self):
        args = self.args
        if args.align_schedule == "sft" and not (self.share_prefix or args.task_tokens_per_batch or self.tasks):
            return super().get_train_dataloader()
        return HalvesLoader(
            Halves(self._rows(), self.pairs),
            batch_sampler=self._sampler(),
            collate_fn=partial(
                collate_halves,
                collate_task=self.data_collator,
                collate_pairs=self._collate_pairs,
                task_tokens=args.task_tokens_per_batch,
            ),
            num_workers=args.dataloader_num_workers,
            pin_memory=args.dataloader_pin_memory,
            prefetch_factor=args.dataloader_prefetch_factor,
            persistent_workers=args.dataloader_persistent_workers,
            # Its own generator: starting an epoch must not move the random state that dropout reads.
            generator=torch.Generator(),
        )

    def get_batch_samples(self, epoch_iterator, num_batches, device):
        batches, tokens = super().get_batch_samples(epoch_iterator, num_batches, device)
        self._micro_batch, self._pair_halves = 0, sum("pairs" in batch for batch in batches)
        if any("input_ids" in batch for batch in batches):
            self._means.add("loss/task")  # one step, whatever the number of its task halves
        if self.args.task_tokens_per_batch and self.args.world_size > 1:
            self._level(batches)
        return batches, tokens

    def _level(self, batches):
        """Give the task halves of all processes as many passes each: where one needs fewer, further ones teach nothing.

        Engines exchange weights and sums inside of a pass, each process its own at the same time.
        """
        own = torch.tensor([len(batch.get("parts", ())) for batch in batches], device=self.args.device)
        most = self.accelerator.gather(own).view(-1, len(batches)).amax(dim=0)
        nothing = {"input_ids": [0], "labels": [-100], **({"task": 0} if self.tasks else {})}
        for batch, missing in zip(batches, (most - own).tolist(), strict=True):
            if missing:
                batch["parts"] = [*batch.get("parts", ()), *(self.data_collator([nothing]) for _ in range(missing))]

    def _get_num_items_in_batch(self, batch_samples, device):
        every = [part for batch in batch_samples for part in (*batch.get("parts", ()), batch)]
        return super()._get_num_items_in_batch(every, device)

    def training_step(self, model, inputs, num_items_in_batch=None):
        if self._micro_batch == 0 and "input_ids" not in inputs:
            start_from_zero_gradients(self.model, self.optimizer)
        loss = 0.0
        for part in inputs.pop("parts", ()):
            with only_adding(self.accelerator, model):
                loss = loss + super().training_step(model, part, num_items_in_batch)
        loss = loss + super().training_step(model, inputs, num_items_in_batch)
        self._micro_batch += 1
        if self.accelerator.sync_gradients:
            self._look_at_gradients()
        return loss

    # Loss

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        if not self.model.training:
            return self._eval_task_loss(model, inputs, return_outputs)
        pairs = inputs.pop("pairs", None)
        loss = 0.0
        if "input_ids" in inputs:
            loss, balance = self._task_loss(model, inputs, num_items_in_batch=num_items_in_batch)
            # Micro-losses are parts of one mean over the window's tokens: they add up to it.
            self._means.add("loss/task", loss, count=0)
            if self._balance:
                self._means.add("aux_loss", balance)
                steps = 1 if num_items_in_batch is None else self.current_gradient_accumulation_steps
                loss = loss + self._balance * balance / steps
            self._note("task half", loss)
        if pairs is not None:
            term = self._pair_loss(model, pairs)
            self._take_apart(term)
            loss = loss + term
        return loss

    def _task_loss(self, model, inputs, **kwargs):
        """(what SFTTrainer gives, the loss that balances experts): the latter is None without one."""
        copies = inputs.pop("copies", inputs.get("attention_mask"))
        labelled, decoder = inputs.pop("labelled", None), decoder_of(self.model)
        model = self._seeing_blocks(model, inputs, copies)
        with contextlib.ExitStack() as hooks:
            # Compiled, a model would not see the hook; logits that are asked for are those of every token.
            if labelled is not None and not (self.args.torch_compile or kwargs.get("return_outputs")):
                hooks.enter_context(only_states(decoder, labelled))
                for name in {"shift_labels", "tasks"} & inputs.keys():
                    inputs[name] = inputs[name].flatten()[labelled][None]  # (1, K)
            if not self._balance:
                return super().compute_loss(model, inputs, **kwargs), None
            routers = hooks.enter_context(routers_of(decoder))
            result = super().compute_loss(model, inputs, **kwargs)
        return result, balance_loss(routers[0], decoder.config, copies)

    def _seeing_blocks(self, model, inputs, copies):
        """The model with the block mask of a packed task half; unchanged for a padded one."""
        if "segments" not in inputs:
            return model
        self._metrics["train" if self.model.training else "eval"]["task/tokens_saved"].append(inputs.pop("saved"))
        mask = block_mask(self.model, inputs.pop("segments"), inputs.pop("prefixes"), inputs["position_ids"])
        inputs["attention_mask"] = (copies > 0).long()  # for SFTTrainer, which counts tokens; the model gets the blocks
        return lambda **given: model(**given | {"attention_mask": mask})

    # Logs

    def _get_learning_rate(self):
        """What the step at hand is taken with: `AlignLearningRate` scales it, and has scaled it back by now."""
        own, args = super()._get_learning_rate(), self.args
        aligns = args.align_learning_rate is not None and is_align_step(args.align_schedule, self.state.global_step)
        return own * (args.align_learning_rate / args.learning_rate) if aligns else own

    def log(self, logs, start_time=None):
        """`loss/task`, of several tasks `loss/task/<task>`, and `loss/align` (nats), `loss/anchor` (squared states)
        and `align/retrieval_at_1`, each a mean over the steps that had it.
        """
        if self.model.training:  # an evaluation between two logs must leave the collected values alone
            self._require_finite()
            first = self._means.values["loss/align"][:1]
            if first and self.args.align_loss == "infonce" and not self._hint_given:
                self._hint_given = True
                args = self.args
                how = args.align_center, args.align_pool_skip_first, args.align_pooling
                hint_at_flat_logits(first[0].item(), self._candidates, *how)
            names = (*MEANS, *self.diagnosed, *(f"loss/task/{task}" for task in self.tasks))
            logs.update(self._means.take(names, self.accelerator.reduce, self.args.device))
        super().log(logs, start_time)
