"""The largest micro-batch goes through once before the first step, and nothing of it stays."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from datasets import Dataset

import run_midalign
from midalign.config import MidAlignConfig
from midalign.errors import OutOfMemoryError
from midalign.models import room
from midalign.training.trainer import MidAlignTrainer
from midalign.training.trial import TriedAtStart, load_of

QUIET = ["--eval_strategy", "no", "--eval_on_start", "false", "--score_rows", "1"]
SRC = Path(__file__).parents[2] / "src"


@pytest.fixture
def run(recipe, tmp_path):
    """run(*options, name="recipe") -> (its log without times, its weights and the optimizer's, the random states)."""

    def train(*options, name="recipe"):
        saving = ["--save_strategy", "steps", "--save_steps", "2"]
        assert run_midalign.main([str(recipe(name=name)), *map(str, [*options, *QUIET, *saving])]) == 0
        last = max(tmp_path.glob(f"{name}/checkpoint-*"), key=lambda folder: int(folder.name.split("-")[1]))
        log = json.loads((last / "trainer_state.json").read_text())["log_history"]
        files = [*last.glob("*model.safetensors"), last / "optimizer.pt", last / "scheduler.pt"]
        states = torch.load(last / "rng_state.pth", weights_only=False)
        return log, [file.read_bytes() for file in files], states

    return train


def same(one, other):
    """Random states hold arrays, which do not compare."""
    return repr(one) == repr(other) and torch.equal(one["cpu"], other["cpu"])


CASES = {
    "joint": ["--gradient_accumulation_steps", "2", "--align_diagnostics_steps", "2"],
    "full": ["--use_peft", "false", "--share_prefix", "false", "--pack_pairs", "false"],
    "passes": ["--align_chunk_size", "2", "--task_tokens_per_batch", "400", "--align_anchor_weight", "1"],
    "alternate": ["--align_schedule", "alternate", "--activation_checkpointing", "true"],
    "align_only": ["--align_schedule", "align_only"],
    "sft": ["--align_schedule", "sft", "--share_prefix", "false"],
    "mixed": [
        "--task",
        "slots",
        "translation",
        "--task_languages",
        "en-US",
        "en-de",
        "--task_weights",
        "1",
        "2",
        "--score_languages",
        "en-US",
        "en-de",
    ],
}


@pytest.mark.parametrize(
    "case", [case if case in ("joint", "full") else pytest.param(case, marks=pytest.mark.slow) for case in CASES]
)
def test_a_run_is_the_same_to_the_bit_with_and_without(case, run, caplog):
    dropout = [] if case == "full" else ["--lora_dropout", "0.3"]
    options = ["--max_steps", "3", *dropout, *CASES[case]]
    log, weights, states = run(*options, name="tried")
    assert "the largest micro-batch fits: " in caplog.text
    plain_log, plain, plain_states = run(*options, "--try_on_start", "false", name="untried")
    assert "the largest micro-batch is not tried before the first step: try_on_start is false" in caplog.text
    assert log == plain_log and weights == plain and same(states, plain_states)


def test_a_run_that_goes_on_is_the_same_with_and_without(run, tmp_path):
    options = ["--max_steps", "4", "--lora_dropout", "0.3"]
    whole = run(*options, "--try_on_start", "false", name="whole")
    resume = [*options, "--resume_from_checkpoint", tmp_path / "whole" / "checkpoint-2"]
    for tried in ("true", "false"):
        log, weights, states = run(*resume, "--try_on_start", tried, name=tried)
        assert log == whole[0] and weights == whole[1] and same(states, whole[2])


@pytest.fixture
def trainer(make_model, tokenizer, tmp_path):
    """trainer(rows, pairs, **settings): token counts, of rows behind three that all share, of (source, target)."""

    def make(rows, pairs, model=None, **settings):
        rows = [
            {"input_ids": [5, 6, 7, *range(10 + i, 10 + i + size)], "labels": [-100] * (size + 1) + [5] * 2}
            for i, size in enumerate(rows)
        ]
        text = {"source_text": 0, "target_text": 0, "language": "de", "place": ""}
        pairs = [{"source": [6] * size, "target": [7] * other, **text} for size, other in pairs]
        args = MidAlignConfig(output_dir=str(tmp_path), use_cpu=True, report_to="none", logging_steps=1, **settings)
        return MidAlignTrainer(
            model or make_model(), args, train_dataset=Dataset.from_list(rows), pairs=pairs, processing_class=tokenizer,
            made_from={},
        )  # fmt: skip

    return make


@pytest.mark.parametrize("packed", [True, False])
def test_no_half_of_the_whole_run_computes_more_than_those_that_are_tried(packed, trainer):
    rows, pairs = [3 + 7 * i % 23 for i in range(13)], [(2 + 5 * i % 17, 2 + 3 * i % 11) for i in range(9)]
    made = trainer(
        rows, pairs, per_device_train_batch_size=3, align_batch_size=2, share_prefix=packed, pack_pairs=packed
    )
    task, own = made._largest_halves(14)
    sampler = made._sampler()
    most = [0, 0]
    for epoch in range(3):  # of five steps
        sampler.set_epoch(epoch)
        for batch in sampler:
            halves = [made.train_dataset[i] for i in batch.task], [made.pairs[i] for i in batch.pairs]
            load = load_of([made._collate(*halves)])
            most = [max(most[0], load.task), max(most[1], load.pairs)]
    load = load_of([made._collate(task, own)])
    assert [load.task, load.pairs] == most and load.learned >= 4


def test_what_a_model_remembers_of_the_longest_text_is_as_before(trainer, make_model):
    model = make_model(
        max_position_embeddings=16, rope_parameters={"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}
    )
    made = trainer([40, 30, 8, 9], [(30, 40)] * 4, model, align_batch_size=2, max_steps=1)
    made.create_optimizer()
    before = {name: {key: repr(value) for key, value in vars(module).items()} for name, module in model.named_modules()}
    own = {key: repr(value) for key, value in vars(made).items() if not isinstance(value, torch.nn.Module)}
    moved = []
    original = MidAlignTrainer._take

    def take(self, *arguments):
        original(self, *arguments)
        rotary = model.get_decoder().rotary_emb
        moved.append(repr(vars(rotary)) != repr(before["model.rotary_emb"]))

    made._take = take.__get__(made)
    made._try_largest(made.model, 1)
    del made._take
    assert moved == [True]
    after = {name: {key: repr(value) for key, value in vars(module).items()} for name, module in model.named_modules()}
    assert after == before
    assert {key: repr(value) for key, value in vars(made).items() if key in own} == own
    assert all(weight.grad is None for weight in model.parameters())


def test_what_does_not_fit_ends_before_the_first_step_with_nothing_lost(recipe, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(room, "free_bytes", lambda: 2**20)
    steps = []
    monkeypatch.setattr(MidAlignTrainer, "_clip_grad_norm", lambda self, model: steps.append(1))
    path = recipe()
    assert run_midalign.main([str(path), "--align_batch_size", "64", "--per_device_train_batch_size", "16"]) == 4
    error = capsys.readouterr().err.split("error: ")[1].strip()
    assert error.startswith("the largest micro-batch, tried before the first step, does not fit into memory. Change, ")
    assert "align_chunk_size: 16 (found None)" in error and "eval" not in error and "\n" not in error
    assert not steps and not list((tmp_path / "recipe").glob("checkpoint-*"))
    monkeypatch.undo()
    assert run_midalign.main([str(path)]) == 0  # in the same folder


def test_memory_that_a_process_may_not_take_fails_at_once_and_only_then(monkeypatch):
    monkeypatch.setattr(room, "free_bytes", lambda: 100 * 2**20)
    cpu = torch.device("cpu")
    with room.within_free_memory(cpu):
        torch.ones(10 * 2**20, dtype=torch.uint8)
        with pytest.raises(RuntimeError, match="allocate memory"):
            torch.ones(2**30, dtype=torch.uint8)
    torch.ones(2**30, dtype=torch.uint8)


def test_the_limit_of_a_control_group_counts(tmp_path, monkeypatch):
    monkeypatch.setattr(room, "GROUPS", tmp_path)
    assert room.free_bytes() > 2**20
    (tmp_path / "memory.max").write_text("1000000\n")
    (tmp_path / "memory.current").write_text("700000\n")
    (tmp_path / "memory.stat").write_text("anon 600000\ninactive_file 50000\nactive_file 40000\n")
    ours = [line.split(":") for line in Path("/proc/self/cgroup").read_text().splitlines()]
    if not any(kinds == "" for _, kinds, _ in ours):
        pytest.skip("the system has no control groups of version 2")
    assert room.free_bytes() == 1_000_000 - 700_000 + 90_000


def test_from_python_too_it_is_tried_and_can_be_switched_off(trainer, monkeypatch):
    def full(self, *arguments):
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(TriedAtStart, "_take", full)
    sizes = {"align_batch_size": 2, "max_steps": 1}
    with pytest.raises(OutOfMemoryError, match="tried before the first step"):
        trainer([4] * 4, [(3, 4)] * 4, **sizes).train()
    trainer([4] * 4, [(3, 4)] * 4, try_on_start=False, **sizes).train()


@pytest.mark.slow
def test_under_a_limit_of_the_shell_a_run_ends_with_its_sentence_and_code_4_before_training(recipe, tmp_path):
    path = recipe("align_schedule: sft\nshare_prefix: false\n")
    command = [sys.executable, SRC / "run_midalign.py", path, "--per_device_train_batch_size", "16", *QUIET]
    environment = os.environ | {"PYTHONPATH": str(SRC), "OMP_NUM_THREADS": "1"}
    # Room for the program, and less than the batch takes: found by halving, since programs differ between machines.
    limits, codes = [3_000_000, 8_000_000], {}
    while limits[1] - limits[0] > 20_000 and 4 not in codes.values():
        middle = sum(limits) // 2
        done = subprocess.run(
            ["bash", "-c", f'ulimit -v {middle}; exec "$@"', "bash", *map(str, command)],
            env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        codes[middle] = done.returncode
        limits[done.returncode == 0] = middle
    assert 4 in codes.values(), codes
    assert "does not fit into memory. Change" in done.stderr.splitlines()[-1]
    assert not list((tmp_path / "recipe").glob("checkpoint-*"))
