"""The run record says what a run was; the model card says it to others."""

import json

import pytest

import run_midalign


@pytest.fixture
def finished(recipe, tmp_path):
    assert run_midalign.main([str(recipe()), "--seed", "5"]) == 0
    return tmp_path / "recipe"


def test_the_record_holds_recipe_data_versions_and_scores(finished):
    record = json.loads((finished / "run.json").read_text())
    assert (
        record["recipe"]["seed"] == 5
        and record["recipe"]["align_layer"] == 2
        and record["given"][1:] == ["--seed", "5"]
    )
    assert record["data"]["task_rows"] == 16 and record["data"]["pairs"].keys() == {"de", "tr"}
    assert len(record["data"]["task_sha256"]) == 64
    assert record["packages"].keys() >= {"midalign", "trl", "transformers", "torch"}
    assert record["steps"] == 2 and record["processes"] == 1 and record["resumed_from"] is None
    assert record["scores"].keys() == {"en-US", "ru-RU"}
    assert any("loss/align" in entry or "train_loss" in entry for entry in record["metrics"])


def test_the_model_card_is_made_from_the_record(finished):
    card = (finished / "README.md").read_text()
    for text in (
        "aligned\nat layer 2",
        "16 rows of en-US from demo",
        "de ",
        "| ru-RU |",
        "AutoPeftModelForCausalLM",
        "2502.14830",
    ):
        assert text in card
    assert "{{" not in card and "None" not in card


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
