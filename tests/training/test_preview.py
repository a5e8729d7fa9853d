"""A preview shows what would be trained on and what it would cost, and reads no weights."""

import io
import json
import re
import sys

import pytest
from rich.console import Console
from transformers import DataCollatorForSeq2Seq
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

from midalign import cli
from midalign.errors import InputError
from midalign.models import room
from midalign.models.loading import load_tokenizer
from midalign.training.preview import preview_recipe


@pytest.fixture
def preview(recipe, tmp_path):
    def run(*options, extra="", engine="single", processes=1):
        path = recipe(extra)
        (tmp_path / "model" / "model.safetensors").unlink(missing_ok=True)
        console = Console(width=200, file=io.StringIO())
        for part in preview_recipe([str(path), *options], 24, engine, processes):
            console.print(part, highlight=False)
        return console.file.getvalue()

    return run


def test_a_preview_marks_what_is_trained_and_counts_what_there_is(preview):
    out = preview()
    assert "<|im_start|>assistant\n⟦" in out and "⟦<|im_end|>⟧" in out
    assert "Every row and pair can be used." in out
    for name in (
        "task rows",
        "pairs de",
        "pairs tr",
        "optimizer steps",
        "attn_implementation",
        "sdpa: packed rows need a mask",
        "share_prefix",
        "padding in a pair half",
        "LM head",
    ):
        assert name in out
    assert "fits 24 GiB" in out


def test_pairs_in_the_task_s_prompt_are_shown_behind_it_and_counted_without_what_they_share(preview):
    alone, out = preview(), preview("--align_context", "task")
    assert "Answer on one line as `slot: words; slot: words`" in out.split("<|im_start|>user\n⟦")[0]
    assert "<|im_start|>user\n⟦" in out and "<|im_start|>user\n⟦" not in alone
    assert "less than its prompts have" in out and "less than its prompts have" not in alone
    assert re.search(r"padding in a pair half\s+│ 0.0 %", out)


def without_padding(folder):
    for name, key in (("tokenizer_config.json", "pad_token"), ("tokenizer.json", "padding")):
        config = json.loads((folder / name).read_text(encoding="utf-8"))
        config[key] = None
        (folder / name).write_text(json.dumps(config), encoding="utf-8")


def test_a_tokenizer_without_padding_is_shown_with_what_it_pads_with(preview, tmp_path):
    before = preview()
    without_padding(tmp_path / "model")
    assert preview() == before
    assert "end of turn: '<|im_end|>'" in before and "instruction: 'system message'" in before


def test_an_end_of_turn_that_is_padding_too_is_trained_on(recipe, tmp_path):
    without_padding(tmp_path / "model")
    tokenizer = load_tokenizer(str(tmp_path / "model"), None)
    end = tokenizer.eos_token_id
    assert tokenizer.pad_token_id == end
    rows = [
        {"input_ids": [5, 6, 7, end], "labels": [-100, -100, 7, end]},
        {"input_ids": [5, end], "labels": [-100, end]},
    ]
    expected = [[-100, -100, 7, end], [-100, end, -100, -100]]
    for pad in (DataCollatorForLanguageModeling(end), DataCollatorForSeq2Seq(tokenizer, padding=True)):
        assert pad([dict(row) for row in rows])["labels"].tolist() == expected


def test_rows_that_a_run_would_refuse_are_shown(preview, tmp_path):
    pair = {"id": "a", "source": "gleich", "target": "gleich", "source_lang": "de", "target_lang": "en"}
    good = [pair | {"id": str(i), "source": f"satz {i}", "target": f"sentence {i}"} for i in range(30)]
    (tmp_path / "p.jsonl").write_text("\n".join(map(json.dumps, [pair, *good])))
    options = ["--align_data", str(tmp_path / "p.jsonl"), "--align_languages", "de", "--align_eval_languages", "de"]
    out = preview(*options)
    assert "1 rows or pairs cannot be used; a run would refuse to start (on_bad_row: error):" in out
    assert "p.jsonl line 1 has the same text on both sides" in out
    assert "and are left out:" in preview(*options, "--on_bad_row", "skip")


def test_a_mistake_in_the_recipe_ends_in_one_sentence(recipe, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["midalign", "preview", str(recipe()), "--align_layer", "9"])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 2 and "align_layer=9" in capsys.readouterr().err


@pytest.mark.parametrize(("strategy", "said"), [("no", "none"), ("epoch", "one an epoch"), ("best", "the best")])
def test_checkpoints_are_said_in_words(strategy, said, preview):
    best = ("--load_best_model_at_end", "true", "--metric_for_best_model", "task") if strategy == "best" else ()
    out = preview("--save_strategy", strategy, *best)
    assert re.search(rf"checkpoints +│ {said} ", out) and "SaveStrategy" not in out


def test_the_largest_micro_batch_is_tried_with_weights_and_leaves_no_file(recipe, midalign, tmp_path):
    path = recipe()
    before = {*tmp_path.rglob("*")}
    code, out, _ = midalign("preview", path, "--try", "--max_steps", "3")
    assert code == 0 and "the largest micro-batch, tried on cpu" in out and {*tmp_path.rglob("*")} == before
    assert re.search(r"forward and backward +│ \d+\.\d s", out)
    most, estimated = (float(found) for found in re.findall(r"(?:included|estimated) +│ (\d\.\d\d) GiB", out))
    assert 0.01 < most == pytest.approx(estimated, abs=0.02)


def test_a_preview_of_what_does_not_fit_ends_in_one_sentence_and_code_4(recipe, midalign, monkeypatch):
    monkeypatch.setattr(room, "free_bytes", lambda: 2**20)
    code, out, error = midalign("preview", recipe(), "--try", "--per_device_train_batch_size", "16")
    assert code == 4 and "fits 24 GiB" in out  # by the estimate for a GPU
    assert "error: the largest micro-batch, tried before the first step, does not fit into memory. Change, " in error


def test_a_preview_refuses_what_the_engine_would(preview):
    with pytest.raises(InputError, match=r"does not work with ZeRO-3: .* set activation_checkpointing: true"):
        preview(extra="align_chunk_size: 2\n", engine="zero3")


def test_a_preview_shows_the_step_of_several_processes(preview):
    assert "4 task rows and 1 x 8 pairs (2 process(es))" in preview(engine="zero3", processes=2)
    assert "4 task rows and 2 x 4 pairs of 2 processes (2 process(es))" in preview(
        extra="align_gather_negatives: false\n", engine="ddp", processes=2
    )


def test_what_rows_say_cannot_reach_the_terminal(preview, tmp_path):
    hostile = "licht \x1bc\u202e aus\r"
    row = {"id": "1", "locale": "de-DE", "partition": "train", "utt": hostile, "annot_utt": hostile}
    pair = {"source": hostile, "target": "light \x9b31m off", "source_lang": "de", "target_lang": "en"}
    pairs = [pair | {"source": f"{i} {pair['source']}", "target": f"{i} {pair['target']}"} for i in range(9)]
    (tmp_path / "rows" / "de-DE").mkdir(parents=True)
    (tmp_path / "rows" / "de-DE" / "train.jsonl").write_text(json.dumps(row))
    test = row | {"partition": "test", "utt": "aus", "annot_utt": "aus"}
    (tmp_path / "rows" / "de-DE" / "test.jsonl").write_text(json.dumps(test))
    (tmp_path / "p.jsonl").write_text("\n".join(map(json.dumps, pairs)))
    data = (
        "--task_data",
        str(tmp_path / "rows"),
        "--task_languages",
        "de-DE",
        "--align_data",
        str(tmp_path / "p.jsonl"),
    )
    out = preview(
        *data,
        "--align_languages",
        "de",
        "--align_eval_languages",
        "de",
        "--score_languages",
        "de-DE",
        "--align_eval_pairs",
        "2",
    )
    assert "licht \\x1bc" in out
    assert all(line.isprintable() for line in out.split("\n"))
