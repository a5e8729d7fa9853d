r"""Slot filling on MASSIVE as text: `time: nine am; date: friday`, or `None`.

An annotation is `wake me at [time : nine am] [date : friday]`. As text:
* parts are joined by "; "; only the first ":" of a part separates slot and words;
* a ";" in the words is written "\;" and a "\" is written "\\";
* white space is collapsed, and there is none before a ":".

Gold and answer are compared as multisets of (slot, words), since generated words have
no position. Counts add up over rows, so that every figure is one of the corpus.
"""

import re
import unicodedata
from collections import Counter


BRACKET = re.compile(r"\[([^\[\]:]*):([^\[\]]*)\]")
# Up to a line break or a ";" that has no "\" before it.
PART = re.compile(r"(?:\\[;\\]|[^;\r\n])+")

# What a chat model may write before its answer. Where the prompt has opened a thought,
# the thought ends on a line of its own.
START = r"<think>|<thinking>|<seed:think>|\[THINK\]|<\|START_THINKING\|>"
END = r"</think>|</thinking>|</seed:think>|\[/THINK\]|<\|END_THINKING\|>"
THOUGHT = re.compile(
    rf"\s*(?:{START}).*(?:{END})|(?:.*\n)?[^\S\n]*(?:{END})", re.DOTALL
)
UNENDED_THOUGHT = re.compile(rf"\s*(?:{START})")


def doc_to_target(doc):
    """The answer to a command."""
    pairs = read_annotation(doc["annot_utt"])
    parts = [f"{_mark(slot)}: {_mark(words)}" for slot, words in pairs]
    return "; ".join(parts) or "None"


def process_results(doc, results):
    """The counts of one answer, in a language that is written with spaces."""
    return count(doc["annot_utt"], results[0], spaces=True)


def process_results_without_spaces(doc, results):
    """Likewise in km, my, th and in ja and zh, whose annotations have added spaces."""
    return count(doc["annot_utt"], results[0], spaces=False)


def count(annot_utt, answer, spaces):
    """{metric: (true positives, false positives, false negatives)}, exact_match 0 or 1.

    An answer of which nothing can be read is no exact match of a command without slots.
    """
    pairs, malformed = read_answer(answer)
    gold = _items(read_annotation(annot_utt), spaces)
    answered = _items(pairs, spaces)
    slots = _compare(gold, answered)
    return {
        "f1": slots,
        "name_f1": _compare(_names(gold), _names(answered)),
        "precision": slots,
        "recall": slots,
        "exact_match": int(gold == answered and (bool(gold) or not malformed)),
    }


def micro_f1(counts):
    """2 TP / (2 TP + FP + FN); 1 where there is nothing to find and nothing was."""
    tp, fp, fn = _sums(counts)
    return 2 * tp / (2 * tp + fp + fn) if tp + fp + fn else 1.0


def precision(counts):
    """TP / (TP + FP); where nothing was answered, 1 if there is nothing, else 0."""
    tp, fp, fn = _sums(counts)
    return tp / (tp + fp) if tp + fp else float(fn == 0)


def recall(counts):
    """TP / (TP + FN); where there is nothing, 1 if nothing was answered, else 0."""
    tp, fp, fn = _sums(counts)
    return tp / (tp + fn) if tp + fn else float(fp == 0)


def read_annotation(annot_utt):
    """[(slot, words)] in order."""
    found = BRACKET.findall(annot_utt)
    return [(_squeeze(slot), _clean(words)) for slot, words in found]


def read_answer(text):
    """([(slot, words)], number of malformed parts) of any text.

    A part without ":", or with nothing on one side of it, is malformed. "None" in any
    case is the answer without slots; an answer with nothing in it is a malformed part.
    """
    pairs, malformed, parts = [], 0, 0
    for part in PART.findall(_without_thought(text)):
        if not part.strip():
            continue
        parts += 1
        slot, _, words = part.partition(":")
        slot, words = _clean(_unmark(slot)), _clean(_unmark(words))
        if slot and words:
            pairs.append((slot, words))
        elif part.strip().casefold() != "none":
            malformed += 1
    return pairs, malformed if parts else 1


def _items(pairs, spaces):
    items = Counter()
    for slot, words in pairs:
        words = unicodedata.normalize("NFC", words)
        items[slot, words if spaces else "".join(words.split())] += 1
    return items


def _names(items):
    return Counter(slot for slot, _ in items.elements())


def _compare(gold, answered):
    hits = (gold & answered).total()
    return hits, answered.total() - hits, gold.total() - hits


def _sums(counts):
    return [sum(column) for column in zip(*counts, strict=True)]


def _without_thought(text):
    thought = THOUGHT.match(text)
    text = text[thought.end() :] if thought else text
    return "" if UNENDED_THOUGHT.match(text) else text


def _clean(words):
    return _squeeze(words).replace(" :", ":")


def _squeeze(text):
    return " ".join(text.split())


def _mark(text):
    return text.replace("\\", "\\\\").replace(";", "\\;")


def _unmark(text):
    return re.sub(r"\\([;\\])", r"\1", text)
