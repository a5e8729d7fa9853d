"""Files of generated answers: one JSON object per line, or plain lines from elsewhere."""

import json
from pathlib import Path

from midalign.data.files import objects
from midalign.errors import InputError


def read_predictions(path, rows):
    """The rows that a file answers and its answers: (rows, list[str]), both in row order.

    path: lines that are JSON objects with "prediction" and "id" (then a part of the rows will do), or "prediction"
    alone; the samples that `lm_eval --log_samples` writes; or one answer per line. Without ids the file must hold
    exactly one answer for each row, in order. An "utt" or "locale" beside an id must be that row's.
    Raises InputError.
    """
    path = Path(path)
    if not is_jsonl(path):
        return rows, _one_each(path, rows, _lines(path))
    answers = [_answer(place, line) for place, line in objects(path)]
    without = sum(row is None for row, _ in answers)
    if without == len(answers):
        return rows, _one_each(path, rows, [text for _, text in answers])
    if without:
        raise InputError(f'{path}: {without} of {len(answers)} lines have no "id"; give one to all or to none.')
    by_id = {str(row["id"]): text for row, text in answers}
    if len(by_id) < len(answers):
        raise InputError(f"{path} answers {len(answers) - len(by_id)} rows twice; keep one line for each id.")
    _require_rows(path, [row for row, _ in answers], {row["id"]: row for row in rows})
    answered = [row for row in rows if row["id"] in by_id]
    return answered, [by_id[row["id"]] for row in answered]


def _answer(where, line):
    """(the row that an object says it answers, or None; the answer)."""
    row = line
    if isinstance(line, dict) and "filtered_resps" in line:  # lm-eval's samples
        row, answers = line.get("doc"), line["filtered_resps"]
        text = answers[0] if isinstance(answers, list) and answers else None
    else:
        text = line.get("prediction") if isinstance(line, dict) else None
    if not isinstance(row, dict) or not isinstance(text, str):
        raise InputError(f'{where} has no text in "prediction"; every line needs one, it may be empty.')
    return (row if "id" in row else None), text


def _require_rows(path, answered, rows):
    """Refuse answers to other rows than these: ids are parallel across MASSIVE's locales."""
    for own in answered:
        row = rows.get(str(own["id"]))
        if row is None:
            locale = next(iter(rows.values()))["locale"]
            raise InputError(f"{path}: no row of {locale} has id {own['id']}; check the locale and the partition.")
        for field in ("utt", "locale"):
            if own.get(field, row[field]) != row[field]:
                raise InputError(
                    f"{path} answers id {own['id']} with {field} {own[field]!r}, but the row has {row[field]!r}; "
                    "check --locale and --data."
                )


def is_jsonl(path):
    """Whether a file's first line that is not blank is a JSON object, whatever its name. Raises InputError."""
    first = next((line for line in read_text(path).splitlines() if line.strip()), "")
    try:
        return isinstance(json.loads(first), dict) or Path(path).suffix == ".jsonl"
    except (ValueError, RecursionError):
        return Path(path).suffix == ".jsonl"


def read_text(path):
    """A text file of answers. Raises InputError. Bytes that are not UTF-8 are kept as U+FFFD: they cost their row."""
    try:
        return Path(path).read_text(encoding="utf-8-sig", errors="replace")
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; name a file of predictions that can be read.") from error


def _lines(path):
    text = read_text(path)
    return text.removesuffix("\n").split("\n") if text else []


def _one_each(path, rows, answers):
    if len(answers) != len(rows):
        raise InputError(
            f'{path} has {len(answers)} answers for {len(rows)} rows; give one each in row order, or JSONL with "id".'
        )
    return answers
