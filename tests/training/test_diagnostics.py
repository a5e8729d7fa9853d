"""Diagnostics tell what happens and change nothing."""

import json

import pytest
import torch
from peft import LoraConfig

import run_midalign
from midalign.analysis.gradients import norms_and_cosine
from midalign.config import MidAlignConfig
from midalign.training.diagnostics import collapse, interval, is_due, why_no_gradients
from midalign.training.trainer import MidAlignTrainer

QUIET = ["--eval_strategy", "no", "--eval_on_start", "false"]


@pytest.fixture
def run(recipe, tmp_path, monkeypatch):
    """run(*options, name="recipe") -> (its log, its trained weights, the gradients of each step)."""
    weights, gradients = {}, []
    finalize, clip = MidAlignTrainer._finalize_training, MidAlignTrainer._clip_grad_norm

    def finalized(self, *args):
        weights.update({name: p.detach().clone() for name, p in self.model.named_parameters() if p.requires_grad})
        return finalize(self, *args)

    def clipped(self, model):
        gradients.append({name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None})
        return clip(self, model)

    monkeypatch.setattr(MidAlignTrainer, "_finalize_training", finalized)
    monkeypatch.setattr(MidAlignTrainer, "_clip_grad_norm", clipped)

    def train(*options, name="recipe"):
        weights.clear()
        gradients.clear()
        path = recipe(name=name)
        path.write_text("\n".join(line for line in path.read_text().split("\n") if not line.startswith("score_")))
        assert run_midalign.main([str(path), *map(str, options), *QUIET]) == 0
        log = json.loads((tmp_path / name / "trainer_state.json").read_text())["log_history"]
        return log, dict(weights), list(gradients)

    return train


def without_diagnostics(log):
    timed = ("runtime", "_per_second")  # differ from run to run
    return [
        {key: value for key, value in entry.items() if not (key.startswith("diag/") or key.endswith(timed))}
        for entry in log
    ]


def diagnosed(log):
    """[(step, {what: figure})] of the logs that have some."""
    found = [(e["step"], {key[5:]: value for key, value in e.items() if key.startswith("diag/")}) for e in log]
    return [(step, figures) for step, figures in found if figures]


CASES = {
    "joint": ["--share_prefix", "false", "--pack_pairs", "false"],
    "accumulated": ["--gradient_accumulation_steps", "3", "--align_every", "2", "--activation_checkpointing", "true"],
    "chunks": ["--align_chunk_size", "2", "--task_tokens_per_batch", "400"],
    "alternate": ["--align_schedule", "alternate"],
    "sft": ["--align_schedule", "sft"],
    "full": ["--use_peft", "false"],
}


@pytest.mark.parametrize(
    "case", [case if case in ("joint", "accumulated") else pytest.param(case, marks=pytest.mark.slow) for case in CASES]
)
def test_a_run_is_the_same_to_the_bit_with_and_without(case, run):
    lora = [] if case == "full" else ["--lora_dropout", "0.3"]
    options = ["--max_steps", 3, *lora, *CASES[case]]
    (log, weights, _), (plain_log, plain, _) = (
        run(*options, "--align_diagnostics_steps", every, name=f"every{every}") for every in (1, 0)
    )
    assert weights.keys() == plain.keys() and all(torch.equal(weights[name], plain[name]) for name in plain)
    assert without_diagnostics(log) == without_diagnostics(plain_log)
    assert diagnosed(plain_log) == []
    found = set().union(*(figures for _, figures in diagnosed(log)))
    expected = {"retrieval_at_1/de", "retrieval_at_1/ru", "retrieval_at_1/tr", "cosine_random", "effective_rank"}
    assert found == expected | ({"grad_norm_task", "grad_norm_align", "grad_cosine"} if case != "sft" else set())


def parts(first, second):
    return [(first[name], second.get(name, torch.zeros(()))) for name in first]


def test_the_gradients_of_the_halves_are_those_of_runs_with_one_half_alone(run):
    options = ["--max_steps", 1, "--align_weight", 3, "--gradient_accumulation_steps", 2, "--lora_dropout", 0]
    log, _, (both,) = run(*options)
    ((task,), (pair,)) = (
        run(*options, "--align_schedule", schedule, name=schedule)[2] for schedule in ("sft", "align_only")
    )
    for name in both:
        torch.testing.assert_close(both[name], task[name] + pair[name], atol=1e-6, rtol=1e-5)
    ((step, figures),) = diagnosed(log)
    found = [figures[name] for name in ("grad_norm_task", "grad_norm_align", "grad_cosine")]
    assert step == 1 and found == pytest.approx(norms_and_cosine(parts(task, pair)), rel=1e-4)
    assert 0 < abs(figures["grad_cosine"]) < 0.99


def test_those_of_the_alternate_schedule_are_of_neighbouring_steps(run):
    log, _, gradients = run("--max_steps", 6, "--align_schedule", "alternate", "--align_diagnostics_steps", 4)
    found = {step: figures for step, figures in diagnosed(log) if "grad_cosine" in figures}
    assert list(found) == [2, 4]
    for step, figures in found.items():
        expected = norms_and_cosine(parts(gradients[step - 2], gradients[step - 1]))
        assert [figures[name] for name in ("grad_norm_task", "grad_norm_align", "grad_cosine")] == pytest.approx(
            expected
        )
    assert [step for step, figures in diagnosed(log) if "effective_rank" in figures] == [1, 4]


def test_a_space_that_collapses_is_told_once_and_one_that_does_not_is_not(run, caplog):
    def warnings(loss, *options):
        caplog.clear()
        shared = ["--use_peft", "false", "--learning_rate", 0.02, "--lr_scheduler_type", "constant", "--max_steps", 15]
        log, *_ = run(*shared, *options, "--align_loss", loss, "--align_diagnostics_steps", 5, name=loss)
        told = [entry.getMessage() for entry in caplog.records if "the space of align_layer" in entry.getMessage()]
        return told, [figures for _, figures in diagnosed(log)]

    (told,), (first, *_, last) = warnings("mse", "--align_weight", 1e5)
    assert 1 - last["cosine_random"] < 0.1 * (1 - first["cosine_random"])
    assert f"rose from {first['cosine_random']:.3f} to " in told and "or use align_loss infonce" in told
    told, (first, *_, last) = warnings("infonce")
    assert not told and last["cosine_random"] < 0.8


def figures(cosine, rank):
    return {"diag/cosine_random": cosine, "diag/effective_rank": rank}


@pytest.mark.parametrize(
    ("first", "now", "found"),
    [
        ((0.5, 20), (0.949, 20), None),
        ((0.5, 20), (0.951, 20), "the mean cosine of random sentences rose from 0.500 to 0.9510: the space"),
        ((0.5, 20), (0.5, 5.1), None),
        ((0.5, 20), (-0.5, 4.9), "the effective rank of their states fell from 20.0 to 4.9: the space"),
        (
            (0.5, 20),
            (0.99, 1),
            "rose from 0.500 to 0.9900 and the effective rank of their states fell from 20.0 to 1.0",
        ),
    ],
)
def test_a_warning_names_what_has_collapsed(first, now, found):
    sentence = collapse(figures(*first), figures(*now), "infonce")
    assert sentence is None if found is None else found in sentence and sentence.endswith("learning_rate.")


@pytest.mark.parametrize(("every", "steps"), [(1, [1, 2, 3, 4, 5, 6, 7]), (3, [1, 3, 6]), (100, [1])])
def test_the_first_step_and_every_nth_is_looked_at(every, steps):
    assert [step + 1 for step in range(7) if is_due(step, every)] == steps


def test_unset_the_interval_grows_with_the_pairs_that_are_looked_at(tmp_path):
    def every(**changes):
        shared = {"per_device_train_batch_size": 16, "align_batch_size": 16, "use_cpu": True}
        return interval(MidAlignConfig(output_dir=str(tmp_path), **shared | changes), 160)

    # 160 pairs without a gradient cost as much as 80 with, and a pair half once more 16; a step has 32 rows and pairs
    assert every() == 50 * (80 + 16) / 32
    assert every(gradient_accumulation_steps=2) == 88  # 87.5, rounded up
    assert every(align_schedule="alternate") == 50 * (80 + 8) / 16
    assert every(align_schedule="align_only") == 50 * (80 + 16) / 16
    assert every(align_schedule="sft") == 50 * 80 / 16
    assert every(align_every=4) == -(-50 * (80 + 4) // 20)
    assert every(align_diagnostics_steps=7) == 7 and every(align_diagnostics_steps=0) == 0


@pytest.mark.parametrize(
    ("engine", "changes", "reason"),
    [
        ("single", {}, None),
        ("ddp", {"align_schedule": "alternate"}, None),
        ("zero2", {}, "zero2 does not keep them apart"),
        ("single", {"align_schedule": "sft"}, "has one half"),
        ("single", {"activation_checkpointing": True, "activation_checkpointing_kwargs": {"use_reentrant": True}},
         "use_reentrant: true allows no gradient of one half"),
    ],
)  # fmt: skip
def test_gradients_are_left_out_where_they_are_not_apart(engine, changes, reason, tmp_path):
    found = why_no_gradients(MidAlignConfig(output_dir=str(tmp_path), use_cpu=True, **changes), engine)
    assert found is None if reason is None else reason in found


@pytest.mark.parametrize("trained", [1, 3])
def test_a_run_without_held_out_pairs_has_gradients_alone_where_the_pair_half_has_one(
    trained, make_model, tokenizer, tmp_path
):
    def said(role, text):
        return [{"role": role, "content": text}]

    rows = [{"prompt": said("user", f"say {i}"), "completion": said("assistant", "a")} for i in range(4)]
    languages = {"source_lang": "de", "target_lang": "en"}
    pairs = [{"source": f"satz {i}", "target": f"sentence {i}"} | languages for i in range(4)]
    settings = {
        "logging_steps": 1,
        "activation_checkpointing": False,
        "save_strategy": "no",
        "report_to": "none",
        "use_cpu": True,
    }
    args = MidAlignConfig(output_dir=str(tmp_path), max_steps=1, align_batch_size=4, **settings)
    adapter = LoraConfig(target_modules=["q_proj", "v_proj"], layers_to_transform=[trained], task_type="CAUSAL_LM")
    trainer = MidAlignTrainer(
        make_model(), args, train_dataset=rows, processing_class=tokenizer, pairs=pairs, peft_config=adapter
    )
    trainer.train()
    found = [figures for _, figures in diagnosed(trainer.state.log_history)]
    # layer 2 of 4 is aligned: the output of layers[1]
    assert [set(figures) for figures in found] == (
        [{"grad_norm_task", "grad_norm_align", "grad_cosine"}] if trained == 1 else []
    )
