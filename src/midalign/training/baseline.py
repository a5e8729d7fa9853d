"""The run to compare with: the same in everything but the alignment."""

import json
from pathlib import Path

from midalign.compatibility import engine_of
from midalign.errors import InputError
from midalign.files import write_whole
from midalign.models.runs import hash_of
from midalign.recipe import overrides_of, read_recipe
from midalign.training.checkpoints import FREE
from midalign.training.record import code_sha256, environment, sha256

SCORES = "scores.json"
OWN = ("align_", "pack_pairs", "output_dir", "baseline_recipe", "resume_from_checkpoint")
# What neither weights nor scores depend on, beside FREE.
TALK = ("hub_", "push_to_hub", "trackio_", "log_", "logging_")
SCORED = frozenset({"score_languages", "score_rows"})


def read_baseline(argv, data, training):
    """`read_recipe` of the run to compare with: its recipe and our overrides, but those of the alignment.

    None without baseline_recipe. Raises InputError where the two cannot run in one program.
    """
    if data.baseline_recipe is None:
        return None
    engine = engine_of(training)
    if engine not in ("single", "ddp"):
        raise InputError(
            f"baseline_recipe trains a second model in one program, which {engine} cannot; delete it, run both recipes "
            "and compare them with midalign evaluate."
        )
    given = {key: texts for key, texts in overrides_of(argv).items() if not key.startswith(OWN)}
    overrides = [word for key, texts in given.items() for word in (f"--{key}", *texts)]
    recipe = other, other_training, _ = read_recipe([data.baseline_recipe, *overrides])
    name = f"baseline_recipe {data.baseline_recipe}"
    if other.baseline_recipe:
        raise InputError(f"{name} names a baseline of its own; delete that line there.")
    if Path(other_training.output_dir).resolve() == Path(training.output_dir).resolve():
        raise InputError(f"{name} writes to the same output_dir {training.output_dir}; give one of them another.")
    return recipe


def require_comparable(name, baseline, own):
    """Raises InputError with every difference that is not the alignment's.

    name: of the baseline's recipe.   baseline, own: (made_from, tests) of the two, see `run_key`.
    """

    def compared(key):
        return (key not in FREE or key in SCORED) and not key.startswith(OWN + TALK)

    (there, tests_there), (here, tests_here) = baseline, own
    differences = [
        f"{key} is {there['recipe'][key]!r} there and {here['recipe'][key]!r} here"
        for key in sorted(there["recipe"].keys() | here["recipe"].keys())
        if compared(key) and there["recipe"][key] != here["recipe"][key]
    ]
    rows = {made["step"]["task_rows"] for made in (there, here)}
    if len(rows) > 1:
        differences.append(
            f"a step holds {there['step']['task_rows']} task rows there and {here['step']['task_rows']} here"
        )
    for part, what in (("task_sha256", "training"), ("held_out_task_sha256", "held-out")):
        if there["data"][part] != here["data"][part]:
            differences.append(f"the {what} rows of the task are others")
    if tests_there != tests_here:
        differences.append("the test rows are others")
    if differences:
        raise InputError(
            f"baseline_recipe {name} differs in more than the alignment: {'; '.join(differences)}; make them equal."
        )


def run_key(made_from, tests, path, revision):
    """The hash of everything that the scores of a run depend on.

    made_from: as in a checkpoint's seal.   tests: hash of the test rows.   path, revision: of the model.
    """
    recipe = {
        key: value
        for key, value in made_from["recipe"].items()
        if (key not in FREE or key in SCORED) and not key.startswith((*TALK, "output_dir"))
    }
    packages = environment()["packages"]
    return sha256([{**made_from, "recipe": recipe}, tests, hash_of(path, revision), packages, code_sha256()])


def kept_scores(folder, key):
    """The scores that a run with this key has left in a folder; None without."""
    try:
        kept = json.loads(Path(folder, SCORES).read_text(encoding="utf-8"))
        return kept["scores"] if kept["key"] == key else None
    except (OSError, ValueError, KeyError, TypeError):  # not there, or not written by us
        return None


def keep_scores(folder, key, scores):
    """For `kept_scores`."""
    write_whole(Path(folder, SCORES), json.dumps({"scores": scores, "key": key}, indent=1))
