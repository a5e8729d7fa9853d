"""Chat rows as TRL takes them -> one form: what is asked, the answer, and the tools.

A record has one of
* `messages`: [{"role", "content"}, ...], of which the last, the assistant's, is the answer; also as `conversations`,
  and with `from` and `value` as ShareGPT writes them;
* `prompt` and `completion`, both such lists; the last message of both together is the answer;
* `prompt` and `completion`, both plain text, which no chat template touches.

Beside it `tools`, a list of JSON schemas or that list as JSON text. Other columns are not read. A message may have
`tool_calls` and whatever else a chat template reads (`name`, `tool_call_id`, `reasoning_content`): it goes there as it
is.
"""

import json

from midalign.texts import NO_TEXT, comparable, quoted, shown

ROLES = ("system", "developer", "user", "assistant", "tool")
SHAREGPT = {"human": "user", "gpt": "assistant"}
# What changes a chat in TRL and nothing here reads, or is no chat at all: a row with it is not what it looks like.
REFUSED = {
    "system": "a system prompt is read as the first of messages",
    "system_prompt": "a system prompt is read as the first of messages",
    "functions": "what can be called is read from tools",
    "images": "only text is learned",
    "image": "only text is learned",
    "chat_template_kwargs": "the chat template gets none",
    "chosen": "pairs of a better and a worse answer are no chats to learn",
    "rejected": "pairs of a better and a worse answer are no chats to learn",
}
REFUSED_IN_A_MESSAGE = {
    "function_call": "calls are read from tool_calls",
    **dict.fromkeys(("weight", "train", "loss", "mask"), "task_loss_on says which answers are learned"),
}
ABOUT = ("id", "locale", "language", "partition", "split")  # what a row is, not what it says
READ = ("messages", "conversations", "prompt", "completion", "tools")
NEEDED = 'a row needs "messages", or "prompt" and "completion"'
DEEPEST = 32  # levels of lists and objects in a row


def parse(record):
    """(the row, None), or (None, why it is no chat to learn: "has ..., what to change").

    record: any JSON. The row: {"prompt": [messages] or str, "completion": [the answer's message] or str, "tools": list
    or None, "answers": places in prompt of other answers that may be learned}. What is None in a message is left out.
    """
    try:
        return _parse(record), None
    except _Unfit as reason:
        return None, str(reason)


class _Unfit(Exception):
    """Why a record is no chat to learn."""


def _parse(record):
    if not isinstance(record, dict):
        raise _Unfit(f"is no object; {NEEDED}")
    for key, reason in REFUSED.items():
        if record.get(key):
            raise _Unfit(f"has {key}, but {reason}; leave it out")
    _require_plain_json([record.get(key) for key in READ])
    whole = [key for key in ("messages", "conversations") if record.get(key) is not None]
    pair = [key for key in ("prompt", "completion") if record.get(key) is not None]
    if len(whole) + (len(pair) == 2) != 1:
        if not whole:
            own = sorted(key for key in record if key not in ABOUT and record[key] is not None)
            found = ", ".join(map(shown, own[:9])) or "nothing"
            raise _Unfit(f"has {found}; {NEEDED}")
        raise _Unfit(f"has {' and '.join([*whole, *pair])}; keep one chat in a row")
    if whole:
        messages, start = _messages(whole[0], record[whole[0]]), 0
    elif isinstance(record["prompt"], str) or isinstance(record["completion"], str):
        return _plain(record)
    else:
        prompt, completion = (_messages(key, record[key]) for key in pair)
        messages, start = prompt + completion, len(prompt)
    *prompt, answer = messages
    if answer["role"] != "assistant":
        raise _Unfit(f"ends with a message of role {answer['role']}; the last one is the assistant's, which is learned")
    if not prompt:
        raise _Unfit("has an answer and nothing before it; put what is asked in front")
    answers = [place for place in range(start, len(prompt)) if prompt[place]["role"] == "assistant"]
    return {"prompt": prompt, "completion": [answer], "tools": _tools(record.get("tools")), "answers": answers}


def _plain(record):
    for key in ("prompt", "completion"):
        if not isinstance(record[key], str):
            raise _Unfit("has a prompt and a completion of which one is plain text; make both text, or both messages")
        if not comparable(record[key]):
            raise _Unfit(f'has no text in "{key}", found blanks; give it some')
    if record.get("tools"):
        raise _Unfit("has tools beside a plain prompt, which no chat template writes; use messages")
    return {"prompt": record["prompt"], "completion": record["completion"], "tools": None, "answers": []}


def _messages(key, found):
    if not isinstance(found, list) or not found:
        raise _Unfit(f'has {_kind(found)} in "{key}"; it is a list of messages, [{{"role": ..., "content": ...}}, ...]')
    return [_message(f"{key}[{place}]", message) for place, message in enumerate(found)]


def _message(place, found):
    if not isinstance(found, dict):
        raise _Unfit(f'has {_kind(found)} in {place}; a message is {{"role": ..., "content": ...}}')
    message = {key: value for key, value in found.items() if value is not None}
    if "role" not in message and "from" in message:
        role, content = message.pop("from"), message.pop("value", None)
        message = {"role": SHAREGPT.get(role, role) if isinstance(role, str) else role, "content": content, **message}
    role = message.get("role")
    if role not in ROLES:
        found = shown(role) if isinstance(role, str) else _kind(role)
        raise _Unfit(f"has role {found} in {place}; use {', '.join(ROLES)}")
    for key, reason in REFUSED_IN_A_MESSAGE.items():
        if key in message:
            raise _Unfit(f"has {key} in {place}, but {reason}; leave it out")
    calls = message.pop("tool_calls", None) or []
    if calls:
        _require_calls(place, role, calls)
    content = _text(place, message.pop("content", None))
    if content is None or (not comparable(content) and role != "tool"):
        if not calls:
            raise _Unfit(f'has no text in {place}, of role {role}; give it some in "content"')
    message |= {"content": content} if content is not None else {}
    return message | ({"tool_calls": calls} if calls else {})


def _text(place, content):
    """The text of a message, of its parts one after the other; None where it has none."""
    if not isinstance(content, list):
        if content is None or isinstance(content, str):
            return content
        raise _Unfit(f"has {_kind(content)} as the content of {place}; make it text")
    for part in content:
        if not isinstance(part, dict) or part.get("type") != "text" or not isinstance(part.get("text"), str):
            kind = part.get("type") if isinstance(part, dict) else part
            raise _Unfit(f'has a part {quoted(kind)} in {place}; only {{"type": "text", "text": ...}} is learned')
    return "".join(part["text"] for part in content)


def _require_calls(place, role, calls):
    if role != "assistant":
        raise _Unfit(f"has tool_calls in {place}, of role {role}; only the assistant calls tools")
    if not isinstance(calls, list):
        raise _Unfit(f"has {_kind(calls)} as the tool_calls of {place}; it is a list of calls")
    for call in calls:
        name, arguments = called(call) if isinstance(call, dict) else (None, None)
        if not isinstance(name, str) or not comparable(name):
            raise _Unfit(f'has a call without a name in {place}; it is {{"function": {{"name", "arguments"}}}}')
        if not isinstance(arguments, dict | str):
            raise _Unfit(
                f"has {_kind(arguments)} as the arguments of {shown(name)} in {place}; they are an object, or its JSON"
            )


def called(call):
    """(name, arguments) of a tool call as it stands in a message or in an answer, where Llama writes "parameters"."""
    function = call["function"] if isinstance(call.get("function"), dict) else call
    return function.get("name"), function.get("arguments", function.get("parameters"))


def tool_name(tool):
    """The name in a tool's schema, None without one."""
    return (tool["function"] if isinstance(tool.get("function"), dict) else tool).get("name")


def _tools(found):
    if isinstance(found, str):
        try:
            found = json.loads(found) if found.strip() else None
        except (ValueError, RecursionError) as error:
            raise _Unfit("has tools that are no JSON; write a list of schemas, or that list as JSON text") from error
        _require_plain_json(found)
    if not found:
        return None
    if not isinstance(found, list) or not all(isinstance(tool, dict) for tool in found):
        raise _Unfit(f"has {_kind(found)} as tools; they are a list of schemas, or that list as JSON text")
    for tool in found:
        if not isinstance(tool_name(tool), str) or not comparable(tool_name(tool)):
            raise _Unfit('has a tool without a name; a schema is {"type": "function", "function": {"name", ...}}')
    return found


def _require_plain_json(found):
    """Raises _Unfit for text that is none, and for what is nested beyond all use; both break those who read on."""
    level, depth = [found], 0
    while level:
        for text in (part for value in level for part in ((*value,) if isinstance(value, dict) else (value,))):
            if isinstance(text, str) and (bad := NO_TEXT.search(text)):
                what = "a NUL character" if bad[0] == "\0" else "half a surrogate pair, which is no text,"
                raise _Unfit(f"has {what} in {quoted(text)}; delete it")
        inner = [value.values() if isinstance(value, dict) else value for value in level]
        level = [part for values in inner if not isinstance(values, str | int | float | None) for part in values]
        depth += 1
        if depth > DEEPEST:
            raise _Unfit(f"is nested deeper than {DEEPEST} levels; no chat is")


def _kind(value):
    return "nothing" if value in (None, [], {}, "") else f"a {type(value).__name__}"
