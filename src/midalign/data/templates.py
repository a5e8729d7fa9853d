"""Chat templates, made such that training, our generation and lm-eval ask the same and stop at the same.

A template is wrapped, never edited, and only where it must be; it is saved with the tokenizer, so that whoever loads a
trained adapter's tokenizer asks what was trained:

* what it calls thinking is switched off (`enable_thinking`), and its date (`strftime_now`) is that of the run;
* where it has no system role, or drops or moves a system message, the instruction goes to the front of the user turn;
* where what it writes to ask for an answer is not what it writes before one (nothing, or an opened thought), the latter
  asks; a space at its end is left to the answer, whose first token has it;
* where it writes nothing after an answer, the tokenizer's EOS is added: a model has to learn where to stop.
"""

import json
from dataclasses import dataclass
from datetime import UTC, date, datetime

import jinja2

from midalign.errors import InputError
from midalign.tasks.thoughts import MARKS
from midalign.texts import squeeze

MARK = "{# midalign "
# Of a template, and of Python inside one.
ERRORS = (
    *(jinja2.TemplateError, TypeError, ValueError, ArithmeticError, LookupError, AttributeError),
    *(RecursionError, MemoryError),
)
ASKED = [{"role": "system", "content": "Name the slots."}, {"role": "user", "content": "wake me at nine"}]
ANSWER = "time: nine"
DIRECTIVES = "aAbBcCdDeFgGhHIjklmMnpPrRStTuUVwWxXyYzZ"  # of strftime
NO_THOUGHT = "{% set enable_thinking = false %}"
IN_USER_TURN = (
    "{% set messages = ([{'role': 'user', 'content': messages[0]['content'] ~ '\n\n' ~ messages[1]['content']}] "
    "+ messages[2:]) if messages | length > 1 and messages[0]['role'] == 'system' and messages[1]['role'] == 'user' "
    "else messages %}"
)
ASKS = "{% set midalign_asks = add_generation_prompt %}{% set add_generation_prompt = false %}"
ENDS = "{{ eos_token if messages and messages[-1]['role'] == 'assistant' else '' }}"


@dataclass(frozen=True)
class End:
    """What a template writes after an answer: a control token, or plain text (token None)."""

    token: int | None
    text: str


class _Unfit(Exception):
    """Why a template cannot be trained on: the end of a sentence that begins with "it"."""


def fit(tokenizer, system="auto", day=None):
    """Wrap a tokenizer's chat template as the module says, in place; `chat_record` tells what was done.

    system: where the instruction goes; "system" for a system message, "user" for the front of the user turn, "auto" for
    the former where the template has it.   day: the date that its prompts have, ISO; today (UTC) when None.
    A template that was wrapped before stays as it is. Its end of turn becomes the tokenizer's EOS, and a tokenizer
    without a padding token pads with that. Raises InputError for a template that cannot be trained on.
    """
    if tokenizer.chat_template is not None:
        template = tokenizer.get_chat_template()
        if not template.startswith(MARK):
            _set(tokenizer, _wrapped(tokenizer, template, system, day or today()))
        _name_the_end(tokenizer)
    if tokenizer.pad_token is None:
        if tokenizer.eos_token is None:
            raise InputError(
                f"{tokenizer.name_or_path} has neither a padding nor an EOS token; write a pad_token into its "
                "tokenizer_config.json."
            )
        tokenizer.pad_token = tokenizer.eos_token


def today():
    """The date, ISO, the same for all processes of a run wherever they stand: UTC."""
    return datetime.now(UTC).date().isoformat()


def chat_record(tokenizer):
    """How a fitted tokenizer writes a chat, for the record of a run: JSON.

    {"instruction": "system message" or "user turn", "thinking": "off" or "not in the template", "date": ISO or None,
    "asks with": "its own header" or "what precedes an answer", "end of turn": text}
    """
    template = tokenizer.get_chat_template() if tokenizer.chat_template is not None else ""
    kept = json.loads(template[len(MARK) : template.index(" #}")]) if template.startswith(MARK) else {}
    thinks = "enable_thinking" in template or any(mark in template for marks in MARKS for mark in marks)
    record = {
        "instruction": "system message",
        "thinking": "off" if thinks else "not in the template",
        "date": None,
        "asks with": "its own header",
    }
    return {**record, **kept, "end of turn": end_of_turn(tokenizer).text}


def end_of_turn(tokenizer):
    """What stands after an answer: `End`. Raises InputError for a template that leaves answers out."""
    if tokenizer.chat_template is None:  # plain text is all that it can learn
        return End(tokenizer.eos_token_id, tokenizer.eos_token or "")
    try:
        _, tail = _around_answer(tokenizer, tokenizer.get_chat_template())
    except _Unfit as reason:
        raise _refusal(tokenizer, reason) from reason
    tokens = tokenizer.added_tokens_decoder
    for token in _ids(tokenizer, tail):
        if token in tokens and token != tokenizer.unk_token_id and not tokens[token].content.isspace():
            return End(token, tokens[token].content)
    if not tail.strip(" "):
        return End(tokenizer.eos_token_id, tokenizer.eos_token or "")
    return End(None, tail.rstrip() or tail)


def _set(tokenizer, template):
    kept = tokenizer.chat_template
    tokenizer.chat_template = {**kept, "default": template} if isinstance(kept, dict) else template


def _wrapped(tokenizer, template, system, day):
    """The template, as it is or wrapped. Raises InputError."""
    before, done = "", {}
    if "enable_thinking" in template:
        before = NO_THOUGHT
    if "strftime_now" in template:
        before, done["date"] = before + _pinned(date.fromisoformat(day)), day
    problems = []
    for place in ("system", "user") if system == "auto" else (system,):
        moved = {"instruction": "user turn"} if place == "user" else {}
        try:
            return _asking(tokenizer, template, before + (IN_USER_TURN if moved else ""), {**done, **moved})
        except _Unfit as reason:
            problems.append(str(reason))
    problem = " and, with the instruction in the user turn, ".join(dict.fromkeys(problems))
    raise _refusal(tokenizer, problem, "" if system == "auto" else "set task_system: auto, or ")


def _pinned(day):
    """A macro in place of `strftime_now`, for midnight of that day."""
    values = {
        "%%": "\0",
        "%E": "%",
        "%O": "%",
    }  # first: what follows an escaped % is text; other calendars are not known
    values |= {f"%{letter}": day.strftime(f"%{letter}") for letter in DIRECTIVES}
    values |= {f"%-{letter}": str(int(day.strftime(f"%{letter}"))) for letter in "CdegGHIjklmMSuUVwWyY"}
    values["\0"] = "%"
    replaced = "".join(f"|replace({json.dumps(name)}, {json.dumps(value)})" for name, value in values.items())
    return "{% macro strftime_now(format) %}{{ format" + replaced + " }}{% endmacro %}"


def _asking(tokenizer, template, before, done):
    """The template behind `before`, with what asks for an answer and what ends one where it lacks these."""
    after = ""
    own = _join(template, before, after, done)
    head, tail = _around_answer(tokenizer, own)
    whole = head + ANSWER + tail
    asks = _render(tokenizer, own, ASKED, True)
    if asks not in (head, head.rstrip(" ")) or not _begins(tokenizer, whole, asks):
        bare = _render(tokenizer, own, ASKED, False)
        if not head.startswith(bare):
            raise _Unfit("writes a prompt differently once an answer follows")
        asks = head.rstrip(" ")
        if len(asks) < len(bare) or not _begins(tokenizer, whole, asks):
            raise _Unfit(f"ends its prompt {asks[-20:]!r} inside of a token of the answer")
        done = {**done, "asks with": "what precedes an answer"}
        header = json.dumps(asks[len(bare) :], ensure_ascii=False)
        before, after = before + ASKS, "{{ " + header + " if midalign_asks else '' }}"
    if not tail.strip(" ") or not _ids(tokenizer, tail):
        if tokenizer.eos_token is None:
            raise _Unfit("writes nothing after an answer, and the tokenizer has no EOS token to add")
        after += ENDS
    elif not set(_ids(tokenizer, tail)) - {tokenizer.unk_token_id}:
        raise _Unfit(f"ends an answer with {tail!r}, which the tokenizer cannot write")
    return _join(template, before, after, done)


def _join(template, before, after, done):
    """Jinja takes away one line break at the end of a template, and one behind a block such as ours."""
    if not before and not after:
        return template
    return f"{MARK}{json.dumps(done)} #}}{before}\n{template.removesuffix(chr(10)) if after else template}{after}"


def _around_answer(tokenizer, template):
    """(all that the template writes before an answer, all behind it). Raises _Unfit."""
    whole = _render(tokenizer, template, [*ASKED, {"role": "assistant", "content": ANSWER}], False)
    head, found, tail = whole.rpartition(ANSWER)
    if not found:
        raise _Unfit("leaves the answer out")
    for message in ASKED:
        if message["content"] not in head:
            raise _Unfit(f"leaves the {message['role']} message out")
    return head, tail


def _render(tokenizer, template, messages, asks):
    try:
        return tokenizer.apply_chat_template(
            messages, chat_template=template, tokenize=False, add_generation_prompt=asks
        )
    except ERRORS as error:
        raise _Unfit(f"refuses the messages: {said(error)}") from error


def said(error):
    """What an error of a template says, on one line."""
    return squeeze(str(error)) or type(error).__name__


def _begins(tokenizer, whole, part):
    ids = _ids(tokenizer, part)
    return _ids(tokenizer, whole)[: len(ids)] == ids


def _ids(tokenizer, text):
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def _name_the_end(tokenizer):
    """Make the end of turn the tokenizer's EOS, so that whoever loads it stops there; not where that changes a chat."""
    end, before = end_of_turn(tokenizer), tokenizer.eos_token
    if end.token in (None, tokenizer.eos_token_id):
        return
    template = tokenizer.get_chat_template()
    written = _around_answer(tokenizer, template)
    tokenizer.eos_token = end.text
    if _around_answer(tokenizer, template) != written:
        tokenizer.eos_token = before


def _refusal(tokenizer, reason, remedy=""):
    return InputError(
        f"the chat template of {tokenizer.name_or_path} cannot be used: it {reason}; {remedy}save a "
        "chat_template.jinja that writes each message after the one before into the model folder."
    )
