"""Which decoders of transformers have an exact early exit, and which are refused by name."""

from pathlib import Path

import pytest
import torch
import transformers

from midalign.alignment.hidden import NO_EXIT, decoder_of, every_layer, middle_states, require_early_exit

LAYERS = 4
SIZES = {
    "vocab_size": 64, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": LAYERS,
    "num_attention_heads": 4, "num_key_value_heads": 2, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
    "max_position_embeddings": 64,
}  # fmt: skip
WINDOW = {"sliding_window": 4}
HEADS = {"head_dim": 8}
EXPERTS = {"num_experts_per_tok": 2, "moe_intermediate_size": 16}
LATENT = {
    "q_lora_rank": 16, "kv_lora_rank": 16, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8, "v_head_dim": 8,
    "num_key_value_heads": 4, "n_routed_experts": 4, "n_group": 1, "topk_group": 1, "first_k_dense_replace": 1,
}  # fmt: skip
LINEAR = {
    "linear_num_key_heads": 2, "linear_num_value_heads": 2, "linear_key_head_dim": 8, "linear_value_head_dim": 8,
}  # fmt: skip
MAMBA = {"mamba_n_heads": 4, "mamba_d_head": 16, "mamba_d_state": 8, "mamba_n_groups": 1}
TURNS = {"layer_types": ["sliding_attention", "full_attention"] * 2}
PER_LAYER = {"hidden_size_per_layer_input": 8, "vocab_size_per_layer_input": 64}

EXACT = {
    "apertus": {},
    "arcee": {},
    "bitnet": {},
    "cohere": {},
    "cohere2": WINDOW | TURNS,
    "deepseek_v3": EXPERTS | LATENT,
    "dots1": EXPERTS | {"n_routed_experts": 4, "n_shared_experts": 1, "topk_group": 1, "first_k_dense_replace": 1},
    "ernie4_5": {},
    "exaone4": WINDOW | TURNS,
    "gemma": HEADS,
    "gemma2": HEADS | WINDOW,
    "gemma3_text": HEADS | WINDOW | TURNS,
    "gemma4_text": HEADS | WINDOW | TURNS | PER_LAYER | {"global_head_dim": 8, "num_kv_shared_layers": 2},
    "glm": HEADS,
    "glm4": HEADS,
    "glm4_moe": HEADS | EXPERTS | {"n_routed_experts": 4, "first_k_dense_replace": 1},
    "gpt_oss": HEADS | EXPERTS | WINDOW | {"num_local_experts": 4},
    "granite": {"residual_multiplier": 0.5, "embedding_multiplier": 3.0},
    "granitemoe": EXPERTS | {"num_local_experts": 4, "embedding_multiplier": 3.0},
    "granitemoehybrid": EXPERTS | MAMBA | {"num_local_experts": 4, "layer_types": ["mamba", "attention"] * 2},
    "helium": HEADS,
    "hunyuan_v1_dense": HEADS,
    "llama": {},
    "minicpm3": LATENT,
    "minimax": HEADS | EXPERTS | {"num_local_experts": 4, "layer_types": ["linear_attention", "full_attention"] * 2},
    "ministral": HEADS | WINDOW,
    "mistral": HEADS | WINDOW,
    "mixtral": HEADS | EXPERTS | {"num_local_experts": 4},
    "nanochat": {},
    "nemotron": {},
    "olmo": {},
    "olmo2": {},
    "olmo3": WINDOW,
    "olmoe": EXPERTS | {"num_experts": 4},
    "phi3": WINDOW,
    "phimoe": EXPERTS | {"num_local_experts": 4},
    "qwen2": {},
    "qwen2_moe": EXPERTS | {"num_experts": 4, "shared_expert_intermediate_size": 16},
    "qwen3": HEADS,
    "qwen3_5_text": HEADS | LINEAR,
    "qwen3_moe": HEADS | EXPERTS | {"num_experts": 4},
    "qwen3_next": HEADS | EXPERTS | LINEAR | {"num_experts": 4, "shared_expert_intermediate_size": 16},
    "seed_oss": HEADS,
    "smollm3": {"no_rope_layer_interval": 2},
    "stablelm": {},
    "starcoder2": WINDOW,
}
# Why, as `middle_states` says it: other names than `layers` and `norm`, or no state that belongs to one layer.
REFUSED = {
    "bamba": (MAMBA | {"attn_layer_indices": [1]}, "BambaModel has no `layers` and `norm`"),
    "deepseek_v4": (HEADS | EXPERTS | LATENT, "DeepseekV4Model has no early exit: it keeps several states"),
    "dory": (HEADS, "DoryModel has no early exit: it runs some of its layers several times"),
    "falcon_h1": (MAMBA | {"mamba_d_ssm": 64}, "FalconH1Model has no `layers` and `norm`"),
    "gemma3n_text": (
        HEADS | TURNS | PER_LAYER
        | {"laurel_rank": 4, "num_kv_shared_layers": 2, "activation_sparsity_pattern": [0.0] * LAYERS},
        "Gemma3nTextModel has no early exit: it keeps several states of each token",
    ),
    "gpt2": ({}, "GPT2Model has no `layers` and `norm`"),
    "gpt_neox": ({}, "GPTNeoXModel has no `layers` and `norm`"),
    "hy_v4": (HEADS | EXPERTS | {"num_local_experts": 4}, "HYV4Model has no early exit: it keeps several states"),
    "inkling2_loop_text": (
        HEADS | EXPERTS | WINDOW | {"n_routed_experts": 4},
        "Inkling2LoopTextModel has no early exit: it runs some of its layers several times",
    ),
    "inkling2_text": (
        HEADS | EXPERTS | WINDOW | {"n_routed_experts": 4},
        "Inkling2TextModel has no early exit: it mixes the states of several layers",
    ),
    "lfm2": (TURNS | {"layer_types": ["conv", "full_attention"] * 2}, "Lfm2Model has no `layers` and `norm`"),
    "mamba": ({}, "MambaModel has no `layers` and `norm`"),
    "phi": ({}, "PhiModel has no `layers` and `norm`"),
}  # fmt: skip

IDS = torch.tensor([[5, 6, 7, 8, 9, 11, 12, 13], [9, 10, 11, 0, 0, 0, 0, 0]])
MASK = (IDS != 0).long()


def make(family, changes):
    if family not in transformers.CONFIG_MAPPING:
        pytest.skip(f"this transformers does not have {family}")
    config = transformers.AutoConfig.for_model(family, **SIZES | changes)
    torch.manual_seed(0)
    return transformers.AutoModelForCausalLM.from_config(config).eval()  # some drop out, or route at random


def gradients(model, states):
    model.zero_grad()
    weights = torch.randn(states.shape, generator=torch.Generator().manual_seed(1)) * MASK[:, :, None]
    (states * weights).sum().backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("family", EXACT)
def test_states_and_gradients_are_those_of_output_hidden_states(family):
    model = make(family, EXACT[family])
    whole = model(IDS, attention_mask=MASK, output_hidden_states=True, use_cache=False).hidden_states
    assert len(whole) == LAYERS + 1
    with torch.no_grad():
        for layer in range(LAYERS):
            found = middle_states(model, IDS, MASK, layer)
            torch.testing.assert_close(found[MASK.bool()], whole[layer][MASK.bool()])
        passed = {}
        every_layer(model, IDS, MASK, passed.__setitem__)
        assert list(passed) == list(range(LAYERS + 1))
        for layer, states in passed.items():
            alone = middle_states(model, IDS, MASK, layer)
            torch.testing.assert_close(states[MASK.bool()], alone[MASK.bool()])

    expected = gradients(model, whole[2])
    found = gradients(model, middle_states(model, IDS, MASK, 2))
    # Another layer's state has another gradient, so an upper layer must have none and each lower one its own.
    assert expected.keys() == found.keys() and len(found) > 2
    assert not [name for name in found if ".layers.2." in name or ".layers.3." in name]
    for name in expected:
        torch.testing.assert_close(found[name], expected[name])
    assert len(decoder_of(model).layers) == LAYERS


@pytest.mark.parametrize("family", REFUSED)
def test_what_has_no_exact_early_exit_is_refused_by_name(family):
    changes, message = REFUSED[family]
    model = make(family, changes)
    refusals = (
        lambda: require_early_exit(decoder_of(model)),
        lambda: middle_states(model, IDS, MASK, 2),
        lambda: every_layer(model, IDS, MASK, print),
    )
    for refusing in refusals:
        with pytest.raises(ValueError, match=message):
            refusing()


@pytest.mark.parametrize("family", list(NO_EXIT))
def test_the_refused_would_give_other_states(family, monkeypatch):
    model = make(family, REFUSED[family][0])
    monkeypatch.delitem(NO_EXIT, family)
    with torch.no_grad():
        whole = model(IDS, attention_mask=MASK, output_hidden_states=True, use_cache=False).hidden_states
        found = middle_states(model, IDS, MASK, 2)
    assert found.shape != whole[2].shape or not torch.allclose(found[MASK.bool()], whole[2][MASK.bool()])


def test_the_table_in_the_documents_is_this_list():
    text = (Path(__file__).parents[2] / "recipes" / "engines.md").read_text(encoding="utf-8")
    others = [family for family in REFUSED if family not in NO_EXIT]
    for first, families in (
        ("exact", EXACT),
        ("refused: no state belongs to one layer", NO_EXIT),
        ("refused: no `layers` and `norm`", others),
    ):
        row = next(line for line in text.splitlines() if line.startswith(f"| {first} | "))
        assert set(row.split("|")[2].removesuffix(", and others with names of their own ").strip().split(", ")) == set(
            families
        )
