"""One run at a time writes to an output folder, and never over what is not its own."""

import json
import subprocess
import sys

import pytest

import run_midalign
from midalign.training.folder import RUNNING, taken

SAVING = 'save_strategy: "no"', "save_strategy: steps\nsave_steps: 1"
MADE_FROM = {"recipe": {"seed": 1, "run_name": "a"}, "data": {"task_rows": 4}, "step": {"holds": "2 task rows"}}


@pytest.fixture
def refused(recipe, tmp_path, capsys):
    """refused(*options) -> the sentence with which a run into tmp_path/recipe ends; no file there has changed."""
    path = recipe()
    out = tmp_path / "recipe"

    def run(*options):
        before = {file: file.read_bytes() for file in out.rglob("*") if file.is_file()}
        capsys.readouterr()
        assert run_midalign.main([str(path), *options]) == 2
        assert {file: file.read_bytes() for file in out.rglob("*") if file.is_file()} == before
        return capsys.readouterr().err.split("error: ")[1]

    return run


@pytest.mark.parametrize(
    "name",
    ["README.md", "run.json", "scores.json", "left_out.txt", "incomplete/notes.txt", "checkpoint-2/thesis.tex",
     "model.safetensors", "adapter_config.json", "tokenizer.json"],
)  # fmt: skip
def test_files_of_others_are_left_alone(name, refused, tmp_path):
    file = tmp_path / "recipe" / name
    file.parent.mkdir(parents=True)
    file.write_text("mine")
    error = refused()
    assert f"holds {name.split('/')[0]}, which no run" in error and "name another output_dir" in error


def test_files_that_no_run_writes_are_no_reason_to_stop(recipe, tmp_path):
    (tmp_path / "recipe" / "checkpoint-2-keep").mkdir(parents=True)
    for name in ("notes.txt", "checkpoint-2-keep/thesis.tex", "recipe.yaml"):
        (tmp_path / "recipe" / name).write_text("mine")
    assert run_midalign.main([str(recipe())]) == 0
    assert (tmp_path / "recipe" / "checkpoint-2-keep" / "thesis.tex").read_text() == "mine"


def test_another_run_does_not_write_over_a_finished_one_and_the_same_may(recipe, refused, tmp_path):
    path = recipe()
    assert run_midalign.main([str(path)]) == 0
    assert not (tmp_path / "recipe" / RUNNING).exists()
    assert "holds another run: seed was 42, is 7; name another output_dir" in refused("--seed", "7")
    assert run_midalign.main([str(path), "--run_name", "other"]) == 0


def test_a_run_that_starts_anew_does_not_cost_the_checkpoints_that_are_there(recipe, refused, tmp_path):
    path = recipe()
    path.write_text(path.read_text().replace(*SAVING))
    assert run_midalign.main([str(path)]) == 0
    for options in ([], ["--seed", "7"]):
        assert "holds checkpoints up to checkpoint-2; add --resume_from_checkpoint true" in refused(*options)
    assert run_midalign.main([str(path), "--resume_from_checkpoint", "true"]) == 0


def test_a_run_that_was_cut_off_before_its_first_checkpoint_starts_anew(recipe, tmp_path):
    path = recipe()
    (tmp_path / "recipe" / "incomplete").mkdir(parents=True)
    (tmp_path / "recipe" / RUNNING).write_text(
        json.dumps({"process": 1, "host": "x", "since": "then", "claimed": True})
    )
    assert run_midalign.main([str(path)]) == 0


@pytest.mark.parametrize(
    ("record", "found"),
    [
        (MADE_FROM, None),
        (MADE_FROM | {"recipe": {"seed": 1, "run_name": "b"}}, None),
        (MADE_FROM | {"recipe": {"seed": 2, "run_name": "a"}}, "holds another run: seed was 2, is 1"),
        (MADE_FROM | {"data": {"task_rows": 5}}, "task_rows was 5, is 4"),
        ({"recipe": []}, "holds run.json, which no run wrote there"),
        ({}, "holds run.json"),
        ([1], "holds run.json"),
        ("{", "holds run.json"),
    ],
)
def test_a_record_says_whose_folder_it_is(record, found, tmp_path):
    (tmp_path / "run.json").write_text(record if record == "{" else json.dumps(record))
    reason = taken(tmp_path, MADE_FROM)
    assert reason is None if found is None else found in reason


HOLD = """
import sys, types
from midalign.training.folder import held
with held(types.SimpleNamespace(output_dir=sys.argv[1], process_index=0)):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_two_runs_do_not_write_to_one_folder_and_a_dead_one_holds_nothing(recipe, refused, tmp_path):
    command = [sys.executable, "-c", HOLD, str(tmp_path / "recipe")]
    other = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    while "held" not in other.stdout.readline():  # libraries say things too
        assert other.poll() is None
    try:
        assert f"is being written by process {other.pid} on " in refused()
    finally:
        other.kill()
        other.wait()
    assert (tmp_path / "recipe" / RUNNING).exists()
    assert run_midalign.main([str(recipe())]) == 0
