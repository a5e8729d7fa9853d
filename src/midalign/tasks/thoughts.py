"""What a model writes before its answer, between the marks that chat templates use for thinking."""

import re

MARKS = (
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<seed:think>", "</seed:think>"),
    ("[THINK]", "[/THINK]"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
)
_STARTS, _ENDS = ("|".join(map(re.escape, marks)) for marks in zip(*MARKS, strict=True))
# A thought that the prompt has opened ends on a line of its own.
_THOUGHT = re.compile(rf"\s*(?:{_STARTS}).*(?:{_ENDS})|(?:.*\n)?[^\S\n]*(?:{_ENDS})", re.DOTALL)
_CUT = re.compile(rf"\s*(?:{_STARTS})")


def without_thought(text):
    """The answer behind a thought; nothing where the thought has no end; a text without thoughts as it is."""
    thought = _THOUGHT.match(text)
    if thought:
        text = text[thought.end() :]
    return "" if _CUT.match(text) else text
