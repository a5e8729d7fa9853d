"""Recipe -> train -> save -> score.

accelerate launch src/run_midalign.py recipes/tiny/align.yaml [--key value ...]
"""

import json
import logging
import sys
import time
from pathlib import Path

from rich.console import Console
from trl import get_peft_config

from midalign.compatibility import engine_of
from midalign.config import resolve_layer
from midalign.data.checks import Sieve
from midalign.data.streams import load_pairs, load_task, read_locales, scored_texts
from midalign.errors import InputError, MidalignError
from midalign.evaluation.transfer import group_of, score_locales, transfer_table
from midalign.models.loading import load_model, load_tokenizer, model_commit, model_depth, model_path
from midalign.recipe import read_recipe
from midalign.training.checkpoints import newest_whole, require_same, tear
from midalign.training.checks import check_pairs
from midalign.training.engines import engine_around
from midalign.training.guards import is_out_of_memory, out_of_memory
from midalign.training.record import data_record, environment, resolved, step_record, write_record
from midalign.training.trainer import MidAlignTrainer

SCORES, LEFT_OUT = "scores.json", "left_out.txt"
logger = logging.getLogger("midalign")


def main(argv):
    """Run one recipe. One sentence and the error's exit code (`midalign.errors`) when it cannot go on."""
    logging.basicConfig(format="%(message)s")
    logger.setLevel(logging.INFO)
    try:
        run(argv)
    except MidalignError as error:
        bar = "\n" if error.exit_code > InputError.exit_code else ""  # a progress bar has left the cursor in its line
        print(f"{bar}error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def run(argv, show=True):
    """Train what the recipe says; returns the scores of score_languages by locale, {} without them.

    show: print them as a table.
    """
    started = time.time()
    given = _as_given(argv)  # now: the file may be edited while this runs
    data, training, model = read_recipe(argv)
    baseline_argv = _baseline_argv(argv, data, training)
    _make_folder(training.output_dir)
    path = model_path(model.model_name_or_path, Path(training.output_dir).parent)
    training.align_layer = resolve_layer(training.align_layer, model_depth(path, model.model_revision))
    tokenizer = load_tokenizer(path, model.model_revision)
    checkpoint = _checkpoint(training)
    evaluate = training.eval_strategy != "no"
    processes = training.dataset_num_proc
    with training.main_process_first(desc="tokenisation"):  # the others read what the first has made
        sieve, texts = Sieve(data.on_bad_row), scored_texts(data)
        task, held_out_task = load_task(data, tokenizer, training.max_length, evaluate, sieve, texts, processes)
        pairs, held_out_pairs = load_pairs(data, tokenizer, training.max_length, sieve, texts, processes)
        sieve.settle()
    check_pairs(training, pairs, held_out_pairs)
    made_from = {
        "recipe": resolved(data, training, model),
        "data": data_record(task, pairs),
        "step": step_record(training, training.world_size),
        "engine": engine_of(training),
        "processes": training.world_size,
    }
    if checkpoint:
        require_same(checkpoint, made_from)
        training.eval_on_start = False  # it has been
    if training.process_index == 0 and sieve.left_out:
        Path(training.output_dir, LEFT_OUT).write_text("\n".join(sieve.left_out) + "\n", encoding="utf-8")
    training.max_length = None  # checked: SFTTrainer need not look for rows to cut
    tests = Sieve(data.on_bad_row)
    to_score = {
        locale: read_locales(data, [locale], "test", data.score_rows, tests) for locale in data.score_languages or ()
    }
    tests.settle()
    baseline = _scores_of(baseline_argv) if baseline_argv else None

    if training.process_index == 0:
        counts = f"{len(task):,} task rows, {len(pairs):,} pairs, layer {training.align_layer}"
        logger.info("%s: %s; an optimizer step holds %s.", training.output_dir, counts, made_from["step"]["holds"])
    try:
        trainer = MidAlignTrainer(
            model=load_model(path, model),
            args=training,
            train_dataset=task,
            eval_dataset=held_out_task,
            pairs=pairs,
            eval_pairs=held_out_pairs,
            processing_class=tokenizer,
            peft_config=get_peft_config(model),
        )
    except (ValueError, RuntimeError, ImportError) as error:  # a setting that TRL, PEFT or a logger refuses
        if is_out_of_memory(error):
            raise out_of_memory(training) from error
        raise InputError(" ".join(str(error).split())) from error
    trainer.made_from = made_from
    try:
        trainer.train(resume_from_checkpoint=checkpoint)
        trainer.save_model()
        trainer.save_state()
        scores = score_locales(trainer.model, tokenizer, to_score) if to_score else {}
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise out_of_memory(training) from error
        raise
    if trainer.is_world_process_zero():
        record = {
            **made_from,
            **environment(),
            "given": given,
            "model": {"name": path, "commit": model_commit(path, model.model_revision)},
            "languages": sorted(
                {locale.split("-")[0] for locale in data.task_languages} | made_from["data"]["pairs"].keys()
            ),
            "engine": engine_around(trainer.model_wrapped),
            "steps": trainer.state.global_step,
            "resumed_from": checkpoint,
            "left_out": len(sieve.left_out),
            "seconds": round(time.time() - started, 1),
            "metrics": trainer.state.log_history[-3:],
            "scores": scores,
        }
        write_record(training.output_dir, record)
        if scores:
            kept = {"scores": scores, "recipe": given}
            Path(training.output_dir, SCORES).write_text(json.dumps(kept, indent=1), encoding="utf-8")
        if scores and show:
            aligned = {pair["language"] for pair in pairs} if training.align_schedule != "sft" else set()
            groups = {locale: group_of(locale, data.task_languages, aligned) for locale in scores}
            Console().print(transfer_table(scores, groups, baseline))
    return scores


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
        missing = tear(wanted)
        if missing:
            raise InputError(f"resume_from_checkpoint {wanted} is not whole, {missing}; name one or say true.")
        return wanted
    newest, torn = newest_whole(training.output_dir)
    for sentence in torn:
        logger.warning("%s.", sentence)
    if newest is None:
        raise InputError(f"{training.output_dir} holds no checkpoint to resume from; delete resume_from_checkpoint.")
    return newest


def _baseline_argv(argv, data, training):
    """The command line of the run to compare with: its recipe and our overrides, but those of the alignment.

    None without baseline_recipe. Raises InputError where the two would not compare.
    """
    if data.baseline_recipe is None:
        return None
    engine = engine_of(training)
    if engine not in ("single", "ddp"):
        raise InputError(
            f"baseline_recipe trains a second model in one program, which {engine} cannot; delete it, run both recipes "
            "and compare them with midalign evaluate."
        )
    own = ("align_", "output_dir", "baseline_recipe", "resume_from_checkpoint")
    overrides = _without(argv[0 if argv[0].startswith("--") else 1 :], own)
    baseline = [data.baseline_recipe, "--seed", str(training.seed), *overrides]
    other, other_training, _ = read_recipe(baseline)
    name = f"baseline_recipe {data.baseline_recipe}"
    if other.baseline_recipe:
        raise InputError(f"{name} names a baseline of its own; delete that line there.")
    if Path(other_training.output_dir).resolve() == Path(training.output_dir).resolve():
        raise InputError(f"{name} writes to the same output_dir {training.output_dir}; give one of them another.")
    for field in ("task_data", "score_languages", "score_rows"):
        if getattr(other, field) != getattr(data, field):
            raise InputError(
                f"{name} has {field} {getattr(other, field)}, this run {getattr(data, field)}; make them equal."
            )
    return baseline


def _scores_of(argv):
    """The scores of exactly this command line: those on disk, or of a run that is made now."""
    _, training, _ = read_recipe(argv)
    try:
        record = json.loads(Path(training.output_dir, SCORES).read_text(encoding="utf-8"))
        if record["recipe"] == _as_given(argv):
            return record["scores"]
    except (OSError, ValueError, KeyError, TypeError):  # not there, or not written by us
        pass
    return run(argv, show=False)


def _as_given(argv):
    """The recipe's text and the overrides: equal text, equal run."""
    if not argv or argv[0].startswith("--"):
        return list(argv)
    overrides = _without(argv[1:], ("resume_from_checkpoint",))  # a run in two parts is the same run
    try:
        return [Path(argv[0]).read_text(encoding="utf-8"), *overrides]
    except (OSError, UnicodeDecodeError):  # read_recipe says what is wrong with it
        return list(argv)


def _without(overrides, keys):
    """`--key value` and `--key=value` tokens but those whose key starts with one of `keys`."""
    kept, key = [], ""
    for token in overrides:
        if token.startswith("--"):
            key = token[2:].replace("-", "_")
        if not key.startswith(keys):
            kept.append(token)
    return kept


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
