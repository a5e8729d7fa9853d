"""JSON as models write it: a reader that takes any text, never raises, and counts what it mended.

`read` gives str, lists and `Members` (a list of (key, value), so that a key that is there twice stays). What is neither
text nor a number (null, true, NaN, a text that is cut off) is `NOTHING`.
"""

import json
import re

NOTHING = None
DEEPEST = 20  # brackets in brackets
# Where JSON begins: a bracket, or a list behind a key for which the braces around are missing. A word is looked at from
# its first letter alone: models write long ones.
START = re.compile(r"""(?:["'“]|(?<!\w))\w+["'”]?\s*:\s*(?=\[)|[{\[]""")
FENCE = re.compile(r"```\w*")
BLANK = re.compile(r"(?:\s|//[^\n]*|/\*.*?(?:\*/|\Z))*", re.DOTALL)
CLOSING = {'"': '"', "'": "'", "“": "”", "‘": "’"}
BEHIND = re.compile(r"""\s*(?:[,;:\]}"'“‘]|//|/\*|$)""")  # what may follow the end of a text
BARE = re.compile(r"""[^\s,;:\[\]{}"“”][^,;:\[\]{}"“”\n]*""")
NUMBER = re.compile(r"-?\d+(\.\d+)?([eE][+-]?\d+)?")
NO_TEXT = ("null", "none", "nan", "infinity", "-infinity", "true", "false", "undefined")
ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|.)", re.DOTALL)


class Members(list):
    """The members of an object: [(key, value)]."""


def read(text, repairs):
    """The first value in a text; NOTHING where there is none.   repairs: Counter, takes what was mended by its kind."""
    if "```" in text:
        repairs["code fence"] += 1
        text = FENCE.sub("", text)
    start = START.search(text)
    if not start:
        return NOTHING
    reader = _Reader(text, start.start(), repairs)
    if start[0][-1] in "{[":
        value = reader.value(0)
    else:
        repairs["no braces"] += 1
        value = reader.members(0)
    if (text[: start.start()] + text[reader.at :]).strip():
        repairs["text around"] += 1
    return value


class _Reader:
    def __init__(self, text, at, repairs):
        self.text, self.at, self.repairs = text, at, repairs

    def next(self):
        """The next letter that is not blank; empty at the end."""
        begin, self.at = self.at, BLANK.match(self.text, self.at).end()
        if self.text[begin : self.at].strip():
            self.repairs["comment"] += 1
        return self.text[self.at : self.at + 1]

    def take(self, letters):
        """Whether the next letter is one of these; it is taken then."""
        found = self.next()
        if not found or found not in letters:
            return False
        self.at += 1
        return True

    def value(self, depth):
        letter = self.next()
        if letter in ("{", "[") and depth < DEEPEST:
            self.at += 1
            return self.members(depth + 1) if letter == "{" else self.items(depth + 1)
        return self.string() if letter in CLOSING else self.bare()

    def separator(self, letter, comma):
        """Whether the next letter, which is taken then, parts two members; what is amiss there is counted.

        comma: whether one stands before it, or nothing.
        """
        parts = letter in ",;"
        self.at += parts
        self.repairs["comma"] += (comma or letter == ";") if parts else not comma
        return parts

    def items(self, depth):
        """What is in a list, up to and with its bracket."""
        found, comma = [], True
        while letter := self.next():
            if letter in "]}":
                if letter == "]":
                    self.at += 1
                else:
                    self.repairs["bracket"] += 1  # left for the object around
                self.repairs["comma"] += comma and bool(found)
                return found
            if self.separator(letter, comma):
                comma = True
                continue
            begin = self.at
            value = self.value(depth)
            if isinstance(value, str) and self.next() == ":":  # a key: the list before it has no end
                self.at = begin
                self.repairs["bracket"] += 1
                return found
            found.append(value)
            comma = False
        self.repairs["cut off"] += 1
        return found

    def members(self, depth):
        """What is in an object, up to and with its brace."""
        found, comma = Members(), True
        while letter := self.next():
            if letter in "}]":
                self.at += 1
                if letter == "}":
                    self.repairs["comma"] += comma and bool(found)
                    return found
                self.repairs["bracket"] += 1
                continue
            if self.separator(letter, comma):
                comma = True
                continue
            key = self.value(depth)
            if self.take(":"):
                found.append((key if isinstance(key, str) else "", self.value(depth)))
            elif key is not NOTHING:
                self.repairs["no key"] += 1
                found.append(("", key))
            comma = False
        if depth:
            self.repairs["cut off"] += 1
        return found

    def string(self):
        opening = self.text[self.at]
        closing, begin = CLOSING[opening], self.at + 1
        at, inner = begin, False
        while at < len(self.text):
            if self.text[at] == "\\":
                at += 2
            elif self.text[at] == closing and BEHIND.match(self.text, at + 1):
                self.at = at + 1
                return self._spelled(self.text[begin:at], opening, inner)
            else:
                inner = inner or self.text[at] == closing
                at += 1
        self.at = len(self.text)
        self.repairs["cut off"] += 1
        return NOTHING

    def _spelled(self, body, opening, inner):
        if opening != '"' or inner:
            self.repairs["quotes"] += 1
        else:
            for strict, repair in ((True, None), (False, "line break")):
                try:
                    text = json.loads(f'"{body}"', strict=strict)
                except ValueError:
                    continue
                if repair:
                    self.repairs[repair] += 1
                return text
            self.repairs["escape"] += 1
        return ESCAPE.sub(_unescaped, body)

    def bare(self):
        """A word without quotes."""
        word = BARE.match(self.text, self.at)
        if not word:
            self.at = min(self.at + 1, len(self.text))
            self.repairs["stray mark"] += 1
            return NOTHING
        self.at = word.end()
        text = word[0].strip()
        if text.casefold() in NO_TEXT:
            self.repairs["no text"] += 1
            return NOTHING
        self.repairs["number" if NUMBER.fullmatch(text) else "quotes"] += 1
        return text


def _unescaped(mark):
    code = mark[1]
    return chr(int(code[1:], 16)) if len(code) == 5 else {"n": "\n", "t": "\t", "r": "\r"}.get(code, code)
