"""What two texts have in common when they say the same, and how text of others is shown."""

import functools
import re
import unicodedata
from html import escape
from pathlib import PurePath

# What leaves no mark on the page: Unicode's Default_Ignorable_Code_Point (joiners, variation selectors, soft hyphens,
# direction marks, fillers), control characters that are no white space, the blank of Braille; and the stroke that
# stretches an Arabic word.
INVISIBLE = re.compile(
    "[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\u00ad\u034f\u061c\u0640\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f"
    "\u202a-\u202e\u2060-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3"
    "\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
# Letters that keyboards or older encodings write as others: Romanian commas as cedillas, Persian and Urdu yeh, kaf and
# heh as the Arabic ones, Malayalam chillus and the Bengali khanda ta as a letter and its virama; the dotless i.
SAME_LETTER = str.maketrans(
    {
        **{"\u0219": "\u015f", "\u021b": "\u0163", "\u064a": "\u06cc", "\u0643": "\u06a9", "\u06c1": "\u0647"},
        **{"\u0d7a": "\u0d23\u0d4d", "\u0d7b": "\u0d28\u0d4d", "\u0d7c": "\u0d30\u0d4d", "\u0d7d": "\u0d32\u0d4d"},
        **{"\u0d7e": "\u0d33\u0d4d", "\u0d7f": "\u0d15\u0d4d", "\u09ce": "\u09a4\u09cd", "\u0131": "i"},
    }
)
OTHER_LETTER, DOTTED_I = re.compile(f"[\u0307{''.join(map(chr, SAME_LETTER))}]"), re.compile("i\u0307+")
SECRETS = (
    (re.compile(r"(\w:/{1,2})[^/\s@]+@"), r"\1***@"),  # who one is, in an address, also in one that became a path
    (re.compile(r"([?&][\w-]*(?:token|key|secret|password|signature)=)[^&\s]+", re.IGNORECASE), r"\1***"),
    (re.compile(r"\bhf_[A-Za-z0-9]{8,}"), "hf_***"),
)
ASCII_GONE = bytes([*range(0x21), 0x7F])  # white space and control characters
NO_TEXT = re.compile("[\0\ud800-\udfff]")  # a NUL, and half a surrogate pair
MARKS = re.compile(r"([\\`*\[\]|])")


def squeeze(text):
    """One space for every run of white space, line breaks included, and none at the ends."""
    return " ".join(text.split())


def spelled(text):
    """The one spelling of a text: composed letters (NFC), white space squeezed; case and joiners are kept."""
    return unicodedata.normalize("NFC", squeeze(text))


@functools.lru_cache(maxsize=64)  # a row is asked for the same texts several times
def comparable(text):
    """Equal for texts that are one sentence to a reader. For comparison alone: neither trained on nor shown.

    Beside `spelled`: case is folded, wide and joined forms of a letter (NFKC) are that letter, and neither white space
    nor what is invisible counts, also where it changes how letters join (ZWNJ in Persian) or where writers differ
    (spaces in Chinese and Japanese, "play list"), and a letter in an older encoding is that letter. i with and without
    dot are one: "I" may be the big form of either, and only the language would tell. Empty for a text in which there is
    nothing to read.
    """
    if text.isascii():  # what follows, in a tenth of the time
        return text.encode().translate(None, ASCII_GONE).lower().decode()
    text = unicodedata.normalize("NFKC", text)
    text = INVISIBLE.sub("", "".join(text.split())).casefold()
    text = unicodedata.normalize("NFKC", text)
    if OTHER_LETTER.search(text):  # which costs less than to translate
        text = DOTTED_I.sub("i", text.translate(SAME_LETTER))
    return unicodedata.normalize("NFKC", text)


def quoted(text, most=60):
    """Text of others in quotes, on one line: what cannot be printed is escaped, and `most` letters are shown."""
    text = text if isinstance(text, str) else repr(text)
    return repr(text if len(text) <= most else text[: most - 3] + "...")


def shown(name, most=60):
    """A name of others, such as a locale, an id or a path: as it is where it is plain, else as `quoted`."""
    plain = name.isprintable() and name.strip() == name and 0 < len(name) <= most
    return name if plain else quoted(name, most)


def id_of(value):
    """The id of a row as text; None for what is neither text nor a whole number."""
    if isinstance(value, float) and value.is_integer():  # pandas makes 7.0 of 7 where a column has gaps
        value = int(value)
    return str(value) if type(value) in (int, str) else None


def label_of(task):
    """How logs and tables name a task: by its name, or that of its file without `.py`."""
    return shown(PurePath(task).stem) if task.endswith(".py") else task


def harmless(text, breaks=True):
    """Text of others for a terminal: what cannot be printed is escaped, line breaks too where not `breaks`."""
    return "".join(c if c.isprintable() or (breaks and c == "\n") else repr(c)[1:-1] for c in text)


def place_of(path):
    """A path as it stands in sentences."""
    return shown(str(path), most=1000)


def in_markdown(name):
    """A name of others as plain text of a Markdown document: one line, no tag, link, code or column."""
    return MARKS.sub(r"\\\1", escape(shown(name, most=200), quote=False))


def without_secrets(text):
    """A text without what looks like a secret: a name and password in an address, a token of the hub."""
    for pattern, shown_instead in SECRETS:
        text = pattern.sub(shown_instead, text)
    return text
