"""Greedy answers in batches."""

import copy
import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from midalign.data.tokens import prompt_ids
from midalign.errors import InputError
from midalign.evaluation.generation import generate, generate_batches
from midalign.evaluation.transfer import group_of, transfer_table
from midalign.tasks.slots.task import Slots

CHATS = [[{"role": "user", "content": "a" * n}] for n in (9, 1, 5, 30, 2)]


def chats(*texts):
    return [[{"role": "system", "content": "Copy."}, {"role": "user", "content": text}] for text in texts]


def row_by_row(model, tokenizer, chats, max_new_tokens):
    stop = model.generation_config.eos_token_id
    answers = stock(model, tokenizer, chats, max_new_tokens)
    return [tokenizer.decode([i for i in ids if i != stop], skip_special_tokens=True) for ids in answers]


def stock(model, tokenizer, chats, max_new_tokens):
    answers = []
    for chat in chats:
        ids = torch.tensor([prompt_ids(tokenizer, chat)])
        output = model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=max_new_tokens, do_sample=False, pad_token_id=0
        )
        answers.append(output[0, ids.size(1) :].tolist())
    return answers


def stopping(model, tokenizer, chats, max_new_tokens):
    """The model, made to stop at the token that ends its answers at the most different lengths."""
    answers = stock(model, tokenizer, chats, max_new_tokens)
    ends = {token: {a.index(token) if token in a else -1 for a in answers} for token in set().union(*answers)}
    model.generation_config.eos_token_id = max(ends, key=lambda token: len(ends[token]))
    return model


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize(
    ("family", "changes"),
    [
        ("llama", {}),
        ("qwen2", {}),
        ("mistral", {"sliding_window": 24}),
        ("gemma3_text", {"sliding_window": 512}),
        ("gemma3_text", {"sliding_window": 24, "layer_types": ["sliding_attention", "full_attention"] * 2}),
    ],
)
def test_answers_equal_model_generate_row_by_row(make_model, tokenizer, family, changes, attention):
    model = make_model(family=family, attn_implementation=attention, initializer_range=0.3, **changes).eval()
    texts = chats(
        "wake me", "wake me up at nine", "", "play", "play some jazz", "wake me", "lights off please", "é" * 9
    )
    stopping(model, tokenizer, texts, 12)
    expected = row_by_row(model, tokenizer, texts, 12)
    assert len({len(answer) for answer in expected}) > 1  # rows leave their batch at different times
    for batch_size in (1, 3, 4, 8):
        assert generate(model, tokenizer, texts, batch_size, max_new_tokens=12) == expected


@settings(max_examples=15, deadline=None)
@given(texts=st.lists(st.text("ab \u00e9\u4e2d", max_size=20), min_size=1, max_size=9), size=st.integers(1, 4))
def test_any_lengths_and_batch_sizes_give_the_same_answers(gemma, tokenizer, texts, size):
    assert generate(gemma, tokenizer, chats(*texts), size, 6) == row_by_row(gemma, tokenizer, chats(*texts), 6)


@pytest.fixture(scope="module")
def gemma(make_model, tokenizer):
    types = ["sliding_attention", "full_attention"]
    model = make_model(2, "gemma3_text", sliding_window=40, layer_types=types, initializer_range=0.3).eval()
    return stopping(model, tokenizer, chats("a", "b b", "ab", "éa", "中"), 6)


def test_the_head_is_given_states_that_lie_together(gemma, tokenizer):  # a slice costs a copy of its matrix a row
    lie_together = []
    head = gemma.get_output_embeddings()
    hook = head.register_forward_hook(lambda _, args, __: lie_together.append(args[0].is_contiguous()))
    generate(gemma, tokenizer, CHATS, max_new_tokens=2)
    hook.remove()
    assert lie_together and all(lie_together) and not head._forward_pre_hooks


def test_prompts_that_share_nothing_are_answered_too(make_model, tokenizer):
    bare = copy.deepcopy(tokenizer)
    bare.chat_template = "{% for m in messages %}{{ m.content }}<|im_end|>{% endfor %}"
    texts = [[{"role": "user", "content": text}] for text in ("hello", "you", "there")]
    model = make_model().eval()
    assert generate(model, bare, texts, max_new_tokens=4) == row_by_row(model, bare, texts, 4)


def test_a_repetition_penalty_of_the_model_is_not_applied(make_model, tokenizer):
    model = make_model().eval()
    plain = generate(model, tokenizer, CHATS, max_new_tokens=8)
    model.generation_config.repetition_penalty = 5.0
    assert generate(model, tokenizer, CHATS, max_new_tokens=8) == plain


def test_long_prompts_come_first_and_every_place_once(make_model, tokenizer):
    batches = [batch for batch, _ in generate_batches(make_model().eval(), tokenizer, CHATS, 2, 1)]
    assert batches == [[3, 0], [2, 4], [1]]


def test_answers_that_are_cut_are_counted(make_model, tokenizer, caplog):
    model = stopping(make_model(), tokenizer, CHATS, 12)
    generate(model, tokenizer, CHATS, 2, 12)
    ended = [stock(model, tokenizer, [chat], 12)[0][-1] == model.generation_config.eos_token_id for chat in CHATS]
    assert 0 < sum(ended) < 5
    assert caplog.messages == [f"{5 - sum(ended)} of 5 answers were cut at 12 tokens."]


def test_no_chat_gives_no_answer(make_model, tokenizer):
    assert generate(make_model(), tokenizer, []) == []


def test_a_model_with_another_memory_is_refused(tokenizer, make_model):
    model = make_model()
    model.config.layer_types = ["linear_attention", "full_attention"] * 2
    with pytest.raises(InputError, match="exact for full and sliding-window attention only"):
        generate(model, tokenizer, CHATS)


def test_answers_past_the_border_of_dynamic_rope_are_refused(tokenizer, make_model):
    longest = max(len(prompt_ids(tokenizer, chat)) for chat in CHATS)

    def answer(border):
        rope = {"rope_type": "dynamic", "factor": 4.0, "rope_theta": 1e4}
        model = make_model(max_position_embeddings=border, rope_parameters=rope)
        return generate(model, tokenizer, CHATS, max_new_tokens=3)

    answer(longest + 3)
    with pytest.raises(InputError, match=f"positions past {longest + 2} tokens .* a row has {longest + 3}"):
        answer(longest + 2)


def test_an_answer_stops_at_the_end_of_turn(make_model, tokenizer):
    model = make_model().eval()
    torch.nn.init.zeros_(model.lm_head.weight)  # all logits equal 0 ...
    model.lm_head.bias = torch.nn.Parameter(torch.zeros(len(tokenizer)))
    with torch.no_grad():
        model.lm_head.bias[tokenizer.eos_token_id] = 1.0  # ... but the end of turn's
    assert generate(model, tokenizer, CHATS[:1]) == [""]


def test_a_locale_belongs_to_the_group_in_which_it_was_trained():
    assert [group_of(Slots(), locale, ["en-US"], {"de"}) for locale in ("en-US", "de-DE", "tr-TR")] == [
        "supervised",
        "aligned",
        "never aligned",
    ]


def test_the_table_shows_both_runs_and_group_means():
    scores = {"de-DE": {"f1": 0.5, "name_f1": 0.75}, "es-ES": {"f1": 0.7, "name_f1": 0.85}}
    before = {locale: {"f1": 0.1, "name_f1": 0.2} for locale in scores}
    table = transfer_table(Slots(), scores, dict.fromkeys(scores, "aligned"), before)
    columns = [list(column.cells) for column in table.columns]
    assert columns[0] == ["de-DE", "es-ES", "mean"]
    assert columns[2:] == [["10.0"] * 3, ["50.0", "70.0", "60.0"], ["20.0"] * 3, ["75.0", "85.0", "80.0"]]


@pytest.mark.parametrize("family", ["llama", "gemma3_text"])
def test_answers_are_generated_without_a_warning(family, make_model, tokenizer):
    model = make_model(family=family)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        generate(model, tokenizer, CHATS, batch_size=2, max_new_tokens=3)
