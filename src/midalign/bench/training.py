"""What a training step costs beside plain TRL and beside the naive forward pass, in one run on one machine.

Every figure is a median over turns in which the candidates run one after the other, forward and backward, on the same
rows and pairs. Nothing is saved.
"""

import gc
import statistics
import tempfile
import time
from collections import defaultdict
from contextlib import contextmanager
from functools import partial

import torch
from peft import get_peft_model
from trl import SFTConfig, SFTTrainer

from midalign.alignment import losses
from midalign.alignment.hidden import decoder_of, middle_states
from midalign.config import MidAlignConfig
from midalign.data.batches import collate_pairs
from midalign.errors import InputError
from midalign.models.loading import adapter_of, load_model
from midalign.models.room import peak_bytes
from midalign.recipe import read_recipe
from midalign.training.forward import inputs_of
from midalign.training.prepare import prepare
from midalign.training.trainer import MidAlignTrainer

SHARED = ("per_device_train_batch_size", "seed", "use_cpu", "bf16", "fp16", "activation_checkpointing")


class Bench:
    """The trainers of a recipe, ours and stock, on one model; batches are the first of a seeded shuffle.

    argv: as `read_recipe` takes it.   told(what): called before each turn of something that is timed.
    Raises InputError.
    """

    def __init__(self, argv, told=lambda what: None):
        self.told = told
        data, args, config = read_recipe(argv)
        if args.align_schedule != "joint":
            raise InputError(
                f"bench measures micro-batches with both halves, found align_schedule {args.align_schedule}; "
                "add --align_schedule joint and pairs."
            )
        if isinstance(args.align_layer, list):
            raise InputError(f"bench measures one layer, found align_layer {args.align_layer}; name one of them.")
        prepared = prepare(data, args, config, on_bad_row="skip")
        self.rows, self.pairs = prepared.task, prepared.pairs
        model = load_model(prepared.path, config, prepared.attention[0])
        if config.use_peft:
            model = get_peft_model(model, adapter_of(config, prepared.config))
        args.max_length = None  # checked: SFTTrainer need not look for rows to cut
        args.eval_strategy, args.load_best_model_at_end, args.early_stopping_patience = "no", False, None
        with tempfile.TemporaryDirectory() as folder:
            args.output_dir = folder
            shared = {key: getattr(args, key) for key in SHARED} | {
                "output_dir": folder,
                "report_to": "none",
                "max_length": None,
            }
            common = {"model": model, "train_dataset": self.rows, "processing_class": prepared.tokenizer}
            self.trl = SFTTrainer(args=SFTConfig(**shared), **common)
            try:
                self.ours = MidAlignTrainer(args=args, pairs=self.pairs, made_from={}, **common)
            except ValueError as error:  # the architecture
                raise InputError(str(error)) from error
            sft = MidAlignConfig(align_schedule="sft", share_prefix=False, **shared)
            self.sft = MidAlignTrainer(args=sft, made_from={}, **common)
        self.ours.require_exact()
        self.ours._pair_halves = 1
        if args.activation_checkpointing:  # `train` would do it
            self.ours.model.activation_checkpointing_enable(args.activation_checkpointing_kwargs)
        # As in training: the precision of products comes with it. Once, since all trainers have this model.
        self.ours.accelerator.prepare_model(model, evaluation_mode=True)
        self.model, self.decoder, self.layer = self.ours.model.train(), decoder_of(model), args.align_layer
        self.optimizer = torch.optim.AdamW([p for p in self.model.parameters() if p.requires_grad], lr=0.0)
        self.batch_size, self.pair_batch_size = args.per_device_train_batch_size, args.align_batch_size
        order = torch.Generator().manual_seed(args.seed)
        self.row_order = torch.randperm(len(self.rows), generator=order).tolist()
        self.pair_order = torch.randperm(len(self.pairs), generator=order).tolist()

    def task(self, who, count=None):
        """A step on `count` rows (the recipe's when None), as ours, sft (ours without prefix sharing) or trl do it."""
        trainer = getattr(self, who)
        rows = [self.rows[i] for i in self.row_order[: count or self.batch_size]]
        batch = trainer._prepare_inputs(trainer.data_collator([self._columns(row) for row in rows]))
        tokens = sum(len(row["input_ids"]) for row in rows)
        items = sum(label != -100 for row in rows for label in row["labels"])
        items = torch.tensor(items, device=self.model.device)

        def step():
            trainer._metrics["train"].clear()
            return trainer.compute_loss(self.model, dict(batch), num_items_in_batch=items)

        return Candidate(step, len(rows), tokens, batch["input_ids"].numel())

    @staticmethod
    def _columns(row):
        return {key: row[key] for key in ("input_ids", "labels")}

    def pair_half(self, who, count=None, stretch=1, layer=None):
        """A step on `count` pairs, each sentence repeated `stretch` times, up to `layer`.

        who: ours; naive (the whole model on padded sentences, output_hidden_states); bare (the same layers on the
        same tokens as ours with no trainer, pooling or loss around).
        """
        layer = layer or self.layer
        pairs = [self.pairs[i] for i in self.pair_order[: count or self.pair_batch_size]]
        pairs = [pair | {side: pair[side] * stretch for side in ("source", "target")} for pair in pairs]
        sentences = [pair[side] for side in ("source", "target") for pair in pairs]
        tokens = sum(map(len, sentences))
        batch = collate_pairs(pairs, 0) if who == "naive" else self.ours._collate_pairs(pairs)
        step = partial(getattr(self, f"_{who}"), self.ours._prepare_inputs(batch), layer)
        return Candidate(step, len(pairs), tokens, sum(chunk["input_ids"].numel() for chunk in batch["chunks"]))

    def _ours(self, batch, layer):
        own, self.ours.align_layer = self.ours.align_layer, layer
        loss = self.ours._align_loss(self.ours._pooled(self.model, batch["chunks"]), batch)
        self.ours.align_layer = own
        return loss

    def _naive(self, batch, layer):
        (chunk,), texts = batch["chunks"], (batch["source_text"], batch["target_text"])
        tokens = {key: chunk[key] for key in ("input_ids", "attention_mask")}
        states = self.model(**tokens, output_hidden_states=True, use_cache=False).hidden_states[layer]
        return self.ours._loss(*losses.mean_pool(states, chunk.get("pooled", chunk["attention_mask"])).chunk(2), texts)

    def _bare(self, batch, layer):
        return sum(self._run_bare(chunk, layer) for chunk in batch["chunks"])

    def _run_bare(self, chunk, layer):
        ids, mask, places = inputs_of(self.model, chunk)
        with self.ours.accelerator.autocast():  # which a model's own forward brings along
            return middle_states(self.decoder, ids, mask, layer, places).float().square().mean()

    def micro_batch(self, who, laps):
        """A whole micro-batch and optimizer step, from rows on.   who: ours, or plain (trl and naive)."""
        for half, make in (("task", self.task), ("pairs", self.pair_half)):
            candidate = make("ours" if who == "ours" else {"task": "trl", "pairs": "naive"}[half])
            laps.lap(f"{half}: collate")
            with laps.inside(half, self.decoder, self.layer):
                loss = candidate.step()
            laps.lap(f"{half}: head and loss")
            loss.backward()
            laps.lap(f"{half}: backward")
        self.optimizer.step()
        self.optimizer.zero_grad()
        laps.lap("optimizer")

    def breakdown(self, repeats):
        """{"plain", "ours": {phase: median seconds of `micro_batch`}}, both in turn."""
        found = defaultdict(list)
        for who, counts in self._turns(("plain", "ours"), repeats):
            laps = Laps()
            self.micro_batch(who, laps)
            if counts:
                found[who].append(laps.seconds)
        return {
            who: {phase: statistics.median(seconds[phase] for seconds in runs) for phase in runs[0]}
            for who, runs in found.items()
        }

    @contextmanager
    def vocabulary(self, size):
        """The model with `size` tokens, its own when None; new ones have random weights."""
        if size is None:
            yield
            return
        base = self.model.get_base_model() if hasattr(self.model, "get_base_model") else self.model
        own = base.get_input_embeddings().num_embeddings
        base.resize_token_embeddings(size, mean_resizing=False)
        try:
            yield
        finally:
            base.resize_token_embeddings(own, mean_resizing=False)

    def gradient_difference(self):
        """Largest entry by which the gradients of our task half and TRL's differ, relative to the largest entry.

        Without dropout, which draws once for a shared prefix and once per row.
        """
        dropouts = {module: module.p for module in self.model.modules() if isinstance(module, torch.nn.Dropout)}
        for module in dropouts:
            module.p = 0.0
        ours, plain = (self._gradients(self.task(who).step) for who in ("ours", "trl"))
        for module, p in dropouts.items():
            module.p = p
        largest = max(gradient.abs().max() for gradient in plain.values())
        return max((ours[name] - plain[name]).abs().max() / largest for name in plain).item()

    def _gradients(self, step):
        self.told("gradients")
        self.model.zero_grad(set_to_none=True)
        step().backward()
        gradients = {name: p.grad.clone() for name, p in self.model.named_parameters() if p.grad is not None}
        self.model.zero_grad(set_to_none=True)
        return gradients

    def measure(self, candidates, repeats):
        """{name: Candidate} -> {name: (median seconds, peak MiB above what was there)}, all in turn."""
        taken, peaks = defaultdict(list), defaultdict(float)
        for name, counts in self._turns(candidates, repeats):
            seconds, peak = self._run(candidates[name].step)
            if counts:
                taken[name].append(seconds)
                peaks[name] = max(peaks[name], peak)
        return {name: (statistics.median(taken[name]), peaks[name]) for name in candidates}

    def _turns(self, names, repeats):
        """Yields (name, counts): all in turn, `repeats` times after a first turn that warms up and does not count.

        What disturbs the machine for a while then disturbs all of them.
        """
        for turn in range(repeats + 1):
            for name in names:
                self.told(name)
                yield name, turn > 0

    def _run(self, step):
        self.model.zero_grad(set_to_none=True)
        gc.collect()
        device = self.model.device
        before = peak_bytes(device, reset=True)
        start = _now()
        step().backward()
        return _now() - start, (peak_bytes(device) - before) / 2**20


class Candidate:
    """A step to time: `step()` gives a loss; rows (or pairs), tokens in them, tokens computed."""

    def __init__(self, step, rows, tokens, computed):
        self.step, self.rows, self.tokens, self.computed = step, rows, tokens, computed


class Laps:
    """Where the time goes: seconds since the last lap, by name."""

    def __init__(self):
        self.seconds, self.last = defaultdict(float), _now()

    def lap(self, name):
        now = _now()
        self.seconds[name] += now - self.last
        self.last = now

    @contextmanager
    def inside(self, half, decoder, layer):
        """Laps at the first layer, the alignment layer and the last layer of a forward pass."""
        layers, depth = decoder.layers, len(decoder.layers)
        hooks = [
            layers[0].register_forward_pre_hook(lambda *_: self.lap(f"{half}: embeddings and mask")),
            layers[layer - 1].register_forward_hook(lambda *_: self.lap(f"{half}: layers 1-{layer}")),
            layers[-1].register_forward_hook(lambda *_: self.lap(f"{half}: layers {layer + 1}-{depth}")),
        ]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()


def _now():
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()
