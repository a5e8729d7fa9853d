"""What a folder says of itself."""

import json
from types import SimpleNamespace

import pytest
from trl import ModelConfig

from midalign.cli.arms import arms_of
from midalign.cli.evaluation import task_of_runs
from midalign.errors import InputError
from midalign.models.learned import learned
from midalign.models.runs import Run, with_bases
from midalign.recipe import read_recipe
from midalign.tasks import find_task


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


OPTIONS = {"slots": {"task_slots": ["who"]}, "chat": {"task_loss_on": "all"}}


@pytest.mark.parametrize("file", ["run.json", "midalign.json"])  # of a run, of one of its checkpoints
@pytest.mark.parametrize("words", ["Say it.", None])
@pytest.mark.parametrize("name", ["slots", "intents", "entities", "chat", "translation"])
def test_a_folder_is_asked_as_it_was_trained(folder, tmp_path, file, words, name):
    trained = find_task(name, words, OPTIONS.get(name))
    own = {**trained.depends_on(), **({"name": name} if file == "run.json" else {})}
    run = folder({"tasks": [own], "recipe": {"seed": 1, **OPTIONS.get(name, {})}})
    (tmp_path / "run.json").rename(tmp_path / file)
    for asked in (None, name):
        task, _ = task_of_runs([run], asked)
        assert vars(task) == vars(trained)


@pytest.mark.parametrize("change", [{"instruction": 3}, {"recipe": [1]}, {"recipe": {"task_slots": 5}}])
def test_what_a_record_of_others_has_in_place_of_text_is_not_read(folder, change):
    run = folder({"tasks": [{"name": "slots", **change}], "recipe": {}, **change})
    assert vars(task_of_runs([run], None)[0]) == vars(find_task("slots"))


def test_a_run_that_learned_other_words_is_not_asked_these(folder, tmp_path):
    def recipe(words):
        keys = {
            "model_name_or_path": "demo",
            "task_data": "demo",
            "task": "intents",
            "output_dir": "out",
            "align_schedule": "sft",
        }
        (tmp_path / "recipe.yaml").write_text(json.dumps({**keys, "task_instruction": words}))
        return str(tmp_path / "recipe.yaml")

    run = folder({"tasks": [{"task": "intents", "instruction": "B?"}]})
    run.data = read_recipe([recipe("A?")])[0]
    with pytest.raises(InputError, match=r"mine has learned intents with the instruction 'B\?', and 'A\?' would be"):
        task_of_runs([run], None)
    assert task_of_runs([run], recipe("C?"))[0].instruction == "C?"  # as told
    run = folder({"tasks": [{"name": "intents"}]})  # nobody knows: evaluated as told
    run.data = read_recipe([recipe("A?")])[0]
    assert task_of_runs([run], None)[0].instruction == "A?"
    run = folder({"tasks": [{"task": "intents", "instruction": "B?"}]})
    run.data = read_recipe([recipe("B?")])[0]
    assert task_of_runs([run], None)[0].instruction == "B?"


def test_a_base_is_answered_once_whatever_precision_its_runs_have_and_not_at_all_where_it_is_named(tmp_path):
    def run(name, dtype, revision="main", adapter=True, path=str(tmp_path)):
        model = ModelConfig(model_name_or_path=path, dtype=dtype, model_revision=revision)
        return Run(name, path, tmp_path / name if adapter else None, path, model)

    a, b, plain = run("a", "bfloat16"), run("b", "float32"), run("plain", "auto", adapter=False)
    base, *others = with_bases([a, b])
    assert (base.adapter, base.model.dtype, others) == (None, "bfloat16", [a, b])
    assert with_bases([plain, a, b]) == [plain, a, b]
    hub = [run(name, "auto", name, path="org/model") for name in ("v1", "v2")]
    both = with_bases(hub)
    assert [own.model.model_revision for own in both] == ["v1", "v2", "v1", "v2"]
    assert list(arms_of([(None, own.name) for own in both])) == ["model@v1", "model@v2", "v1", "v2"]


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
