"""Text -> token ids. Control tokens inside user text stay text everywhere."""

import functools

from midalign.data.templates import ERRORS
from midalign.data.written import RowError, refusal, require_plain_keys, require_written, texts_of
from midalign.errors import InputError


def prompt_ids(tokenizer, chat):
    """The ids of a chat up to where the assistant's answer starts.   Returns list[int].

    chat: messages; {"messages", "tools"}; or plain text, which no chat template touches. Raises InputError.
    """
    if isinstance(chat, str):
        return sentence_ids(tokenizer, [chat])[0]
    messages, tools = (chat["messages"], chat["tools"]) if isinstance(chat, dict) else (chat, None)
    require_written(tokenizer, messages, tools)
    return _chat_ids(tokenizer, messages, tools, add_generation_prompt=True)


def prompts_ids(tokenizer, chats):
    """`prompt_ids` of each.   Raises InputError; a RowError with its number."""
    found = []
    for number, chat in enumerate(chats):
        try:
            found.append(prompt_ids(tokenizer, chat))
        except RowError as error:
            raise RowError(error.problem, number) from error
    return found


def example_ids(tokenizer, example):
    """The ids and labels of one training example.

    example: {"prompt": [messages], "completion": [the assistant's message]}, TRL's conversational format, with "tools"
    where there are any, and with "answers" where other answers are learned too: their places in the prompt; or
    {"prompt", "completion"} of plain text, which ends in EOS.
    Returns {"input_ids", "labels"}; labels are -100 on what is not learned. The loss is on each answer and all that the
    template writes behind it, up to the next message. Equal to what trl.SFTTrainer prepares with completion_only_loss,
    and with assistant_only_loss where the template's {% generation %} has no part of what asks for an answer; except
    that `<|im_end|>` in user text is no control token.
    Raises InputError; a RowError for a chat that the template refuses, leaves parts of out, or renders differently once
    it goes on.
    """
    if isinstance(example["prompt"], str):
        return _plain_example(tokenizer, example["prompt"], example["completion"])
    prompt, tools = example["prompt"], example.get("tools")
    messages = prompt + example["completion"]
    require_written(tokenizer, messages, tools)
    ids = _chat_ids(tokenizer, messages, tools)
    labels = [-100] * len(ids)
    for place in (*example.get("answers", ()), len(prompt)):
        start, end = _start(tokenizer, messages, tools, place, ids), _end(tokenizer, messages, tools, place, ids)
        labels[start:end] = ids[start:end]
    return {"input_ids": ids, "labels": labels}


def _start(tokenizer, messages, tools, place, ids):
    """Where the message at a place starts, behind what asks for it. Raises RowError.   ids: of all messages."""
    if place == 0:
        raise RowError(
            "begins with an answer to nothing, which task_loss_on: all cannot learn; delete it, or set task_loss_on: "
            "last"
        )
    asked = _chat_ids(tokenizer, messages[:place], tools, add_generation_prompt=True)
    if ids[: len(asked)] != asked:
        last = place == len(messages) - 1
        raise RowError(_differs(tokenizer, "a prompt", "delete thoughts from it" if last else "set task_loss_on: last"))
    return len(asked)


def _end(tokenizer, messages, tools, place, ids):
    """Where the message after a place starts. Raises RowError.   ids: of all messages."""
    if place == len(messages) - 1:
        return len(ids)
    until = _chat_ids(tokenizer, messages[: place + 1], tools)
    end = next((i for i, pair in enumerate(zip(until, ids, strict=False)) if pair[0] != pair[1]), len(until))
    last = until[end:]  # what a template writes behind the last message alone
    if last and ids[-len(last) :] != last:
        raise RowError(_differs(tokenizer, "an answer", "set task_loss_on: last"))
    return end


def _differs(tokenizer, what, remedy):
    return (
        f"has messages of which the chat template of {tokenizer.name_or_path} renders {what} differently once an "
        f"answer follows, so training would differ from generation; {remedy}, or save a chat_template.jinja that only "
        "appends into the model folder"
    )


def _plain_example(tokenizer, prompt, completion):
    """As TRL prepares plain text, but for control tokens in it: EOS ends it, once."""
    if tokenizer.eos_token is None:
        raise InputError(f"{tokenizer.name_or_path} has no EOS token to end plain text with; write one into its files.")
    asked, ids = sentence_ids(tokenizer, [prompt, prompt + completion.removesuffix(tokenizer.eos_token)])
    if ids[: len(asked)] != asked:
        raise RowError(
            "has a plain prompt of which the tokenizer makes one token with the first letters of the completion; move "
            "the space between them to the completion, or put a line break there"
        )
    ids = [*ids, tokenizer.eos_token_id]
    return {"input_ids": ids, "labels": [-100] * len(asked) + ids[len(asked) :]}


def _chat_ids(tokenizer, messages, tools, **kwargs):
    if tokenizer.chat_template is None:
        raise InputError(
            f"{tokenizer.name_or_path} has no chat template; use an instruction-tuned model or save a "
            "chat_template.jinja into the model folder."
        )
    # Sanitizing walks through all added tokens, of which Gemma has 6,242, for every chat; where no text holds even the
    # first letter of one it changes nothing.
    letters = _first_letters(tokenizer, len(tokenizer))
    texts, keys = texts_of([messages, tools])
    suspicious = not all(map(letters.isdisjoint, texts))
    if not all(map(letters.isdisjoint, keys)):
        require_plain_keys(tokenizer, keys)
    try:
        return tokenizer.apply_chat_template(
            messages,
            tools=tools,
            chat_template=tokenizer.get_chat_template(),  # also with tools: the one that `fit` has looked at
            sanitize_control_tokens=suspicious,
            return_dict=False,
            **kwargs,
        )
    except ERRORS as error:
        raise refusal(tokenizer, error) from error


@functools.lru_cache(maxsize=1)
def _first_letters(tokenizer, size):
    """The first letters of all added tokens that can be control tokens, and the private letters that sanitizing drops.

    size: len(tokenizer), so that a token added later is seen.
    """
    added = tokenizer.added_tokens_decoder.values()
    tokens = [token.content for token in added if token.special or not token.content.isspace()]
    return frozenset(token[0] for token in tokens) | {"\U000f0000", "\U000f0001"}


def sentence_ids(tokenizer, texts):
    """The ids of plain sentences: BOS if the tokenizer adds one, no EOS, no chat template (as the authors).

    Returns list[list[int]]. What a tokenizer adds behind a sentence, EOS or another, is taken away.
    """
    alone = {"return_attention_mask": False, "return_token_type_ids": False}  # nobody reads them, and they take a third
    rows = tokenizer(texts, split_special_tokens=True, add_special_tokens=True, **alone)["input_ids"]
    added = _added_behind(tokenizer)
    return [row[: len(row) - added] for row in rows] if added else rows


def _added_behind(tokenizer):
    """How many ids a tokenizer puts behind a text of its own accord."""
    whole, own = (tokenizer("a", add_special_tokens=added)["input_ids"] for added in (True, False))
    before = next(i for i in range(len(whole)) if whole[i : i + len(own)] == own)
    return len(whole) - before - len(own)


def example_columns(tokenizer, examples):
    """`example_ids` of every example as columns, and why one cannot be written, "" where it can."""
    rows = [_ids_or_problem(tokenizer, example) for example in examples]
    return {name: [row[name] for row in rows] for name in ("input_ids", "labels", "problem")}


def _ids_or_problem(tokenizer, example):
    try:
        return {**example_ids(tokenizer, example), "problem": ""}
    except RowError as error:
        return {"input_ids": [0], "labels": [-100], "problem": error.problem}


def require_embedded(ids, size, name):
    """Refuse ids of tokens that the model has no embedding of.

    ids: lists of them.   size: the rows of its embedding matrix.   name: of the tokenizer. Raises InputError.
    """
    most = max(map(max, filter(len, ids)), default=0)
    if most >= size:
        raise InputError(
            f"the tokenizer of {name} gives the token id {most}, but the model has embeddings of 0 to {size - 1}; use "
            "its own tokenizer."
        )
