"""The sweep: the weight whose answers to development rows are best, each answer asked for once."""

import json
import math

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from midalign import cli
from midalign.errors import InputError
from midalign.models import sweep as sweeping
from midalign.models.sweep import sweep
from midalign.tasks.slots.task import Slots


@pytest.fixture
def adapters(parrot, tmp_path):
    """(task, alignment): the parrot as it is, and an update that makes it say nothing but the end of its turn."""
    folders = []
    for name, end in (("task", 0.0), ("align", 3.0)):
        config = LoraConfig(r=1, lora_alpha=1, target_modules=["lm_head"], task_type="CAUSAL_LM")
        model = get_peft_model(AutoModelForCausalLM.from_pretrained(parrot), config)
        layer = model.base_model.model.lm_head
        with torch.no_grad():
            layer.lora_A["default"].weight.fill_(1.0)
            layer.lora_B["default"].weight.zero_()
            layer.lora_B["default"].weight[0] = end  # the row of <end>
        model.save_pretrained(tmp_path / name)
        folders.append(tmp_path / name)
    return folders


ROWS = {
    "en-US": [
        {"id": "1", "locale": "en-US", "utt": "wake me nine please", "annot_utt": "wake me [time : nine] please"},
        {"id": "2", "locale": "en-US", "utt": "what is today", "annot_utt": "what is today"},
    ]
}


def test_the_best_weight_is_chosen_and_written(adapters, tmp_path):
    # At 0 the parrot answers both rows: a hit, and a spurious "date: monday": F1 = 2 / 3. At 1 it says nothing: F1 0.
    result = sweep(Slots(), *adapters, tmp_path / "out", [1.0, 0.0], ROWS)
    assert result["chosen"] == 0.0
    assert result["weights"] == {0.0: {"en-US": 2 / 3, "mean": 2 / 3}, 1.0: {"en-US": 0.0, "mean": 0.0}}
    assert json.loads((tmp_path / "out" / "sweep.json").read_text())["chosen"] == 0.0


def test_answers_are_asked_for_once(adapters, tmp_path, monkeypatch):
    first = sweep(Slots(), *adapters, tmp_path / "out", [0.0, 1.0], ROWS)
    monkeypatch.setattr(sweeping, "load_run", lambda run: pytest.fail("answers were there already"))
    assert sweep(Slots(), *adapters, tmp_path / "out", [0.0, 1.0], ROWS) == first


def test_equal_means_go_to_the_smaller_weight(adapters, tmp_path):
    assert sweep(Slots(), *adapters, tmp_path / "out", [0.02, 0.01], ROWS)["chosen"] == 0.01


def test_a_sweep_of_other_adapters_is_not_taken_for_this_one(adapters, tmp_path):
    task, align = adapters
    sweep(Slots(), task, align, tmp_path / "out", [1.0], ROWS)
    with pytest.raises(InputError, match="a sweep of other adapters or options"):
        sweep(Slots(), align, task, tmp_path / "out", [1.0], ROWS)
    with pytest.raises(InputError, match="a sweep of other adapters or options"):
        sweep(Slots(), task, align, tmp_path / "out", [1.0], ROWS, rank=1)
    with pytest.raises(InputError, match="a sweep of other adapters or options"):
        sweep(Slots(), task, align, tmp_path / "out", [1.0], ROWS, base="/another/base")


@pytest.mark.parametrize("weights", [[], [1.0, 1.0], [1.0, math.nan]])
def test_weights_are_given_finite_and_each_once(adapters, tmp_path, weights):
    with pytest.raises(InputError, match="each once"):
        sweep(Slots(), *adapters, tmp_path / "out", weights, ROWS)


def run(capsys, *argv):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["midalign", *map(str, argv)])
        try:
            cli.main()
            code = 0
        except SystemExit as end:
            code = end.code or 0
    return code, capsys.readouterr()


@pytest.fixture
def rows_folder(tmp_path):
    folder = tmp_path / "rows" / "en-US"
    folder.mkdir(parents=True)
    lines = [json.dumps(row | {"partition": "dev"}) for row in ROWS["en-US"]]
    (folder / "validation.jsonl").write_text("\n".join(lines) + "\n")
    return folder.parent


def test_merge_takes_the_weight_of_the_sweep(adapters, rows_folder, tmp_path, capsys):
    task, align = adapters
    code, said = run(
        capsys, "merge", "--task", task, "--align", align, "-o", tmp_path / "merged", "--sweep", "0,1",
        "--data", rows_folder, "--locale", "en",
    )  # fmt: skip
    assert code == 0, said.err
    assert "66.7" in said.out
    assert json.loads((tmp_path / "merged" / "merge.json").read_text())["weights"] == [1.0, 0.0]
    assert sorted(path.name for path in (tmp_path / "merged-sweep").iterdir()) == [
        "answers-0.0", "answers-1.0", "sweep.json", "weight-0.0", "weight-1.0",
    ]  # fmt: skip


def test_a_sweep_without_languages_or_with_words_is_refused(adapters, rows_folder, tmp_path, capsys):
    task, align = adapters
    common = ("merge", "--task", task, "--align", align, "-o", tmp_path / "merged", "--data", rows_folder)
    for options, words in (
        (("--sweep", "0,1"), "give --locale"),
        (("--sweep", "much,more", "--locale", "en"), "give numbers with commas"),
        (("--sweep", "", "--locale", "en"), "give numbers with commas"),
        (("--sweep", "1", "--locale", "en", "--method", "slerp"), "leave --method out"),
    ):
        code, said = run(capsys, *common, *options)
        assert code == 2 and words in said.err and "Traceback" not in said.err
    assert not (tmp_path / "merged").exists()


def test_merge_of_a_whole_model_is_refused(adapters, parrot, tmp_path, capsys):
    code, said = run(capsys, "merge", "--task", adapters[0], "--align", parrot, "-o", tmp_path / "merged")
    assert code == 2 and "merge takes two LoRA adapters" in said.err


def test_export_answers_prompts_of_the_embedded_corpus(adapters, tmp_path, capsys):
    code, said = run(capsys, "export", adapters[0], "-o", tmp_path / "out", "--dtype", "float32", "--rows", "4")
    assert code == 0, said.err
    assert "100.0 % of 4" in said.out
    assert json.loads((tmp_path / "out" / "export.json").read_text())["answers"] == {"rows": 4, "equal": 1.0}


@pytest.mark.parametrize("verb", ["merge", "export"])
def test_help_names_every_option(verb, capsys):
    code, said = run(capsys, verb, "--help")
    assert code == 0
    for option in {"merge": ("--task", "--align", "--sweep"), "export": ("--dtype", "--converter")}[verb]:
        assert option in said.out
