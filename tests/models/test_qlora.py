"""Training on a base in 4 bits: NF4 with double quantisation, adapters in float32."""

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, BitsAndBytesConfig
from trl import ModelConfig

import run_midalign
from midalign.alignment.hidden import middle_states
from midalign.alignment.losses import alignment_loss, mean_pool
from midalign.models.loading import load_model

WIDE = {"hidden_size": 128, "intermediate_size": 256, "head_dim": 32}  # bitsandbytes quantises blocks of 64
NF4 = {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "use_bnb_nested_quant": True, "dtype": "float32"}


@pytest.fixture(scope="module")
def folder(make_model, tmp_path_factory):
    path = tmp_path_factory.mktemp("base")
    make_model(**WIDE).save_pretrained(path)
    return path


@pytest.fixture
def quantised(folder):
    return load_model(str(folder), ModelConfig(model_name_or_path=str(folder), **NF4))


@pytest.fixture
def batch():
    draw = torch.Generator().manual_seed(0)
    ids = torch.randint(0, 250, (6, 9), generator=draw)
    return ids, torch.ones_like(ids)


def test_a_quantised_base_is_frozen_and_the_rest_of_it_is_float32(quantised):
    kinds = {name: (type(p).__name__, p.dtype) for name, p in quantised.named_parameters()}
    assert not any(parameter.requires_grad for parameter in quantised.parameters())
    assert kinds["model.layers.0.mlp.up_proj.weight"] == ("Params4bit", torch.uint8)
    assert kinds["model.norm.weight"][1] == kinds["lm_head.weight"][1] == torch.float32


def test_a_checkpoint_that_is_stored_in_4_bits_is_the_same_model(folder, quantised, batch, tmp_path):
    settings = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True)
    stored = AutoModelForCausalLM.from_pretrained(folder, quantization_config=settings, dtype=torch.float32)
    stored.save_pretrained(tmp_path)
    loaded = load_model(str(tmp_path), ModelConfig(model_name_or_path=str(tmp_path), dtype="float32"))
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    ids, mask = batch
    torch.testing.assert_close(loaded(ids, mask).logits, quantised(ids, mask).logits)


@pytest.mark.parametrize("layer", [1, 2, 3])
def test_the_early_exit_through_quantised_layers_is_exact_in_state_and_gradient(layer, quantised, batch):
    torch.manual_seed(0)
    lora = LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM", init_lora_weights=False)
    model = get_peft_model(quantised, lora)
    ids, mask = batch
    found = []
    for states in (
        lambda: middle_states(model, ids, mask, layer),
        lambda: model(ids, attention_mask=mask, output_hidden_states=True).hidden_states[layer],
    ):
        model.zero_grad()
        hidden = states()
        source, target = mean_pool(hidden, mask).chunk(2)
        alignment_loss(source, target).backward()
        gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
        found.append((hidden.detach(), gradients))
    (hidden, gradients), (expected, expected_gradients) = found
    torch.testing.assert_close(hidden, expected)
    assert gradients.keys() == expected_gradients.keys() and gradients
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, expected_gradients[name], msg=name)


@pytest.fixture
def trained(recipe, make_model, tmp_path):
    """The output folder of four steps on a quantised base; the base is tmp_path/model."""
    make_model(**WIDE).save_pretrained(tmp_path / "model")
    lines = "load_in_4bit: true\nuse_bnb_nested_quant: true\noptim: paged_adamw_8bit\nlearning_rate: 0.01\n"
    assert run_midalign.main([str(recipe(lines)), "--max_steps", "4"]) == 0
    return tmp_path / "recipe"


def test_an_adapter_trained_on_four_bits_loads_onto_the_quantised_and_the_plain_base(trained, tmp_path, batch):
    ids, mask = batch
    quantisation = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.float32,
    )  # fmt: skip
    logits = {}
    for name, kwargs in {"four bits": {"quantization_config": quantisation}, "plain": {}}.items():
        base = AutoModelForCausalLM.from_pretrained(tmp_path / "model", dtype=torch.float32, **kwargs)
        with torch.no_grad():
            before = base(ids, attention_mask=mask).logits
            adapted = PeftModel.from_pretrained(base, trained).eval()(ids, attention_mask=mask).logits
        logits[name] = before, adapted
        assert (adapted - before).abs().max() > 0.01
    moved = {name: (after - before).flatten() for name, (before, after) in logits.items()}
    assert torch.cosine_similarity(moved["four bits"], moved["plain"], dim=0) > 0.95


def test_adapters_on_four_bits_are_trained_and_saved_in_float32(trained):
    from safetensors.torch import load_file

    weights = load_file(trained / "adapter_model.safetensors")
    assert {weight.dtype for weight in weights.values()} == {torch.float32}
    assert any(not torch.equal(weight, weight.bfloat16().float()) for weight in weights.values())


@pytest.mark.parametrize("kind", ["lora", "rslora", "dora"])
def test_one_adapter_merged_into_the_plain_base_says_the_same(kind, folder, batch):
    torch.manual_seed(0)
    config = LoraConfig(
        r=4, target_modules="all-linear", task_type="CAUSAL_LM", init_lora_weights=False,
        use_dora=kind == "dora", use_rslora=kind == "rslora",
    )  # fmt: skip
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32), config).eval()
    ids, mask = batch
    with torch.no_grad():
        adapted = model(ids, attention_mask=mask).logits
        merged = model.merge_and_unload()(ids, attention_mask=mask).logits
    torch.testing.assert_close(merged, adapted, atol=1e-5, rtol=1e-5)
