"""A run stops at the first number that is none, at a loss without signal, and at a full memory, and says what to do."""

import json
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


@pytest.mark.parametrize(("loss", "told_apart"), [(math.log(8), 0.125), (math.log(8), 1.0), (0.0, 0.125), (0.0, 0.0)])
def test_a_loss_without_signal_ends_after_fifty_pair_halves(loss, told_apart):
    watch = Watch(8, True)
    for step in range(FLAT_STEPS):
        watch.note(step + 1, 0, "pair half", torch.tensor(loss), torch.tensor(told_apart))
    with pytest.raises(NoSignalError, match=r"has been exactly (0|ln\(align_batch_size\) = 2.0794) for 50 pair halves"):
        watch.first_not_finite()


def test_a_loss_of_zero_with_every_translation_found_is_no_reason_to_stop():
    watch = Watch(8, True)
    for step in range(3 * FLAT_STEPS):
        watch.note(step + 1, 0, "pair half", torch.tensor(0.0), torch.tensor(1.0))
        watch.note(step + 1, None, "gradient", torch.tensor(0.0))  # align_only: nothing is left to learn
    assert watch.first_not_finite() is None


@pytest.mark.parametrize("schedule", ["joint", "align_only"])
def test_a_run_that_has_converged_goes_on_to_its_end(schedule, recipe, tmp_path, monkeypatch):
    # Orthogonal states: at a temperature of 0.02 the logits are 50 and 0, and exp(-50) vanishes beside 1.
    def pooled(self, model, chunks):
        weight = next(parameter for parameter in model.parameters() if parameter.requires_grad)
        return [weight.sum() * 0 + torch.eye(4)] * 2

    monkeypatch.setattr(MidAlignTrainer, "_pooled", pooled)
    options = ["--align_temperature", "0.02", "--max_steps", str(FLAT_STEPS + 5), "--eval_strategy", "no"]
    options += ["--eval_on_start", "false", "--align_schedule", schedule, "--align_diagnostics_steps", "0"]
    assert run_midalign.main([str(recipe()), *options]) == 0
    log = json.loads((tmp_path / "recipe" / "trainer_state.json").read_text())["log_history"]
    assert [entry["loss/align"] for entry in log if "loss/align" in entry] == [0.0] * (FLAT_STEPS + 5)


def test_pairs_that_have_no_negative_teach_nothing(recipe, capsys, monkeypatch):
    # Every sentence is the translation of every other: nothing is left to tell apart, and the loss is 0 from the start.
    original = MidAlignTrainer._align_loss

    def all_alike(self, model, pairs):
        return original(self, model, pairs | {"target_text": torch.zeros_like(pairs["target_text"])})

    monkeypatch.setattr(MidAlignTrainer, "_align_loss", all_alike)
    options = ["--max_steps", str(FLAT_STEPS + 5), "--logging_steps", "55"]
    assert run_midalign.main([str(recipe()), *options]) == NoSignalError.exit_code == 5
    assert "has been exactly 0 for 50 pair halves" in capsys.readouterr().err


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
        "align_diagnostics_steps: 0 (found None)",
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


HUGE = ["--learning_rate", "1e20", "--weight_decay", "1e30"]  # their product scales weights; float32 ends at 3e38


@pytest.mark.parametrize(
    "options",
    [
        ["--max_steps", "1", *HUGE, "--save_strategy", "no"],
        ["--max_steps", "2", "--weight_decay", "1e38", "--logging_steps", "5", "--save_strategy", "no"],
        ["--max_steps", "2", *HUGE, "--logging_steps", "5", "--save_strategy", "steps"],
    ],
    ids=["the last step", "between logs", "before a checkpoint"],
)
def test_weights_that_are_no_numbers_are_neither_saved_nor_called_a_good_checkpoint(options, recipe, tmp_path, capsys):
    path = recipe("save_steps: 1\n")
    path.write_text(path.read_text().replace("eval_strategy: steps\neval_steps: 2\neval_on_start: true\n", ""))
    assert run_midalign.main([str(path), *options, "--lr_scheduler_type", "constant"]) == NotFiniteError.exit_code
    assert "not finite" in capsys.readouterr().err.split("error: ")[1]
    assert not list((tmp_path / "recipe").rglob("*.safetensors"))


def test_the_weight_that_is_no_number_is_named(recipe, capsys, monkeypatch):
    original = torch.optim.AdamW.step

    def step(self, *arguments, **kwargs):
        original(self, *arguments, **kwargs)
        self.param_groups[0]["params"][0].data[0, 0] = math.nan

    monkeypatch.setattr(torch.optim.AdamW, "step", step)
    assert run_midalign.main([str(recipe()), "--max_steps", "1"]) == 3
    error = capsys.readouterr().err.split("error: ")[1]
    assert (
        "the weight base_model.model.model.layers.0.self_attn.q_proj.lora_A.default.weight is not finite after" in error
    )
    assert "step 1; there is no checkpoint yet" in error
