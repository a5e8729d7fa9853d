"""COMET scores from an environment of its own: unbabel-comet wants transformers below 5 and numpy below 2."""

import json
import math
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from midalign.errors import InputError
from midalign.tasks.thoughts import without_thought
from midalign.tasks.translation.task import Translation
from midalign.texts import place_of, shown, squeeze

# What the other Python runs: NAME INPUT OUTPUT, one JSON object a line in, a JSON list of numbers out.
PROGRAM = """
import json, sys
import torch
from comet import download_model, load_from_checkpoint

name, asked, answered = sys.argv[1:]
model = load_from_checkpoint(name if name.endswith(".ckpt") else download_model(name))
with open(asked, encoding="utf-8") as file:
    rows = [json.loads(line) for line in file]
scores = model.predict(rows, batch_size=16, gpus=int(torch.cuda.is_available())).scores
with open(answered, "w") as file:
    json.dump([float(score) for score in scores], file)
"""


def require_comet(task, python):
    """Raises InputError where a task or a Python cannot do with COMET: before hours of generation, not after."""
    if not isinstance(task, Translation):
        raise InputError(f"--comet-python scores translations, not task {shown(task.name)}; leave it out.")
    _run(python, ["-c", "from comet import download_model, load_from_checkpoint"])


def judge(task, python, model, answered):
    """Add COMET's scores to the figures of a translation task.

    python, model: see `comet_scores`.   answered: [(row, answer)] of all that will be scored.
    """
    triples = [(row["source"], without_thought(answer), row["target"]) for row, answer in answered]
    task.judge(comet_scores(python, model, triples))


def comet_scores(python, model, triples):
    """{(source, answer, reference): its COMET score, about 0..1}.

    python: the interpreter of an environment with unbabel-comet.   model: a name of the hub, or a .ckpt file.
    Raises InputError.
    """
    triples = list(dict.fromkeys(triples))
    with tempfile.TemporaryDirectory() as folder:
        asked, answered = Path(folder, "asked.jsonl"), Path(folder, "scores.json")
        lines = [json.dumps(dict(zip(("src", "mt", "ref"), triple, strict=True))) for triple in triples]
        asked.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        model = str(Path(model).absolute()) if model.endswith(".ckpt") else model
        _run(python, ["-c", PROGRAM, model, str(asked), str(answered)])
        try:
            scores = json.loads(answered.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            scores = None
    if not isinstance(scores, list) or len(scores) != len(triples) or not all(map(_is_score, scores)):
        raise InputError(
            f"--comet-python {place_of(python)} gave no score for each of {len(triples):,} answers; check it with "
            f"`comet-score` and --comet-model {shown(model, 200)}."
        )
    return dict(zip(triples, scores, strict=True))


def _is_score(value):
    return type(value) in (int, float) and math.isfinite(value)


def _run(python, arguments):
    """Run a Python without what ours has set for itself, in an empty folder: with -c it looks for modules there first.

    Raises InputError where it cannot or fails.
    """
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "PYTHONHOME")}
    program = shutil.which(python)
    if program is None:
        raise InputError(
            f"--comet-python {place_of(python)} is no program here; name the python of an environment in which `pip "
            "install unbabel-comet` was run, or leave it out."
        )
    command = [os.path.abspath(program), *arguments]
    try:
        with tempfile.TemporaryDirectory() as empty:
            done = subprocess.run(command, env=environment, cwd=empty, capture_output=True, errors="replace")
    except OSError as error:
        raise InputError(
            f"--comet-python {place_of(python)} cannot be run ({error.strerror}); name the python of an environment "
            "with unbabel-comet."
        ) from error
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise InputError(
            f"--comet-python {place_of(python)} could not run COMET ({squeeze(said[-1])[:300]}); run `pip install "
            "unbabel-comet` in that environment, or leave the option out."
        )
