"""The run record says what a run was; the model card says it to others."""

import ast
import json
import os
from pathlib import Path

import pytest
import torch
import yaml

import run_midalign
from midalign.files import write_result, write_whole
from midalign.training.record import card_of, masked


@pytest.fixture
def finished(recipe, tmp_path):
    assert run_midalign.main([str(recipe()), "--seed", "5"]) == 0
    return tmp_path / "recipe"


def test_the_record_holds_recipe_data_versions_and_scores(finished):
    record = json.loads((finished / "run.json").read_text())
    assert record["recipe"]["seed"] == 5 and record["recipe"]["align_layer"] == 2
    assert record["data"]["task_rows"] == 16 and record["data"]["pairs"].keys() == {"de", "tr"}
    assert len(record["data"]["task_sha256"]) == 64
    assert record["packages"].keys() >= {"midalign", "trl", "transformers", "torch"}
    assert record["steps"] == 2 and record["processes"] == 1 and record["resumed_from"] is None
    assert record["scores"].keys() == {"en-US", "ru-RU"}
    assert 0.1 < record["peak_gib"] < 100 and record["seconds"] > 0  # torch alone takes as much
    assert any("loss/align" in entry or "train_loss" in entry for entry in record["metrics"])


def test_the_model_card_is_made_from_the_record(finished):
    card = (finished / "README.md").read_text()
    for text in (
        "slots (the embedded demo corpus)",
        "aligned\nat layer 2",
        "16 rows of en-US from demo",
        "de ",
        "| ru-RU |",
        "2502.14830",
    ):
        assert text in card
    assert "{{" not in card and "None" not in card and "MASSIVE" not in card


def test_the_code_of_the_card_loads_the_model_from_where_the_recipe_was_run(recipe, tmp_path, monkeypatch):
    path = recipe()
    monkeypatch.chdir(tmp_path)
    assert (
        run_midalign.main([str(path), "--output_dir", "data/it's", "--eval_strategy", "no", "--eval_on_start=false"])
        == 0
    )
    card = (tmp_path / "data" / "it's" / "README.md").read_text()
    found = {}
    exec(card.split("```python\n")[1].split("```")[0], found)
    assert found["model"].get_base_model().config.num_hidden_layers == 4


TASK = {"name": "slots", "shown": {"f1": "slot F1", "name_f1": "slot found"}, "rows": 4}
TASK |= {"languages": ["no"], "data": "rows", "score_rows": 2}


@pytest.fixture(scope="module")
def record():
    """What `card_of` reads of a record."""
    recipe = {
        "use_peft": True,
        "align_layer": 2,
        "align_pivot": "en",
        "align_schedule": "joint",
    }
    recipe |= {
        "align_loss": "infonce",
        "align_temperature": 0.1,
        "align_weight": 1.0,
        "align_pooling": "mean",
        "seed": 1,
    }
    recipe |= {"push_to_hub": False, "hub_model_id": None, "output_dir": "data/x"}
    return {
        "recipe": recipe,
        "tasks": [TASK],
        "model": {"name": "org/model"},
        "packages": {"midalign": "1"},
        "data": {"task_rows": 4, "pairs": {"no": 3}},
        "step": {"holds": "2 task rows"},
        "steps": 3,
        "hardware": {"gpus": [], "machine": "x86_64"},
        "engine": "single",
        "processes": 1,
        "seconds": 60,
        "languages": ["no", "de"],
        "scores": {},
    }


FOREIGN = [
    "no",
    "yes",
    "1e3",
    "a: b",
    "a #b",
    "de\nlicense: evil",
    "'",
    '"',
    "- x",
    "{x}",
    "[x](javascript:y)",
    "<script>",
    "a|b",
    "```\n# x",
]


@pytest.mark.parametrize("text", FOREIGN)
def test_text_of_others_stays_text_in_the_card(text, record):
    own = record["recipe"] | {"output_dir": f"data/{text}"}
    tasks = [TASK | {"name": text, "languages": [text], "data": text}]
    pairs = record["data"] | {"pairs": {text: 3}}
    card = card_of(
        record
        | {"recipe": own, "tasks": tasks, "model": {"name": text}, "languages": [text], "data": pairs, "scores": {}}
    )
    _, front, body = card.split("---\n", 2)
    front = yaml.safe_load(front)
    assert front.keys() == {"base_model", "library_name", "pipeline_tag", "tags", "language"}
    assert front["base_model"] == text and front["language"] == [text]
    prose = body.split("```python")[0]
    assert "<script>" not in prose and "](" not in prose.replace("\\]", "").replace("[arXiv 2502.14830](", "")
    assert not any(line.startswith(("license:", "# x")) for line in card.splitlines())
    code = body.split("```python\n")[1].split("\n```")[0]
    assert repr(f"data/{text}") == repr(ast.literal_eval(code.split("from_pretrained(")[1].rstrip(")")))


SECRET = "hf_" + "abcdefghij"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ({"hub_token": SECRET}, {"hub_token": "<HUB_TOKEN>"}),
        (
            {"deepspeed": {"api_key": "x", "aws_secret_access_key": "y"}},
            {"deepspeed": {"api_key": "<API_KEY>", "aws_secret_access_key": "<AWS_SECRET_ACCESS_KEY>"}},
        ),
        ({"hub_token": None, "task_tokens_per_batch": 5}, {"hub_token": None, "task_tokens_per_batch": 5}),
        ({"task_data": "https://me:pass@host/x?a=1"}, {"task_data": "https://***@host/x?a=1"}),
        ({"align_data": [f"https://{SECRET}@host/x", "s3://bucket/x"]}, {"align_data": ["https://***@host/x", "s3://bucket/x"]}),
        ({"task_data": "https://host/x?access_token=abc&b=2"}, {"task_data": "https://host/x?access_token=***&b=2"}),
        ({"run_name": f"my {SECRET}"}, {"run_name": "my hf_***"}),
        ({"task_data": "me@host:/x", "seed": 1}, {"task_data": "me@host:/x", "seed": 1}),
    ],
)  # fmt: skip
def test_secrets_are_masked(value, shown):
    assert masked(value) == shown


def test_no_file_of_a_run_holds_its_token(recipe, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "")
    path = recipe(f"hub_token: {SECRET}  # {SECRET}\nsave_steps: 1\n")
    path.write_text(path.read_text().replace('save_strategy: "no"', "save_strategy: steps"))
    assert run_midalign.main([str(path), "--run_name", f"x {SECRET}"]) == 0
    assert os.environ["HF_TOKEN"] == SECRET
    files = [file for file in (tmp_path / "recipe").rglob("*") if file.is_file()]
    names = {file.name for file in files if SECRET.encode() in file.read_bytes()}
    assert len(files) > 20 and names <= {"training_args.bin"}  # the run's name, as it was given; the token is not there
    arguments = torch.load(tmp_path / "recipe" / "training_args.bin", weights_only=False)
    assert arguments.hub_token is None


def test_a_name_that_utf8_cannot_hold_leaves_a_whole_record(tmp_path):
    write_whole(tmp_path / "a.json", json.dumps({"name": "x\udcff ü"}, ensure_ascii=False))
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == {"name": "x\udcff ü"}


def test_a_file_that_cannot_be_written_leaves_the_one_before_it(tmp_path, monkeypatch):
    write_whole(tmp_path / "a.json", "old")

    def full(file, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space"):
        write_whole(tmp_path / "a.json", "new")
    assert (tmp_path / "a.json").read_text() == "old"


def test_the_same_seed_gives_the_same_weights_and_data_to_the_bit(recipe, tmp_path):
    for name in ("one", "other"):
        assert run_midalign.main([str(recipe(name=name))]) == 0
    one, other = (json.loads((tmp_path / name / "run.json").read_text()) for name in ("one", "other"))
    assert one["data"] == other["data"]
    weights = [(tmp_path / name / "adapter_model.safetensors").read_bytes() for name in ("one", "other")]
    assert weights[0] == weights[1]


def test_another_row_is_another_hash(recipe, tmp_path):
    hashes = []
    for rows in ("15", "16"):
        assert run_midalign.main([str(recipe(name=rows)), "--task_rows", rows]) == 0
        hashes.append(json.loads((tmp_path / rows / "run.json").read_text())["data"])
    assert hashes[0]["task_sha256"] != hashes[1]["task_sha256"]
    assert hashes[0]["pairs_sha256"] == hashes[1]["pairs_sha256"]


def test_a_file_of_others_beside_a_result_stays(tmp_path):
    (tmp_path / "_index.html").write_text("mine")
    write_result(tmp_path / "index.html", "report", "name another")
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == {
        "_index.html": "mine",
        "index.html": "report",
    }
