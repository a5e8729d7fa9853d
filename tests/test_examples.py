"""The examples do what they say: the loop that one can read is the trainer."""

import importlib.util
import re
from pathlib import Path

import pytest
import torch
from datasets import Dataset
from pairs_help import tokenised
from peft import LoraConfig, get_peft_model

from midalign.config import MidAlignConfig
from midalign.data.tokens import example_columns
from midalign.training.trainer import MidAlignTrainer

EXAMPLES = Path(__file__).parents[1] / "examples"
STEPS, ACCUMULATION = 4, 2


def load(name):
    spec = importlib.util.spec_from_file_location(f"examples_{name}", EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def loop():
    return load("loop")


ROWS = [
    {
        "prompt": [{"role": "user", "content": "say <|im_end|> " + "a" * (i % 7)}],
        "completion": [{"role": "assistant", "content": "b" * (1 + i % 5)}],
    }
    for i in range(20)
]
# The last four pairs share their English side: they are no negatives of each other.
PAIRS = [
    {"source": f"satz {i * i}", "target": f"sentence {min(i, 12)}", "source_lang": "de", "place": f"pair {i}"}
    for i in range(16)
]


@pytest.mark.parametrize("lora", [False, True], ids=["full", "lora"])
def test_the_loop_that_one_can_read_has_the_trainers_losses_and_weights(lora, loop, make_model, tokenizer, tmp_path):
    def model():
        own = make_model().double()  # AdamW divides by a gradient's size: near zero float32 rounding moves a weight
        if not lora:
            return own
        torch.manual_seed(1)
        return get_peft_model(own, LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM"))

    pairs = tokenised(PAIRS, tokenizer)
    args = MidAlignConfig(
        output_dir=str(tmp_path),
        max_steps=STEPS,
        per_device_train_batch_size=3,
        gradient_accumulation_steps=ACCUMULATION,
        align_batch_size=8,
        align_layer=2,
        align_weight=0.7,
        align_temperature=0.2,
        align_center=True,
        learning_rate=1e-2,
        activation_checkpointing=False,
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
        bf16=False,
        seed=3,
    )
    rows = Dataset.from_dict(example_columns(tokenizer, ROWS))
    trainer = MidAlignTrainer(model=model(), args=args, train_dataset=rows, pairs=pairs, processing_class=tokenizer)
    windows = [trainer._sampler().of_step(step) for step in range(STEPS)]
    trainer.train()

    steps = [[([ROWS[i] for i in half.task], [PAIRS[i] for i in half.pairs]) for half in window] for window in windows]
    assert all(len(step) == ACCUMULATION for step in steps[:3])  # and an epoch's last window may be a short one
    own = model()
    means = list(
        loop.train(own, tokenizer, steps, layer=2, learning_rate=1e-2, weight=0.7, temperature=0.2, center=True)
    )
    logged = [log for log in trainer.state.log_history if "loss/task" in log]
    for key in ("loss/task", "loss/align"):
        assert [step[key] for step in means] == pytest.approx([log[key] for log in logged], rel=1e-5)
    before = dict(model().named_parameters())
    moved = 0.0
    for (name, weight), other in zip(own.named_parameters(), trainer.model.parameters(), strict=True):
        assert torch.allclose(weight, other, rtol=0, atol=1e-5), name
        moved = max(moved, (weight - before[name]).abs().max().item())
    assert moved > 0.02  # four steps of AdamW at 1e-2


def test_the_loop_has_at_most_150_lines_and_borrows_nothing_of_the_method():
    text = (EXAMPLES / "loop.py").read_text(encoding="utf-8")
    method, _, rest = text.partition("def main")
    assert rest and not re.search(r"^\s*(import|from) midalign", method, re.M)
    assert len(text.splitlines()) <= 150


def test_the_loop_runs_on_a_model_of_ones_own(loop, make_model, tokenizer, tmp_path, capsys):
    make_model().save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    loop.main(str(tmp_path), count=2, accumulation=1)
    first, step, last = capsys.readouterr().out.splitlines()
    assert step.startswith("step 2/2  loss/task ")
    assert first.startswith("retrieval@1 of German before: ") and last.startswith("retrieval@1 of German after: ")


def test_pairs_of_data_that_are_not_there_are_one_sentence(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["in_domain_pairs.py", str(tmp_path), str(tmp_path / "pairs"), "sw-KE"])
    with pytest.raises(SystemExit):
        load("in_domain_pairs").main()
    assert "error: task_data" in capsys.readouterr().err
