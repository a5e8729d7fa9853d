"""What a chat template cannot write: a chat that it refuses, and parts that it leaves out."""

import json

from midalign.data.templates import ERRORS, said
from midalign.errors import InputError
from midalign.tasks.chat.rows import called, tool_name
from midalign.tasks.thoughts import without_thought
from midalign.texts import quoted, shown

# Chats that `data.templates.fit` has asked the template for.
WHOLE = (["user"], ["system", "user"], ["user", "assistant"], ["system", "user", "assistant"])


class RowError(InputError):
    """A chat that cannot be written: `problem` says why of its row, "has ..., what to change".

    number: of the chat among several, where it was one of them.
    """

    def __init__(self, problem, number=None):
        super().__init__(f"a row {problem}.")
        self.problem, self.number = problem, number


def require_written(tokenizer, messages, tools):
    """Refuse a chat of which the template leaves a message, a call or a tool out. Raises RowError.

    Chats of an instruction, a question and an answer are written whole by every fitted template.
    """
    roles = [message["role"] for message in messages if message.keys() == {"role", "content"}]
    if tokenizer.chat_template is None or (
        not tools and len(roles) == len(messages) and roles[-3:] in WHOLE and roles == roles[-3:]
    ):
        return
    try:
        text = tokenizer.apply_chat_template(
            messages, tools=tools, chat_template=tokenizer.get_chat_template(), tokenize=False
        )
    except ERRORS as error:
        raise refusal(tokenizer, error) from error
    parts = [("tool", tool_name(tool)) for tool in tools or ()]
    for message in messages:
        parts.append((f"{message['role']} message", without_thought(message.get("content", ""))))
        parts += [("call of", called(call)[0]) for call in message.get("tool_calls", ())]
    for what, whole in dict.fromkeys(parts):
        part = max(map(str.strip, whole.splitlines()), key=len, default="")  # a template may trim, and escape lines
        spellings = {part, json.dumps(part, ensure_ascii=False)[1:-1]}
        if part and sum(map(text.count, spellings)) < sum(own.count(part) for _, own in parts):
            raise RowError(
                f"has the {what} {quoted(part)}, which the chat template of {tokenizer.name_or_path} leaves out; "
                "delete it, or save a chat_template.jinja with it into the model folder"
            )


def refusal(tokenizer, error):
    """What a template says of a chat, as a RowError."""
    reason = shown(said(error), 200).removesuffix(".")
    return RowError(f"has messages that the chat template of {tokenizer.name_or_path} refuses: {reason}")


def texts_of(value):
    """(the texts, the keys) in lists and objects, however nested."""
    texts, keys, left = [], [], [value]
    while left:
        value = left.pop()
        if isinstance(value, dict):
            keys += value
            left += value.values()
        elif isinstance(value, list):
            left += value
        elif isinstance(value, str):
            texts.append(value)
    return texts, keys


def require_plain_keys(tokenizer, keys):
    """Sanitizing does not look at the names of fields, as in the arguments of a tool. Raises RowError."""
    template = tokenizer.get_chat_template()
    for token in tokenizer.added_tokens_decoder.values():
        found = next((key for key in keys if token.content in key), None)
        if found and (token.special or (token.content in template and not token.content.isspace())):
            raise RowError(f"has a field {quoted(found)}, in which {token.content} would be a control token; rename it")
