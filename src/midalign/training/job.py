"""Recipe -> train -> save -> score."""

import logging
import os
import time
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError
from transformers import GenerationConfig

from midalign.compatibility import engine_of
from midalign.console import console
from midalign.data.templates import chat_record
from midalign.errors import InputError, StoppedError, WriteError
from midalign.evaluation.generation import stop_ids
from midalign.evaluation.transfer import require_scorable
from midalign.files import write_whole
from midalign.languages import language_of
from midalign.layers import layers_of
from midalign.models.loading import adapter_of, load_model, model_commit
from midalign.models.memory import GIB
from midalign.models.room import peak_bytes
from midalign.recipe import read_recipe
from midalign.texts import place_of
from midalign.training.baseline import keep_scores, kept_scores, read_baseline, require_comparable, run_key
from midalign.training.checkpoints import checkpoint_of, newest_whole, require_room, require_same, sealed_day
from midalign.training.engines import engine_around, tell_of_stale_locks
from midalign.training.folder import go_on, held, taken, writing
from midalign.training.guards import fitting
from midalign.training.optimizer import check_optimizer
from midalign.training.prepare import Prepared, prepare
from midalign.training.record import (
    data_record,
    environment,
    resolved,
    sha256,
    step_record,
    write_record,
)
from midalign.training.scores import scores_of, tables, test_rows
from midalign.training.several import rows_by_task, rows_told
from midalign.training.trainer import MidAlignTrainer

LEFT_OUT = "left_out.txt"
logger = logging.getLogger("midalign")


@dataclass(frozen=True)
class Plan:
    """A run that could start: nothing of it is written yet."""

    recipe: tuple  # DataConfig, MidAlignConfig, ModelConfig
    prepared: Prepared
    made_from: dict  # for checkpoints and the record; JSON
    tests: list  # of each task {locale: rows to score}; [] where nothing is scored
    tests_sha256: str
    key: str | None  # see `baseline.run_key`; None where nothing is scored
    seconds: float  # that it took


def run(argv, show=True):
    """Train what the recipe says; returns the scores of score_languages by locale, {} without them; of several tasks
    {task: those}.

    argv: as `read_recipe` takes it.   show: print the scores as a table.   Raises MidalignError.
    """
    tell_of_stale_locks()
    recipe = data, training, _ = read_recipe(argv)
    check_optimizer(training)
    compared = read_baseline(argv, data, training)
    _reach_hub(training)
    with held(training) as folder:
        require_room(training.output_dir)
        checkpoint = checkpoint_of(training.resume_from_checkpoint, training.output_dir)
        day = sealed_day(checkpoint) if checkpoint else None
        plan = _plan(recipe, day)
        other = _plan(compared, day) if compared else None
        if other:
            both = ((one.made_from, one.tests_sha256) for one in (other, plan))
            require_comparable(data.baseline_recipe, *both)
        if checkpoint:
            require_same(checkpoint, plan.made_from)
        if folder:
            folder.claim(plan.made_from, checkpoint)
        baseline = _baseline_scores(other) if other else None
        scores = _carry_out(plan, checkpoint)
        if show and scores and folder:
            aligned = plan.prepared.pairs.unique("language") if training.align_schedule != "sft" else ()
            console().print(*tables(plan.prepared.tasks, data, aligned, scores, baseline), sep="\n\n")
    return scores


def _reach_hub(training):
    """Look before training whether push_to_hub can work; its token goes where no file of the run takes it from."""
    if training.hub_token:
        os.environ["HF_TOKEN"], training.hub_token = training.hub_token, None
    if not training.push_to_hub or training.process_index:
        return
    try:
        HfApi().whoami()
    except Exception as error:  # a dozen types, of three packages
        reason = str(error).strip().splitlines()[0]
        raise InputError(
            f"push_to_hub: the hub cannot be reached or does not know the token ({reason}); log in with `hf auth "
            "login`, or delete push_to_hub and send the folder afterwards."
        ) from error


def _plan(recipe, day):
    """Read, check and hash everything that a run is made from, but the weights.   day: see `prepare`.

    Raises InputError.
    """
    started = time.time()
    data, training, model = recipe
    prepared = prepare(data, training, model, data.on_bad_row, held_out=training.eval_strategy != "no", day=day)
    streams = (prepared.task, prepared.pairs, prepared.held_out_task, prepared.held_out_pairs)
    made_from = {
        "recipe": resolved(*recipe),
        "data": data_record(*streams),
        "step": step_record(training, training.world_size),
        "tasks": [task.depends_on() for task in prepared.tasks],
        "chat": chat_record(prepared.tokenizer),
        "engine": engine_of(training),
        "processes": training.world_size,
    }
    tests, key = test_rows(prepared.tasks, data), None
    rows = [row for by_locale in tests for own in by_locale.values() for row in own]
    content = [{key: row[key] for key in row if key != "place"} for row in rows]
    for task, own in zip(prepared.tasks, tests, strict=False):
        require_scorable(task, prepared.config, prepared.tokenizer, own)
    if tests:
        key = run_key(made_from, sha256(content), prepared.path, model.model_revision)
    return Plan(recipe, prepared, made_from, tests, sha256(content), key, time.time() - started)


def _baseline_scores(plan):
    """The scores of exactly this run: those that it has left, or of a run that is made now.

    It goes to its own output_dir, or where that holds another run (another seed, say) beside it.
    """
    _, training, _ = plan.recipe
    own, beside = training.output_dir, f"{training.output_dir.rstrip('/')}-{plan.key[:8]}"
    for path in (own, beside):
        scores = kept_scores(path, plan.key)
        if scores is not None:
            return scores
    resumable = [path for path in (own, beside) if _goes_on(path, plan.made_from)]
    free = resumable or [path for path in (own, beside) if not taken(path, plan.made_from)] or [beside]
    training.output_dir = plan.made_from["recipe"]["output_dir"] = free[0]
    with held(training) as folder:
        checkpoint = newest_whole(free[0])[0] if resumable else None
        if folder:
            folder.claim(plan.made_from, checkpoint)
        return _carry_out(plan, checkpoint)


def _goes_on(path, made_from):
    newest, _ = newest_whole(path)
    try:
        require_same(newest, made_from)
    except (InputError, TypeError):  # of another run, or none
        return False
    return True


def _carry_out(plan, checkpoint):
    """Train, save, score and record; returns the scores by locale.   checkpoint: to go on from, or None."""
    started = time.time()
    training = plan.recipe[1]
    if training.process_index == 0 and plan.prepared.left_out:
        write_whole(Path(training.output_dir, LEFT_OUT), "\n".join(plan.prepared.left_out) + "\n")
    trainer = _trainer(plan)
    try:
        with fitting(training):
            trainer.train(resume_from_checkpoint=checkpoint)
            with writing(training.output_dir):
                trainer.save_model(_internal_call=True)  # without sending it: the card is yet to come
                trainer.save_state()
            scores = scores_of(plan.prepared.tasks, trainer.model, trainer.processing_class, plan.tests)
        seconds = round(plan.seconds + time.time() - started, 1)
        if trainer.is_world_process_zero():
            with writing(training.output_dir):
                if plan.recipe[2].use_peft:  # PEFT writes none: who serves the adapter is to stop where its answers end
                    stop = stop_ids(trainer.model, plan.prepared.tokenizer)
                    GenerationConfig(eos_token_id=stop).save_pretrained(training.output_dir)
                write_record(training.output_dir, _record(trainer, plan, checkpoint, scores, seconds))
                if scores:
                    keep_scores(training.output_dir, plan.key, scores)
    except KeyboardInterrupt as error:
        raise StoppedError(f"stopped; {go_on(training.output_dir)}.") from error
    if training.push_to_hub:
        _push(trainer)
    return scores


def _hint_at_pivot(data, prepared):
    """Say when the language that all pairs share is none of those with labels: legal, and seldom meant."""
    each = zip(prepared.tasks, data.each(), strict=True)
    labelled = {language for task, own in each for name in own.task_languages for language in task.spoken(name)}
    if len(prepared.pairs) and language_of(data.align_pivot) not in labelled:
        logger.warning(
            "align_pivot is %s, but the labels are in %s: pairs pull towards a language without labels; set "
            "align_pivot to one with.",
            data.align_pivot,
            ", ".join(sorted(labelled)),
        )


def _trainer(plan):
    """The trainer of this run, with its weights. Raises InputError and OutOfMemoryError."""
    _, training, model = plan.recipe
    prepared = plan.prepared
    if training.process_index == 0:
        layers = ", ".join(map(str, layers_of(training.align_layer)))
        counts = f"{rows_told(prepared.task)}, {len(prepared.pairs):,} pairs, layer {layers}"
        holds = plan.made_from["step"]["holds"]
        logger.info("%s: %s; an optimizer step holds %s.", place_of(training.output_dir), counts, holds)
        logger.info("attn_implementation is %s: %s.", *prepared.attention)
        _hint_at_pivot(plan.recipe[0], prepared)
    return trainer_of(training, model, prepared, plan.made_from)


def trainer_of(training, model, prepared, made_from, callbacks=()):
    """The trainer of a recipe, with its weights.   made_from: see `Plan`. Raises InputError and OutOfMemoryError."""
    try:
        with fitting(training, "the model"):
            return MidAlignTrainer(
                model=load_model(prepared.path, model, prepared.attention[0]),
                args=training,
                train_dataset=prepared.task,
                eval_dataset=prepared.held_out_task,
                pairs=prepared.pairs,
                eval_pairs=prepared.held_out_pairs,
                processing_class=prepared.tokenizer,
                peft_config=adapter_of(model, prepared.config),
                callbacks=callbacks,
                made_from=made_from,
            )
    except (ValueError, RuntimeError, ImportError, HfHubHTTPError) as error:  # of TRL, PEFT, a logger or the hub
        raise InputError(" ".join(str(error).split())) from error


def _record(trainer, plan, checkpoint, scores, seconds):
    """What the run was, for run.json and the model card; JSON."""
    data, _, model = plan.recipe
    path, made_from = plan.prepared.path, plan.made_from
    each = list(zip(plan.prepared.tasks, data.each(), strict=True))
    spoken = set().union(*(task.spoken(locale) for task, own in each for locale in own.task_languages))
    counts = rows_by_task(plan.prepared.task)
    return {
        **made_from,
        **environment(),
        "tasks": [
            {
                **depends_on,
                "name": task.label,
                "shown": task.shown,
                "rows": rows,
                "languages": own.task_languages,
                "data": own.task_data,
                "score_rows": own.score_rows,
            }
            for (task, own), depends_on, rows in zip(each, made_from["tasks"], counts, strict=True)
        ],
        "model": {"name": path, "commit": model_commit(path, model.model_revision)},
        "languages": sorted(spoken | made_from["data"]["pairs"].keys()),
        "engine": engine_around(trainer.model_wrapped),
        "steps": trainer.state.global_step,
        "resumed_from": checkpoint,
        "left_out": len(plan.prepared.left_out),
        "metrics": trainer.state.log_history[-3:],
        "scores": scores,
        "seconds": seconds,
        "peak_gib": round(peak_bytes(trainer.args.device) / GIB, 2),
    }


def _push(trainer):
    try:
        trainer.push_to_hub()
    except Exception as error:  # a dozen types, of three packages
        folder, reason = trainer.args.output_dir, " ".join(str(error).split())
        raise WriteError(
            f"the run is done and saved in {folder}, but the hub did not take it: {reason}; send the folder with "
            f"`hf upload REPOSITORY {folder}`."
        ) from error
