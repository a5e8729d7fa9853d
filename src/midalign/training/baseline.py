"""The run to compare with."""

import json
from pathlib import Path

from midalign.compatibility import engine_of
from midalign.errors import InputError
from midalign.recipe import read_recipe

SCORES = "scores.json"


def baseline_argv(argv, data, training):
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


def kept_scores(argv):
    """The scores that a run of exactly this command line has left; None without."""
    _, training, _ = read_recipe(argv)
    try:
        record = json.loads(Path(training.output_dir, SCORES).read_text(encoding="utf-8"))
        return record["scores"] if record["recipe"] == as_given(argv) else None
    except (OSError, ValueError, KeyError, TypeError):  # not there, or not written by us
        return None


def as_given(argv):
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
