"""Slot F1 of generated answers.

A row is scored as two multisets of "slot: words" items (`tasks.items`). Names and words are compared NFC-normalised,
case kept, white space collapsed; in languages written without spaces it is removed from words, because ja and zh
annotations hold spaces that the utterance does not.
An answered slot name that neither the task's list (MASSIVE's 55, or one's own) nor the gold knows becomes "?",
whatever text it is.
Where nothing is there to find and nothing was answered (0/0), precision, recall and F1 are 1.
A row is an exact match when nothing is spurious or missed and the answer says so: "None" in any case, or at least one
part that can be read. An empty answer or "!!!!" is no exact match, also of a row without slots; F1 cannot see it there.
"""

import numpy as np

from midalign.tasks import items
from midalign.tasks.base import micro_f1
from midalign.tasks.slots import massive, reference
from midalign.texts import spelled


def score(rows, predictions, compat=None, slots=massive.SLOTS):
    """Score one generated answer per row.

    rows: dicts with "locale" and "annot_utt" (the reference reads "utt" too).   predictions: list of str.
    compat: None, or "reference" for the authors' figures (see `reference`). There a line break inside
    an answer shifts later rows, and rows without a prediction count as answered "None": lengths may differ.
    slots: the names that are known beside those of the gold.
    Returns f1, precision, recall (micro), name_f1 (the same F1 with the words left out of the comparison: was the
    slot found at all), exact_match (share of rows, see above; in "reference" it takes unreadable answers for "None"),
    rows, malformed (dropped parts of answers), per_slot {slot: {precision, recall, f1, support}} and per_language
    {locale: f1}; shares are 0..1. compat="reference" adds f1_stderr.
    Errors: ValueError without rows, for another compat, for other than one prediction per row, and for an
    annot_utt with a broken bracket.
    """
    if compat == "reference":
        return score_reference_file(rows, "".join(prediction + "\n" for prediction in predictions))
    if compat is not None:
        raise ValueError(f'compat={compat!r}, but only None and "reference" exist; set one of them.')
    _need_one_each(rows, predictions)
    _need_rows(rows)
    outcomes, dropped = zip(*map(_outcome, rows, predictions), strict=True)
    return _report(rows, outcomes, sum(map(_exact, outcomes, dropped)), sum(dropped), slots=slots)


def score_reference_file(rows, file_text):
    """The authors' figures for the text of a predictions file, one line per row.

    Returns the keys of `score` and f1_stderr: sqrt(f1 (1 - f1) / gold tokens). Here 0/0 is 0, as theirs is.
    Errors: ValueError without rows.
    """
    _need_rows(rows)
    gold_tags, predicted_tags, malformed = reference.tag_rows(rows, file_text)
    outcomes = [
        items.match(reference.spans(gold), reference.spans(predicted))
        for gold, predicted in zip(gold_tags, predicted_tags, strict=True)
    ]
    exact = sum(not (spurious or missed) for _, spurious, missed in outcomes)
    report = _report(rows, outcomes, exact, malformed, nothing=0.0)
    tokens = sum(map(len, gold_tags))
    report["f1_stderr"] = float(np.sqrt(report["f1"] * (1 - report["f1"]) / max(tokens, 1)))
    return report


def row_figures(row, prediction):
    """((tp, fp, fn) of slots, (tp, fp, fn) of slot names alone, exact match or not) of one answer, any string.

    Errors: ValueError for an annot_utt with a broken bracket.
    """
    outcome, dropped = _outcome(row, prediction)
    hits, spurious, missed = outcome
    return (len(hits), len(spurious), len(missed)), items.label_counts([outcome]), _exact(outcome, dropped)


def is_exact(row, prediction):
    """Whether one answer is an exact match; see `row_figures`."""
    return row_figures(row, prediction)[2]


def _outcome(row, prediction):
    """((hits, spurious, missed), dropped parts) of one answer; the three as in `items.match`."""
    answered, dropped = massive.read_answer(prediction)
    without = items.without_spaces(row["locale"])
    gold, predicted = (
        [(spelled(slot), _comparable(words, without)) for slot, words in pairs]
        for pairs in (massive.parse(row["annot_utt"]), answered)
    )
    return items.match(gold, predicted), dropped


def _exact(outcome, dropped):
    """An answer of which no part could be read is no answer, also where nothing was to be found."""
    hits, spurious, missed = outcome
    return not (spurious or missed or (dropped and not hits))


def _comparable(words, without_spaces):
    words = spelled(massive.clean(words))
    return "".join(words.split()) if without_spaces else words


def _report(rows, outcomes, exact, malformed, nothing=1.0, slots=massive.SLOTS):
    """The figures of `score` from one (hits, spurious, missed) per row; `nothing` is what 0/0 counts as.

    exact: how many rows are exact matches.   malformed: dropped parts of answers.   slots: see `score`.
    """
    counts = np.array([[len(slots) for slots in outcome] for outcome in outcomes])  # (rows, 3)
    locales = np.array([row["locale"] for row in rows])
    precision, recall, f1, per_slot = items.seqeval_figures(outcomes, slots, nothing)
    return {
        "f1": f1,
        "name_f1": float(micro_f1(items.label_counts(outcomes), nothing)),
        "precision": precision,
        "recall": recall,
        "exact_match": exact / len(rows),
        "rows": len(rows),
        "malformed": malformed,
        "per_slot": per_slot,
        "per_language": {
            str(locale): float(micro_f1(counts[locales == locale].sum(axis=0), nothing))
            for locale in np.unique(locales)
        },
    }


def _need_rows(rows):
    if len(rows) == 0:
        raise ValueError("0 rows to score; give at least one row.")


def _need_one_each(rows, predictions):
    if len(predictions) != len(rows):
        raise ValueError(
            f"{len(predictions)} predictions for {len(rows)} rows; give one prediction per row, in row order."
        )
