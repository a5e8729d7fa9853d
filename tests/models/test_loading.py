"""Where a model comes from, and which attention it computes with."""

import json
import time

import pytest
from huggingface_hub import constants
from transformers import AutoConfig, LlamaConfig, LlamaForCausalLM
from trl import ModelConfig

from midalign.errors import InputError
from midalign.models import loading
from midalign.models.loading import fastest_attention, load_config, load_model, look_for_hub


@pytest.fixture
def flash_attention_installed(monkeypatch):
    monkeypatch.setattr(loading, "is_flash_attn_2_available", lambda: True)


def choose(family="llama", requested=None, shares=True, flash=True, flex=False):
    return fastest_attention(requested, AutoConfig.for_model(family), shares, flash, flex)


@pytest.mark.parametrize("requested", [None, "auto"])
def test_auto_means_shared_prefixes_also_where_flash_attention_is_installed(requested, flash_attention_installed):
    name, why = choose(requested=requested)
    assert name == "sdpa" and "packed rows need a mask" in why
    name, why = choose(requested=requested, flex=True)
    assert name == "flex_attention" and "passes over what is masked" in why
    name, why = choose(requested=requested, shares=False)
    assert name == "flash_attention_2" and "rows share no prefix" in why


@pytest.mark.parametrize(
    ("family", "flash", "name"),
    [
        ("llama", False, "sdpa"),  # on a CPU, or in float32
        ("llama4_text", True, "sdpa"),  # has no flash attention
        ("gemma2", False, "eager"),  # has no sdpa
        ("gemma2", True, "flash_attention_2"),
        ("gpt_oss", True, "eager"),  # its sinks are left out by one and rounded by the other
    ],
)
def test_auto_takes_what_architecture_and_device_have(family, flash, name, flash_attention_installed):
    assert choose(family, shares=False, flash=flash)[0] == name


@pytest.mark.parametrize(
    ("family", "name"),
    [("gemma2", "flex_attention"), ("olmoe", "sdpa"), ("llama4_text", "flex_attention"), ("gpt_oss", "eager")],
)
def test_long_packed_rows_pass_over_what_is_masked_where_the_architecture_can(family, name):
    assert choose(family, flex=True)[0] == name


def test_without_the_package_auto_is_never_flash_attention(monkeypatch):
    monkeypatch.setattr(loading, "is_flash_attn_2_available", lambda: False)
    assert choose(shares=False)[0] == "sdpa"


def test_what_the_recipe_asks_for_is_kept(flash_attention_installed):
    for name in ("eager", "sdpa", "flash_attention_2", "flex_attention"):
        assert choose(requested=name) == (name, "the recipe asks for it")


@pytest.mark.parametrize("requested", [None, "auto", "eager"])
def test_a_model_without_sdpa_loads(requested, make_model, tmp_path):
    make_model(family="gemma2").save_pretrained(tmp_path)
    assert load_model(str(tmp_path), ModelConfig(attn_implementation=requested)).config._attn_implementation == "eager"


def test_without_a_network_the_sentence_comes_at_once(monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")  # nobody listens there
    look_for_hub.cache_clear()
    began = time.monotonic()
    with pytest.raises(InputError, match="no/such-model cannot be loaded: We couldn't connect"):
        load_config("no/such-model", "main")
    assert time.monotonic() - began < 10  # 23 s before
    assert constants.HF_HUB_OFFLINE


@pytest.mark.parametrize(
    ("contradiction", "kept"),
    [
        ({"temperature": 0.9, "top_p": 0.6}, {"do_sample": True, "temperature": 0.9, "top_p": 0.6}),
        ({"early_stopping": True, "length_penalty": 2.0}, {"eos_token_id": 2}),
    ],
)
def test_a_model_whose_generation_settings_contradict_themselves_can_be_saved_once_padding_is_set(
    contradiction, kept, tmp_path
):
    config = LlamaConfig(vocab_size=8, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1)
    LlamaForCausalLM(config).save_pretrained(tmp_path)
    (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": 2, **contradiction}))
    model = load_model(str(tmp_path), ModelConfig(model_name_or_path=str(tmp_path)))
    model.generation_config.pad_token_id = 1
    model.save_pretrained(tmp_path / "again")
    saved = json.loads((tmp_path / "again" / "generation_config.json").read_text())
    assert {key: saved.get(key) for key in kept} == kept and saved["pad_token_id"] == 1
