"""Records in TRL's formats as rows of chats, and what is none."""

import json

import pytest

from midalign.tasks.chat.rows import parse

ASK, ANSWER = {"role": "user", "content": "wetter?"}, {"role": "assistant", "content": "sonnig"}
SYSTEM = {"role": "system", "content": "kurz"}
CALL = {"type": "function", "function": {"name": "weather", "arguments": {"city": "Bern"}}}
CALLING, CALLED = {"role": "assistant", "tool_calls": [CALL]}, {"role": "tool", "name": "weather", "content": "3"}
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}


def row(prompt, completion=(ANSWER,), tools=None, answers=()):
    return {"prompt": prompt, "completion": list(completion), "tools": tools, "answers": list(answers)}


PARTS = [{"type": "text", "text": "wet"}, {"type": "text", "text": "ter?"}]
CHATS = {
    "messages": ({"messages": [SYSTEM, ASK, ANSWER], "lang": 1}, row([SYSTEM, ASK])),
    "several turns": ({"messages": [ASK, ANSWER, ASK, ANSWER]}, row([ASK, ANSWER, ASK], answers=[1])),
    "a greeting": ({"messages": [ANSWER, ASK, ANSWER]}, row([ANSWER, ASK], answers=[0])),
    "prompt and completion": ({"prompt": [ASK], "completion": [ANSWER]}, row([ASK])),
    "turns in the prompt": (
        {"prompt": [ASK, ANSWER, ASK], "completion": [CALLING, CALLED, ANSWER]},
        row([ASK, ANSWER, ASK, CALLING, CALLED], answers=[3]),
    ),
    "plain text": ({"prompt": "1+1=", "completion": " 2"}, row("1+1=") | {"completion": " 2"}),
    "ShareGPT": (
        {"conversations": [{"from": "human", "value": "wetter?"}, {"from": "gpt", "value": "sonnig"}]},
        row([ASK]),
    ),
    "messages beside the first of them": (
        {"messages": [ASK, ANSWER], "prompt": "wetter?", "prompt_id": "x"},
        row([ASK]),
    ),
    "parts of text": ({"messages": [ASK | {"content": PARTS}, ANSWER]}, row([ASK])),
    "tools": ({"messages": [ASK, CALLING], "tools": [TOOL]}, row([ASK], [CALLING], [TOOL])),
    "tools as JSON": ({"messages": [ASK, ANSWER], "tools": json.dumps([TOOL])}, row([ASK], tools=[TOOL])),
    "no tools": ({"messages": [ASK, ANSWER], "tools": []}, row([ASK])),
    "blank tools": ({"messages": [ASK, ANSWER], "tools": " "}, row([ASK])),
    "nothing in columns": (
        {
            "messages": [ASK | {"name": None}, ANSWER | {"tool_calls": None}],
            "prompt": None,
            "images": None,
            "chosen": [],
        },
        row([ASK]),
    ),
    "a call without content": ({"messages": [ASK, CALLING | {"content": None}]}, row([ASK], [CALLING])),
    "a call beside text": ({"messages": [ASK, CALLING | {"content": "ok"}]}, row([ASK], [CALLING | {"content": "ok"}])),
    "arguments as JSON": (
        {"messages": [ASK, {"role": "assistant", "tool_calls": [{"name": "f", "arguments": "{}"}]}]},
        row([ASK], [{"role": "assistant", "tool_calls": [{"name": "f", "arguments": "{}"}]}]),
    ),
    "a tool that returns nothing": (
        {"messages": [ASK, CALLING, CALLED | {"content": ""}, ANSWER]},
        row([ASK, CALLING, CALLED | {"content": ""}], answers=[1]),
    ),
    "what else a template reads": (
        {"messages": [ASK, ANSWER | {"reasoning_content": "hm"}]},
        row([ASK], [ANSWER | {"reasoning_content": "hm"}]),
    ),
}


@pytest.mark.parametrize("record, expected", CHATS.values(), ids=CHATS)
def test_a_record_in_any_of_the_formats_is_a_row(record, expected):
    before = json.dumps(record)
    assert parse(record) == (expected, None)
    assert json.dumps(record) == before


def deep(levels):
    value = "x"
    for _ in range(levels):
        value = [value]
    return value


def call(**change):
    return {"messages": [ASK, {"role": "assistant", "tool_calls": [{"name": "f", "arguments": {}} | change]}]}


BAD = {
    "text": ("x", "is no object; a row needs"),
    "a list": ([ASK, ANSWER], "is no object"),
    "nothing": ({}, 'has nothing; a row needs "messages", or "prompt" and "completion"'),
    "language modelling": ({"text": "x"}, "has text; a row needs"),
    "a question and an answer": ({"instruction": "x", "output": "y"}, "has instruction, output; a row needs"),
    "a prompt alone": ({"prompt": [ASK]}, "has prompt; a row needs"),
    "a completion alone": ({"completion": "y", "prompt": None}, "has completion; a row needs"),
    "two chats": (
        {"messages": [ASK, ANSWER], "prompt": "x", "completion": "y"},
        "has messages and prompt and completion; keep one chat in a row",
    ),
    "two lists": ({"messages": [ASK, ANSWER], "conversations": [ASK, ANSWER]}, "has messages and conversations; keep"),
    "a preference": ({"prompt": "x", "chosen": "a", "rejected": "b"}, "has chosen, but pairs of a better and a worse"),
    "images": ({"messages": [ASK, ANSWER], "images": ["x.png"]}, "has images, but only text is learned; leave it out"),
    "template arguments": (
        {"messages": [ASK, ANSWER], "chat_template_kwargs": {"enable_thinking": True}},
        "has chat_template_kwargs, but the chat template gets none",
    ),
    "messages as text": ({"messages": "x"}, 'has a str in "messages"; it is a list of messages'),
    "messages as an object": ({"messages": ASK}, 'has a dict in "messages"'),
    "no message": ({"messages": []}, 'has nothing in "messages"'),
    "no completion": ({"prompt": [ASK], "completion": []}, 'has nothing in "completion"'),
    "mixed": ({"prompt": "x", "completion": [ANSWER]}, "of which one is plain text; make both text, or both messages"),
    "mixed the other way": ({"prompt": [ASK], "completion": "y"}, "of which one is plain text"),
    "a blank prompt": ({"prompt": " ", "completion": "y"}, 'has no text in "prompt", found blanks'),
    "an invisible completion": ({"prompt": "x", "completion": "\u200b"}, 'has no text in "completion", found blanks'),
    "tools beside plain text": ({"prompt": "x", "completion": "y", "tools": [TOOL]}, "has tools beside a plain prompt"),
    "a message as text": ({"messages": ["x", ANSWER]}, "has a str in messages[0]; a message is"),
    "a missing message": ({"messages": [ASK, None]}, "has nothing in messages[1]"),
    "no role": (
        {"messages": [{"content": "x"}, ANSWER]},
        "has role nothing in messages[0]; use system, developer, user",
    ),
    "a role of one's own": ({"messages": [ASK | {"role": "human"}, ANSWER]}, "has role human in messages[0]"),
    "a role that is a number": ({"messages": [ASK | {"role": 1}, ANSWER]}, "has role a int in messages[0]"),
    "a role in capitals": ({"messages": [ASK | {"role": "User"}, ANSWER]}, "has role User in messages[0]"),
    "a role that steers": ({"messages": [ASK | {"role": "\x1b[2J"}, ANSWER]}, "has role '\\x1b[2J' in messages[0]"),
    "ShareGPT's other": (
        {"conversations": [{"from": "observation", "value": "x"}, ANSWER]},
        "has role observation in conversations[0]",
    ),
    "a number as content": ({"messages": [ASK | {"content": 1}, ANSWER]}, "has a int as the content of messages[0]"),
    "an object as content": ({"messages": [ASK | {"content": {"a": 1}}, ANSWER]}, "has a dict as the content of"),
    "no content": ({"messages": [{"role": "user"}, ANSWER]}, "has no text in messages[0], of role user"),
    "a blank system message": ({"messages": [SYSTEM | {"content": "\n"}, ASK, ANSWER]}, "has no text in messages[0]"),
    "a blank answer": ({"messages": [ASK, ANSWER | {"content": " "}]}, "has no text in messages[1], of role assistant"),
    "a picture": (
        {"messages": [ASK | {"content": [{"type": "image"}]}, ANSWER]},
        "has a part 'image' in messages[0]; only",
    ),
    "a part as text": ({"messages": [ASK | {"content": ["x"]}, ANSWER]}, "has a part 'x' in messages[0]"),
    "no parts": ({"messages": [ASK | {"content": []}, ANSWER]}, "has no text in messages[0]"),
    "ends with the user": ({"messages": [ASK, ANSWER, ASK]}, "ends with a message of role user; the last one is the"),
    "ends with a tool": ({"messages": [ASK, CALLING, CALLED]}, "ends with a message of role tool"),
    "an answer alone": ({"messages": [ANSWER]}, "has an answer and nothing before it"),
    "weights": ({"messages": [ASK, ANSWER | {"weight": 0}]}, "has weight in messages[1], but task_loss_on says which"),
    "a user who calls": ({"messages": [ASK | {"tool_calls": [CALL]}, ANSWER]}, "only the assistant calls tools"),
    "calls as text": (
        {"messages": [ASK, CALLING | {"tool_calls": "f()"}]},
        "has a str as the tool_calls of messages[1]",
    ),
    "a call as text": (
        {"messages": [ASK, CALLING | {"tool_calls": ["f()"]}]},
        "has a call without a name in messages[1]",
    ),
    "a call without a name": (call(name=None), "has a call without a name in messages[1]"),
    "a call with a blank name": (call(name=" "), "has a call without a name in messages[1]"),
    "a call without arguments": (call(arguments=None), "has nothing as the arguments of f in messages[1]"),
    "arguments as a list": (call(arguments=[1]), "has a list as the arguments of f in messages[1]"),
    "tools that are no JSON": ({"messages": [ASK, ANSWER], "tools": "[{"}, "has tools that are no JSON; write a list"),
    "tools as an object": (
        {"messages": [ASK, ANSWER], "tools": TOOL},
        "has a dict as tools; they are a list of schemas",
    ),
    "tools as names": ({"messages": [ASK, ANSWER], "tools": ["f"]}, "has a list as tools; they are a list of schemas"),
    "a tool without a name": (
        {"messages": [ASK, ANSWER], "tools": [{"type": "function"}]},
        "has a tool without a name",
    ),
    "NUL": ({"messages": [ASK | {"content": "a\0b"}, ANSWER]}, "has a NUL character in 'a\\x00b'; delete it"),
    "half a pair": ({"prompt": "x\ud800", "completion": "y"}, "has half a surrogate pair, which is no text, in"),
    "half a pair in arguments": (call(arguments={"a": ["\udc00"]}), "has half a surrogate pair"),
    "NUL in a key": (call(arguments={"a\0": 1}), "has a NUL character in 'a\\x00'"),
    "NUL in tools as JSON": ({"messages": [ASK, ANSWER], "tools": '[{"name": "a\\u0000"}]'}, "has a NUL character"),
    "a bottomless row": (call(arguments={"a": deep(900)}), "is nested deeper than 32 levels; no chat is"),
    "bottomless tools": (
        {"messages": [ASK, ANSWER], "tools": "[" * 500 + "]" * 500},
        "is nested deeper than 32 levels",
    ),
}


@pytest.mark.parametrize("record, sentence", BAD.values(), ids=BAD)
def test_what_is_no_chat_to_learn_says_why(record, sentence):
    found, problem = parse(record)
    assert found is None and sentence in problem and problem.isprintable() and problem[-1] != "."


@pytest.mark.parametrize("key", ["system", "system_prompt", "functions"])
def test_a_column_that_would_be_lost_is_refused(key):
    row, problem = parse({key: "Answer in Swahili.", "messages": [ASK, ANSWER]})
    assert row is None and problem.startswith(f"has {key}, but ") and problem.endswith("; leave it out")
    assert parse({key: None, "messages": [ASK, ANSWER]})[1] is None


def test_a_call_of_the_older_kind_is_refused():
    called = {"role": "assistant", "content": "", "function_call": {"name": "look", "arguments": "{}"}}
    assert "function_call in messages[1], but calls are read from tool_calls" in parse({"messages": [ASK, called]})[1]
