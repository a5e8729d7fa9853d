"""Packed batches through the attention of each kind: the loss and gradient of rows side by side."""

import itertools
import shutil

import pytest
import torch
import transformers.integrations.flex_attention as integration
import transformers.modeling_flash_attention_utils as flash
from torch.nn.attention import flex_attention as flex
from torch.nn.functional import cross_entropy, scaled_dot_product_attention

from midalign.data import masks
from midalign.data.batches import collate_pairs
from midalign.data.packing import pack_task
from midalign.training.forward import block_mask, states_of

# What attention can have beside a mask: grouped queries, windows, capped scores, sinks, several keys a head.
FAMILIES = {
    "llama": {},
    "qwen2": {},
    "gemma2": {"sliding_window": 5, "attn_logit_softcapping": 2.0},
    "gemma3_text": {"sliding_window": 5, "layer_types": ["sliding_attention", "full_attention"] * 2},
    "mistral": {"sliding_window": 5},
    "cohere2": {"sliding_window": 5, "layer_types": ["sliding_attention", "full_attention"] * 2},
    "gpt_oss": {"sliding_window": 5, "num_local_experts": 4},
}
WITHOUT = {("gemma2", "sdpa"), ("gpt_oss", "sdpa"), ("gpt_oss", "flex_attention")}  # the last: sinks on GPUs alone
PREFIX = [3, 1, 4, 1, 5, 9, 2]
OWN = [[6, 5, 3, 5, 8], [9, 7], [9, 3, 2, 3, 8, 4, 6, 2, 6, 4, 3], [3, 8, 3]]


def rows_of(prefix, own):
    return [{"input_ids": prefix + ids, "labels": [-100] * len((prefix + ids)[:-2]) + ids[-2:]} for ids in own]


ROWS = rows_of(PREFIX, OWN)
LONG = rows_of(PREFIX * 20, [ids * 27 for ids in OWN])  # 707 tokens, which are six blocks


@pytest.fixture
def flex_with_gradient(monkeypatch):
    """Torch refuses the backward pass of flex attention on a CPU, but has a formula for it, which makes all scores."""
    monkeypatch.setattr(flex, "_validate_device", lambda *_: None)
    formula = lambda query, key, value, training, **given: flex.flex_attention(query, key, value, **given)  # noqa: E731
    monkeypatch.setattr(integration, "compile_friendly_flex_attention", formula)


def padded(rows=ROWS):
    width = max(len(row["input_ids"]) for row in rows)
    filled = {
        key: torch.tensor([row[key] + [value] * (width - len(row[key])) for row in rows])
        for key, value in (("input_ids", 0), ("labels", -100))
    }
    mask = torch.tensor([[1] * len(row["input_ids"]) + [0] * (width - len(row["input_ids"])) for row in rows])
    after = torch.cat([filled["labels"][:, 1:], torch.full((len(rows), 1), -100)], dim=1)
    return {"input_ids": filled["input_ids"], "attention_mask": mask}, after


def packed_for(model, rows=ROWS):
    packed = pack_task(rows)
    packed = {name: packed[name].to(model.device) for name in packed if name != "saved"}
    mask = block_mask(model, packed["segments"], packed["prefixes"], packed["position_ids"])
    inputs = {"attention_mask": mask, **{key: packed[key] for key in ("input_ids", "position_ids")}}
    return inputs, packed["shift_labels"]


def step(model, inputs, labels):
    """(loss, gradients) of a batch."""
    model.zero_grad()
    loss = cross_entropy(model(**inputs, use_cache=False).logits.flatten(0, 1), labels.flatten())
    loss.backward()
    return loss.item(), {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def assert_same(found, expected, to=1e-5):
    (loss, gradients), (plain_loss, plain) = found, expected
    assert loss == pytest.approx(plain_loss, abs=to)
    assert gradients.keys() == plain.keys()
    largest = max(gradient.abs().max().item() for gradient in plain.values())
    for name in plain:
        torch.testing.assert_close(gradients[name], plain[name], atol=to * max(largest, 1.0), rtol=to)


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@pytest.mark.parametrize("attention", ["eager", "sdpa", "flex_attention"])
@pytest.mark.parametrize("family", FAMILIES)
def test_packed_rows_past_any_window_have_the_gradient_of_padded_ones(
    family, attention, make_model, flex_with_gradient
):
    if (family, attention) in WITHOUT:
        pytest.skip(f"{family} has no {attention}")
    model = make_model(family=family, initializer_range=0.1, **FAMILIES[family])
    expected = step(model, *padded())
    model.set_attn_implementation(attention)
    assert_same(step(model, *packed_for(model)), expected)


def test_without_its_window_the_gradient_would_be_another(make_model, monkeypatch):
    model = make_model(family="mistral", initializer_range=0.1, **FAMILIES["mistral"])
    expected = step(model, *padded())
    own = masks.dense_mask
    monkeypatch.setattr(masks, "dense_mask", lambda *given, window: own(*given))
    with pytest.raises(AssertionError):
        assert_same(step(model, *packed_for(model)), expected)


LONG_FAMILIES = {
    "llama": {},
    "gemma2": {"sliding_window": 150, "attn_logit_softcapping": 2.0},
    "gemma3_text": {"sliding_window": 150, "layer_types": ["sliding_attention", "full_attention"] * 2},
}


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("g++"), reason="torch.compile needs a compiler")
@pytest.mark.parametrize("family", LONG_FAMILIES)
def test_compiled_flex_attention_gives_the_loss_of_padded_rows(family, make_model):
    model = make_model(family=family, initializer_range=0.1, **LONG_FAMILIES[family])

    def loss_of(inputs, labels):
        with torch.no_grad():
            return cross_entropy(model(**inputs, use_cache=False).logits.flatten(0, 1), labels.flatten()).item()

    expected = loss_of(*padded(LONG))
    model.set_attn_implementation("flex_attention")
    assert loss_of(*packed_for(model, LONG)) == pytest.approx(expected, abs=1e-5)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("family", LONG_FAMILIES)
def test_flex_attention_on_a_gpu_has_the_gradient_of_padded_rows(family, make_model):
    model = make_model(family=family, initializer_range=0.1, head_dim=16, **LONG_FAMILIES[family]).cuda()
    inputs, labels = padded(LONG)
    expected = step(model, {name: tensor.cuda() for name, tensor in inputs.items()}, labels.cuda())
    model.set_attn_implementation("flex_attention")
    assert_same(step(model, *packed_for(model, LONG)), expected, to=1e-4)


def of_each_alone(query, key, value, cu_seqlens_q, cu_seqlens_k, max_seqlen_q, max_seqlen_k,
                  causal, softmax_scale, window_size=(-1, -1)):  # fmt: skip
    """What flash attention computes of sequences end to end.   query, key, value: (tokens, heads, width)."""
    assert causal and cu_seqlens_q.tolist() == cu_seqlens_k.tolist()
    results = []
    for start, end in itertools.pairwise(cu_seqlens_q):
        places = torch.arange(end - start)
        distance = places[:, None] - places
        mask = (distance >= 0) & ((distance <= window_size[0]) | (window_size[0] < 0))
        own = (part[start:end].transpose(0, 1)[None] for part in (query, key, value))
        result = scaled_dot_product_attention(*own, attn_mask=mask, scale=softmax_scale, enable_gqa=True)
        results.append(result[0].transpose(0, 1))
    return torch.cat(results)


@pytest.mark.parametrize("family", ["llama", "qwen2", "gemma3_text", "mistral"])
def test_flash_attention_takes_sentences_end_to_end(family, make_model, monkeypatch):
    """Its kernel runs on GPUs alone: what transformers hands to it is looked at, and computed in its place."""

    def kernel(*tensors, **given):
        pytest.fail("padded or whole sequences were asked for")

    monkeypatch.setattr(flash, "_lazy_imports", lambda *_, **__: (kernel, of_each_alone, None, None, None))
    monkeypatch.setattr(flash, "_loaded_implementation", None)
    texts = [[*PREFIX, *own] for own in OWN]
    pairs = [{"source": ids, "target": ids[::-1], "source_text": 0, "target_text": 1} for ids in texts]
    model = make_model(family=family, initializer_range=0.1, **FAMILIES[family])

    def step_on(packed):
        (chunk,) = collate_pairs(pairs, 0, packed=packed)["chunks"]
        model.zero_grad()
        mask = chunk["attention_mask"].bool()
        states = states_of(model, chunk, 3)[mask]
        (states**2 / 2).sum().backward()
        return states, {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}

    states, gradients = step_on(packed=False)
    model.config._attn_implementation = "flash_attention_2"
    found, own = step_on(packed=True)
    torch.testing.assert_close(found, states)
    assert own.keys() == gradients.keys()
    largest = max(gradient.abs().max().item() for gradient in gradients.values())
    for name in gradients:
        torch.testing.assert_close(own[name], gradients[name], atol=1e-5 * largest, rtol=1e-4)
