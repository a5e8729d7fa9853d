"""The memory estimate follows what is kept for the backward pass."""

import pytest
import torch
from datasets import Dataset
from transformers import LlamaConfig, LlamaForCausalLM
from trl import get_peft_config

from midalign.config import MidAlignConfig, ModelConfig
from midalign.data.batches import collate_halves
from midalign.models.memory import GIB, MARGIN, estimate
from midalign.training.trainer import MidAlignTrainer

CONFIG = LlamaConfig(
    vocab_size=1000, hidden_size=64, intermediate_size=128, num_hidden_layers=4, num_attention_heads=4,
    tie_word_embeddings=True,
)  # fmt: skip


def parts(task=100, pairs=0, config=CONFIG, model=None, **changes):
    settings = {"activation_checkpointing": False, "bf16": False, "align_layer": 2} | changes
    args = MidAlignConfig(output_dir="x", use_cpu=True, **settings)
    return estimate(config, model or ModelConfig(dtype="float32"), args, task, pairs)


PROJECTIONS = [f"{name}_proj" for name in ("q", "k", "v", "o", "gate", "up", "down")]
LAYERS = 4 * (4 * 64 * 64 + 3 * 64 * 128 + 2 * 64)  # weights; a layer keeps 8 x 64 + 4 x 128 = 1,024 numbers a token


def test_a_joint_step_keeps_both_halves_and_others_the_larger_one():
    task, pairs = 100 * 4 * 1024 * 4, 300 * 2 * 1024 * 4  # the pair half runs two of four layers
    found = {schedule: parts(100, 300, align_schedule=schedule) for schedule in ("joint", "alternate")}
    assert found["joint"]["activations"] * GIB == pytest.approx(task + pairs + MARGIN * pairs)
    assert found["alternate"]["activations"] * GIB == pytest.approx((1 + MARGIN) * pairs)
    assert parts(0, 300, align_schedule="align_only")["LM head"] == 0


def test_checkpoints_of_a_joint_step_keep_the_states_of_both_halves_and_one_layer():
    task, pairs, layer = 100 * 4 * 64 * 4, 300 * 2 * 64 * 4, 1024 * 4
    found = parts(100, 300, activation_checkpointing=True)["activations"] * GIB
    assert found == pytest.approx(task + pairs + 300 * layer + MARGIN * (pairs + 300 * layer))


def test_autocast_keeps_a_copy_of_float32_weights_for_each_half_and_wide_states():
    head = 1000 * 64
    copies = {
        name: parts(100, pairs, bf16=True, model=ModelConfig(dtype=dtype), **changes)["16-bit copies"] * GIB
        for name, pairs, dtype, changes in (
            ("task", 0, "float32", {}),
            ("joint", 300, "float32", {}),
            ("turns", 300, "float32", {"align_schedule": "alternate"}),
            ("16 bits", 300, "bfloat16", {}),
        )
    }
    norm = 64  # counted among the layers
    assert copies == {
        "task": pytest.approx(2 * (LAYERS + norm + head), rel=1e-3),
        "joint": pytest.approx(2 * (1.5 * (LAYERS + norm) + head), rel=1e-3),
        "turns": copies["task"],
        "16 bits": 0,
    }
    assert parts()["16-bit copies"] == 0
    assert parts(bf16=True)["activations"] * GIB == pytest.approx((1 + MARGIN) * 100 * 4 * (8 * 64 * 4 + 4 * 128 * 2))


def test_an_8_bit_optimizer_keeps_2_bytes_a_weight_and_adafactor_4():
    plain, eight, factored = (
        parts(optim=name)["gradients and optimizer"] for name in ("adamw_torch", "adamw_8bit", "adafactor")
    )
    assert (eight / plain, factored / plain) == (pytest.approx(6 / 12), pytest.approx(8 / 12))


def test_a_large_vocabulary_goes_through_the_head_in_tiles():
    wide = CONFIG.__class__(**CONFIG.to_dict() | {"vocab_size": 256_000})
    assert parts(5000, config=wide)["LM head"] * GIB == 4096 * 32768 * 8


@pytest.mark.parametrize("lora", [False, True], ids=["full", "lora"])
@pytest.mark.parametrize("schedule", ["sft", "align_only", "joint"])
def test_what_is_estimated_is_what_autograd_keeps_to_a_fifth(schedule, lora, tokenizer, tmp_path):
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=128, intermediate_size=352, num_hidden_layers=6, num_attention_heads=4,
        num_key_value_heads=2, tie_word_embeddings=True,
    )  # fmt: skip
    model = ModelConfig(dtype="float32", use_peft=lora, lora_r=8, lora_target_modules=PROJECTIONS,
                        lora_dropout=0.0)  # fmt: skip
    args = MidAlignConfig(
        output_dir=str(tmp_path), use_cpu=True, bf16=False, activation_checkpointing=False, align_layer=3,
        align_schedule=schedule, share_prefix=False, pack_pairs=False, align_batch_size=8, report_to="none",
    )  # fmt: skip
    ids = torch.randint(4, 200, (8, 40)).tolist()
    rows = [{"input_ids": own, "labels": [-100] * 32 + own[32:]} for own in ids]
    pairs = [
        {"source": own[:20], "target": own[20:], "source_text": i, "target_text": i, "language": "de", "place": ""}
        for i, own in enumerate(ids)
    ]
    trainer = MidAlignTrainer(
        LlamaForCausalLM(config), args, train_dataset=Dataset.from_list(rows), pairs=pairs, processing_class=tokenizer,
        peft_config=get_peft_config(model),
    )  # fmt: skip
    task = {"sft": rows, "align_only": [], "joint": rows}[schedule]
    batch = collate_halves((task, pairs if schedule != "sft" else []), trainer.data_collator, trainer._collate_pairs)
    weights = {tensor.untyped_storage().data_ptr() for tensor in trainer.model.parameters()}
    kept, alive = {}, []

    def note(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        alive.append(tensor)
        return tensor

    trainer.model.train()
    trainer.get_batch_samples(iter([batch]), 1, torch.device("cpu"))
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        trainer.compute_loss(trainer.model, batch, num_items_in_batch=torch.tensor(64))
    found = estimate(config, model, args, 320 if task else 0, 320 if schedule != "sft" else 0)["activations"] * GIB
    larger = 320 * (6 if task else 3) * (8 * 128 + 4 * 352) * 4
    assert found - MARGIN * larger == pytest.approx(sum(kept.values()), rel=0.2)


def test_the_parts_of_a_small_model_add_up_by_hand():
    weights = 1000 * 64 + 64 + 4 * (4 * 64 * 64 + 3 * 64 * 128 + 2 * 64)
    found = parts()
    assert found["weights"] * GIB == pytest.approx(weights * 4)
    assert found["gradients and optimizer"] * GIB == pytest.approx(weights * 12)  # a gradient and two moments
    assert found["activations"] * GIB == pytest.approx((1 + MARGIN) * 100 * 4 * (8 * 64 + 4 * 128) * 4)
    assert found["LM head"] * GIB == pytest.approx(100 * 1000 * 8)


def test_checkpointing_keeps_one_layer_and_the_states_between():
    assert parts(activation_checkpointing=True)["activations"] * GIB == pytest.approx(
        (1 + MARGIN) * 100 * (8 * 64 + 4 * 128 + 4 * 64) * 4
    )


def test_lora_trains_little_and_four_bits_store_little():
    lora = ModelConfig(
        dtype="float32", use_peft=True, lora_r=2, lora_target_modules=["q_proj", "v_proj"], lora_dropout=0.0
    )
    assert parts(model=lora)["gradients and optimizer"] * GIB == pytest.approx(4 * 2 * 2 * (64 + 64) * 12)
    four = ModelConfig(dtype="float32", load_in_4bit=True, use_peft=True, lora_target_modules=["q_proj", "v_proj"])
    embeddings, layers, norms = 1000 * 64, 4 * (4 * 64 * 64 + 3 * 64 * 128), 9 * 64
    adapters = 4 * 16 * 2 * (64 + 64)  # TRL's rank 16
    assert parts(model=four)["weights"] * GIB == pytest.approx(
        4 * embeddings + 0.55 * (layers + norms) + 4 * adapters, rel=1e-3
    )


def test_engines_share_out_what_they_say():
    args = MidAlignConfig(output_dir="x", use_cpu=True, activation_checkpointing=False, bf16=False)

    def shares(engine):
        one, four = (estimate(CONFIG, ModelConfig(dtype="float32"), args, 100, 0, *on) for on in ((), (engine, 4)))
        return {part: one[part] / four[part] for part in one if one[part]}

    whole = {"weights": 1, "gradients and optimizer": 1, "activations": 1, "LM head": 1}  # copies: none in float32
    assert shares("ddp") == whole
    assert shares("zero2") == whole | {"gradients and optimizer": 4}
    assert shares("zero3") == shares("fsdp2") == whole | {"gradients and optimizer": 4, "weights": 4}


def test_engines_keep_a_float32_copy_of_weights_that_are_trained_in_16_bits():
    args = MidAlignConfig(output_dir="x", use_cpu=True, activation_checkpointing=False, bf16=True)
    found = estimate(CONFIG, ModelConfig(dtype="bfloat16"), args, 100, 0, "zero3", 4)
    weights = 1000 * 64 + 64 + 4 * (4 * 64 * 64 + 3 * 64 * 128 + 2 * 64)
    assert found["weights"] * GIB == pytest.approx(weights * 2 / 4)
    assert found["gradients and optimizer"] * GIB == pytest.approx(weights * (2 + 4 + 8) / 4)


def test_several_layers_cost_what_the_highest_costs_and_a_lower_adapter_its_own_weights():
    assert parts(0, 300, align_layer=[1, 3]) == parts(0, 300, align_layer=3)
    lora = {"dtype": "float32", "use_peft": True, "lora_r": 8, "lora_target_modules": ["q_proj", "v_proj"]}
    of_all, of_one = (
        parts(model=ModelConfig(**lora, lora_layers=layers))["gradients and optimizer"] for layers in (None, 1)
    )
    assert of_one == pytest.approx(of_all / 4)
