"""Names that were meant for a folder here, without asking the hub."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from midalign.errors import InputError
from midalign.models import nearby

SRC = str(Path(nearby.__file__).parents[2])


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A working folder with data/lora (an adapter), data/lora/checkpoint-8, Qwen/Qwen-7B (a model) and an empty one."""
    for folder, file in (
        ("data/lora", "adapter_config.json"),
        ("data/lora/checkpoint-8", "adapter_config.json"),
        ("Qwen/Qwen-7B", "config.json"),
        (".cache/lora", "config.json"),
    ):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / file).write_text("{}")
    (tmp_path / "empty").mkdir()
    (tmp_path / "weights.safetensors").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(nearby, "try_to_load_from_cache", lambda name, file: None)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "found", "meant"),
    [
        ("lora", "is no folder here", "data/lora is"),
        ("LORA", "is no folder here", "data/lora is"),
        ("lroa", "is no folder here", "data/lora is"),
        ("data/lor", "is no folder here", "data/lora is"),
        ("data/loras/", "is no folder here", "data/lora is"),
        ("./lora", "is no folder here", "data/lora is"),
        ("old/data/lora", "is no folder here", "data/lora is"),
        ("data/lora/checkpoint-9", "is no folder here", "data/lora/checkpoint-8 is"),
        ("Qwen/Qwen-7b", "is no folder here", "Qwen/Qwen-7B is"),
        ("data", "has neither adapter_config.json nor config.json", "data/lora or data/lora/checkpoint-8 has"),
        ("empty", "has neither adapter_config.json nor config.json", None),
        ("weights.safetensors", "is a file", None),
        ("../elsewhere/model", "is no folder here", None),
        ("", "'' is no folder here", None),
        ("\0", r"'\x00' is no folder here", None),
        ("line\nbreak", r"'line\nbreak' is no folder here", None),
        ("x" * 5000, "is no folder here", None),
    ],
)
def test_what_is_no_model_is_refused_with_what_was_probably_meant(here, name, found, meant):
    with pytest.raises(InputError) as refused:
        nearby.require_model_name(name)
    sentence = str(refused.value)
    assert found in sentence and "name a recipe, a folder with an adapter" in sentence and "\n" not in sentence
    assert (f", but {meant}; name" in sentence) if meant else ("but" not in sentence)


@pytest.mark.parametrize("name", ["data/lora", "data/lora/", "./data/lora", "Qwen/Qwen-7B", "data/lora/checkpoint-8"])
def test_a_model_folder_passes(here, name):
    nearby.require_model_name(name)


def test_a_recipe_passes_and_is_looked_for_where_it_is_read(here):
    for name in ("lora.yaml", "data/loras.yml"):
        nearby.require_model_name(name)


def test_the_sentence_comes_before_torch_is_imported(here):
    code = "import sys\nfrom midalign.cli import main\ntry: main()\nfinally: print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code, "evaluate", "lora"],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": SRC},
    )
    assert (done.returncode, done.stdout) == (2, "False\n")
    assert done.stderr.startswith("error: lora is no folder here, but data/lora is;")


@pytest.mark.parametrize("name", ["gpt2", "google/lora", "HuggingFaceTB/SmolLM2-135M", "Qwen/Qwen3-0.6B-Instruct"])
def test_a_name_of_the_hub_that_is_near_nothing_here_passes(here, name):
    nearby.require_model_name(name)


def test_a_model_of_the_hubs_cache_passes_also_where_a_folder_is_near(here, monkeypatch):
    monkeypatch.setattr(nearby, "try_to_load_from_cache", lambda name, file: f"/cache/{name}/{file}")
    nearby.require_model_name("Qwen/Qwen-7b")
    with pytest.raises(InputError):
        nearby.require_model_name("./lora")  # no hub has such a name


def test_the_search_ends_in_a_folder_without_end(here, monkeypatch):
    monkeypatch.setattr(nearby, "MOST_FOLDERS", 1)
    nearby.require_model_name("lora")  # nothing near was found before the limit: ask the hub
