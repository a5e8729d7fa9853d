"""A recipe with several tasks: each is trained, scored, recorded and shown with its own rows and languages."""

import json
import re
from dataclasses import asdict
from pathlib import Path

import pytest
from rich.console import Console

import run_midalign
from midalign.cli.evaluation import source_of, task_of_runs
from midalign.config import DataConfig
from midalign.errors import InputError
from midalign.models.runs import find_run
from midalign.recipe import read_recipe
from midalign.tasks import tasks_of
from midalign.tasks.slots.task import Slots
from midalign.tasks.translation.task import Translation
from midalign.training.prepare import prepare
from midalign.training.preview import preview_recipe

TASKS = ["--task", "slots", "translation", "--task_languages", "en-US", "en-de,tr-en", "--task_rows", "16", "12"]
SCORED = ["--score_languages", "en-US,ru-RU", "en-de", "--score_rows", "2", "1"]


@pytest.fixture(scope="module", autouse=True)
def short_answers():
    """A random model would go on to the end of what a task allows."""
    with pytest.MonkeyPatch.context() as patch:
        for task in (Slots, Translation):
            patch.setattr(task, "max_new_tokens", 3)
        yield


@pytest.fixture(scope="module")
def done(tmp_path_factory, make_model, tokenizer):
    """The recipe and the folder of a mixed run."""
    folder = tmp_path_factory.mktemp("mixed")
    make_model().save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    keys = {
        "model_name_or_path": str(folder / "model"),
        "use_peft": True,
        "lora_r": 4,
        "lora_target_modules": ["q_proj", "v_proj"],
        "task": ["slots", "translation"],
        "task_data": "demo",
        "task_languages": ["en-US", "en-de,tr-en"],
        "task_rows": [16, 12],
        "task_eval_rows": 4,
        "task_weights": [1.0, 0.5],
        "align_data": ["demo"],
        "align_languages": ["de", "tr"],
        "align_eval_pairs": 5,
        "align_batch_size": 4,
        "score_languages": ["en-US,ru-RU", "en-de"],
        "score_rows": [2, 1],
        "max_steps": 4,
        "per_device_train_batch_size": 8,
        "activation_checkpointing": False,
        "eval_strategy": "steps",
        "eval_steps": 2,
        "save_steps": 2,
        "load_best_model_at_end": True,
        "metric_for_best_model": "task_translation",
        "logging_steps": 1,
        "report_to": "none",
        "use_cpu": True,
        "output_dir": str(folder / "out"),
    }
    path = folder / "recipe.yaml"
    path.write_text("".join(f"{key}: {json.dumps(value)}\n" for key, value in keys.items()))
    assert run_midalign.main([str(path)]) == 0
    return path, folder / "out"


def record(folder):
    return json.loads((folder / "run.json").read_text())


def test_the_record_has_rows_scores_and_figures_of_each_task(done):
    _, folder = done
    found = record(folder)
    assert found["data"]["rows_of_tasks"] == {"slots": 16, "translation": 24} and found["data"]["task_rows"] == 40
    assert [(task["name"], task["rows"], task["languages"]) for task in found["tasks"]] == [
        ("slots", 16, ["en-US"]),
        ("translation", 24, ["en-de", "tr-en"]),
    ]
    assert found["languages"] == ["de", "en", "tr"]
    assert found["scores"].keys() == {"slots", "translation"}
    assert found["scores"]["slots"].keys() == {"en-US", "ru-RU"}
    assert found["scores"]["translation"]["en-de"].keys() == {"chrf", "bleu"}
    assert json.loads((folder / "scores.json").read_text())["scores"] == found["scores"]


def test_losses_are_logged_and_the_best_is_found_by_task(done):
    _, folder = done
    state = json.loads((folder / "trainer_state.json").read_text())
    trained = [entry for entry in state["log_history"] if "loss/task" in entry]
    assert len(trained) == 4
    for entry in trained:
        weighted = entry.get("loss/task/slots", 0) + 0.5 * entry.get("loss/task/translation", 0)
        assert entry["loss/task"] == pytest.approx(weighted, rel=1e-5)
    held_out = [entry["eval_task_translation"] for entry in state["log_history"] if "eval_task_translation" in entry]
    assert len(held_out) == 2 and state["best_metric"] == min(held_out)


def test_the_card_names_each_task_with_its_rows_and_a_table(done):
    _, folder = done
    card = (folder / "README.md").read_text()
    assert "fine-tuned on slots (the embedded demo corpus) and translation (the embedded demo corpus)" in card
    assert "| labels of slots | 16 rows of en-US from demo |" in card
    assert "| labels of translation | 24 rows of en-de, tr-en from demo |" in card
    assert "slots, up to 2 test rows" in card and "translation, up to 1 test rows" in card
    assert "| language | slot F1 | slot found |" in card and "| language | chrF++ | BLEU |" in card


def test_a_task_of_the_recipe_is_evaluated_with_its_own_rows_and_languages(done):
    run = find_run(str(done[0]))
    for told, name, languages, rows in (
        (None, "slots", ["en-US", "ru-RU"], 2),
        ("translation", "translation", ["en-de"], 1),
    ):
        task, recipe = task_of_runs([run], told)
        assert (task.name, recipe.score_rows) == (name, rows)
        assert source_of(task, recipe, None, None, None)[:2] == (languages, "demo")


def test_a_resumed_run_goes_on_with_the_losses_of_each_task(done, tmp_path):
    path, folder = done
    resume = ["--resume_from_checkpoint", str(folder / "checkpoint-2"), "--output_dir", str(tmp_path / "resumed")]
    assert run_midalign.main([str(path), *resume]) == 0
    states = [json.loads((one / "trainer_state.json").read_text()) for one in (folder, tmp_path / "resumed")]
    whole, resumed = (
        [entry for entry in own if "loss/task" in entry] for own in (state["log_history"] for state in states)
    )
    for one, other in zip(whole, resumed, strict=True):
        assert {key: one[key] for key in one if key.startswith("loss")} == {
            key: other[key] for key in other if key.startswith("loss")
        }


def test_the_preview_shows_rows_and_counts_of_each_task(done):
    console = Console(width=120, record=True)
    for part in preview_recipe([str(done[0])], 80.0, "single", 1):
        console.print(part)
    text = console.export_text()
    assert text.count("demo row") == 4 and text.count("Translate this from") == 2
    assert "task rows slots" in text and "task rows translation" in text


@pytest.mark.slow
def test_the_table_of_each_task_stands_beside_that_of_the_baseline(done, tmp_path, capsys):
    path, _ = done
    own = tmp_path / "sft.yaml"
    own.write_text(path.read_text().replace(str(path.parent / "out"), str(tmp_path / "sft")) + "align_schedule: sft\n")
    options = ["--baseline_recipe", str(own), "--output_dir", str(tmp_path / "out"), "--max_steps", "1"]
    options += ["--eval_strategy", "no", "--save_strategy", "no", "--load_best_model_at_end", "false"]
    assert run_midalign.main([str(path), *options]) == 0
    shown = capsys.readouterr().out
    assert "slots: test rows, in percent" in shown and "translation: test rows, in percent" in shown
    assert shown.count("without") >= 4 and record(tmp_path / "sft")["scores"].keys() == {"slots", "translation"}


def test_rows_of_several_tasks_are_those_of_each_alone(recipe):
    """One after the other, whatever task they stand beside."""

    def rows(*options):
        data, training, model = read_recipe([str(recipe()), *options])
        return prepare(data, training, model, "error", held_out=True)

    both = rows(*TASKS, *SCORED)
    slots = rows("--task_rows", "16")
    translation = rows("--task", "translation", "--task_rows", "12", "--task_languages", "en-de", "tr-en",
                       "--score_languages", "en-de")  # fmt: skip
    for name in ("task", "held_out_task"):
        own = [*getattr(slots, name), *getattr(translation, name)]
        found = getattr(both, name)
        assert found["task"] == [0] * len(getattr(slots, name)) + [1] * len(getattr(translation, name))
        assert [row | {"task": None} for row in found] == [row | {"task": None} for row in own]


LEAK = "turn the light on"


def write(folder, **partitions):
    for name, rows in partitions.items():
        file = folder / "en-US" / f"{name}.jsonl"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(folder)


def row(number, partition, text):
    return {"id": str(number), "locale": "en-US", "partition": partition, "utt": text, "annot_utt": text}


def test_no_test_row_of_a_task_is_trained_on_by_another(recipe, tmp_path):
    slots = write(
        tmp_path / "slots",
        train=[row(1, "train", "play music")],
        validation=[row(2, "dev", "stop")],
        test=[row(3, "test", LEAK)],
    )
    pairs = tmp_path / "pairs"
    pairs.mkdir()
    lines = [{"source": "mach das licht an", "target": LEAK}, {"source": "guten tag", "target": "good day"}]
    for name in ("train", "validation", "test"):
        own = lines if name == "train" else [{"source": name, "target": f"the {name}"}]
        tags = {"source_lang": "de", "target_lang": "en"}
        (pairs / f"{name}.jsonl").write_text("".join(json.dumps(line | tags) + "\n" for line in own))
    options = ["--task", "slots", "translation", "--task_data", slots, str(pairs), "--task_languages", "en-US", "de-en"]
    options += ["--score_languages", "en-US", "de-en"]
    data, training, model = read_recipe([str(recipe()), *options])
    with pytest.raises(InputError, match=r"train.jsonl line 1 .*test"):
        prepare(data, training, model, "error")
    prepared = prepare(data, training, model, "skip")
    assert prepared.task["task"] == [0, 1] and len(prepared.left_out) == 1


def test_an_option_is_for_the_tasks_that_read_it():
    data = DataConfig(task=["translation", "slots"], task_data="x", task_slots=["device"])
    assert "task_slots" in json.dumps(tasks_of(data)[1].depends_on()) or tasks_of(data)[1].options
    with pytest.raises(InputError, match="task_slots is set, but task translation does not read it"):
        tasks_of(DataConfig(task=["translation", "entities"], task_data="x", task_slots=["device"]))


def test_a_recipe_with_one_task_has_values_where_several_have_lists():
    one = DataConfig(task=["slots"], task_data=["demo"], task_rows=[4])
    assert asdict(one) == asdict(DataConfig(task="slots", task_data="demo", task_rows=4))
    assert one.each() == [one] and one.task_revision == "refs/convert/parquet" and one.score_rows == 200
    several = DataConfig(task=["slots", "intents"], task_data="demo", task_rows=[4, 5], task_languages=["en-US,de-DE"])
    assert [(own.task, own.task_rows, own.task_languages, own.task_eval_languages) for own in several.each()] == [
        ("slots", 4, ["en-US", "de-DE"], None),
        ("intents", 5, ["en-US", "de-DE"], None),
    ]


def test_the_recipe_in_the_page_about_mixed_runs_is_one(tmp_path):
    page = (Path(__file__).parents[1] / "recipes" / "mixed.md").read_text()
    (code,) = re.findall(r"^```yaml\n(.*?)^```", page, re.M | re.S)
    (tmp_path / "page.yaml").write_text(
        code + "align_schedule: sft\nmodel_name_or_path: x\noutput_dir: x\nuse_cpu: true\n"
    )
    data, training, _ = read_recipe([str(tmp_path / "page.yaml")])
    slots, translation = data.each()
    assert (slots.task_rows, translation.task_rows, training.task_weights) == (4000, 1000, [1.0, 0.5])
    assert translation.task_languages == ["de-en", "en-de"] and translation.score_languages == ["de-en"]
    assert slots.score_languages == ["en-US", "de-DE", "sw-KE"] and slots.task_revision == translation.task_revision
