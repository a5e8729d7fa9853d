"""Files of generated answers: one JSON object per line, or plain lines from elsewhere."""

from pathlib import Path

from midalign.data.reading import read_lines
from midalign.errors import InputError


def read_predictions(path, rows):
    """The rows that a file answers and its answers: (rows, list[str]), both in row order.

    path: JSONL whose objects have "prediction" and "id" (then a part of the rows will do), or "prediction" alone;
    the samples that `lm_eval --log_samples` writes; any other name is read as one answer per line. Without ids the
    file must hold exactly one answer for each row, in order.
    Raises InputError.
    """
    path = Path(path)
    if path.suffix != ".jsonl":
        return rows, _one_each(path, rows, _lines(path))
    answers = [_answer(path, number, line) for number, line in read_lines(path, ())]
    with_id = [(name, text) for name, text in answers if name is not None]
    if not with_id:
        return rows, _one_each(path, rows, [text for _, text in answers])
    if len(with_id) < len(answers):
        raise InputError(
            f'{path}: {len(answers) - len(with_id)} of {len(answers)} lines have no "id"; give all or none.'
        )
    by_id = dict(with_id)
    if len(by_id) < len(answers):
        raise InputError(f"{path} answers {len(answers) - len(by_id)} rows twice; keep one line for each id.")
    unknown = by_id.keys() - {row["id"] for row in rows}
    if unknown:
        raise InputError(
            f"{path}: no row of {rows[0]['locale']} has id {min(unknown)}; check the locale and partition."
        )
    answered = [row for row in rows if row["id"] in by_id]
    return answered, [by_id[row["id"]] for row in answered]


def _answer(path, number, line):
    """(id or None, answer) of one object."""
    if isinstance(line, dict) and "filtered_resps" in line:  # lm-eval's samples
        line = {"id": line["doc"]["id"], "prediction": line["filtered_resps"][0]}
    if not isinstance(line, dict) or not isinstance(line.get("prediction"), str):
        raise InputError(f'{path} line {number} has no text in "prediction"; every line needs one, it may be empty.')
    return (str(line["id"]) if "id" in line else None), line["prediction"]


def _lines(path):
    text = read_text(path)
    return text.removesuffix("\n").split("\n") if text else []


def read_text(path):
    """A text file of answers. Raises InputError. Bytes that are not UTF-8 are kept as U+FFFD: they cost their row."""
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; name a file of predictions that can be read.") from error


def _one_each(path, rows, answers):
    if len(answers) != len(rows):
        raise InputError(
            f'{path} has {len(answers)} answers for {len(rows)} rows; give one each in row order, or JSONL with "id".'
        )
    return answers
