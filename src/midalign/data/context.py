"""Sentences of translation pairs inside a task's prompt, and which of its tokens are their own.

A prompt is what stands before a text, the text, and what stands behind it: both are read off a prompt that asks PROBE.
A sentence's own tokens are all that hold a letter of it, also where the tokenizer joins its first letters to a space
before it: those are what the task reads.
"""

from midalign.data.templates import ERRORS
from midalign.data.tokens import prompt_ids
from midalign.data.written import RowError, refusal
from midalign.errors import InputError
from midalign.texts import quoted

PROBE = "midalign asks this"


def frame_of(tokenizer, chat):
    """[what a prompt has before the text that it asks, what it has behind it], as the chat template writes them.

    chat: the prompt that asks PROBE, as `tokens.prompt_ids` takes it.   Raises InputError where it cannot be told.
    """
    if not tokenizer.is_fast:
        raise InputError(
            f"align_context task: {type(tokenizer).__name__} does not tell where its tokens stand in a text; use a "
            "tokenizer with a tokenizer.json, or set align_context: plain."
        )
    written = _written(tokenizer, chat)
    if written.count(PROBE) != 1:
        raise InputError(
            f"align_context task: a prompt has the text that it asks {written.count(PROBE)} times as it is, and a "
            "sentence stands in one place; let it be there once, or set align_context: plain."
        )
    return written.split(PROBE)


def prompt_columns(tokenizer, items):
    """Prompts of sentences as columns: input_ids, own (where the sentence's own tokens start in them), and problem, why
    these cannot be told, "" where they can.

    items: {"chat", "text", "frame", "whole"}: a prompt that asks the text; as `frame_of` gives it of one like it;
    whether all of the prompt is wanted. Else it ends with the sentence, which sees nothing behind it.
    """
    rows = [_row(tokenizer, **item) for item in items]
    return {name: [row[name] for row in rows] for name in ("input_ids", "own", "problem")}


def _row(tokenizer, chat, text, frame, whole):
    try:
        ids, start, end = _own_tokens(tokenizer, chat, text.strip(), *frame)
    except RowError as error:
        return {"input_ids": [0], "own": 0, "problem": error.problem}
    return {"input_ids": ids if whole else ids[:end], "own": start, "problem": ""}


def _own_tokens(tokenizer, chat, text, before, behind):
    """(the ids of a prompt, where the tokens of the text in it start, where they end). Raises RowError."""
    ids, written = prompt_ids(tokenizer, chat), _written(tokenizer, chat)
    place = written[len(before) : len(written) - len(behind)]
    if written != before + place + behind or place.strip() != text:
        raise RowError(f"has {quoted(text)}, which the prompt of the task writes otherwise; mend it")
    plain = {"split_special_tokens": True} if isinstance(chat, str) else {"add_special_tokens": False}
    encoded = tokenizer(written, return_offsets_mapping=True, **plain)
    if encoded["input_ids"][: len(ids)] != ids:
        raise RowError(f"has a control token in {quoted(text)}, so its place in a prompt cannot be told; delete it")
    first = len(before) + place.index(text)
    own = [
        i
        for i, (start, end) in enumerate(encoded["offset_mapping"][: len(ids)])
        if start < first + len(text) and end > first
    ]
    if not own:
        raise RowError("has no token with this tokenizer; delete it")
    return ids, own[0], own[-1] + 1


def _written(tokenizer, chat):
    """A prompt as text."""
    if isinstance(chat, str):
        return chat
    messages, tools = (chat["messages"], chat["tools"]) if isinstance(chat, dict) else (chat, None)
    template = tokenizer.get_chat_template()
    try:
        return tokenizer.apply_chat_template(
            messages, tools=tools, chat_template=template, tokenize=False, add_generation_prompt=True
        )
    except ERRORS as error:
        raise refusal(tokenizer, error) from error
