"""States of every layer in one pass, against `output_hidden_states` one sentence at a time."""

import pytest
import torch

from midalign.errors import InputError
from midalign.training import states as module
from midalign.training.states import batches_by_length, layer_states

SENTENCES = [[5, 6, 7], [8], [9, 10, 11, 12, 13, 14], [3, 4], [20, 21, 22]]


@pytest.mark.parametrize("family", ["llama", "gemma3_text"])
def test_pooled_states_are_those_of_each_sentence_alone(make_model, family, monkeypatch):
    monkeypatch.setattr(module, "TOKENS", 7)
    model = make_model(3, family).eval()
    seen = []
    found = layer_states(model, SENTENCES, ["mean", "weighted", "last"], 0, advance=seen.append)
    assert sum(seen) == len(SENTENCES) and found["mean"].shape == (4, 5, 32)
    norm = []
    hook = model.get_decoder().norm.register_forward_pre_hook(lambda _, args: norm.append(args[0]))
    for i, ids in enumerate(SENTENCES):
        with torch.no_grad():
            whole = model(torch.tensor([ids]), output_hidden_states=True).hidden_states
        for layer, states in enumerate([*whole[:-1], norm.pop()]):
            weights = torch.arange(1, len(ids) + 1.0)
            torch.testing.assert_close(found["mean"][layer, i], states[0].mean(dim=0))
            torch.testing.assert_close(found["last"][layer, i], states[0, -1])
            torch.testing.assert_close(found["weighted"][layer, i], weights @ states[0] / weights.sum())
    hook.remove()


def test_the_first_token_can_stay_out(make_model):
    model = make_model(2).eval()
    with_first, without = (layer_states(model, SENTENCES, ["mean"], 0, skip)["mean"] for skip in (False, True))
    embeddings = model.get_input_embeddings().weight
    torch.testing.assert_close(without[0, 0], embeddings[[6, 7]].mean(dim=0))
    torch.testing.assert_close(without[:, 1], with_first[:, 1])  # one token, so it stays


def test_batches_hold_long_sentences_first_and_each_once():
    batches = list(batches_by_length(SENTENCES, tokens=6))
    assert batches == [[2], [0, 4], [3, 1]]
    assert list(batches_by_length([[1] * 9, [2]], tokens=4)) == [[0], [1]]  # one that is too long goes alone


def test_states_that_are_no_numbers_name_their_layer(make_model):
    model = make_model(3).eval()
    with torch.no_grad():
        model.get_decoder().layers[1].mlp.down_proj.weight.fill_(float("inf"))
    with pytest.raises(InputError, match=r"layer 2 of LlamaModel in torch\.float32 gives states that are no finite"):
        layer_states(model, SENTENCES, ["mean"], 0)


def test_states_that_do_not_fit_are_refused_before_they_are_computed(make_model, monkeypatch):
    monkeypatch.setattr(module.psutil, "virtual_memory", lambda: type("Memory", (), {"available": 1000}))
    with pytest.raises(InputError, match="lower --sentences"):
        layer_states(make_model(2).eval(), SENTENCES, ["mean"], 0)
