"""The memory estimate follows what is kept for the backward pass."""

import pytest
from transformers import LlamaConfig
from trl import ModelConfig

from midalign.config import MidAlignConfig
from midalign.models.memory import GIB, MARGIN, estimate

CONFIG = LlamaConfig(
    vocab_size=1000, hidden_size=64, intermediate_size=128, num_hidden_layers=4, num_attention_heads=4,
    tie_word_embeddings=True,
)  # fmt: skip


def parts(tokens=100, config=CONFIG, model=None, **changes):
    args = MidAlignConfig(output_dir="x", use_cpu=True, **{"activation_checkpointing": False, "bf16": False} | changes)
    return estimate(config, model or ModelConfig(dtype="float32"), args, tokens)


def test_the_parts_of_a_small_model_add_up_by_hand():
    weights = 1000 * 64 + 64 + 4 * (4 * 64 * 64 + 3 * 64 * 128 + 2 * 64)
    found = parts()
    assert found["weights"] * GIB == pytest.approx(weights * 4)
    assert found["gradients and optimizer"] * GIB == pytest.approx(weights * 12)  # a gradient and two moments
    assert found["activations"] * GIB == pytest.approx(MARGIN * 100 * 4 * (8 * 64 + 4 * 128) * 4)
    assert found["LM head"] * GIB == pytest.approx(100 * 1000 * 8)


def test_checkpointing_keeps_one_layer_and_the_states_between():
    assert parts(activation_checkpointing=True)["activations"] * GIB == pytest.approx(
        MARGIN * 100 * (8 * 64 + 4 * 128 + 4 * 64) * 4
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
        one, four = (estimate(CONFIG, ModelConfig(dtype="float32"), args, 100, *on) for on in ((), (engine, 4)))
        return {part: one[part] / four[part] for part in one}

    whole = {"weights": 1, "gradients and optimizer": 1, "activations": 1, "LM head": 1}
    assert shares("ddp") == whole
    assert shares("zero2") == whole | {"gradients and optimizer": 4}
    assert shares("zero3") == shares("fsdp2") == whole | {"gradients and optimizer": 4, "weights": 4}


def test_engines_keep_a_float32_copy_of_weights_that_are_trained_in_16_bits():
    args = MidAlignConfig(output_dir="x", use_cpu=True, activation_checkpointing=False, bf16=True)
    found = estimate(CONFIG, ModelConfig(dtype="bfloat16"), args, 100, "zero3", 4)
    weights = 1000 * 64 + 64 + 4 * (4 * 64 * 64 + 3 * 64 * 128 + 2 * 64)
    assert found["weights"] * GIB == pytest.approx(weights * 2 / 4)
    assert found["gradients and optimizer"] * GIB == pytest.approx(weights * (2 + 4 + 8) / 4)
