"""What makes a row unfit to train on, and what happens to it."""

import logging
import re
from collections import Counter

from midalign.errors import InputError
from midalign.tasks.slots.massive import SLOTS, parse

logger = logging.getLogger(__name__)

TASK_FIELDS = ("id", "locale", "partition", "utt", "annot_utt")
PAIR_FIELDS = ("id", "source", "target", "source_lang", "target_lang")
PARTITIONS = ("train", "dev", "test")
LONE_SURROGATE = re.compile("[\ud800-\udfff]")
LISTED = 20  # rows left out that the log names; the others are counted
# ISO 639-1. Three letters, for languages that have no shorter code, are taken as they are.
LANGUAGES = frozenset(
    """
    aa ab ae af ak am an ar as av ay az ba be bg bi bm bn bo br bs ca ce ch co cr cs cu cv cy da de dv dz ee el en
    eo es et eu fa ff fi fj fo fr fy ga gd gl gn gu gv ha he hi ho hr ht hu hy hz ia id ie ig ii ik io is it iu ja
    jv ka kg ki kj kk kl km kn ko kr ks ku kv kw ky la lb lg li ln lo lt lu lv mg mh mi mk ml mn mr ms mt my na nb
    nd ne ng nl nn no nr nv ny oc oj om or os pa pi pl ps pt qu rm rn ro ru rw sa sc sd se sg si sk sl sm sn so sq
    sr ss st su sv sw ta te tg th ti tk tl tn to tr ts tt tw ty ug uk ur uz ve vi vo wa wo xh yi yo za zh zu
    """.split()
)


class Sieve:
    """Collects rows that cannot be used. `settle` refuses them, or lists what is left out with on_bad_row: skip."""

    def __init__(self, on_bad_row="error"):
        self.skip, self.left_out = on_bad_row == "skip", []

    def keep(self, rows, problem):
        """The rows for which `problem(row)` is None; a row knows its `place`."""
        kept = []
        for row in rows:
            found = problem(row)
            if found:
                self.left_out.append(f"{row['place']} {found}")
            else:
                kept.append(row)
        return kept

    def settle(self):
        """Raises InputError for rows that cannot be used, or says in the log which are left out."""
        if not self.left_out:
            return
        others = len(self.left_out) - 1
        if not self.skip:
            also = f" ({others} more like it or otherwise bad)" if others else ""
            raise InputError(f"{self.left_out[0]}{also}; mend it, or set on_bad_row: skip to leave it out.")
        for sentence in self.left_out[:LISTED]:
            logger.warning("left out: %s.", sentence)
        if others >= LISTED:
            logger.warning("left out: %d rows in all; the list is beside the model.", len(self.left_out))


def field_problem(record, fields):
    """Why a record lacks usable text in one of the fields, or None."""
    if not isinstance(record, dict):
        return f"is no object; every row needs {', '.join(fields)}"
    for field in fields:
        value = record.get(field)
        if not isinstance(value, str) or not value.strip():
            found = "nothing" if value is None else "blanks" if isinstance(value, str) else f"a {type(value).__name__}"
            return f'has no text in "{field}", found {found}; every row needs {", ".join(fields)}'
        if "\0" in value:
            return f'has a NUL character in "{field}"; delete it'
        if LONE_SURROGATE.search(value):
            return f'has half a surrogate pair in "{field}", which is no text; delete it'
    return None


def task_problem(row, locale):
    """Why a task row of this locale cannot be learned, or None."""
    if row["locale"] != locale:
        return f"has locale {row['locale']}, but {locale} was asked for; keep locales apart"
    if row["partition"] not in PARTITIONS:
        return f"has partition {row['partition']}; use {', '.join(PARTITIONS)}"
    try:
        slots = parse(row["annot_utt"])
    except ValueError as error:
        return f"has a bad annotation: {error}"
    unknown = [slot for slot, _ in slots if slot not in SLOTS]
    return f"has slot {unknown[0]}, which MASSIVE does not know; use {', '.join(sorted(SLOTS))}" if unknown else None


def pair_problem(pair):
    """Why a translation pair cannot be aligned, or None."""
    for side in ("source_lang", "target_lang"):
        language = pair[side].split("-")[0]
        if not (language in LANGUAGES or re.fullmatch("[a-z]{3}", language)):
            return f"has {side} {pair[side]}; use an ISO 639 code such as sw or cy"
    if (pair["source_lang"] == "en") == (pair["target_lang"] == "en"):
        return f"is a pair of {pair['source_lang']} and {pair['target_lang']}; exactly one side must be en"
    if pair["source"].strip() == pair["target"].strip():
        return f"has the same text on both sides, {_short(pair['source'])}; one of them is no translation"
    return None


def fit_problem(row, max_length):
    """Why tokens cannot be trained on, or None.   row: length and trained (whether any token is)."""
    if max_length is not None and row["length"] > max_length:
        return f"has {row['length']} tokens, but max_length is {max_length}; raise max_length or shorten it"
    if not row["length"]:
        return "has no token with this tokenizer; delete it"
    return None if row["trained"] else "has no trained token; give it an answer"


def repeated(key):
    """A `problem` for `Sieve.keep`: the later ones of rows with equal key(row)."""
    seen = Counter()

    def problem(row):
        seen[key(row)] += 1
        return (
            f"has id {row['id']}, which an earlier row has too; every row needs its own" if seen[key(row)] > 1 else None
        )

    return problem


def among_tests(texts, fields):
    """A `problem` for `Sieve.keep`: rows that hold the text of a test row in one of the fields."""

    def problem(row):
        found = next((row[field] for field in fields if row[field].strip() in texts), None)
        return f"has the text of a test row, {_short(found)}; what is scored must not be trained on" if found else None

    return problem


def _short(text):
    return repr(text if len(text) <= 60 else text[:57] + "...")
