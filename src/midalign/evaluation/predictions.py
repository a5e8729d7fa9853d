"""Files of generated answers: JSON objects, one a line or in an array, or plain lines from elsewhere."""

import codecs
import json
from pathlib import Path

from midalign.errors import InputError
from midalign.files import TwiceError, objects, parsed, whole
from midalign.texts import id_of, place_of, quoted, shown

MARKS = ("prediction", "filtered_resps", "id")  # what a line with an answer has, and an answer in JSON has not
LARGEST = 1 << 28  # bytes, unpacked, of answers that are read as a whole: plain lines and arrays


def read_predictions(path, rows, asked):
    """The rows that a file answers and its answers: (rows, list[str]), both in row order.

    asked: the field of the rows that asks, `Task.text`.

    path: JSON objects with "prediction" and "id" (then a part of the rows will do), or "prediction" alone, one a line
    or all in one array, or in a Parquet file; the samples that `lm_eval --log_samples` writes; or one answer per line,
    ending in a line feed and nothing else. Without ids the file must hold exactly one answer for each row, in order.
    A text that asks or a "locale" beside an id must be that row's. A name that ends in .gz is unpacked.
    Raises InputError.
    """
    if not is_json(path):
        return rows, _one_each(path, rows, _lines(path))
    answers = [_answer(place, line) for place, line in _objects(path)]
    without = sum(row is None for row, _ in answers)
    if without == len(answers):
        return rows, _one_each(path, rows, [text for _, text in answers])
    if without:
        raise InputError(
            f'{place_of(path)}: {without} of {len(answers)} lines have no "id"; give one to all or to none.'
        )
    by_id = {row["id"]: text for row, text in answers}
    if len(by_id) < len(answers):
        raise InputError(f"{place_of(path)} answers {len(answers) - len(by_id)} rows twice; keep one line for each id.")
    _require_rows(path, [row for row, _ in answers], {row["id"]: row for row in rows}, asked)
    answered = [row for row in rows if row["id"] in by_id]
    return answered, [by_id[row["id"]] for row in answered]


def _answer(where, line):
    """(the row that an object says it answers, its id as text, or None; the answer)."""
    row = line
    if isinstance(line, dict) and "filtered_resps" in line:  # lm-eval's samples
        row, answers = line.get("doc"), line["filtered_resps"]
        text = answers[0] if isinstance(answers, list) and answers else None
    else:
        text = line.get("prediction") if isinstance(line, dict) else None
    if not isinstance(row, dict) or not isinstance(text, str):
        raise InputError(f'{where} has no text in "prediction"; every line needs one, it may be empty.')
    return ({**row, "id": _id(where, row["id"])} if "id" in row else None), text


def _id(where, value):
    own = id_of(value)
    if own is None:
        raise InputError(f'{where} has {quoted(value)} in "id"; give the id of the row as text or a whole number.')
    return own


def _require_rows(path, answered, rows, asked):
    """Refuse answers to other rows than these: ids are parallel across MASSIVE's locales."""
    for own in answered:
        row = rows.get(own["id"])
        if row is None:
            locale = next(iter(rows.values()))["locale"]
            raise InputError(
                f"{place_of(path)}: no row of {locale} has id {shown(own['id'])}; check the locale and the partition."
            )
        for field in (asked, "locale"):
            if own.get(field, row[field]) != row[field]:
                raise InputError(
                    f"{place_of(path)} answers id {shown(own['id'])} with {field} {quoted(own[field])}, but the row "
                    f"has {quoted(row[field])}; check --locale and --data."
                )


def is_json(path):
    """Whether a file holds JSON, one object a line or one array, and not plain lines. Raises InputError.

    By its name, or by any object in it with one of `MARKS`: a file in which some are is not to be read as plain lines
    because of the others. Other objects may be answers, of a task that answers in JSON.
    """
    if Path(path).name.removesuffix(".gz").endswith((".jsonl", ".json", ".parquet")):
        return True
    text = read_text(path)
    items = _value(text) if text.lstrip().startswith("[") else None
    if items == []:
        return True
    if not isinstance(items, list):
        items = [_value(line) for line in text.split("\n") if line.lstrip().startswith("{")]
    return any(isinstance(own, dict) and not own.keys().isdisjoint(MARKS) for own in items)


def _value(text):
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _objects(path):
    """(place, object) of all that a file of JSON holds. Raises InputError at the first that is none."""
    items = None if Path(path).suffix == ".parquet" else _array(path)
    if items is None:
        return list(objects(path))
    return [(f"{place_of(path)} item {number}", item) for number, item in enumerate(items, start=1)]


def _array(path):
    """The list that a file as a whole is, as `json.dump` writes one; None where it is none."""
    text = read_text(path)
    items = _parsed(path, text) if text.lstrip().startswith("[") else None
    return items if isinstance(items, list) else None


def _parsed(path, text):
    """What a text of a file says as JSON, None where it is none. Raises InputError for a key that is there twice."""
    try:
        return parsed(text)
    except TwiceError as error:
        raise InputError(f"{place_of(path)} {error}.") from error
    except (ValueError, RecursionError):
        return None


def read_text(path):
    """A text file of answers, line ends as they are. Raises InputError for UTF-16, which has NULs in it.

    Bytes that are not UTF-8 are kept as U+FFFD: they cost their row.
    """
    content = whole(path, LARGEST)
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in content:
        raise InputError(f"{place_of(path)} is UTF-16, as PowerShell writes it, or no text; save it as UTF-8.")
    return content.decode("utf-8-sig", errors="replace")


def _lines(path):
    text = read_text(path)
    return [line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")] if text else []


def _one_each(path, rows, answers):
    if len(answers) != len(rows):
        raise InputError(
            f"{place_of(path)} has {len(answers)} answers for {len(rows)} rows; give one each in row order, or JSONL "
            'with "id".'
        )
    return answers
