"""Chat rows as TRL's users have them in memory, and the one format that is trained on.

A row is {"prompt": [messages], "completion": [the assistant's message]} or {"messages": [...]}, of which the last
message, the assistant's, is the completion. A message is {"role", "content"}, both text. Other columns are not read.
"""

from collections.abc import Mapping

from midalign.data.checks import field_problem
from midalign.texts import shown

READ = ("role", "content")
WRITTEN = ("tools", "chat_template_kwargs", "images", "image")  # columns that change a prompt in TRL


def example_of(row):
    """(the row as {"prompt", "completion"}, None), or (None, why it cannot be trained on)."""
    if not isinstance(row, Mapping):
        return None, 'is no dict; a row has "prompt" and "completion", or "messages"'
    set_ = {key for key, value in row.items() if value is not None}
    for key in WRITTEN:
        if key in set_ and row[key]:
            return None, f"has {key}, which would not be written into the prompt; leave it out"
    if "messages" in set_:
        found, parts = [row["messages"]], ("messages",)
    elif {"prompt", "completion"} <= set_:
        parts = ("prompt", "completion")
        found = [row[part] for part in parts]
    else:
        return None, (
            f'has {", ".join(sorted(map(shown, set_))) or "nothing"}; a row needs "prompt" and "completion", or '
            '"messages", as lists of {"role": ..., "content": ...}'
        )
    for part, messages in zip(parts, found, strict=True):
        problem = _problem(part, messages)
        if problem:
            return None, problem
    messages = [{key: message[key] for key in READ} for part in found for message in part]
    roles = [message["role"] for message in messages]
    if len(found) == 2 and len(found[1]) != 1:
        return None, f"has a completion of {len(found[1])} messages; the completion is the assistant's one answer"
    if len(messages) < 2:
        return None, "has one message; an answer needs something before it"
    if roles[-1] != "assistant":
        return None, f"ends with a message of {shown(roles[-1])}; the last one is the assistant's, which is trained"
    if roles[-2] == "assistant":
        return None, "has two messages of the assistant at its end; make one of them"
    return {"prompt": messages[:-1], "completion": messages[-1:]}, None


def _problem(part, messages):
    """Why a part of a row is no list of messages, or None."""
    if isinstance(messages, str):
        return f'has "{part}" as plain text; write it as messages, [{{"role": "user", "content": ...}}]'
    if not isinstance(messages, list) or not messages:
        return f'has no message in "{part}"; it is a list of {{"role": ..., "content": ...}}'
    for number, message in enumerate(messages):
        problem = field_problem(message, READ)
        if problem:
            return f"{part}[{number}] {problem.replace('every row', 'every message')}"
        more = sorted(key for key, value in message.items() if key not in READ and value is not None)
        if more:
            return f"{part}[{number}] has {shown(more[0])}, which would not be written into the chat; leave it out"
    return None
