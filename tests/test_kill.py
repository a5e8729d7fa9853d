"""A run that is killed at any moment and resumed is the run that was never killed, to the bit."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from midalign.training import checkpoints

SRC = Path(__file__).parents[1] / "src"
LINES = {
    "max_steps: 2": "max_steps: 24",
    'save_strategy: "no"': "save_strategy: steps\nsave_steps: 2\nsave_total_limit: 3",
    "eval_steps: 2": "eval_steps: 6",
    "logging_steps: 1": "logging_steps: 3",
    "score_languages: [en-US, ru-RU]\nscore_rows: 2\n": "",
    "lora_r: 4": "lora_r: 4\nlora_dropout: 0.1",
}
# 16 rows by 2 in windows of 2: an epoch has 4 steps, so that kills fall into all parts of six epochs.
EXTRA = (
    "gradient_accumulation_steps: 2\nlearning_rate: 0.01\nload_best_model_at_end: false\nearly_stopping_patience: 50\n"
)


def start(path, *options):
    """The program in a process of its own."""
    environment = os.environ | {"PYTHONPATH": str(SRC), "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    command = [sys.executable, str(SRC / "run_midalign.py"), str(path), *options]
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def progress(out):
    """What a run has written of checkpoints so far, to wait for: names and sizes of the files; None while they move.

    Not its lock and record, which are there as soon as it starts: the kills are to fall between and into checkpoints.
    """
    try:
        folders = [*out.glob("checkpoint-*"), *out.glob("incomplete")]
        return {str(file): file.stat().st_size for folder in folders for file in folder.rglob("*") if file.is_file()}
    except FileNotFoundError:  # a checkpoint has just gone to its place
        return None


def kill_while_it_works(process, out, wait):
    """SIGKILL `wait` seconds after the run begins to write checkpoints; False when it ended before."""
    before = progress(out)
    while process.poll() is None and progress(out) == before:
        time.sleep(0.002)
    time.sleep(wait)
    if process.poll() is not None:
        return False
    process.send_signal(signal.SIGKILL)
    process.wait()
    return True


def with_copies_by_hand(out, kills):
    """What a user may do between two starts: the newest checkpoint is copied, and all times lie in the future."""
    found = sorted(out.glob("checkpoint-*[0-9]"), key=lambda folder: int(folder.name.split("-")[1]))
    for copy in [out / "checkpoint-best", out / f"checkpoint-1-{kills}"] if found else []:
        shutil.copytree(found[-1], copy, dirs_exist_ok=True)
    for number, folder in enumerate(out.glob("checkpoint-*")):
        os.utime(folder, (1e10 - number, 1e10 - number))
    return {
        file: file.read_bytes()
        for folder in out.glob("checkpoint-*")
        if not folder.name.split("-", 1)[1].isdecimal()
        for file in folder.rglob("*")
        if file.is_file()
    }


BEST = (
    "load_best_model_at_end: true\nmetric_for_best_model: align\n",
    {"eval_steps: 6": "eval_steps: 2", "save_total_limit: 3": "save_total_limit: 1"},
)


@pytest.mark.slow
@pytest.mark.parametrize(("schedule", "best"), [("joint", False), ("alternate", False), ("joint", True)])
def test_a_run_killed_ten_times_at_random_moments_ends_as_if_it_had_never_been(schedule, best, recipe, tmp_path):
    paths = {}
    for name in ("whole", "killed"):
        text = recipe(EXTRA.replace("early_stopping_patience: 50\nload", "load"), name=name).read_text()
        text = text.replace("load_best_model_at_end: false\nearly_stopping_patience: 50\n", "")
        for old, new in [*LINES.items(), *(BEST[1].items() if best else ())]:
            assert old in text
            text = text.replace(old, new)
        paths[name] = tmp_path / f"{name}.yaml"
        paths[name].write_text(text + (BEST[0] if best else "") + f"align_schedule: {schedule}\n")
    whole = start(paths["whole"])
    assert whole.wait() == 0, whole.stderr.read()

    rng, kills, inside_a_save, options, copies = random.Random(schedule), 0, 0, [], {}
    out = tmp_path / "killed"
    while True:
        process = start(paths["killed"], *options)
        if kills == 10:
            assert process.wait() == 0, process.stderr.read()
            break
        if not kill_while_it_works(process, out, rng.uniform(0, 0.4)):
            assert process.returncode == 0, process.stderr.read()
            break
        kills += 1
        inside_a_save += (out / "incomplete").is_dir()
        copies = with_copies_by_hand(out, kills) if best else {}
        options = ["--resume_from_checkpoint", "true"] if list(out.glob("checkpoint-*[0-9]")) else []
    print(f"{kills} kills, {inside_a_save} of them inside a save")
    assert kills >= 5
    assert (out / "adapter_model.safetensors").read_bytes() == (
        tmp_path / "whole/adapter_model.safetensors"
    ).read_bytes()
    logs = [
        [without_times(entry) for entry in json.loads((tmp_path / n / "trainer_state.json").read_text())["log_history"]]
        for n in ("whole", "killed")
    ]
    assert logs[0] == logs[1]
    assert all(file.read_bytes() == content for file, content in copies.items()) and (copies or not best)
    own = [{folder.name for folder in (tmp_path / n).glob("checkpoint-*")} for n in ("whole", "killed")]
    assert own[0] == {name for name in own[1] if name.split("-", 1)[1].isdecimal()} and "checkpoint-24" in own[0]
    assert checkpoints.newest_whole(out) == (str(out / "checkpoint-24"), [])


def without_times(entry):
    speed = ("runtime", "per_second", "total_flos")
    return {key: value for key, value in entry.items() if not key.endswith(speed)}
