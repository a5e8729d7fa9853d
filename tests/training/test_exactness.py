"""The look at one pair before a run: what it finds, and that it leaves no trace."""

import copy
from functools import partial

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoConfig, AutoModelForCausalLM

from midalign.alignment import hidden
from midalign.data.given import as_rows
from midalign.errors import InputError
from midalign.training import exactness, forward
from midalign.training.exactness import require_exact
from midalign.training.job import run

PAIRS = as_rows(
    [{"source": [5, 6, 7], "target": [8, 9]}, {"source": [5, 6, 7, 8, 9, 10, 11], "target": [12, 13, 14, 15, 16]}]
)
check = partial(require_exact, pairs=PAIRS, layer=2, pad_token_id=0, packed=True)


def test_the_sentences_are_the_longest_pair_and_halves_that_share_a_packed_sequence():
    sentences = exactness._sentences(PAIRS)
    assert sentences == [[5, 6, 7, 8, 9, 10, 11], [12, 13, 14, 15, 16], [5, 6, 7, 8], [9, 10, 11]]
    packed = exactness.pack_sentences(sentences)
    assert packed["segments"].tolist() == [[0] * 7, [1] * 5 + [4] * 2, [2] * 4 + [3] * 3]
    assert exactness._sentences(as_rows([{"source": [5], "target": [6]}])) == [[5], [6], [5]]


@pytest.mark.parametrize("family", ["llama", "qwen3", "gemma3_text", "mistral"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_what_is_exact_passes_in_every_dtype(family, dtype, make_model):
    check(make_model(family=family).to(dtype))


@pytest.mark.parametrize(
    ("family", "changes"),
    [
        ("mixtral", {"num_local_experts": 8}),
        ("qwen3_moe", {"num_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 16}),
        ("nanochat", {}),
        ("gpt_oss", {"num_local_experts": 4, "sliding_window": 8}),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_experts_and_odd_norms_pass(family, changes, dtype, make_model):
    check(make_model(family=family, **changes).to(dtype), packed=family != "gpt_oss")


def test_float32_weights_under_autocast_are_judged_as_bfloat16(make_model):
    model = make_model()
    states = torch.zeros(1)
    assert exactness._tolerance(model, states) == pytest.approx(2**-11.5)
    with torch.autocast("cpu", torch.bfloat16):
        assert exactness._tolerance(model, states) == pytest.approx(2**-3.5)
        check(model)


def test_a_run_in_bf16_is_judged_as_that_though_its_autocast_is_inside_of_the_model(recipe, monkeypatch):
    allowed, original = [], exactness._tolerance
    monkeypatch.setattr(exactness, "_tolerance", lambda *given: allowed.append(original(*given)) or allowed[-1])
    run([str(recipe()), "--bf16", "true", "--max_steps", "1", "--score_rows", "1"], show=False)
    assert allowed == [pytest.approx(2**-3.5)]


def test_an_early_exit_at_another_layer_is_an_error_in_one_sentence(make_model, monkeypatch):
    def wrong(model, input_ids, attention_mask, layer, position_ids=None):
        return hidden.middle_states(model, input_ids, attention_mask, layer - 1, position_ids)

    monkeypatch.setattr(forward, "middle_states", wrong)
    with pytest.raises(InputError, match="at layer 2 of LlamaModel the early exit does not give the states of") as end:
        check(make_model())
    assert "\n" not in str(end.value) and "0.0003 allowed" in str(end.value)
    with pytest.raises(InputError, match=r"0\.09 allowed"):
        check(make_model().bfloat16())


def test_an_architecture_nobody_has_named_yet_is_an_error_too(monkeypatch):
    sizes = {"vocab_size": 64, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 4, "pad_token_id": 0}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8}
    odd = {
        "layer_types": ["sliding_attention", "full_attention"] * 2,
        "activation_sparsity_pattern": [0.0] * 4,
        "num_kv_shared_layers": 2,
        "hidden_size_per_layer_input": 8,
        "vocab_size_per_layer_input": 64,
    }
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model("gemma3n_text", **sizes, **heads, **odd))
    with pytest.raises(InputError, match="Gemma3nTextModel has no early exit: it keeps several states"):
        check(model)
    monkeypatch.delitem(hidden.NO_EXIT, "gemma3n_text")
    with pytest.raises(InputError, match="at layer 2 of Gemma3nTextModel the early exit does not give the states"):
        check(model)


@pytest.mark.parametrize("fault", ["mask", "positions"])
def test_packed_sentences_that_see_each_other_or_stand_elsewhere_are_an_error(fault, make_model, monkeypatch):
    def pack(sentences):
        packed = exactness_pack(sentences)
        if fault == "mask":
            packed["segments"] = torch.zeros_like(packed["segments"])
        else:
            packed["position_ids"] = packed["position_ids"] // 2
        return packed

    exactness_pack = exactness.pack_sentences
    monkeypatch.setattr(exactness, "pack_sentences", pack)
    for dtype in (torch.float32, torch.bfloat16):
        model = make_model(initializer_range=0.3).to(dtype)  # a model that attends
        with pytest.raises(InputError, match="packed sentences get other states from LlamaModel than padded ones"):
            check(model)
        check(model, packed=False)


def test_a_window_that_packing_does_not_know_is_found(make_model, monkeypatch):
    model = make_model(family="mistral", sliding_window=3, initializer_range=0.3)  # rows of seven tokens
    check(model)
    monkeypatch.setattr(forward, "SLIDING", "of another name")
    with pytest.raises(InputError, match="set pack_pairs: false"):
        check(model)


def test_a_model_that_is_no_number_is_left_to_the_guards(make_model):
    model = make_model()
    model.model.layers[0].mlp.up_proj.weight.data.fill_(float("nan"))
    check(model)


def test_the_look_leaves_no_trace(make_model):
    lora = LoraConfig(task_type="CAUSAL_LM", target_modules="all-linear", lora_dropout=0.5, init_lora_weights=False)
    model = get_peft_model(make_model(attention_dropout=0.5), lora).train()
    model.base_model.model.model.layers[1].eval()  # a mode of its own
    trained = next(p for p in model.parameters() if p.requires_grad)
    trained.grad = torch.ones_like(trained)
    state, modes = copy.deepcopy(model.state_dict()), {name: m.training for name, m in model.named_modules()}
    gradients = {name: p.grad for name, p in model.named_parameters()}
    torch.manual_seed(3)
    random = torch.get_rng_state()
    check(model)
    assert torch.equal(torch.get_rng_state(), random)
    assert modes == {name: m.training for name, m in model.named_modules()}
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert all(p.grad is gradients[name] for name, p in model.named_parameters())


def test_a_run_that_would_not_be_exact_ends_before_its_first_step(recipe, monkeypatch, tmp_path):
    def wrong(model, input_ids, attention_mask, layer, position_ids=None):
        return hidden.middle_states(model, input_ids, attention_mask, layer - 1, position_ids)

    monkeypatch.setattr(forward, "middle_states", wrong)
    monkeypatch.setattr("midalign.training.trainer.MidAlignTrainer.training_step", None)
    with pytest.raises(InputError, match="at layer 2 of LlamaModel the early exit does not give the states"):
        run([str(recipe()), "--eval_on_start", "false"])


def test_an_architecture_without_early_exit_is_refused_when_the_trainer_is_built(recipe, monkeypatch):
    monkeypatch.setitem(hidden.NO_EXIT, "llama", hidden.LOOPS)
    monkeypatch.setattr("midalign.training.trainer.MidAlignTrainer.train", None)
    with pytest.raises(InputError, match="LlamaModel has no early exit: it runs some of its layers several times; use"):
        run([str(recipe())])


def test_without_a_pair_half_nothing_is_asked(recipe, monkeypatch):
    monkeypatch.setitem(hidden.NO_EXIT, "llama", hidden.LOOPS)
    monkeypatch.setattr("midalign.training.exactness.require_exact", None)
    lines = recipe().read_text().splitlines()
    path = recipe()
    path.write_text("\n".join(line for line in lines if not line.startswith(("align_", "score_"))))
    run([str(path), "--align_schedule", "sft", "--align_layer", "0.5"])
