"""Early exit: the states of the lower layers, whatever is wrapped around the model."""

from copy import deepcopy

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import GPT2Config, GPT2LMHeadModel

from midalign.alignment.hidden import decoder_of, middle_states

IDS = torch.tensor([[5, 6, 7, 8], [9, 10, 0, 0]])
MASK = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])
FAMILIES = ["llama", "qwen2", "qwen3", "gemma3_text", "mistral"]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("layer", [0, 1, 3])
def test_middle_states_equal_hidden_states_of_transformers(family, layer, make_model):
    model = make_model(family=family)
    with torch.no_grad():
        expected = model(IDS, attention_mask=MASK, output_hidden_states=True).hidden_states[layer]
        found = middle_states(model, IDS, MASK, layer)
    torch.testing.assert_close(found[MASK.bool()], expected[MASK.bool()])


@pytest.mark.parametrize("family", FAMILIES)
def test_the_last_layer_is_returned_without_the_final_norm(family, make_model):
    model = make_model(family=family)
    with torch.no_grad():
        states = middle_states(model, IDS, MASK, 4)
        normed = model(IDS, attention_mask=MASK, output_hidden_states=True).hidden_states[4]
    torch.testing.assert_close(decoder_of(model).norm(states)[MASK.bool()], normed[MASK.bool()])


def test_a_peft_model_and_a_bare_decoder_give_the_states_of_the_causal_lm(make_model):
    model = make_model()
    with torch.no_grad():
        expected = middle_states(model, IDS, MASK, 2)
        assert torch.equal(middle_states(model.model, IDS, MASK, 2), expected)
        adapted = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", target_modules="all-linear"))
        assert torch.equal(middle_states(adapted, IDS, MASK, 2), expected)


def test_no_upper_layer_and_no_lm_head_runs(make_model):
    model = make_model()
    ran = []
    for name, module in model.named_modules():
        module.register_forward_hook(lambda m, args, out, name=name: ran.append((name, out)))
    with torch.no_grad():
        middle_states(model, IDS, MASK, 2)
    layers = {name.split(".")[2] for name, _ in ran if name.startswith("model.layers.")}
    assert layers == {"0", "1"}
    logits = [out for name, out in ran if name == "lm_head"]
    assert all(out.size(1) == 0 for out in logits)


def test_the_model_is_whole_again_afterwards_also_after_an_error(make_model):
    model = make_model()
    with torch.no_grad():
        before = model(IDS).logits
        middle_states(model, IDS, MASK, 1)
        with pytest.raises(IndexError):
            middle_states(model, IDS + 10_000, MASK, 1)
        assert torch.equal(model(IDS).logits, before)


@pytest.mark.parametrize("layer", [-1, 5])
def test_a_layer_the_model_does_not_have_is_refused(layer, make_model):
    with pytest.raises(ValueError, match=r"has 4 layers; use 0\.\.4"):
        middle_states(make_model(), IDS, MASK, layer)


def test_an_architecture_without_early_exit_is_refused():
    model = GPT2LMHeadModel(GPT2Config(n_layer=2, n_head=2, n_embd=8, vocab_size=300))
    with pytest.raises(ValueError, match="GPT2Model has no `layers` and `norm`"):
        middle_states(model, IDS, MASK, 1)


def test_a_decoder_that_takes_its_layers_from_elsewhere_is_refused(make_model):
    model = make_model()
    decoder, layers = model.model, list(model.model.layers)

    def forward(input_ids, **kwargs):
        states = decoder.embed_tokens(input_ids)
        places = decoder.rotary_emb(states, torch.arange(input_ids.size(1))[None])
        for layer in layers:
            states = layer(states, position_embeddings=places)
        return decoder.norm(states)

    decoder.forward = forward
    with pytest.raises(ValueError, match="LlamaDecoderLayer ran above the alignment layer"):
        middle_states(model, IDS, MASK, 1)


def test_a_decoder_that_does_not_run_its_norm_is_refused(make_model):
    decoder = make_model().model
    decoder.forward = lambda input_ids, **kwargs: decoder.embed_tokens(input_ids)
    with pytest.raises(ValueError, match="LlamaModel did not run its `norm`"):
        middle_states(decoder, IDS, MASK, 1)


@pytest.mark.parametrize("reentrant", [False, True])
def test_gradient_checkpointing_computes_the_same_lower_layers_again(reentrant, make_model):
    def gradients(model):
        middle_states(model, IDS, MASK, 2)[MASK.bool()].square().sum().backward()
        return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}

    plain, checkpointed = make_model().train(), make_model().train()
    checkpointed.gradient_checkpointing_enable({"use_reentrant": reentrant})
    checkpointed.enable_input_require_grads()
    expected, found = gradients(plain), gradients(checkpointed)
    assert found.keys() == expected.keys() and not any(".layers.2." in name for name in found)
    for name in expected:
        torch.testing.assert_close(found[name], expected[name])


def test_the_layers_are_those_of_before_also_after_an_error_inside_of_one(make_model):
    model = make_model()
    layers, names = model.model.layers, list(model.state_dict())

    def fail(*_):
        assert len(model.model.layers) == 2
        raise KeyboardInterrupt

    hook = layers[1].register_forward_hook(fail)
    with torch.no_grad():
        with pytest.raises(KeyboardInterrupt):
            middle_states(model, IDS, MASK, 2)
        hook.remove()
        assert model.model.layers is layers and list(model.state_dict()) == names
        whole = model(IDS, attention_mask=MASK, output_hidden_states=True).hidden_states
        torch.testing.assert_close(middle_states(model, IDS, MASK, 2)[MASK.bool()], whole[2][MASK.bool()])


def test_a_copy_of_a_model_exits_through_its_own_layers(make_model):
    model = make_model()
    copy = deepcopy(model)
    with torch.no_grad():
        before = middle_states(model, IDS, MASK, 2)
        for parameter in copy.model.layers.parameters():
            parameter.zero_()  # a layer adds nothing
        assert torch.equal(middle_states(copy, IDS, MASK, 2), copy.model.embed_tokens(IDS))
        assert torch.equal(middle_states(model, IDS, MASK, 2), before)


def test_an_early_exit_before_the_first_whole_pass_hides_no_layer_from_it(make_model):
    """transformers hooks all layers for the outputs it is asked for when it is first asked."""
    experts = {"num_local_experts": 4, "output_router_logits": True, "output_hidden_states": True}
    model = make_model(family="mixtral", **experts)
    with torch.no_grad():
        middle_states(model, IDS, MASK, 2)
        whole = model(IDS, attention_mask=MASK)
    assert len(whole.router_logits) == 4 and len(whole.hidden_states) == 5


@pytest.mark.slow  # the compiler is slow to load
def test_a_compiled_model_exits_at_the_layer_that_is_asked_for(make_model):
    model = make_model().eval()
    compiled = torch.compile(model, backend="eager")
    with torch.no_grad():
        whole = model(IDS, attention_mask=MASK, output_hidden_states=True).hidden_states
        before = compiled(IDS, attention_mask=MASK).logits
        for layer in (2, 1, 2):
            found = middle_states(compiled, IDS, MASK, layer)
            torch.testing.assert_close(found[MASK.bool()], whole[layer][MASK.bool()])
        assert torch.equal(compiled(IDS, attention_mask=MASK).logits, before)
