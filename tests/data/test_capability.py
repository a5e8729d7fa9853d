"""Where rows that go through a model together get what each of them gets alone, and where not."""

import pytest
import torch
from transformers import AutoConfig

from midalign.data.capability import Capability
from midalign.errors import InputError

DYNAMIC = {"max_position_embeddings": 16, "rope_parameters": {"rope_type": "dynamic", "factor": 4.0, "rope_theta": 1e4}}
LONGROPE = {
    "max_position_embeddings": 64,
    "original_max_position_embeddings": 16,
    "rope_parameters": {
        "rope_type": "longrope",
        "rope_theta": 1e4,
        "short_factor": [1.0] * 4,
        "long_factor": [4.0] * 4,
        "original_max_position_embeddings": 16,
    },
}
BORDERED = [("llama", DYNAMIC), ("qwen2", DYNAMIC), ("llama", LONGROPE), ("phi3", LONGROPE)]
ids = [f"{family}-{changes['rope_parameters']['rope_type']}" for family, changes in BORDERED]


def capability(family="llama", attention="sdpa", balance=None, **changes):
    config = AutoConfig.for_model(family, hidden_size=32, num_attention_heads=4, num_hidden_layers=4, **changes)
    config._attn_implementation = attention
    return Capability.of(config, balance)


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (capability(attention="flash_attention_2"), "flash_attention_2 lets a row see itself alone"),
        (capability(attention="paged|sdpa"), "does not take a block mask"),
        (capability("qwen3_next"), "of kind linear_attention take no block mask"),
        (capability("lfm2", layer_types=["conv", "full_attention"] * 2), "of kind conv take no block mask"),
        (capability("jamba"), "of kind linear_attention take no block mask"),
        (capability("llama4_text"), "of kind chunked_attention take no block mask"),
        (capability(**DYNAMIC), "past 16 tokens depend on the longest row of a pass, and a row has 17"),
        (capability(**LONGROPE), "past 16 tokens depend on the longest row of a pass, and a row has 17"),
    ],
)
def test_packing_is_off_where_it_would_not_be_exact(found, reason):
    on, why = found.packs("share_prefix", None, 17)
    assert not on and reason in why
    assert found.packs("share_prefix", False, 17) == (False, None)
    with pytest.raises(InputError, match=r"share_prefix is not possible: .*; delete share_prefix"):
        found.packs("share_prefix", True, 17)


@pytest.mark.parametrize(
    "found",
    [
        capability(),
        capability(attention="eager"),
        capability(attention="flex_attention"),
        capability("mistral", sliding_window=None),
        capability("mistral", sliding_window=16),  # in all layers
        capability("qwen2", sliding_window=4, use_sliding_window=False),
        capability("qwen2_moe", sliding_window=4, use_sliding_window=False),
        capability("gemma3_text", sliding_window=16),
        capability("qwen3_moe"),
        capability(**{**DYNAMIC, "max_position_embeddings": 17}),
        capability(
            rope_parameters={"rope_type": "linear", "factor": 4.0, "rope_theta": 1e4}, max_position_embeddings=4
        ),
    ],
)
def test_packing_is_on_where_rows_fit(found):
    for wanted in (None, True):
        assert found.packs("share_prefix", wanted, 17) == (True, None)
    found.require_passes("align_chunk_size", 17)
    found.require_answers(17)


def test_flash_attention_packs_what_shares_no_prefix():
    found = capability(attention="flash_attention_2")
    assert found.packs("pack_pairs", None, 17, shares=False) == (True, None)
    with pytest.raises(InputError, match=r"lets a row see itself alone, no shared prefix; .* delete pack_pairs"):
        found.packs("pack_pairs", True, 17, shares=True)


def test_flex_attention_trains_where_torch_has_its_gradient_and_nothing_is_dropped():
    found, dropping = (capability(attention="flex_attention", attention_dropout=dropout) for dropout in (0.0, 0.1))
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    found.require_training(gpu)
    capability(attention_dropout=0.1).require_training(cpu)
    with pytest.raises(InputError, match=r"no backward pass for it on cpu; delete attn_implementation\.$"):
        found.require_training(cpu)
    with pytest.raises(InputError, match=r"the model has attention_dropout 0\.1; delete attn_implementation\.$"):
        dropping.require_training(gpu)


@pytest.mark.parametrize("rope", [DYNAMIC, LONGROPE], ids=["dynamic", "longrope"])
def test_past_the_border_neither_passes_nor_answers_are_possible(rope):
    found = capability(**rope)
    for key in ("task_tokens_per_batch", "align_chunk_size"):
        found.require_passes(key, 16)
        with pytest.raises(InputError, match=f"{key} is not possible: positions past 16 tokens .*; delete {key} or"):
            found.require_passes(key, 17)
    found.require_answers(16)
    with pytest.raises(InputError, match=r"generation is not possible: positions past 16 tokens .* a row has 17"):
        found.require_answers(17)


@pytest.mark.parametrize(("family", "changes"), BORDERED, ids=ids)
def test_the_border_is_the_last_length_at_which_the_longest_row_of_a_pass_changes_no_other(family, changes, make_model):
    model = make_model(family=family, initializer_range=0.3, **changes).eval()
    assert Capability.of(model.config).border == 16

    def beside(length):
        rows = torch.zeros(2, length, dtype=torch.int64)
        rows[0, :3] = torch.tensor([5, 6, 7])
        with torch.no_grad():
            return model(rows).logits[0, :3]

    alone = beside(3)
    torch.testing.assert_close(beside(16), alone)
    assert (beside(17) - alone).abs().max() > 1e-3


def test_the_weight_of_the_loss_that_balances_experts_is_the_recipes_or_the_configurations_own():
    assert capability().balance == capability("qwen3_moe", balance=0.0).balance == 0
    assert capability("qwen3_moe").balance == 0.001
    assert capability("qwen3_moe", balance=0.5).balance == 0.5
    assert capability("deepseek_v3").balance == 0  # names no weight of its own
    with pytest.raises(InputError, match=r"balances experts .* set router_aux_loss_coef: 0"):
        capability("mixtral").require_passes("task_tokens_per_batch", 1)
    capability("mixtral").require_passes("align_chunk_size", 1)  # pairs balance no experts
