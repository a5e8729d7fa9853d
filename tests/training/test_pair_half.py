"""What may stand beside the plain pair half: several layers, an anchor, groups of translations, an end."""

import json

import numpy as np
import pytest
import torch
from datasets import Dataset
from pairs_help import tokenised
from peft import AutoPeftModelForCausalLM, LoraConfig
from safetensors.torch import load_file

import run_midalign
from midalign.alignment import losses
from midalign.config import MidAlignConfig
from midalign.data.batches import collate_pairs
from midalign.errors import InputError
from midalign.models.runs import find_run, load_run
from midalign.training.pair_half import require_base
from midalign.training.trainer import MidAlignTrainer

COMMON = {
    "per_device_train_batch_size": 4, "activation_checkpointing": False, "learning_rate": 1e-2, "logging_steps": 1,
    "save_strategy": "no", "report_to": "none", "disable_tqdm": True, "use_cpu": True, "bf16": False, "seed": 3,
    "align_batch_size": 6,
}  # fmt: skip
ROWS = Dataset.from_list([{"input_ids": [70 + i, 71, 72], "labels": [-100, 71, 72]} for i in range(24)])


@pytest.fixture
def pairs(tokenizer):
    """Six sentences in each of three languages."""
    texts = [
        {"source": f"{language} {i * i}", "target": f"sentence {i}", "source_lang": language, "place": f"pair {i}"}
        for i in range(6)
        for language in ("de", "tr", "sw")
    ]
    return tokenised(texts, tokenizer)


class Kept(MidAlignTrainer):
    """Keeps the gradients of each optimizer step."""

    def _clip_grad_norm(self, model):
        own = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
        self.gradients = [*getattr(self, "gradients", ()), own]
        return super()._clip_grad_norm(model)


@pytest.fixture
def run(make_model, tokenizer, pairs, tmp_path):
    """run(lora, keys) -> the trainer after its steps; `trained` false: before them."""

    def start(lora=False, trained=True, **keys):
        args = MidAlignConfig(**{**COMMON, "max_steps": 1, "output_dir": str(tmp_path / "out"), **keys})
        adapter = LoraConfig(r=4, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM") if lora else None
        trainer = Kept(
            make_model(), args, train_dataset=ROWS, pairs=pairs, processing_class=tokenizer, peft_config=adapter
        )
        if trained:
            trainer.train()
        return trainer

    return start


def logged(trainer, key):
    return {entry["step"]: entry[key] for entry in trainer.state.log_history if key in entry}


def assert_same(one, other):
    assert one.keys() == other.keys()
    for name, gradient in one.items():
        largest = gradient.abs().max().item()
        torch.testing.assert_close(other[name], gradient, atol=1e-5 * largest + 1e-8, rtol=1e-4, msg=name)


ONLY = {"align_schedule": "align_only"}


def test_two_layers_have_the_mean_of_the_losses_and_gradients_of_each(run):
    low, high, both = (run(**ONLY, align_layer=layer) for layer in (1, 3, [3, 1]))
    for key in ("loss/align", "align/retrieval_at_1"):
        assert logged(both, key)[1] == pytest.approx((logged(low, key)[1] + logged(high, key)[1]) / 2)
    mean = {name: (low.gradients[0].get(name, 0) + own) / 2 for name, own in high.gradients[0].items()}
    assert_same(mean, both.gradients[0])


def test_a_list_of_one_layer_is_that_layer_to_the_bit(run):
    one, listed = run(max_steps=3, align_layer=2), run(max_steps=3, align_layer=[2])
    assert listed.args.align_layer == 2 and logged(one, "loss") == logged(listed, "loss")


EXTRAS = {
    "layers": {"align_layer": [1, 3]},
    "multiway": {"align_loss": "multiway", "align_center": True},
    "anchor": {"align_anchor_weight": 5.0},
}


def moved(trainer):
    """With an adapter that does something: before its first step there is nothing that an anchor could pull back."""
    torch.manual_seed(1)
    for name, weight in trainer.model.named_parameters():
        if "lora_B" in name:
            weight.data = 0.1 * torch.randn_like(weight)
    return trainer


@pytest.mark.parametrize("extra", EXTRAS.values(), ids=EXTRAS)
def test_packing_chunks_and_checkpointing_leave_the_gradient_as_it_is(extra, run):
    ways = ({"pack_pairs": False}, {"pack_pairs": True}, {"align_chunk_size": 4}, {"activation_checkpointing": True})
    plain, *others = (moved(run(lora=True, trained=False, **extra, **way)) for way in ways)
    for trainer in (plain, *others):
        trainer.train()
        assert_same(plain.gradients[0], trainer.gradients[0])
    assert "align_anchor_weight" not in extra or logged(plain, "loss/anchor")[1] > 1e-4


@pytest.mark.parametrize("extra", EXTRAS.values(), ids=EXTRAS)
def test_the_gradient_does_not_depend_on_accumulation(extra, run, pairs, monkeypatch):
    monkeypatch.setattr("midalign.data.schedule.pair_order", lambda languages, *_: np.arange(len(languages)))
    del pairs[6:]  # one batch, seen once or twice: the same candidates
    once, twice = (
        moved(run(lora=True, trained=False, per_device_train_batch_size=8 // times, gradient_accumulation_steps=times,
                  **extra))
        for times in (1, 2)
    )  # fmt: skip
    for trainer in (once, twice):
        trainer.train()
    assert_same(once.gradients[0], twice.gradients[0])


def test_the_anchor_adds_its_weight_times_the_distance_to_the_model_without_its_adapter(run, pairs):
    trainer = moved(run(lora=True, trained=False, align_anchor_weight=3.0, align_layer=2, pack_pairs=False))
    batch = collate_pairs(pairs[:6], 0)
    trainer._pair_halves = 2
    trainer.model.train()
    with_anchor = trainer._pair_loss(trainer.model, batch)
    trainer.args.align_anchor_weight = 0.0
    without = trainer._pair_loss(trainer.model, batch)

    chunk = {key: value[6:] for key, value in batch["chunks"][0].items()}  # the side in align_pivot
    pooled = []
    for disabled in (False, True):
        with trainer.model.disable_adapter() if disabled else torch.enable_grad():
            states = trainer.model(**chunk, output_hidden_states=True).hidden_states[2]
            pooled.append(losses.mean_pool(states, chunk["attention_mask"]))
    distance = (pooled[0] - pooled[1].detach()).square().mean()
    assert (with_anchor - without).item() == pytest.approx(3.0 * distance.item() / 2, rel=1e-4)
    weights = [weight for weight in trainer.model.parameters() if weight.requires_grad]
    found = torch.autograd.grad(with_anchor - without, weights, allow_unused=True)
    expected = torch.autograd.grad(1.5 * distance, weights, allow_unused=True)
    assert sum(own is not None for own in expected) == 8  # two modules of two layers
    for one, other in zip(found, expected, strict=True):
        if other is not None:
            torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-3)


@pytest.mark.parametrize(("schedule", "steps"), [("joint", [1, 3, 5]), ("alternate", [2, 6])])
def test_every_second_step_with_a_pair_half_is_anchored_and_the_first_starts_at_the_base(schedule, steps, run):
    trainer = run(lora=True, max_steps=6, align_anchor_weight=1.0, align_schedule=schedule)
    found = logged(trainer, "loss/anchor")
    assert list(found) == steps
    assert all(distance > 0 for distance in list(found.values())[1:])
    assert found[steps[0]] == pytest.approx(0.0, abs=0 if schedule == "joint" else 1)


def test_an_anchor_without_an_adapter_is_refused(run):
    with pytest.raises(InputError, match="align_anchor_weight compares with the model without its adapter, found none"):
        run(align_anchor_weight=1.0)


def test_an_adapter_that_takes_its_start_out_of_the_base_weights_has_nothing_to_be_anchored_to():
    with pytest.raises(InputError, match="the base model, which init_lora_weights pissa_niter_4 changes"):
        require_base([LoraConfig(init_lora_weights="pissa_niter_4")])
    require_base([LoraConfig(), LoraConfig(init_lora_weights="gaussian")])


def test_after_align_until_steps_are_those_of_the_task_alone(run):
    until = run(max_steps=4, align_until=2)
    always = run(max_steps=4)
    assert list(logged(until, "loss/align")) == [1, 2]
    assert all(logged(until, "loss")[n] == logged(always, "loss")[n] for n in (1, 2))
    assert list(logged(until, "loss/task")) == [1, 2, 3, 4]
    assert [logged(until, "loss")[n] == logged(until, "loss/task")[n] for n in (1, 2, 3, 4)] == [False] * 2 + [True] * 2


def test_a_run_with_all_of_it_goes_on_from_a_checkpoint_as_if_undisturbed(recipe, tmp_path):
    keys = ["--max_steps", "5", "--align_until", "3", "--align_anchor_weight", "2", "--align_layer", "1", "2"]
    keys += ["--align_loss", "multiway", "--save_strategy", "steps", "--save_steps", "2", "--lora_layers", "align"]
    keys += ["--eval_strategy", "no", "--eval_on_start", "false"]
    path = recipe()
    path.write_text("".join(line for line in path.open() if not line.startswith("score")))
    for name, more in (("whole", []), ("parts", ["--resume_from_checkpoint", tmp_path / "whole" / "checkpoint-2"])):
        assert run_midalign.main([str(word) for word in (path, *keys, "--output_dir", tmp_path / name, *more)]) == 0
    whole, parts = (load_file(tmp_path / name / "adapter_model.safetensors") for name in ("whole", "parts"))
    assert whole.keys() == parts.keys() and all(torch.equal(whole[name], parts[name]) for name in whole)
    record = json.loads((tmp_path / "whole" / "run.json").read_text())
    assert record["recipe"]["align_layer"] == [1, 2] and record["recipe"]["lora_layers"] == 2
    assert "aligned\nat layers 1, 2 (" in (tmp_path / "whole" / "README.md").read_text()


@pytest.mark.parametrize("modules", ["[all-linear]", "[q_proj, v_proj]"])
def test_an_adapter_of_the_lower_layers_is_saved_loaded_and_merged(modules, recipe, tmp_path):
    path = recipe("lora_layers: align\nlearning_rate: 0.01\n")
    text = path.read_text().replace("[q_proj, v_proj]", modules)
    path.write_text("".join(line for line in text.splitlines(True) if not line.startswith(("score", "eval_"))))
    assert run_midalign.main([str(path)]) == 0
    out = tmp_path / "recipe"
    names = load_file(out / "adapter_model.safetensors")
    assert {name.split("layers.")[1].split(".")[0] for name in names} == {"0", "1"}  # align_layer is 2 of 4
    ids = torch.tensor([[5, 6, 7, 8]])
    model = AutoPeftModelForCausalLM.from_pretrained(out)
    assert sum("lora_A" in name for name, _ in model.named_parameters()) == len(names) / 2
    with torch.no_grad():
        adapted = model(ids).logits
        with model.disable_adapter():
            assert not torch.allclose(model(ids).logits, adapted, atol=1e-4)
        loaded, _ = load_run(find_run(str(out), "float32"))
        torch.testing.assert_close(loaded(ids).logits, adapted)
        torch.testing.assert_close(model.merge_and_unload()(ids).logits, adapted, atol=1e-5, rtol=1e-4)


def test_lora_layers_beyond_the_model_are_refused(recipe, capsys):
    assert run_midalign.main([str(recipe()), "--lora_layers", "4"]) == 2
    assert "lora_layers=4, but the model has 4 layers; set it to 1..3 or align, or delete it" in capsys.readouterr().err
