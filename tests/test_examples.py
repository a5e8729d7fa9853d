"""The examples do what they say: the loop that one can read is the trainer."""

import importlib.util
import json
import random
import re
import subprocess
import sys
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
        own = make_model()
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


@pytest.mark.parametrize(
    ("annotated", "language", "text", "expected"),
    [
        ("wake me at [time : nine am]", "sw", "saa tatu", "wake me at [time : saa tatu]"),
        ("play [artist : queen]'s [song : one]", "ja", "猫 が", "play [artist : 猫が]'s [song : 猫が]"),
        ("find [place : a very long name]", "cy", "bore da", "find [place : bore da]"),
        ("stop", "sw", "saa tatu", "stop"),
    ],
    ids=["words", "no spaces", "short sentence", "no slots"],
)
def test_foreign_values_stand_in_slots_and_in_the_utterance(annotated, language, text, expected):
    row = {"id": "1", "annot_utt": annotated, "utt": "before"}
    made = load("foreign_values").with_foreign_values(row, [(language, text)], random.Random(1))
    assert made["annot_utt"] == expected
    assert made["utt"] == re.sub(r"\[\w+ : ([^]]*)\]", r"\1", expected)


def test_rows_with_foreign_values_are_as_many_as_those_with_labels_and_hold_no_label_of_others(tmp_path):
    data, pairs, output = tmp_path / "data", tmp_path / "pairs.jsonl", tmp_path / "out"
    (data / "en-US").mkdir(parents=True)
    rows = [
        {
            "id": str(i),
            "locale": "en-US",
            "partition": "train",
            "utt": f"call anna {i}",
            "annot_utt": f"call [person : anna {i}]",
        }
        for i in range(9)
    ]
    test = {"id": "x", "locale": "en-US", "partition": "test", "utt": "call anna 3", "annot_utt": "call anna 3"}
    (data / "en-US/test.jsonl").write_text(json.dumps(test) + "\n")
    (data / "en-US/train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    pairs.write_text('{"source": "saa tatu", "target": "nine", "source_lang": "sw", "target_lang": "en"}\n')
    command = [sys.executable, EXAMPLES / "foreign_values.py", data, output, pairs, "--labelled", "6", "--share", "1"]
    subprocess.run(command, check=True, capture_output=True)
    made = [json.loads(line) for line in (output / "en-US/train.jsonl").read_text().splitlines()]
    assert [row["annot_utt"] for row in made] == ["call [person : saa tatu]"] * 6
    assert {row["utt"] for row in made} == {"call saa tatu"}
    assert "3" not in {row["id"] for row in made}  # the text of a test row
