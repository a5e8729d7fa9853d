"""However a run ends, it says in one sentence what is safe and how to go on."""

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors import SafetensorError
from safetensors.torch import load_file

import run_midalign
from midalign.training.checkpoints import newest_whole
from midalign.training.trainer import MidAlignTrainer

SRC = Path(__file__).parents[1] / "src"
FULL = [
    OSError(errno.ENOSPC, "No space left on device"),
    SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
    RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 64 vs 0"),
]


@pytest.fixture
def saving(recipe):
    """A recipe of three steps with a checkpoint after each."""
    path = recipe("save_steps: 1\n")
    text = (
        path.read_text().replace('save_strategy: "no"', "save_strategy: steps").replace("max_steps: 2", "max_steps: 3")
    )
    path.write_text(text.replace("eval_strategy: steps\neval_steps: 2\neval_on_start: true\n", ""))
    return path


@pytest.mark.parametrize("error", FULL, ids=lambda error: type(error).__name__)
def test_a_disk_that_is_full_in_a_checkpoint_costs_that_checkpoint_alone(error, saving, tmp_path, capsys, monkeypatch):
    original = MidAlignTrainer._save_optimizer_and_scheduler

    def full(self, folder):
        if self.state.global_step == 3:
            raise error
        original(self, folder)

    monkeypatch.setattr(MidAlignTrainer, "_save_optimizer_and_scheduler", full)
    assert run_midalign.main([str(saving)]) == 6
    sentence = capsys.readouterr().err.split("error: ", 1)[1]
    assert "could not be written: " in sentence and "checkpoint-2 is lost" in sentence and "\n" not in sentence.strip()
    assert "--resume_from_checkpoint true goes on from there" in sentence
    assert not (tmp_path / "recipe" / "incomplete").exists()
    monkeypatch.setattr(MidAlignTrainer, "_save_optimizer_and_scheduler", original)
    assert run_midalign.main([str(saving), "--resume_from_checkpoint", "true"]) == 0


def test_a_disk_that_is_full_in_the_last_save_costs_nothing(saving, tmp_path, capsys, monkeypatch):
    def full(self):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(MidAlignTrainer, "save_state", full)
    assert run_midalign.main([str(saving)]) == 6
    assert "No space left on device; nothing before " in capsys.readouterr().err
    assert newest_whole(tmp_path / "recipe")[0].endswith("checkpoint-3")


def test_what_is_wrong_with_the_program_stays_a_traceback(saving, monkeypatch):
    def wrong(self, folder):
        raise RuntimeError("shapes differ")

    monkeypatch.setattr(MidAlignTrainer, "_save_optimizer_and_scheduler", wrong)
    with pytest.raises(RuntimeError, match="shapes differ"):
        run_midalign.main([str(saving)])


@pytest.mark.parametrize(
    ("step", "how"), [(0, "there is no checkpoint yet"), (2, "resume_from_checkpoint true goes on")]
)
def test_ctrl_c_ends_in_one_line_that_says_how_to_go_on(step, how, saving, tmp_path, capsys, monkeypatch):
    original = MidAlignTrainer.training_step

    def stop(self, *arguments, **kwargs):
        if self.state.global_step == step:
            raise KeyboardInterrupt
        return original(self, *arguments, **kwargs)

    monkeypatch.setattr(MidAlignTrainer, "training_step", stop)
    assert run_midalign.main([str(saving)]) == 130
    sentence = capsys.readouterr().err.split("error: ")[1].strip()
    assert sentence.startswith("stopped; ") and how in sentence and "\n" not in sentence
    monkeypatch.setattr(MidAlignTrainer, "training_step", original)
    resume = ["--resume_from_checkpoint", "true"] if step else []
    assert run_midalign.main([str(saving), *resume]) == 0
    assert load_file(tmp_path / "recipe" / "adapter_model.safetensors")


@pytest.mark.slow
def test_ctrl_c_while_packages_are_imported_is_no_traceback():
    command = [sys.executable, str(SRC / "run_midalign.py"), "no.yaml"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": str(SRC)})
    time.sleep(2)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode in (2, 130) and "Traceback" not in err


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_names_every_key_of_ours(flag, capsys):
    assert run_midalign.main([flag]) == 0
    out = capsys.readouterr().out
    assert "accelerate launch src/run_midalign.py" in out
    assert all(
        f"  {key} (" in out for key in ("task_data", "align_layer", "baseline_recipe", "early_stopping_patience")
    )


def test_push_to_hub_without_a_hub_is_said_before_training(recipe, capsys):
    began = time.monotonic()
    assert run_midalign.main([str(recipe()), "--push_to_hub", "true"]) == 2
    error = capsys.readouterr().err.split("error: ")[1].strip()
    assert error.startswith("push_to_hub: the hub cannot be reached") and "\n" not in error
    assert time.monotonic() - began < 10


def test_a_hub_that_goes_away_during_training_costs_nothing(recipe, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("huggingface_hub.HfApi.whoami", lambda self: {"name": "me"})
    monkeypatch.setattr(MidAlignTrainer, "init_hf_repo", lambda self, token=None: None)

    def gone(self):
        assert "slot filling" in (tmp_path / "recipe" / "README.md").read_text()  # ours is what would be sent
        raise ConnectionError("gone")

    monkeypatch.setattr(MidAlignTrainer, "push_to_hub", gone)
    assert run_midalign.main([str(recipe()), "--push_to_hub", "true"]) == 6
    assert "done and saved in " in capsys.readouterr().err
    assert (tmp_path / "recipe" / "run.json").exists()
