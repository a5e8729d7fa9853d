"""What makes a row unfit to train on, and what happens to it."""

import logging
import re

from midalign.errors import InputError
from midalign.languages import language_of
from midalign.texts import comparable, quoted, shown

logger = logging.getLogger(__name__)

PAIR_FIELDS = ("source", "target", "source_lang", "target_lang")
PARTITIONS = ("train", "dev", "test")
LONE_SURROGATE = re.compile("[\ud800-\udfff]")
LISTED = 20  # rows left out that the log names; the others are counted
MOST = 1_000_000  # rows left out, each with its sentence in memory: with more, it is another file that was meant


class Sieve:
    """Collects rows that cannot be used. `settle` refuses them, or lists what is left out with on_bad_row: skip."""

    def __init__(self, on_bad_row="error"):
        self.skip, self.left_out = on_bad_row == "skip", []
        self._known = set()

    def leave_out(self, place, problem):
        """Note a row that cannot be used; one that is read twice, as from a file with all partitions, counts once."""
        sentence = f"{place} {problem}"
        if sentence not in self._known:
            self._known.add(sentence)
            self.left_out.append(sentence)
            if len(self.left_out) > MOST:
                raise InputError(f"{self.left_out[0]}, and {MOST:,} rows more cannot be used; name another file.")

    def passing(self, rows, problem):
        """Yields the rows for which `problem(row)` is None; a row knows its `place`."""
        for row in rows:
            found = problem(row)
            if found:
                self.leave_out(row["place"], found)
            else:
                yield row

    def keep(self, rows, problem):
        """`passing` as a list."""
        return list(self.passing(rows, problem))

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

    def fail(self, sentence):
        """Raises InputError for want of rows: those that cannot be used come first, for they may be why."""
        if self.left_out and not self.skip:
            self.settle()
        if self.left_out:
            left = f"rows left out: {len(self.left_out):,}, the first because {self.left_out[0]}"
            sentence = f"{sentence.removesuffix('.')}; {left}."
        raise InputError(sentence)


def field_problem(record, fields):
    """Why a record lacks usable text in one of the fields, or None."""
    if not isinstance(record, dict):
        return f"is no object; every row needs {', '.join(fields)}"
    for field in fields:
        value = record.get(field)
        if not isinstance(value, str) or not comparable(value):
            found = "nothing" if value is None else "blanks" if isinstance(value, str) else f"a {type(value).__name__}"
            return f'has no text in "{field}", found {found}; every row needs {", ".join(fields)}'
        if "\0" in value:
            return f'has a NUL character in "{field}"; delete it'
        if LONE_SURROGATE.search(value):
            return f'has half a surrogate pair in "{field}", which is no text; delete it'
    return None


def task_problem(row, task, locale):
    """Why a row of this locale cannot be learned as a task, or None.   task: `tasks.base.Task`."""
    if row["locale"] != locale:
        return f"has locale {shown(row['locale'])}, but {locale} was asked for; keep locales apart"
    if row["partition"] not in PARTITIONS:
        return f"has partition {shown(row['partition'])}; use {', '.join(PARTITIONS)}"
    return task.problem(row)


def pair_problem(pair, pivot):
    """Why a translation pair cannot be aligned, or None.   pivot: the language that one side must be in."""
    for side in ("source_lang", "target_lang"):
        if language_of(pair[side]) is None:
            return f"has {side} {shown(pair[side])}; use an ISO 639 code such as sw, pt-BR or zh-Hant"
    if (language_of(pair["source_lang"]) == pivot) == (language_of(pair["target_lang"]) == pivot):
        return f"is a pair of {pair['source_lang']} and {pair['target_lang']}; exactly one side must be {pivot}"
    if comparable(pair["source"]) == comparable(pair["target"]):
        return f"has the same text on both sides, {quoted(pair['source'])}; one of them is no translation"
    return None


def token_problem(vital, unread):
    """Why a tokenizer leaves nothing to learn from a task row, or None.   vital: see `tasks.base.Task`.

    unread: texts of which it keeps no token.
    """
    found = next(((what, text) for what, text in vital if text in unread), None)
    return f"has {found[0]} {quoted(found[1])}, of which this tokenizer keeps no token; leave it out" if found else None


def fit_problem(row, max_length):
    """Why tokens cannot be trained on, or None.   row: length and trained (whether any token is)."""
    if max_length is not None and row["length"] > max_length:
        return f"has {row['length']} tokens, but max_length is {max_length}; raise max_length or shorten it"
    if not row["length"]:
        return "has no token with this tokenizer; delete it"
    return None if row["trained"] else "has no trained token; give it an answer"


def repeated_id():
    """A `problem` for `Sieve.keep`: rows with the id of an earlier one."""

    def problem(row):
        return f"has id {shown(row['id'])}, which an earlier row has too; every row needs its own"

    return _repeated(lambda row: row["id"], problem)


def repeated_pair(pair):
    """What is wrong with a pair that has the texts and languages of an earlier one."""
    return f"has the texts of an earlier pair, {quoted(pair['source'])}; keep one of them"


def _repeated(key, problem):
    seen = set()

    def again(row):
        known = key(row) in seen
        seen.add(key(row))
        return problem(row) if known else None

    return again


def among_tests(texts, fields):
    """A `problem` for `Sieve.keep`: rows that hold the text of a test row in one of the fields.

    texts: of test rows, as `comparable` gives them.
    """

    def problem(row):
        found = next((row[field] for field in fields if comparable(row[field]) in texts), None)
        return f"has the text of a test row, {quoted(found)}; what is scored must not be trained on" if found else None

    return problem
