"""Text -> token ids. Control tokens inside user text stay text everywhere."""

import functools

from midalign.data.checks import fit_problem
from midalign.data.templates import ERRORS, said
from midalign.errors import InputError
from midalign.texts import comparable


def prompt_ids(tokenizer, messages):
    """The ids of a chat up to where the assistant's answer starts.   Returns list[int]."""
    return _chat_ids(tokenizer, messages, add_generation_prompt=True)


def example_ids(tokenizer, example):
    """The ids and labels of one training example.

    example: {"prompt": [messages], "completion": [the assistant's message]}, TRL's conversational format.
    Returns {"input_ids", "labels"}; labels are -100 on the prompt, so the loss is on the answer and its end of
    turn. Equal to what trl.SFTTrainer prepares, except that `<|im_end|>` in user text is no control token.
    Raises InputError when the chat template renders the prompt differently once an answer follows.
    """
    prompt = prompt_ids(tokenizer, example["prompt"])
    ids = _chat_ids(tokenizer, example["prompt"] + example["completion"])
    if ids[: len(prompt)] != prompt:
        raise InputError(
            f"the chat template of {tokenizer.name_or_path} renders a prompt differently once an answer follows, so "
            "training would differ from generation; save a chat_template.jinja that only appends into the model folder."
        )
    return {"input_ids": ids, "labels": [-100] * len(prompt) + ids[len(prompt) :]}


def _chat_ids(tokenizer, messages, **kwargs):
    if tokenizer.chat_template is None:
        raise InputError(
            f"{tokenizer.name_or_path} has no chat template; use an instruction-tuned model or save a "
            "chat_template.jinja into the model folder."
        )
    # Sanitizing walks through all added tokens, of which Gemma has 6,242, for every chat; where no text holds even the
    # first letter of one it changes nothing.
    suspicious = any(
        not _first_letters(tokenizer, len(tokenizer)).isdisjoint(message["content"]) for message in messages
    )
    try:
        return tokenizer.apply_chat_template(messages, sanitize_control_tokens=suspicious, return_dict=False, **kwargs)
    except ERRORS as error:
        raise InputError(
            f"the chat template of {tokenizer.name_or_path} refuses the messages: {said(error)}."
        ) from error


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
    rows = tokenizer(texts, split_special_tokens=True, add_special_tokens=True)["input_ids"]
    added = _added_behind(tokenizer)
    return [row[: len(row) - added] for row in rows] if added else rows


def _added_behind(tokenizer):
    """How many ids a tokenizer puts behind a text of its own accord."""
    whole, own = (tokenizer("a", add_special_tokens=added)["input_ids"] for added in (True, False))
    before = next(i for i in range(len(whole)) if whole[i : i + len(own)] == own)
    return len(whole) - before - len(own)


def example_columns(tokenizer, examples):
    """`example_ids` of every example as columns."""
    rows = [example_ids(tokenizer, example) for example in examples]
    return {name: [row[name] for row in rows] for name in ("input_ids", "labels")}


def sentence_columns(tokenizer, texts):
    """`sentence_ids` as a column."""
    return {"input_ids": sentence_ids(tokenizer, texts)}


def pair_rows(pairs, max_length, tokenise, sieve):
    """Pairs as token ids, in the order given.

    tokenise: texts -> list of ids of each (`sentence_ids`).   sieve: takes pairs without a token on one side and with
    more than `max_length` of them (None: no limit).
    Returns a list of {"source", "target": list[int], "source_text", "target_text": int, "language", "place"}; texts
    that are one sentence (`texts.comparable`) have equal numbers.
    """
    sentences, numbers = {}, {}
    for pair in pairs:
        for text in (pair["source"], pair["target"]):
            if text not in sentences:
                sentences[text] = numbers.setdefault(comparable(text), len(numbers))
    ids = dict(zip(sentences, tokenise(list(sentences)), strict=True)) if sentences else {}

    def problem(pair):
        lengths = [len(ids[pair[side]]) for side in ("source", "target")]
        return next(filter(None, (fit_problem({"length": n, "trained": True}, max_length) for n in lengths)), None)

    return [
        {
            "source": ids[pair["source"]],
            "target": ids[pair["target"]],
            "source_text": sentences[pair["source"]],
            "target_text": sentences[pair["target"]],
            "language": pair["source_lang"],
            "place": pair["place"],
        }
        for pair in sieve.keep(pairs, problem)
    ]


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
