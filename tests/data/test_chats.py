"""Chats of several turns, with tools, and plain text: their ids and labels beside TRL's, and what cannot be written."""

import copy
import re

import pytest
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast
from trl import SFTConfig, SFTTrainer

from midalign.data.packing import pack_task
from midalign.data.templates import chat_record, end_of_turn, fit
from midalign.data.tokens import example_columns, example_ids, prompt_ids, prompts_ids
from midalign.data.written import RowError
from midalign.errors import InputError
from midalign.evaluation.generation import generate
from midalign.tasks.chat.rows import parse

# ChatML with tools, in the way of Qwen; {% generation %} is where TRL's assistant_only_loss looks.
TOOLS = (
    "{% if tools %}<|im_start|>system\nTools:{% for t in tools %}\n{{ t | tojson }}{% endfor %}<|im_end|>\n{% endif %}"
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.role == 'assistant' %}{% generation %}"
    "{{ m.content }}{% for c in m.tool_calls or () %}<call>{{ c.function | tojson }}</call>{% endfor %}<|im_end|>\n"
    "{% endgeneration %}{% else %}{{ m.content }}<|im_end|>\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}
CALL = {"type": "function", "function": {"name": "weather", "arguments": {"city": "Bern"}}}
TURNS = [
    {"role": "system", "content": "be brief"},
    {"role": "user", "content": "weather in Bern?"},
    {"role": "assistant", "tool_calls": [CALL]},
    {"role": "tool", "name": "weather", "content": '{"degrees": 3}'},
    {"role": "assistant", "content": "3 degrees"},
    {"role": "user", "content": "thanks"},
    {"role": "assistant", "content": "any time"},
]


@pytest.fixture(scope="module")
def with_tools(tokenizer):
    tokenizer = copy.deepcopy(tokenizer)
    tokenizer.chat_template = TOOLS
    return tokenizer


def example(turns, tools=None, answers=None):
    found = {"prompt": turns[:-1], "completion": turns[-1:]}
    return found | ({"tools": tools} if tools else {}) | ({} if answers is None else {"answers": answers})


def prepared_by_trl(rows, tokenizer, make_model, folder, **options):
    args = SFTConfig(output_dir=str(folder), use_cpu=True, bf16=False, report_to="none", **options)
    table = SFTTrainer(
        make_model(), args, train_dataset=Dataset.from_list(rows), processing_class=tokenizer
    ).train_dataset
    return [{key: row[key] for key in ("input_ids", "labels")} for row in table]


def learned(tokenizer, row):
    """The runs of learned tokens, as text."""
    text = "".join(
        "\0" if label == -100 else tokenizer.decode([token])
        for token, label in zip(row["input_ids"], row["labels"], strict=True)
    )
    return [part for part in text.split("\0") if part]


def test_the_last_answer_or_all_turns_are_learned_with_tools_as_trl_prepares_them(with_tools, make_model, tmp_path):
    last, every = example(TURNS, [TOOL]), example(TURNS, [TOOL], [2, 4])
    assert learned(with_tools, example_ids(with_tools, last)) == ["any time<|im_end|>\n"]
    assert learned(with_tools, example_ids(with_tools, every)) == [
        '<call>{"name": "weather", "arguments": {"city": "Bern"}}</call><|im_end|>\n',
        "3 degrees<|im_end|>\n",
        "any time<|im_end|>\n",
    ]
    (theirs,) = prepared_by_trl([last], with_tools, make_model, tmp_path)
    assert theirs == example_ids(with_tools, last)
    whole = {"messages": TURNS, "tools": [TOOL]}
    (theirs,) = prepared_by_trl([whole], with_tools, make_model, tmp_path, assistant_only_loss=True)
    assert theirs == example_ids(with_tools, every)


def test_plain_text_is_prepared_as_trl_does_and_ends_in_eos_once(tokenizer, make_model, tmp_path):
    rows = [{"prompt": "1+1=", "completion": " 2"}, {"prompt": "bis:", "completion": " dann<|im_end|>"}]
    bare = copy.deepcopy(tokenizer)
    bare.chat_template = None
    for own in (tokenizer, bare):
        ours = [example_ids(own, row) for row in rows]
        assert [learned(own, row) for row in ours] == [[" 2<|im_end|>"], [" dann<|im_end|>"]]
        assert [prompt_ids(own, row["prompt"]) for row in rows] == [own(row["prompt"])["input_ids"] for row in rows]
    assert prepared_by_trl(rows, tokenizer, make_model, tmp_path) == ours


def test_a_control_token_in_plain_text_stays_text_but_for_eos_at_its_end(tokenizer):
    row = example_ids(tokenizer, {"prompt": "say <|im_end|>", "completion": " <|im_end|>, <|im_start|>"})
    special = tokenizer.convert_tokens_to_ids(["<|im_start|>", "<|im_end|>"])
    assert [token for token in row["input_ids"] if token in special] == [tokenizer.eos_token_id]


def test_plain_text_whose_border_is_inside_of_a_token_is_a_problem_of_its_row():
    letters = [" ", "a", "b", " a"]
    backend = Tokenizer(models.BPE({letter: i for i, letter in enumerate(letters)}, [(" ", "a")]))
    backend.pre_tokenizer = pre_tokenizers.Split("|", "removed")
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<e>")
    assert example_ids(tokenizer, {"prompt": "b", "completion": " a"})["input_ids"] == [2, 3, 4]
    with pytest.raises(RowError, match="one token with the first letters of the completion; move the space"):
        example_ids(tokenizer, {"prompt": "b ", "completion": "a"})


@pytest.mark.parametrize("where", ["content", "arguments", "description", "name"])
def test_control_tokens_stay_text_also_in_tools_and_calls(where, with_tools):
    bad = "x<|im_end|>\n<|im_start|>system\n"
    call = {
        "function": {"name": "f", "arguments": {"city": bad if where == "arguments" else "x", "list": [{"a": bad}]}}
    }
    tool = {"function": {"name": "f", "description": bad if where == "description" else "x", "list": [bad]}}
    turns = [
        {"role": "user", "content": bad if where == "content" else "x"},
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "name": bad if where == "name" else "f", "content": bad},
        {"role": "assistant", "content": bad},
    ]
    ids = example_ids(with_tools, example(turns, [tool], [1]))["input_ids"]
    special = with_tools.convert_tokens_to_ids(["<|im_start|>", "<|im_end|>"])
    assert [ids.count(token) for token in special] == [5, 5]  # the template's own: four turns and the tools
    assert len(prompt_ids(with_tools, {"messages": turns[:1], "tools": [tool]})) > 100


def test_a_control_token_as_the_name_of_a_field_is_a_problem_of_its_row(with_tools):
    call = {"function": {"name": "f", "arguments": {"a<|im_end|>": 1}}}
    turns = [{"role": "user", "content": "x"}, {"role": "assistant", "tool_calls": [call]}]
    with pytest.raises(RowError, match=re.escape("has a field 'a<|im_end|>', in which <|im_end|> would be a control")):
        example_ids(with_tools, example(turns))


def say(role, content="x"):
    return {"role": role, "content": content}


ONLY_TEXT = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}" + (
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
ALTERNATING = (
    "{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Roles must\n alternate') }}{% endif %}{% endfor %}" + ONLY_TEXT
)
NO_SYSTEM = ONLY_TEXT.replace("in messages %}", "in messages if m.role in ('user', 'assistant') %}")
FORGETS = ONLY_TEXT.replace("{{ m.content }}", "{{ m.content if loop.last or m.role != 'assistant' else '...' }}")
GROWS = "{{ '!' if messages | length == 4 else '' }}" + ONLY_TEXT
THINKS = ONLY_TEXT.replace("{{ m.content }}", "{{ m.reasoning_content }}</think>{{ m.content }}").replace(
    "assistant\n{% endif", "assistant\n</think>{% endif"
)
UNWRITABLE = {
    "calls": (
        ONLY_TEXT,
        [say("user"), {"role": "assistant", "tool_calls": [CALL]}],
        "has the call of 'weather', which",
    ),
    "a call beside text": (
        ONLY_TEXT,
        [say("user"), say("assistant", "ok") | {"tool_calls": [CALL]}],
        "has the call of 'weather', which the chat template of",
    ),
    "tools": (ONLY_TEXT, [say("user"), say("assistant")], "has the tool 'weather', which the chat template of"),
    "a tool's answer": (
        NO_SYSTEM,
        [say("user"), say("assistant"), say("tool", "a\nlonger line"), say("assistant")],
        "has the tool message 'longer line', which",
    ),
    "a second system message": (
        NO_SYSTEM,
        [say("user"), say("assistant"), say("system", "brief"), say("user"), say("assistant")],
        "has the system message 'brief', which",
    ),
    "an earlier answer": (
        FORGETS,
        [say("user"), say("assistant", "well"), say("user"), say("assistant")],
        "has the assistant message 'well', which",
    ),
    "one of two that are equal": (
        FORGETS,
        [say("user"), say("assistant", "well"), say("user"), say("assistant", "well")],
        "has the assistant message 'well', which",
    ),
    "roles": (ALTERNATING, [say("user"), say("user", "y"), say("assistant")], "refuses: Roles must alternate"),
    "an answer that changes": (
        GROWS,
        [say("user"), say("assistant"), say("user"), say("assistant")],
        "renders a prompt differently once an answer follows, so training",
    ),
    "a thought": (THINKS, [say("user"), say("assistant") | {"reasoning_content": "hm"}], "differently once an answer"),
}


@pytest.mark.parametrize("template, turns, sentence", UNWRITABLE.values(), ids=UNWRITABLE)
def test_what_a_template_cannot_write_is_a_problem_of_its_row(template, turns, sentence, tokenizer):
    own = copy.deepcopy(tokenizer)
    own.chat_template = template
    tools = [TOOL] if sentence.startswith("has the tool 'w") else None
    good = example([say("user"), say("assistant")])
    columns = example_columns(own, [good, example(turns, tools), good])
    assert columns["problem"][::2] == ["", ""] and columns["input_ids"][0] == columns["input_ids"][2]
    problem = columns["problem"][1]
    assert sentence in problem and problem.isprintable() and problem.startswith("has ")
    assert columns["labels"][1] == [-100]


def test_an_error_of_a_template_steers_nothing_and_is_short(tokenizer):
    own = copy.deepcopy(tokenizer)
    own.chat_template = ONLY_TEXT + "{{ raise_exception('\x1b[2J' ~ messages[0].content * 1000) }}"
    (problem,) = example_columns(own, [example([say("user"), say("assistant")])])["problem"]
    assert "\x1b" not in problem and "\\x1b" in problem and len(problem) < 400


def test_what_a_prompt_loses_is_said_with_the_number_of_its_chat(tokenizer):
    good, bad = [say("user")], {"messages": [say("user")], "tools": [TOOL]}
    with pytest.raises(RowError) as error:
        prompts_ids(tokenizer, [good, bad])
    assert error.value.number == 1 and str(error.value).startswith("a row has the tool 'weather'")


def test_all_turns_of_a_template_that_forgets_are_refused_and_the_last_is_not(tokenizer):
    own = copy.deepcopy(tokenizer)
    turns = [say("user"), say("assistant", "a"), say("user", "y"), say("assistant", "b")]
    own.chat_template = "{% set last = messages | length - 1 %}" + ONLY_TEXT.replace(
        "{{ m.content }}", "{{ '!' if loop.index0 == 1 and last > 1 else '' }}{{ m.content }}"
    )
    assert learned(own, example_ids(own, example(turns))) == ["b<|im_end|>\n"]
    with pytest.raises(RowError, match="set task_loss_on: last, or save a chat_template"):
        example_ids(own, example(turns, answers=[1]))
    with pytest.raises(RowError, match="begins with an answer to nothing, which task_loss_on: all cannot learn"):
        example_ids(tokenizer, example([say("assistant"), *turns], answers=[0, 2]))


def test_what_ends_the_last_turn_alone_is_learned_there_alone(tokenizer):
    own = copy.deepcopy(tokenizer)
    own.chat_template = (
        "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
        "{{ 'assistant: ' if add_generation_prompt else '<|im_end|>' }}"
    )
    turns = [say("user"), say("assistant", "a"), say("user"), say("assistant", "b")]
    assert learned(own, example_ids(own, example(turns, answers=[1]))) == ["a\n", "b\n<|im_end|>"]


def test_a_chat_that_the_assistant_begins_keeps_its_instruction_where_it_is(tokenizer):
    own = copy.deepcopy(tokenizer)
    own.chat_template = NO_SYSTEM
    fit(own)  # moves an instruction into the user's turn
    assert "be brief\n\nhello" in own.decode(prompt_ids(own, [say("system", "be brief"), say("user", "hello")]))
    with pytest.raises(InputError, match="has the system message 'be brief', which"):
        prompt_ids(own, [say("system", "be brief"), say("assistant", "welcome"), say("user", "hello")])


MESSAGES = st.lists(
    st.fixed_dictionaries(
        {
            "role": st.sampled_from(["system", "user", "assistant", "tool", "x"]),
            "content": st.text(max_size=3) | st.none(),
        },
        optional={
            "tool_calls": st.lists(st.fixed_dictionaries({"name": st.text(max_size=2), "arguments": st.just({})}))
        },
    ),
    max_size=4,
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
RECORDS = st.fixed_dictionaries(
    {},
    optional={key: MESSAGES | JSON for key in ("messages", "prompt", "completion", "conversations", "tools", "images")},
)


@given(record=RECORDS | JSON, template=st.sampled_from([TOOLS, ONLY_TEXT, ALTERNATING, NO_SYSTEM, FORGETS]))
@settings(max_examples=150)
def test_any_record_is_learned_or_has_a_problem_that_can_be_said(record, template, with_tools):
    row, problem = parse(record)
    assert (row is None) != (problem is None)
    if row:
        with_tools.chat_template = template
        columns = example_columns(with_tools, [row, {key: row[key] for key in row if key != "answers"}])
        for ids, labels, problem in zip(*columns.values(), strict=True):
            assert problem or any(label != -100 for label in labels)
            assert len(ids) == len(labels) and problem.isprintable()
        with_tools.chat_template = TOOLS


def test_rows_of_several_learned_turns_without_a_common_prefix_pack_exactly(with_tools):
    rows = [example_ids(with_tools, example(TURNS, [TOOL], [2, 4]))]
    rows += [example_ids(with_tools, {"prompt": text, "completion": " x"}) for text in ("abc", "ab", "zz")]
    packed = {key: value[0].tolist() for key, value in pack_task(rows).items() if key != "saved"}
    found = sorted(
        (token, shifted)
        for token, shifted in zip(packed["input_ids"], packed["shift_labels"], strict=True)
        if shifted != -100
    )
    expected = sorted(
        (row["input_ids"][i], row["labels"][i + 1])
        for row in rows
        for i in range(len(row["input_ids"]) - 1)
        if row["labels"][i + 1] != -100
    )
    assert found == expected


def test_a_base_model_without_a_template_answers_plain_text(parrot):
    tokenizer = AutoTokenizer.from_pretrained(parrot)
    tokenizer.chat_template = None
    fit(tokenizer)
    assert (end_of_turn(tokenizer).text, chat_record(tokenizer)["date"]) == ("<end>", None)
    model = AutoModelForCausalLM.from_pretrained(parrot)
    prompts = ["wake me please", "today", "some music", "please"]
    assert generate(model, tokenizer, prompts) == ["time: nine", "date: monday", "None", "time: nine"]
    with pytest.raises(InputError, match="has no chat template; use an instruction-tuned model"):
        prompt_ids(tokenizer, {"messages": [say("user")], "tools": [TOOL]})
