"""The lm-eval tasks of Universal NER's treebanks, through lm-eval's own loader and prompt builder."""

import json

import pytest
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager

from midalign.data.streams import sample
from midalign.data.tokens import prompt_ids
from midalign.evaluation.lm_link import LM_TASKS
from midalign.tasks.entities.task import Entities
from midalign.tasks.entities.treebanks import PUBLISHED

TASK = Entities("entities")
ANNA = [("Anna", "B-PER"), ("Lee", "I-PER"), ("in", "O"), ("Rio", "B-LOC")]
RAIN = [("it", "O"), ("rains", "O")]


@pytest.fixture
def manager(write_treebank):
    folder = write_treebank("hr_set", "test", [ANNA, RAIN, [*RAIN, *ANNA]])
    return TaskManager(
        include_path=str(LM_TASKS / "uner_entities"), include_defaults=False, metadata={"task_data": str(folder)}
    )


def test_every_published_treebank_is_a_task_of_the_group(manager):
    index = manager.task_index
    assert index["uner_entities"].cfg["task"] == [f"uner_entities_{name}" for name in PUBLISHED]
    for name in PUBLISHED:
        own = index[f"uner_entities_{name}"]
        assert own.cfg["dataset_kwargs"] == {"locale": name}
        assert ("uner_entities_pud" in own.tags) == name.endswith("_pud")
        assert ("uner_entities_transfer" in own.tags) == (not name.startswith("en_"))


def test_prompts_rows_and_limits_are_those_of_training_and_evaluation(manager, make_model, tokenizer, tmp_path):
    task = manager.load(["uner_entities_hr_set"])["tasks"]["uner_entities_hr_set"]
    model = HFLM(make_model(), tokenizer=tokenizer, max_length=2048)
    assert task.config.generation_kwargs["max_gen_toks"] == TASK.max_new_tokens
    for doc in task.task_docs:
        prompt = task.fewshot_context(
            doc, 0, apply_chat_template=True, chat_template=model.apply_chat_template, fewshot_as_multiturn=True
        )
        assert model.tok_encode(prompt) == prompt_ids(tokenizer, TASK.prompt(doc))
        assert "Pronađi imena osoba" in prompt and doc["target"] == TASK.gold(doc)
    task.build_all_requests(limit=2)
    taken = {row["id"] for row in sample(list(task.task_docs), 2)}
    assert {request.doc["id"] for request in task.instances} == taken


def test_figures_are_those_of_the_report(manager):
    task = manager.load(["uner_entities_hr_set"])["tasks"]["uner_entities_hr_set"]
    rows = list(task.task_docs)
    answers = [TASK.gold(row) for row in rows]
    answers[0] = json.dumps({"PER": ["Anna Lee"], "LOC": ["Lee"]})
    report = TASK.report(rows, answers)
    results = [task.process_results(row, [answer]) for row, answer in zip(rows, answers, strict=True)]
    assert set(results[0]) == set(TASK.figures) == {metric["metric"] for metric in task.config.metric_list}
    for name, aggregate in task.aggregation().items():
        assert aggregate([result[name] for result in results]) == pytest.approx(report[name], abs=1e-12)
    assert 0 < report["f1"] < 1 and report["valid_json"] == pytest.approx(2 / 3)
