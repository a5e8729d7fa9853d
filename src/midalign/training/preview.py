"""What a recipe would train on and what it would cost, without its weights, or with them by its largest micro-batch."""

import math
import tempfile
from collections import Counter
from contextlib import suppress
from functools import partial
from itertools import accumulate, groupby, islice, pairwise

from rich.markup import escape
from rich.table import Table
from rich.text import Text
from transformers import DataCollatorForSeq2Seq, TrainerCallback

from midalign.alignment.negatives import false_negatives
from midalign.compatibility import require_compatible
from midalign.data.batches import collate_pairs, collate_task
from midalign.data.capability import FLEX
from midalign.data.columns import counts, distinct
from midalign.data.schedule import MicroBatchSampler
from midalign.data.templates import chat_record
from midalign.models.memory import GIB, Load, estimate
from midalign.models.room import added_by
from midalign.recipe import read_recipe
from midalign.texts import harmless
from midalign.training.job import trainer_of
from midalign.training.prepare import prepare
from midalign.training.record import step_record
from midalign.training.several import labels_of, rows_by_task

BATCHES = 50  # micro-batches that are looked at
SHOWN = 2  # rows and pairs that are printed


def preview_recipe(argv, gpu, engine, processes, try_it=False):
    """Yields what there is to print.   argv: as `read_recipe` takes it.

    gpu: GiB of memory of one of `processes` GPUs.   engine: a name of `compatibility.ENGINES`.
    try_it: also take the largest micro-batch here and now, in this process, with the weights.
    Raises InputError, OutOfMemoryError where that does not fit.

    A row that cannot be used is shown as left out whatever on_bad_row says, with what a run would do about it.
    """
    data, training, model = read_recipe(argv)
    require_compatible(training, model, engine)
    prepared = prepare(data, training, model, on_bad_row=None)
    config, tokenizer, rows, pairs = prepared.config, prepared.tokenizer, prepared.task, prepared.pairs
    for row in _first_of_each(rows):
        yield _row(tokenizer, row)
    for pair in pairs.select(range(min(SHOWN, len(pairs)))):
        yield _pair(tokenizer, pair)
    yield Text("; ".join(f"{key}: {value!r}" for key, value in chat_record(tokenizer).items() if value))
    yield _left_out(prepared.left_out, data.on_bad_row)
    yield _counts(rows, pairs, prepared.held_out_pairs)
    sampler = MicroBatchSampler.of(training, len(rows), pairs, processes)
    batches = list(islice(iter(sampler), BATCHES))
    hidden_size = None if prepared.attention[0] == FLEX else config.get_text_config().hidden_size
    measured = _batches(batches, training, tokenizer, hidden_size, rows, pairs, prepared.packed)
    yield _plan(training, sampler, measured, prepared, processes)
    yield _memory(estimate(config, model, training, measured["load"], engine, processes), gpu)
    if try_it:
        yield _tried(training, model, prepared)


def _first_of_each(rows):
    """The first rows of each task, which lie one task after the other."""
    starts = accumulate(rows_by_task(rows), initial=0)
    for start, end in pairwise(starts):
        yield from rows.select(range(start, min(start + SHOWN, end)))


def _row(tokenizer, row):
    """The row's text; what is trained is bold and in brackets."""
    text = Text(f"{row['place']}\n", style="dim")
    for learned, tokens in groupby(zip(row["input_ids"], row["labels"], strict=True), lambda own: own[1] != -100):
        ids = [token for token, _ in tokens]
        if learned:
            for token in ids:
                text.append(f"⟦{harmless(tokenizer.decode([token]))}⟧", style="bold not dim")
        else:
            text.append(harmless(tokenizer.decode(ids)), style="not dim")
    return text


def _pair(tokenizer, pair):
    """Both sides' tokens, those of a prompt behind it."""
    text = Text(f"{pair['place']}", style="dim")
    for side in ("source", "target"):
        start = pair.get(f"{side}_start", 0)
        text.append(f"\n{harmless(tokenizer.decode(pair[side][:start]))}")
        text.append(
            " ".join(f"⟦{harmless(tokenizer.decode([token]))}⟧" for token in pair[side][start:]), style="not dim"
        )
    return text


def _left_out(left_out, on_bad_row):
    if not left_out:
        return Text("Every row and pair can be used.")
    text = Text(f"{len(left_out):,} rows or pairs cannot be used")
    text.append(" and are left out:" if on_bad_row == "skip" else "; a run would refuse to start (on_bad_row: error):")
    for sentence in left_out[:3]:
        text.append(f"\n  {sentence}")
    return text.append("\n  ..." if len(left_out) > 3 else "")


def _counts(rows, pairs, held_out):
    table = Table(title="data", title_justify="left")
    for column in ("", "rows", "held out", "repeated"):
        table.add_column(column, justify="right" if column else "left")
    bounds = pairwise(accumulate(rows_by_task(rows), initial=0))
    for task, (start, end) in zip(labels_of(rows) or ("",), bounds, strict=True):
        repeated = end - start - distinct(rows.select(range(start, end)), "input_ids")
        table.add_row(f"task rows {escape(task)}".strip(), f"{end - start:,}", "", f"{repeated:,}")
    kept = counts(held_out, "language")
    for language, count in counts(pairs, "language").items():  # none of them is there twice
        table.add_row(f"pairs {language}", f"{count:,}", f"{kept.get(language, 0):,}", "0")
    return table


def _batches(batches, training, tokenizer, hidden_size, rows, pairs, packed):
    """Sums over the first micro-batches: tokens, padding, what packing saves, false negatives; and the most tokens that
    one pass of a task half and one chunk of a pair half compute.

    hidden_size: as of `collate_task`.
    """
    pad = DataCollatorForSeq2Seq(tokenizer, padding=True)
    collate = partial(collate_task, pad=pad, hidden_size=hidden_size)
    on = {key: packs for key, (packs, _) in packed.items()}
    sums, most = Counter(), Load(0, 0, 0, on["share_prefix"])
    for micro_batch in batches:
        task = [{key: rows[i][key] for key in ("input_ids", "labels")} for i in micro_batch.task]
        own = [pairs[i] for i in micro_batch.pairs]
        if task:
            tokens = sum(len(row["input_ids"]) for row in task)
            width = len(task) * max(len(row["input_ids"]) for row in task)
            computed = collate(task)["input_ids"].numel() if on["share_prefix"] else width
            sums.update({"task halves": 1, "task tokens": tokens, "task computed": computed})
            learned = sum(label != -100 for row in task for label in row["labels"])
            passed = min(computed, training.task_tokens_per_batch or computed)
            most = Load(max(most.task, passed), max(most.learned, min(learned, passed)), *most[2:])
        if own:
            half = collate_pairs(own, tokenizer.pad_token_id, on["pack_pairs"], training.align_chunk_size, hidden_size)
            computed = [chunk["input_ids"].numel() for chunk in half["chunks"]]
            tokens = sum(len(pair[side]) for pair in own for side in ("source", "target"))
            sums.update({"pair tokens": tokens, "pair computed": sum(computed)})
            false = false_negatives(half["source_text"], half["target_text"]).sum().item()
            sums.update({"pair halves": 1, "padding": half["padding"], "false negatives": false})
            sums.update({"pairs": len(own), "sentences": len({pair["target_text"] for pair in own})})
            most = most._replace(pairs=max(most.pairs, *computed))
    return {**sums, "load": most}


def _plan(training, sampler, measured, prepared, processes):
    table = Table(title=f"steps, from the first {BATCHES} micro-batches", title_justify="left", show_header=False)
    steps = -(-len(sampler) // training.gradient_accumulation_steps)
    total = training.max_steps if training.max_steps > 0 else math.ceil(training.num_train_epochs * steps)
    table.add_row("optimizer steps", f"{total:,}, {steps:,} in an epoch")
    table.add_row("an optimizer step holds", f"{step_record(training, processes)['holds']} ({processes} process(es))")
    if training.save_strategy == "steps":
        every = training.save_steps if training.save_steps >= 1 else math.ceil(training.save_steps * total)
        best = " and the best" if training.eval_strategy.value != "no" else ""
        limit = f", the last {training.save_total_limit}{best} kept" if training.save_total_limit else ""
        table.add_row("checkpoints", f"{-(-total // int(every)):,}{limit}")
    else:
        others = {"no": "none", "epoch": "one an epoch", "best": "the best"}
        table.add_row("checkpoints", others[training.save_strategy.value])
    table.add_row("attn_implementation", ": ".join(prepared.attention))
    for key, (on, reason) in prepared.packed.items():
        table.add_row(key, "on" if on else f"off{f': {reason}' if reason else ''}")
    if measured.get("task halves"):
        saved = 1 - measured["task computed"] / measured["task tokens"]
        mean = measured["task computed"] / measured["task halves"]
        table.add_row("tokens computed in a task half", f"{mean:,.0f} ({100 * saved:.0f} % less than its rows have)")
    if measured.get("pair halves"):
        halves = measured["pair halves"]
        saved = 1 - measured["pair computed"] / measured["pair tokens"]
        if saved > 0:  # a shared prompt
            told = f"{measured['pair computed'] / halves:,.0f} ({100 * saved:.0f} % less than its prompts have)"
            table.add_row("tokens computed in a pair half", told)
        if training.align_loss == "multiway":
            table.add_row("pairs of a sentence in a pair half", f"{measured['pairs'] / measured['sentences']:.2f}")
        table.add_row("padding in a pair half", f"{100 * measured['padding'] / halves:.1f} %")
        table.add_row(
            "false negatives in a pair half", f"{measured['false negatives'] / halves:.2f}, left out of the loss"
        )
    return table


class _Tried(Exception):
    """The end of a run that was begun to be tried."""


class _NoStep(TrainerCallback):
    def on_train_begin(self, *args, **kwargs):
        raise _Tried


def _tried(training, model, prepared):
    """A run of the recipe up to its first step, which nothing is left of."""
    training.eval_strategy, training.load_best_model_at_end, training.early_stopping_patience = "no", False, None
    training.report_to, training.push_to_hub, training.eval_on_start, training.try_on_start = [], False, False, True
    with tempfile.TemporaryDirectory() as training.output_dir:
        trainer = trainer_of(training, model, prepared, {}, [_NoStep()])

        def until_first_step():
            with suppress(_Tried):
                trainer.train()

        added = added_by(until_first_step, training.device)
    (load, seconds), weights = trainer.tried, sum(own.nbytes for own in trainer.model.parameters())
    found = (added + weights) / GIB
    on = {"device": training.device.type, "diagnosed": trainer.keeps_gradients_apart}
    estimated = sum(estimate(prepared.config, model, training, load, **on).values())
    table = Table(title=f"the largest micro-batch, tried on {training.device}", title_justify="left", show_header=False)
    table.add_row("tokens computed", f"{load.task:,} of the task half, {load.pairs:,} of the pair half")
    table.add_row("forward and backward", f"{seconds:.1f} s")
    table.add_row("most memory, weights included", f"{found:.2f} GiB")
    table.add_row("estimated", f"{estimated:.2f} GiB ({round(100 * (estimated / found - 1)):+d} %)", style="bold")
    return table


def _memory(parts, gpu):
    table = Table(title="memory of a step on a GPU, estimated", title_justify="left", show_header=False)
    for name, size in parts.items():
        table.add_row(name, f"{size:.1f} GiB")
    total = sum(parts.values())
    verdict = "fits" if total < 0.9 * gpu else "is tight for" if total < gpu else "does not fit"
    table.add_row("sum", f"{total:.1f} GiB: {verdict} {gpu:g} GiB", style="bold")
    return table
