"""The lm-eval tasks, through lm-eval's own loader, prompt builder and command line."""

import copy
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager
from tokenizers.processors import TemplateProcessing
from transformers import AutoModelForCausalLM

from midalign.data.streams import sample, sample_order
from midalign.data.tokens import prompt_ids
from midalign.demo import corpus
from midalign.evaluation.lm_task import rows
from midalign.tasks.intents import Intents
from midalign.tasks.slots import massive, scoring
from midalign.tasks.slots.task import Slots
from midalign.tasks.translation.task import Translation

SRC = Path(__file__).parents[2] / "src"
TRAINED, PAIRED = ["cs", "de", "is", "ru", "zh"], ["cy", "ja", "jv", "sw", "tr"]  # by the recipes
LM_TASKS = SRC / "midalign" / "evaluation" / "lm_tasks"


@pytest.fixture(scope="module")
def demo_tasks():
    return TaskManager(include_path=str(LM_TASKS), include_defaults=False, metadata={"task_data": "demo"})


@pytest.mark.parametrize("group", ["massive_slots", "massive_intents"])
def test_every_locale_is_a_task_of_the_group_with_the_tags_of_the_paper(demo_tasks, group):
    names = {locale: f"{group}_{locale}" for locale in massive.LOCALES}
    index = demo_tasks.task_index
    assert index[group].cfg["task"] == list(names.values())
    for locale, name in names.items():
        assert index[name].cfg["dataset_kwargs"] == {"locale": locale}
        assert (f"{group}_supervised" in index[name].tags) == (locale in massive.SUPERVISED)
        assert (f"{group}_aligned" in index[name].tags) == (locale in massive.ALIGNED)
        assert (f"{group}_transfer" in index[name].tags) == (locale not in massive.SUPERVISED)


@pytest.mark.parametrize("with_bos", [False, True])
def test_prompts_equal_the_training_prompts_token_for_token(demo_tasks, make_model, tokenizer, with_bos):
    if with_bos:  # as Llama 3 and Gemma have it: written by the template and added by the tokenizer
        tokenizer = copy.deepcopy(tokenizer)
        tokenizer.bos_token = "<|im_start|>"
        tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
            single="<|im_start|> $A", special_tokens=[("<|im_start|>", tokenizer.bos_token_id)]
        )
        assert tokenizer("a")["input_ids"][0] == tokenizer.bos_token_id
    model = HFLM(make_model(), tokenizer=tokenizer, max_length=2048)
    for locale in corpus.DEMO_LOCALES:
        name = f"massive_slots_{locale}"
        task = demo_tasks.load([name])["tasks"][name]
        rows = sample_order(corpus.rows(locale, "test"))
        assert len(task.task_docs) == len(rows)
        for doc, row in list(zip(task.task_docs, rows, strict=True))[:50]:
            prompt = task.fewshot_context(
                doc, 0, apply_chat_template=True, chat_template=model.apply_chat_template, fewshot_as_multiturn=True
            )
            expected = prompt_ids(tokenizer, Slots().prompt(row))
            assert model.tok_encode(prompt) == expected
            assert model.tok_batch_encode([prompt])[0].tolist() == [expected]


def test_a_limit_takes_the_rows_that_evaluate_takes(demo_tasks):
    task = demo_tasks.load(["massive_slots_de-DE"])["tasks"]["massive_slots_de-DE"]
    task.build_all_requests(limit=7)
    taken = {row["id"] for row in sample(corpus.rows("de-DE", "test"), 7)}
    assert len(taken) == 7 and {request.doc["id"] for request in task.instances} == taken


def test_corpus_figures_equal_those_of_the_scorer(demo_tasks):
    rows = corpus.rows("en-US", "test")
    answers = [massive.target(row["annot_utt"]) for row in rows]
    answers[::3] = answers[1::3] + answers[: len(answers[::3]) - len(answers[1::3])]
    answers[[row["annot_utt"] == row["utt"] for row in rows].index(True)] = ""  # no slot and no answer
    report = scoring.score(rows, answers)
    task = demo_tasks.load(["massive_slots_en-US"])["tasks"]["massive_slots_en-US"]
    results = [task.process_results(row, [answer]) for row, answer in zip(rows, answers, strict=True)]
    for name in ("f1", "precision", "recall", "name_f1"):
        value = task.aggregation()[name]([result[name] for result in results])
        assert 0 < value < 1
        assert value == pytest.approx(report[name], abs=1e-12)
    assert sum(result["exact_match"] for result in results) / len(rows) == report["exact_match"]


def test_intents_are_asked_and_scored_as_the_task_says(demo_tasks):
    task = demo_tasks.load(["massive_intents_de-DE"])["tasks"]["massive_intents_de-DE"]
    rows, intents = sample_order(corpus.rows("de-DE", "test")), Intents()
    assert [doc["target"] for doc in task.task_docs] == [intents.gold(row) for row in rows]
    assert task.task_docs[0]["asked"] == rows[0]["utt"] and task.task_docs[0]["instruction"] == Intents.instruction
    found = task.process_results({"intent": "alarm_set"}, ["alarm query"])
    assert found == {"accuracy": 0.0, "scenario": 1.0}
    assert {name: own([1.0, 0.0, 0.0]) for name, own in task.aggregation().items()} == dict.fromkeys(found, 1 / 3)


def test_translations_are_asked_and_scored_as_the_task_says(demo_tasks, make_model, tokenizer):
    index = demo_tasks.task_index
    names = index["midalign_translation"].cfg["task"]
    directions = [name.removeprefix("midalign_translation_") for name in names]
    assert directions == sorted(direction for x in TRAINED + PAIRED for direction in (f"{x}-en", f"en-{x}"))
    for name, direction in zip(names, directions, strict=True):
        assert index[name].cfg["dataset_kwargs"] == {"locale": direction}
        part = "supervised" if set(direction.split("-")) & set(TRAINED) else "aligned"
        way = "to_en" if direction.endswith("-en") else "from_en"
        assert index[name].tags == {f"midalign_translation_{part}", f"midalign_translation_{way}"}
    task, kind = demo_tasks.load(["midalign_translation_en-tr"])["tasks"]["midalign_translation_en-tr"], Translation()
    model, docs = HFLM(make_model(), tokenizer=tokenizer, max_length=2048), task.task_docs
    prompt = task.fewshot_context(docs[0], 0, apply_chat_template=True, chat_template=model.apply_chat_template)
    assert model.tok_encode(prompt) == prompt_ids(tokenizer, kind.prompt(docs[0]))
    assert "Translate this from English to Turkish:" in prompt
    answers = [doc["source"] if i % 3 else doc["target"] for i, doc in enumerate(docs)]
    results = [task.process_results(doc, [answer]) for doc, answer in zip(docs, answers, strict=True)]
    report = kind.report(docs, answers)
    for name, of in task.aggregation().items():
        assert of([result[name] for result in results]) == pytest.approx(report[name], abs=1e-12)
    assert 0.2 < report["bleu"] < report["chrf"] < 0.9 and report["copied"] == pytest.approx(2 / 3, abs=0.05)


@pytest.mark.parametrize("group", ["massive_slots_de-DE", "massive_intents_de-DE"])
def test_no_figure_is_looked_for_on_the_hub(group, monkeypatch):
    asked = []
    monkeypatch.setattr("lm_eval.api.task.get_metric", asked.append)
    manager = TaskManager(include_path=str(LM_TASKS), include_defaults=False, metadata={"task_data": "demo"})
    assert manager.load([group])["tasks"] and asked == []


def test_an_instruction_of_ones_own_is_asked():
    (row, *_) = rows("intents", "de-DE", "demo", None, task_instruction="Name it.")["test"]
    assert row["instruction"] == "Name it."


@pytest.mark.parametrize(
    ("counts", "f1", "precision", "recall"),
    [((0, 0, 0), 1, 1, 1), ((0, 0, 2), 0, 0, 0), ((0, 2, 0), 0, 0, 0), ((1, 1, 0), 2 / 3, 0.5, 1)],
)
def test_nothing_to_find_and_nothing_answered_is_right(counts, f1, precision, recall):
    shares = [Slots.figures[name].share(counts) for name in ("f1", "precision", "recall")]
    assert shares == [f1, precision, recall]


# The parrot answers "time: nine" after "please", "date: monday" after "today", "None" after "music".
RIGHT, NOTHING = "wake me at [time : nine] please", "stop the music"
WRONG_WORDS, WRONG_SLOT = "meet on [date : friday] today", "call [person : mom] please"


@pytest.mark.parametrize("peft", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_the_command_line_gives_the_corpus_f1_worked_out_by_hand(parrot, write_rows, tmp_path, peft):
    rows = {locale: [RIGHT, NOTHING] for locale in massive.LOCALES}
    rows["af-ZA"] = [RIGHT, WRONG_WORDS, NOTHING, WRONG_SLOT]  # 1 hit, 2 spurious, 2 missed
    arguments = f"pretrained={parrot}"
    if peft:
        arguments += f",peft={untrained_adapter(parrot, tmp_path / 'adapter')}"
    results = lm_eval(tmp_path, arguments, write_rows(rows), "--include_path", str(LM_TASKS))
    assert results["massive_slots_af-ZA"]["f1,none"] == pytest.approx(1 / 3)  # 2 / (2 + 2 + 2); a mean of rows has 1/2
    assert results["massive_slots_af-ZA"]["precision,none"] == pytest.approx(1 / 3)
    assert results["massive_slots_af-ZA"]["exact_match,none"] == 0.5
    assert results["massive_slots_sw-KE"]["f1,none"] == 1
    assert results["massive_slots"]["f1,none"] == pytest.approx((1 / 3 + 51) / 52)  # weighted by rows it is lower


def untrained_adapter(base, folder):
    """A LoRA adapter whose update is 0."""
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(target_modules=["q_proj"], task_type="CAUSAL_LM")
    get_peft_model(AutoModelForCausalLM.from_pretrained(base), config).save_pretrained(folder)
    return folder


def lm_eval(folder, model_args, data, *arguments, tasks="massive_slots"):
    """Run lm-eval's command line and read the results it writes."""
    command = [sys.executable, "-m", "lm_eval", "--model", "hf", "--model_args", model_args, "--device", "cpu"]
    command += ["--tasks", tasks, "--apply_chat_template", "--metadata", json.dumps({"task_data": str(data)})]
    command += ["--output_path", str(folder / "out.json"), "--batch_size", "4", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(SRC)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    (file,) = folder.glob("out*.json")
    return json.loads(file.read_text())["results"]
