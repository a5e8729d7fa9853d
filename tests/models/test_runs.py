"""What a folder says of itself."""

import json
from types import SimpleNamespace

import pytest

from midalign.cli.evaluation import task_of_runs
from midalign.errors import InputError
from midalign.models.runs import learned


@pytest.fixture
def folder(tmp_path):
    def folder(record):
        (tmp_path / "run.json").write_text(record if isinstance(record, str) else json.dumps(record), encoding="utf-8")
        return SimpleNamespace(name="mine", adapter=None, path=str(tmp_path), data=None)

    return folder


def test_an_adapter_without_a_recipe_is_asked_what_it_has_learned(folder):
    run = folder({"tasks": [{"task": "intents", "name": "intents"}, {"task": "entities", "name": "entities"}]})
    assert task_of_runs([run], None)[0].name == "intents"
    assert task_of_runs([run], "entities")[0].name == "entities"
    assert task_of_runs([folder({"tasks": [{"instruction": "x", "name": "slots"}]})], None)[0].name == "slots"


@pytest.mark.parametrize("record", ["", "[]", "{}", {"tasks": []}, {"tasks": None}, {"tasks": [3]}, {"task": "slots"}])
def test_a_record_that_says_nothing_leaves_the_default(folder, record):
    run = folder(record)
    assert learned(run) is None
    assert task_of_runs([run], None)[0].name == "slots"


def test_the_file_that_a_folder_names_is_not_run(folder, tmp_path):
    own = tmp_path / "own.py"
    own.write_text("raise SystemExit(9)")
    with pytest.raises(InputError, match=r"mine has learned the task in .*own\.py; give --task"):
        task_of_runs([folder({"tasks": [{"task": str(own), "name": "own"}]})], None)
