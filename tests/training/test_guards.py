"""A run stops at the first number that is none, at a loss without signal, and at a full memory, and says what to do."""

import math

import pytest
import torch
from trl import SFTTrainer

import run_midalign
from midalign.errors import NoSignalError, NotFiniteError
from midalign.training.guards import FLAT_STEPS, Watch
from midalign.training.trainer import MidAlignTrainer


def test_the_first_number_that_is_none_is_named():
    watch = Watch(8, True)
    for step, value in ((1, 2.0), (2, math.nan), (3, math.inf)):
        watch.note(step, 0, "task half", torch.tensor(value))
    assert watch.first_not_finite() == (2, 0, "task half")
    assert watch.first_not_finite() is None  # looked at once


@pytest.mark.parametrize("loss", [math.log(8), 0.0])
def test_a_loss_without_signal_ends_after_fifty_pair_halves(loss):
    watch = Watch(8, True)
    for step in range(FLAT_STEPS):
        watch.note(step + 1, 0, "pair half", torch.tensor(loss))
    with pytest.raises(NoSignalError, match=r"has been exactly (0|ln\(align_batch_size\) = 2.0794) for 50 pair halves"):
        watch.first_not_finite()


def test_a_loss_near_chance_that_moves_is_no_reason_to_stop():
    watch = Watch(8, True)
    for step in range(3 * FLAT_STEPS):
        watch.note(step + 1, 0, "pair half", torch.tensor(math.log(8) + (1e-3 if step % FLAT_STEPS == 7 else 0)))
    assert watch.first_not_finite() is None


def test_a_gradient_of_zero_ends_after_fifty_steps():
    watch = Watch(8, True)
    for step in range(FLAT_STEPS):
        watch.note(step + 1, None, "gradient", torch.tensor(0.0))
    with pytest.raises(NoSignalError, match="the gradient has been exactly 0 for 50 steps, up to step 50"):
        watch.first_not_finite()


@pytest.mark.parametrize("half", ["task", "pair"])
def test_a_loss_that_is_no_number_stops_the_run_with_its_rows_and_the_last_good_checkpoint(
    half, recipe, tmp_path, capsys, monkeypatch
):
    path = recipe()
    path.write_text(path.read_text().replace('save_strategy: "no"', "save_strategy: steps\nsave_steps: 1"))
    cls, name = (MidAlignTrainer, "_loss") if half == "pair" else (SFTTrainer, "compute_loss")
    original = getattr(cls, name)
    steps = []

    def broken(self, *args, **kwargs):
        steps.append(self.state.global_step)
        return original(self, *args, **kwargs) * (math.nan if steps[-1] == 2 else 1)

    monkeypatch.setattr(cls, name, broken)
    assert run_midalign.main([str(path), "--max_steps", "4", "--logging_steps", "3"]) == NotFiniteError.exit_code == 3
    error = capsys.readouterr().err.split("error: ")[1]
    assert f"the {half} half is not finite at step 3, micro-batch 0, with demo " in error
    assert "the last good checkpoint is" in error and "checkpoint-2." in error
    assert not (tmp_path / "recipe" / "adapter_model.safetensors").exists()


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory."),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."),
    ],
)
def test_a_full_memory_ends_in_the_keys_to_change(error, recipe, capsys, monkeypatch):
    def full(*args, **kwargs):
        raise error

    monkeypatch.setattr(MidAlignTrainer, "_align_loss", full)
    assert run_midalign.main([str(recipe()), "--align_batch_size", "8"]) == 4
    message = capsys.readouterr().err.split("error: ")[1]
    for change in (
        "activation_checkpointing: True (found False)",
        "align_chunk_size: 2 (found None)",
        "task_tokens_per_",
    ):
        assert change in message


def test_another_error_of_torch_stays_what_it_is(recipe, monkeypatch):
    def wrong(*args, **kwargs):
        raise RuntimeError("shapes differ")

    monkeypatch.setattr(MidAlignTrainer, "_align_loss", wrong)
    with pytest.raises(RuntimeError, match="shapes differ"):
        run_midalign.main([str(recipe())])


def test_a_gradient_that_is_no_number_is_named_with_all_rows_of_its_step(recipe, capsys, monkeypatch):
    original = SFTTrainer._clip_grad_norm

    def broken(self, model):
        return original(self, model) * (math.nan if self.state.global_step == 1 else 1)

    monkeypatch.setattr(SFTTrainer, "_clip_grad_norm", broken)
    assert run_midalign.main([str(recipe()), "--gradient_accumulation_steps", "2"]) == 3
    message = capsys.readouterr().err.split("error: ")[1]
    # two micro-batches of 2 rows and 4 pairs
    assert "the gradient is not finite at step 2, with demo " in message and "and 8 more" in message
