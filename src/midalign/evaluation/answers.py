"""The answers of one model to the rows of many locales, kept on disk as they come.

A folder has `model.json`, what the answers depend on, and `<locale>.jsonl` with id, the text that asked (`utt` in
MASSIVE), a hash of the whole prompt and prediction, one line per answered row in the order of generation. A run that
was cut goes on where it stopped.
"""

import hashlib
import json
import os

from midalign.data.written import RowError
from midalign.errors import InputError
from midalign.evaluation.generation import generate_batches
from midalign.files import objects
from midalign.texts import shown

RECORD, ASKED = "model.json", "prompt_sha256"


def answer(task, rows, folder, depends_on, load, batch_size, max_new_tokens, advance):
    """Answers to all rows, read from `folder` where they are, else generated and written there.

    task: `tasks.base.Task`.   rows: {locale: [row]}.   depends_on: JSON object; a folder with another one is refused.
    load: () -> (model, tokenizer), called when something is missing.   advance(n): called after every n answers.
    Returns {locale: [answer]} in row order. Raises InputError.
    """
    _claim(folder, {**depends_on, **task.depends_on(), "max_new_tokens": max_new_tokens})
    known = {locale: _stored(folder / f"{locale}.jsonl", some, task) for locale, some in rows.items()}
    missing = {locale: [row for row in some if row["id"] not in known[locale]] for locale, some in rows.items()}
    advance(sum(map(len, rows.values())) - sum(map(len, missing.values())))
    if any(missing.values()):
        model, tokenizer = load()
        for locale, some in missing.items():
            chats = [task.prompt(row) for row in some]
            with (folder / f"{locale}.jsonl").open("a", encoding="utf-8", errors="backslashreplace") as file:
                try:
                    for batch, texts in generate_batches(model, tokenizer, chats, batch_size, max_new_tokens):
                        for i, text in zip(batch, texts, strict=True):
                            known[locale][some[i]["id"]] = text
                            row = some[i]
                            line = {"id": row["id"], task.text: row[task.text], ASKED: _hash_of(chats[i])}
                            line["prediction"] = text
                            file.write(json.dumps(line, ensure_ascii=False) + "\n")
                        file.flush()
                        advance(len(batch))
                except RowError as error:
                    raise InputError(f"{some[error.number]['place']} {error.problem}.") from error
    return {locale: [known[locale][row["id"]] for row in some] for locale, some in rows.items()}


def kept_day(folder):
    """The date in the prompts that the answers of a folder belong to, ISO; None where there is none."""
    try:
        return json.loads((folder / RECORD).read_text(encoding="utf-8"))["chat"]["date"]
    except (OSError, ValueError, KeyError, TypeError):  # nothing there yet, or `_claim` says what is wrong with it
        return None


def _claim(folder, depends_on):
    """Make the folder and write down what its answers depend on; refuse one with answers of another model, and one with
    files of somebody else.
    """
    record = folder / RECORD
    try:
        folder.mkdir(parents=True, exist_ok=True)
        before = json.loads(record.read_text(encoding="utf-8")) if any(folder.iterdir()) else depends_on
        answered = any(file.stat().st_size for file in folder.glob("*.jsonl"))
    except FileNotFoundError as error:
        raise InputError(f"{folder} holds files that are no answers; name another --output.") from error
    except (OSError, ValueError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(f"{record} cannot be used ({reason}); name another --output.") from error
    if not isinstance(before, dict) or "max_new_tokens" not in before:
        raise InputError(f"{record} is not what `midalign evaluate` writes; delete {folder} or name another --output.")
    if not answered:
        record.write_text(json.dumps(depends_on, indent=1), encoding="utf-8")
        return
    changed = ", ".join(key for key in depends_on if before.get(key) != depends_on[key])
    if changed:
        raise InputError(
            f"{folder} holds answers of another model (other {changed}); delete it or name another --output."
        )


def _hash_of(prompt):
    return hashlib.sha256(json.dumps(prompt, sort_keys=True).encode()).hexdigest()[:16]


def _stored(path, rows, task):
    """{id: answer} of a file that may end in a torn line; that line is cut off.

    Raises InputError.
    """
    if not path.exists():
        return {}
    try:
        text = path.read_bytes()
        whole = text.rfind(b"\n") + 1
        if whole < len(text):
            os.truncate(path, whole)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; name another --output.") from error
    by_id, fields = {row["id"]: row for row in rows}, ("id", task.text, "prediction")
    answers = {}
    for place, line in objects(path):
        if not isinstance(line, dict) or not all(isinstance(line.get(field), str) for field in fields):
            raise InputError(
                f"{place} is no answer that `midalign evaluate` wrote, with text in {', '.join(fields)}; "
                "delete the line or name another --output."
            )
        row = by_id.get(line["id"])
        # Older answers have no hash.
        if row and (row[task.text] != line[task.text] or line.get(ASKED) not in (None, _hash_of(task.prompt(row)))):
            raise InputError(f"{place} answers other data: id {shown(line['id'])} is asked otherwise there.")
        answers[line["id"]] = line["prediction"]
    return answers
