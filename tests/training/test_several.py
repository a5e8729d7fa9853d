"""Rows of several tasks in one step: the sum of what each task alone would give, whatever way it is computed."""

import pytest
import torch
from datasets import ClassLabel, Dataset, concatenate_datasets

from midalign.config import MidAlignConfig
from midalign.data.tokens import example_columns
from midalign.demo import corpus
from midalign.errors import InputError
from midalign.tasks import find_task
from midalign.training.several import rows_told
from midalign.training.trainer import MidAlignTrainer

COMMON = {
    "align_schedule": "sft",
    "activation_checkpointing": False,
    "learning_rate": 1e-2,
    "logging_steps": 1,
    "save_strategy": "no",
    "report_to": "none",
    "use_cpu": True,
    "seed": 3,
}
COUNTS = {"slots": 5, "translate": 3, "chat": 2}


def examples():
    """Rows of three tasks: two instructions, and chats that have no word in common, not even a system message."""
    slots, translation = find_task("slots"), find_task("translation")
    rows = corpus.rows("en-US", "train")
    translate = [
        translation.example({"source": row["utt"], "target": other["utt"], "locale": "en-de"})
        for row, other in zip(rows, corpus.rows("de-DE", "train"), strict=True)
    ]
    chat = [
        {
            "prompt": [{"role": role, "content": "a"}, {"role": "user", "content": "why " * n}],
            "completion": [{"role": "assistant", "content": "because " * n}],
        }
        for n, role in enumerate(("system", "assistant"), start=1)
    ]
    return {"slots": [slots.example(row) for row in rows], "translate": translate, "chat": chat}


@pytest.fixture(scope="module")
def tables(tokenizer):
    """{task: Dataset of its rows, tokenised}."""
    return {
        name: Dataset.from_dict(example_columns(tokenizer, own[: COUNTS[name]])) for name, own in examples().items()
    }


def mixed(tables, *names):
    kind = ClassLabel(names=list(names))
    return concatenate_datasets(
        [tables[name].add_column("task", [i] * len(tables[name]), feature=kind) for i, name in enumerate(names)]
    )


@pytest.fixture(scope="module")
def trained(make_model, tokenizer, tmp_path_factory):
    """trained(rows, **settings) -> a trainer that has taken a step of them all, with the gradient in `first`."""

    class Gradients(MidAlignTrainer):
        def _clip_grad_norm(self, model):
            self.first = {name: p.grad.clone() for name, p in model.named_parameters()}
            return torch.zeros(())

    def train(rows, held_out=None, size=1, **settings):
        args = MidAlignConfig(
            str(tmp_path_factory.mktemp("several")),
            per_device_train_batch_size=size,
            gradient_accumulation_steps=-(-len(rows) // size),
            **COMMON | {"max_steps": 1} | settings,
        )
        trainer = Gradients(
            make_model(), args, train_dataset=rows, eval_dataset=held_out, processing_class=tokenizer, made_from={}
        )
        trainer.train()
        return trainer

    return train


@pytest.fixture(scope="module")
def alone(tables, trained):
    """alone(task) -> (loss, gradient) of a step of the rows of a task alone, padded, as plain SFT takes it."""
    found = {}

    def of(name):
        if name not in found:
            trainer = trained(tables[name], size=COUNTS[name], share_prefix=False)
            found[name] = logged(trainer)["loss/task"], trainer.first
        return found[name]

    return of


def logged(trainer):
    return next(entry for entry in trainer.state.log_history if "loss/task" in entry)


def tokens(rows):
    return sum(label != -100 for labels in rows["labels"] for label in labels)


WAYS = {
    "packed": {"share_prefix": True},
    "padded": {"share_prefix": False},
    "packed, accumulated": {"share_prefix": True, "size": 3},
    "padded, accumulated": {"share_prefix": False, "size": 4},
    "packed, several passes": {"share_prefix": True, "task_tokens_per_batch": 400},
}


@pytest.mark.parametrize("names", [("slots", "translate"), ("chat", "slots", "translate")], ids=" ".join)
@pytest.mark.parametrize("way", WAYS)
def test_the_gradient_of_a_mixed_step_is_the_weighted_sum_of_the_tasks_alone(way, names, tables, trained, alone):
    weights, rows = [0.7, 2.0, 0.25][: len(names)], mixed(tables, *names)
    trainer = trained(rows, task_weights=weights, **{"size": len(rows)} | WAYS[way])
    losses = {f"loss/task/{name}": alone(name)[0] for name in names}
    entry = logged(trainer)
    assert {key: entry[key] for key in losses} == pytest.approx(losses, rel=1e-5)
    expected = sum(weight * loss for weight, loss in zip(weights, losses.values(), strict=True))
    assert entry["loss/task"] == pytest.approx(expected, rel=1e-5)
    for key, found in trainer.first.items():
        total = sum(weight * alone(name)[1][key] for weight, name in zip(weights, names, strict=True))
        torch.testing.assert_close(found, total, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("way", ["packed", "padded, accumulated"])
def test_without_weights_the_step_is_that_of_the_same_rows_of_one_task(way, tables, trained):
    rows = mixed(tables, "slots", "translate")
    settings = {"size": len(rows)} | WAYS[way]
    trainer, plain = trained(rows, **settings), trained(rows.remove_columns("task"), **settings)
    assert logged(trainer)["loss/task"] == logged(plain)["loss/task"]
    for key, found in trainer.first.items():
        assert torch.equal(found, plain.first[key])
    shares = {name: tokens(tables[name]) / tokens(rows) for name in ("slots", "translate")}
    total = sum(share * logged(trainer)[f"loss/task/{name}"] for name, share in shares.items())
    assert total == pytest.approx(logged(trainer)["loss/task"], rel=1e-5)
    assert not any(key.startswith("loss/task/") for key in logged(plain))


def test_a_task_without_a_row_in_a_step_adds_nothing_to_it_and_is_not_logged(tables, trained, alone):
    kind = ClassLabel(names=["slots", "translate"])
    rows = tables["slots"].add_column("task", [0] * COUNTS["slots"], feature=kind)
    trainer = trained(rows, size=COUNTS["slots"], task_weights=[2.0, 5.0])
    assert logged(trainer)["loss/task"] == pytest.approx(2 * alone("slots")[0], rel=1e-5)
    assert "loss/task/translate" not in logged(trainer)


@pytest.mark.parametrize("share_prefix", [True, False])
def test_held_out_rows_give_a_loss_for_each_task_whatever_the_batch(share_prefix, tables, trained, alone):
    rows = mixed(tables, "slots", "translate")
    settings = {"eval_strategy": "steps", "eval_on_start": True, "per_device_eval_batch_size": 3}
    for weights in (None, [0.5, 4.0]):
        trainer = trained(rows, rows, size=8, share_prefix=share_prefix, task_weights=weights, **settings)
        before = trainer.state.log_history[0]  # with the weights that all begin with
        each = {name: before[f"eval_task_{name}"] for name in ("slots", "translate")}
        assert each == pytest.approx({name: alone(name)[0] for name in each}, rel=1e-5)
        parts = weights or [tokens(tables[name]) / tokens(rows) for name in each]
        total = sum(part * loss for part, loss in zip(parts, each.values(), strict=True))
        assert before["eval_task"] == pytest.approx(total, rel=1e-5)
        assert before["eval_loss"] == before["eval_task"]


def test_weights_of_other_tasks_than_the_rows_are_refused(tables, trained):
    for rows in (mixed(tables, "slots", "translate", "chat"), tables["slots"]):
        with pytest.raises(InputError, match=r"task_weights has 2 numbers, but rows are of [13] task"):
            trained(rows, task_weights=[1.0, 1.0])


def test_rows_are_told_by_task(tables):
    assert rows_told(mixed(tables, "slots", "translate")) == "8 task rows (slots 5, translate 3)"
    assert rows_told(tables["slots"]) == "5 task rows"
