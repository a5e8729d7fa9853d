"""Recipe -> train -> save -> score."""

import json
import logging
import time
from pathlib import Path

from transformers import GenerationConfig
from trl import get_peft_config

from midalign.compatibility import engine_of
from midalign.console import console
from midalign.data.checks import Sieve
from midalign.data.streams import read_locales
from midalign.data.templates import chat_record
from midalign.errors import InputError
from midalign.evaluation.generation import stop_ids
from midalign.evaluation.transfer import group_of, require_scorable, score_locales, transfer_table
from midalign.languages import language_of
from midalign.models.loading import load_model, model_commit
from midalign.recipe import read_recipe
from midalign.training.baseline import SCORES, as_given, baseline_argv, kept_scores
from midalign.training.checkpoints import newest_whole, require_room, require_same, sealed_day, unfit
from midalign.training.engines import engine_around
from midalign.training.guards import is_out_of_memory, out_of_memory
from midalign.training.optimizer import check_optimizer
from midalign.training.prepare import prepare
from midalign.training.record import data_record, environment, resolved, step_record, write_record
from midalign.training.trainer import MidAlignTrainer

LEFT_OUT = "left_out.txt"
logger = logging.getLogger("midalign")


def run(argv, show=True):
    """Train what the recipe says; returns the scores of score_languages by locale, {} without them.

    argv: as `read_recipe` takes it.   show: print the scores as a table.   Raises MidalignError.
    """
    started = time.time()
    recipe = data, training, model = read_recipe(argv)
    given = as_given(argv)  # now: the file may be edited while this runs
    check_optimizer(training)
    compared = baseline_argv(argv, data, training)
    _make_folder(training.output_dir)
    require_room(training.output_dir)
    checkpoint = _checkpoint(training)
    day = sealed_day(checkpoint) if checkpoint else None
    prepared = prepare(data, training, model, data.on_bad_row, held_out=training.eval_strategy != "no", day=day)
    made_from = _made_from(recipe, prepared)
    if checkpoint:
        require_same(checkpoint, made_from)
        training.eval_on_start = False  # it has been
    if training.process_index == 0 and prepared.left_out:
        Path(training.output_dir, LEFT_OUT).write_text("\n".join(prepared.left_out) + "\n", encoding="utf-8")
    tests = _test_rows(data)
    if tests:
        require_scorable(prepared.config, prepared.tokenizer, tests)
    baseline = _scores_of(compared) if compared else None
    trainer = _trainer(recipe, prepared, made_from)
    scores = _train(trainer, checkpoint, tests)
    if trainer.is_world_process_zero():
        come_out = {"resumed_from": checkpoint, "scores": scores, "seconds": round(time.time() - started, 1)}
        _write(trainer, recipe, prepared, {"given": given, **come_out})
        if scores and show:
            console().print(_table(data, training, prepared.pairs, scores, baseline))
    return scores


def _scores_of(argv):
    """The scores of exactly this command line: those on disk, or of a run that is made now."""
    scores = kept_scores(argv)
    return run(argv, show=False) if scores is None else scores


def _make_folder(path):
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"output_dir {path}: {error.strerror}; name a folder that can be written.") from error


def _checkpoint(training):
    """The folder that `resume_from_checkpoint` means, `true` being the newest in output_dir; None without one."""
    wanted = training.resume_from_checkpoint
    if wanted is None or wanted.lower() == "false":
        return None
    if wanted.lower() != "true":
        missing = unfit(wanted)
        if missing:
            raise InputError(f"resume_from_checkpoint {wanted} is not whole, {missing}; name one or say true.")
        return wanted
    newest, torn = newest_whole(training.output_dir)
    for sentence in torn:
        logger.warning("%s.", sentence)
    if newest is None:
        raise InputError(f"{training.output_dir} holds no checkpoint to resume from; delete resume_from_checkpoint.")
    return newest


def _made_from(recipe, prepared):
    """What the weights of this run are made from, for its checkpoints and its record; JSON."""
    _, training, _ = recipe
    return {
        "recipe": resolved(*recipe),
        "data": data_record(prepared.task, prepared.pairs),
        "step": step_record(training, training.world_size),
        "chat": chat_record(prepared.tokenizer),
        "engine": engine_of(training),
        "processes": training.world_size,
    }


def _test_rows(data):
    """{locale: rows} of score_languages. Raises InputError."""
    sieve = Sieve(data.on_bad_row)
    rows = {
        locale: read_locales(data, [locale], "test", data.score_rows, sieve) for locale in data.score_languages or ()
    }
    sieve.settle()
    return rows


def _trainer(recipe, prepared, made_from):
    """The trainer of this run, with its weights. Raises InputError and OutOfMemoryError."""
    _, training, model = recipe
    if training.process_index == 0:
        counts = f"{len(prepared.task):,} task rows, {len(prepared.pairs):,} pairs, layer {training.align_layer}"
        logger.info("%s: %s; an optimizer step holds %s.", training.output_dir, counts, made_from["step"]["holds"])
        logger.info("attn_implementation is %s: %s.", *prepared.attention)
    training.max_length = None  # checked: SFTTrainer need not look for rows to cut
    try:
        trainer = MidAlignTrainer(
            model=load_model(prepared.path, model, prepared.attention[0]),
            args=training,
            train_dataset=prepared.task,
            eval_dataset=prepared.held_out_task,
            pairs=prepared.pairs,
            eval_pairs=prepared.held_out_pairs,
            processing_class=prepared.tokenizer,
            peft_config=get_peft_config(model),
        )
    except (ValueError, RuntimeError, ImportError) as error:  # a setting that TRL, PEFT or a logger refuses
        if is_out_of_memory(error):
            raise out_of_memory(training) from error
        raise InputError(" ".join(str(error).split())) from error
    trainer.made_from = made_from
    return trainer


def _train(trainer, checkpoint, tests):
    """Train, save and score; returns the scores by locale.   tests: {locale: rows}.   Raises MidalignError."""
    try:
        trainer.train(resume_from_checkpoint=checkpoint)
        trainer.save_model()
        trainer.save_state()
        return score_locales(trainer.model, trainer.processing_class, tests) if tests else {}
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise out_of_memory(trainer.args) from error
        raise


def _write(trainer, recipe, prepared, come_out):
    """What the output folder holds beside the weights: record, model card, scores.

    come_out: given, resumed_from, scores and seconds of the run.
    """
    data, training, model = recipe
    folder, made_from = Path(training.output_dir), trainer.made_from
    spoken = {language_of(locale) for locale in data.task_languages} | made_from["data"]["pairs"].keys()
    record = {
        **made_from,
        **environment(),
        **come_out,
        "model": {"name": prepared.path, "commit": model_commit(prepared.path, model.model_revision)},
        "languages": sorted(spoken),
        "engine": engine_around(trainer.model_wrapped),
        "steps": trainer.state.global_step,
        "left_out": len(prepared.left_out),
        "metrics": trainer.state.log_history[-3:],
    }
    if model.use_peft:  # PEFT writes none: who merges or serves the adapter is to stop where its answers end
        GenerationConfig(eos_token_id=stop_ids(trainer.model, prepared.tokenizer)).save_pretrained(folder)
    write_record(folder, record)
    if come_out["scores"]:
        kept = {"scores": come_out["scores"], "recipe": come_out["given"]}
        (folder / SCORES).write_text(json.dumps(kept, indent=1), encoding="utf-8")


def _table(data, training, pairs, scores, baseline):
    """The scores by part in training, beside those of the baseline."""
    aligned = {pair["language"] for pair in pairs} if training.align_schedule != "sft" else set()
    groups = {locale: group_of(locale, data.task_languages, aligned) for locale in scores}
    return transfer_table(scores, groups, baseline)
