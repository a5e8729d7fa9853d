"""A model or an adapter is loaded whole, or the first weight that is not is named."""

import json

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from trl import ModelConfig

import run_midalign
from midalign.errors import InputError
from midalign.models.loading import load_config, load_model, load_tokenizer
from midalign.models.runs import find_run, load_run

ATTENTION = "layers.0.self_attn.q_proj.weight"
LAST = "model.layers.3.mlp.down_proj.weight"


def without(name):
    return lambda weights: {key: weight for key, weight in weights.items() if key != name}


def with_(name, shape=(2, 2)):
    return lambda weights: weights | {name: torch.zeros(shape)}


@pytest.fixture
def model(tmp_path, make_model, tokenizer):
    """model(change of the weights, **changes of config.json) -> the folder."""

    def save(change=lambda weights: weights, family="llama", tied=False, **config):
        folder = tmp_path / "model"
        made = make_model(family=family)
        if tied:
            made.config.tie_word_embeddings = True
            made.tie_weights()
        made.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        file = folder / "model.safetensors"
        save_file(change(load_file(file)), file, metadata={"format": "pt"})
        values = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(values | config))
        return str(folder)

    return save


def load(path, **settings):
    return load_model(path, ModelConfig(model_name_or_path=path, dtype="float32", **settings))


PARTIAL = [
    (lambda weights: {f"base_model.{name}": weight for name, weight in weights.items()}, {}, "lacks the weight"),
    (lambda weights: {f"module.x.{name}": weight for name, weight in weights.items()}, {}, "lacks the weight"),
    (lambda weights: {}, {}, "lacks the weight lm_head.weight and 38 more"),
    (without(LAST), {}, f"lacks the weight {LAST}; its config.json"),
    (without("lm_head.weight"), {}, "lacks the weight lm_head.weight;"),
    (without("model.embed_tokens.weight"), {}, "lacks the weight model.embed_tokens.weight"),
    (without("model.norm.weight"), {}, "lacks the weight model.norm.weight;"),
    (without("model.layers.2.input_layernorm.weight"), {}, "lacks the weight model.layers.2.input_layernorm.weight;"),
    (lambda weights: weights, {"num_hidden_layers": 8}, "lacks the weight model.layers.4."),
    (lambda weights: weights, {"num_hidden_layers": 2}, "no place in the model, the weight model.layers.2."),
    (lambda weights: weights, {"intermediate_size": 32}, "of another size the weight model.layers.0.mlp.down_proj"),
    (lambda weights: weights, {"vocab_size": 300}, "of another size the weight lm_head.weight"),
    (lambda weights: weights, {"hidden_size": 64}, "of another size the weight"),
    (with_("v_head.weight"), {}, "no place in the model, the weight v_head.weight;"),
    (with_("model.layers.4.mlp.down_proj.weight"), {}, "no place in the model, the weight model.layers.4"),
    (with_("model.layers.0.self_attn.q_proj.bias"), {}, "no place in the model, the weight model.layers.0"),
]


@pytest.mark.parametrize(("change", "config", "message"), PARTIAL, ids=[message for *_, message in PARTIAL])
def test_a_model_whose_weights_and_configuration_are_not_of_one_model_is_refused(change, config, message, model):
    path = model(change, **config)
    with pytest.raises(InputError) as error:
        load(path)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_a_prefix_that_transformers_takes_away_is_none(model, make_model):
    loaded = load(model(lambda weights: {f"model.{name}": weight for name, weight in weights.items()})).state_dict()
    assert all(torch.equal(weight, loaded[name]) for name, weight in make_model().state_dict().items())


@pytest.mark.parametrize("family", ["llama", "qwen2", "gemma3_text"])
def test_tied_embeddings_need_no_head(family, model):
    path = model(without("lm_head.weight"), family=family, tied=True, tie_word_embeddings=True)
    loaded = load(path)
    assert loaded.lm_head.weight is loaded.model.embed_tokens.weight


@pytest.mark.parametrize(
    "name",
    [
        "model.layers.0.self_attn.rotary_emb.inv_freq",
        "vision_tower.encoder.layers.0.weight",
        "model.visual.blocks.0.weight",
        "multi_modal_projector.mm_input_projection_weight",
        "audio_tower.conv.weight",
    ],
)
def test_buffers_of_older_files_and_other_senses_may_be_left_behind(name, model):
    assert load(model(with_(name))).model.layers[0].self_attn.q_proj.weight.isfinite().all()


def test_a_whole_model_is_loaded_in_four_bits(model):
    load(model(), load_in_4bit=True, use_peft=True)
    with pytest.raises(InputError, match=r"lacks the weight model\.norm\.weight"):
        load(model(without("model.norm.weight")), load_in_4bit=True, use_peft=True)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"lora_modules_to_save": ["nonsense"]},
            "lora_modules_to_save names nonsense, which the model has not; use any",
        ),
        ({"lora_target_modules": ["q_proj", "k_prj"]}, "lora_target_modules names k_prj, which the model has not"),
        ({"lora_modules_to_save": ["lm_head", "roj"]}, "lora_modules_to_save names roj"),
    ],
)
def test_names_of_modules_that_the_model_has_not_are_refused(settings, message, model):
    with pytest.raises(InputError, match=message):
        load(model(), use_peft=True, **settings)
    load(
        model(),
        use_peft=True,
        lora_modules_to_save=["lm_head", "mlp.down_proj"],
        lora_target_modules=["q_proj", "v_proj"],
    )


@pytest.fixture
def adapter(tmp_path, make_model, model):
    """adapter(change of its weights, **settings) -> its folder."""

    def save(change=lambda weights: weights, **settings):
        base = model()
        settings = {"target_modules": ["q_proj", "v_proj"], "r": 2, **settings}
        wrapped = get_peft_model(load(base), LoraConfig(init_lora_weights=False, task_type="CAUSAL_LM", **settings))
        wrapped.save_pretrained(tmp_path / "adapter")
        file = tmp_path / "adapter" / "adapter_model.safetensors"
        save_file(change(load_file(file)), file, metadata={"format": "pt"})
        return str(tmp_path / "adapter")

    return save


LORA_B = "base_model.model.model.layers.1.self_attn.v_proj.lora_B.weight"
ADAPTERS = [
    (lambda weights: {f"module.{name}": weight for name, weight in weights.items()}, "lacks the weight"),
    (lambda weights: {f"base_model.model.{name}": weight for name, weight in weights.items()}, "lacks the weight"),
    (lambda weights: {name.replace("lora_", "lora_x"): weight for name, weight in weights.items()}, "lacks the weight"),
    (
        lambda weights: {name.replace(".weight", ".default.weight"): w for name, w in weights.items()},
        "lacks the weight",
    ),
    (lambda weights: {}, "lacks the weight base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight and 15 more"),
    (without(LORA_B), f"lacks the weight {LORA_B}; train or save it anew"),
    (with_("base_model.model.model.layers.9.self_attn.q_proj.lora_A.weight"), "no place in the model, the weight base"),
    (with_("nonsense"), "no place in the model, the weight nonsense;"),
    (lambda weights: {name: w[:, :1].contiguous() for name, w in weights.items()}, "size mismatch"),
]


@pytest.mark.parametrize(("change", "message"), ADAPTERS, ids=range(len(ADAPTERS)))
def test_an_adapter_that_is_not_loaded_whole_is_not_scored_as_if_it_were(change, message, adapter):
    folder = adapter(change)
    with pytest.raises(InputError) as error:
        load_run(find_run(folder))
    assert "does not fit" in str(error.value) and message in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"use_dora": True},
        {"modules_to_save": ["lm_head"]},
        {"target_modules": ["q_proj", "embed_tokens"]},
        {"target_modules": "all-linear", "use_rslora": True},
        {"bias": "lora_only"},
    ],
    ids=str,
)
def test_a_whole_adapter_is_loaded(settings, adapter):
    loaded, _ = load_run(find_run(adapter(**settings)))
    assert any(weight.any() for name, weight in loaded.named_parameters() if "lora_B" in name)


def config_of(**changes):
    return lambda text: json.dumps({**json.loads(text), **changes})


FILES = [
    *(("config.json", text) for text in ("", "null", "[]", "3", '"x"', "{", "{}", "[" * 5000, "\x00")),
    *(("config.json", config_of(num_hidden_layers=value)) for value in (None, "many", -1, 0, 2.5, [4], True, 2**40)),
    *(("config.json", config_of(hidden_size=value)) for value in (None, "wide", 0, -32)),
    *(("config.json", config_of(vocab_size=value)) for value in (None, "x", 0, -5)),
    ("config.json", config_of(num_attention_heads=0)),
    ("config.json", config_of(num_attention_heads="x")),
    ("config.json", config_of(head_dim=-1)),
    ("config.json", config_of(model_type="no such")),
    ("config.json", config_of(model_type=7)),
    ("config.json", config_of(model_type="t5")),
    ("config.json", config_of(rope_parameters={"rope_type": "no such"})),
    ("config.json", config_of(rope_parameters=3)),
    ("config.json", config_of(hidden_act="no such")),
    ("config.json", config_of(layer_types=["x"])),
    ("config.json", config_of(quantization_config=5)),
    *(("model.safetensors.index.json", text) for text in ("", "null", "[]", "{}", '{"weight_map": null}')),
    ("model.safetensors.index.json", '{"metadata": {}, "weight_map": {"lm_head.weight": "../../etc/passwd"}}'),
    ("model.safetensors.index.json", '{"metadata": {}, "weight_map": {"lm_head.weight": 3}}'),
    ("model.safetensors.index.json", '{"metadata": {}, "weight_map": {"lm_head.weight": "absent.safetensors"}}'),
    *(("tokenizer.json", text) for text in ("", "null", "[]", "{}", '{"model": null}', "{", "[" * 5000)),
    *(("tokenizer_config.json", text) for text in ("null", "[]", "{", '{"tokenizer_class": 3}', "[" * 5000)),
]


@pytest.mark.parametrize(("name", "content"), FILES, ids=range(len(FILES)))
def test_nonsense_in_a_file_of_a_model_ends_in_one_sentence(name, content, model, tmp_path):
    path = model()
    file = tmp_path / "model" / name
    if name.endswith("index.json"):
        (tmp_path / "model" / "model.safetensors").unlink()
    file.write_text(content(file.read_text()) if callable(content) else content)
    with pytest.raises(InputError) as error:
        load_config(path, None)
        load_tokenizer(path, None)
        load(path)
    assert "\n" not in str(error.value) and len(str(error.value)) < 900


def test_more_token_ids_than_embeddings_are_found_before_the_weights_are_read(recipe, tmp_path, capsys):
    path = recipe()
    (tmp_path / "model" / "model.safetensors").unlink()
    config = tmp_path / "model" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "vocab_size": 200}))
    assert run_midalign.main([str(path)]) == 2
    assert "gives the token id 25" in (error := capsys.readouterr().err) and "has embeddings of 0 to 199" in error
