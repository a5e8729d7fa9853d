"""Task rows and translation pairs from files, the hub or the embedded corpus.

A task row is a dict in MASSIVE's format; `id`, `locale`, `partition`, `utt` and `annot_utt` are read. A pair is
a dict with `id`, `source`, `target`, `source_lang` and `target_lang`, the English side always as target.
"""

import hashlib
import json
from collections import Counter, defaultdict
from pathlib import Path

import datasets

from midalign.data import demo
from midalign.errors import InputError
from midalign.tasks.massive import LOCALES, parse

ROW_FIELDS = ("id", "locale", "partition", "utt", "annot_utt")
PAIR_FIELDS = ("id", "source", "target", "source_lang", "target_lang")


def task_rows(source, locale, partition, revision):
    """Rows of one locale, at least one.   partition: train, validation or test (MASSIVE writes `dev` in the rows).

    source: `demo`; a folder with <locale>/<partition>.jsonl, or with <locale>.jsonl holding all partitions as
    Amazon ships it; or a hub data set, read at `revision` from its Parquet branch so that no script runs.
    Raises InputError, also for a row of another locale and for a broken bracket annotation.
    """
    value = {"validation": "dev"}.get(partition, partition)
    if source == "demo":
        _require_known(locale, demo.DEMO_LOCALES, "the demo corpus")
        return demo.rows(locale, value)
    _require_known(locale, LOCALES, "MASSIVE")
    folder = Path(source)
    if folder.is_dir():
        file = folder / locale / f"{partition}.jsonl"
        if not file.is_file():
            file = folder / f"{locale}.jsonl"
        if not file.is_file():
            raise InputError(
                f"task_data {source} has neither {locale}/{partition}.jsonl nor {locale}.jsonl; "
                "add one or name another locale."
            )
        rows = [_checked(row, locale, f"{file} line {number}") for number, row in read_lines(file, ROW_FIELDS)]
        where = str(file)
    else:
        rows, where = _hub_rows(source, locale, partition, revision), f"{source}, split {partition},"
    rows = [row for row in rows if row["partition"] == value]
    if not rows:
        raise InputError(f"{where} has no row with partition {value}; add some or name another locale.")
    twice = [name for name, times in Counter(row["id"] for row in rows).items() if times > 1]
    if twice:
        raise InputError(f"{where} has {len(twice)} ids twice, {twice[0]} first; every row needs its own.")
    return rows


def _checked(row, locale, where):
    if row["locale"] != locale:
        raise InputError(f"{where} has locale {row['locale']}, but {locale} was asked for; keep locales apart.")
    try:
        parse(row["annot_utt"])
    except ValueError as error:
        raise InputError(f"{where}: {error}") from error
    return row


def find_locale(name):
    """The MASSIVE locale that `sw-KE` or `sw` means. Raises InputError for an unknown or ambiguous name."""
    found = [name] if name in LOCALES else [locale for locale in LOCALES if locale.split("-")[0] == name]
    if not found:
        raise InputError(f"locale {name} is not in MASSIVE; use any of {', '.join(LOCALES)}.")
    if len(found) > 1:
        raise InputError(f"locale {name} could be {' or '.join(found)}; name one.")
    return found[0]


def _require_known(locale, known, where):
    if locale not in known:
        raise InputError(f"locale {locale} is not in {where}; use any of {', '.join(known)}.")


def _hub_rows(source, locale, partition, revision):
    try:
        table = datasets.load_dataset(source, locale, split=partition, revision=revision)
    except Exception as error:  # the hub raises a dozen types; each means that nothing was read
        raise InputError(
            f"task_data {source} is no folder here and could not be read from the hub "
            f"({type(error).__name__}); name a folder with <locale>/{partition}.jsonl, or check name and network."
        ) from error
    missing = [field for field in ROW_FIELDS if field not in table.column_names]
    if missing:
        raise InputError(f"task_data {source} has no column {missing[0]}; it needs {', '.join(ROW_FIELDS)}.")
    rows = [{field: row[field] for field in ROW_FIELDS} for row in table]
    for number, row in enumerate(rows):
        _require_text(row, ROW_FIELDS, f"{source}, split {partition}, row {number}")
    return [_checked(row, locale, f"{source}, row {row['id']}") for row in rows]


def read_pairs(sources):
    """All translation pairs of JSONL files, folders of them, or `demo`, the English side as target.

    Raises InputError.
    """
    pairs = []
    for source in sources:
        if source == "demo":
            pairs += demo.pairs([locale.split("-")[0] for locale in demo.DEMO_LOCALES if locale != "en-US"])
            continue
        path = Path(source)
        files = sorted(path.glob("*.jsonl")) if path.is_dir() else [path]
        if not files:
            raise InputError(f"align_data {source} holds no .jsonl file; name a folder that does.")
        for file in files:
            pairs += [_english_last(pair, f"{file} line {n}") for n, pair in read_lines(file, PAIR_FIELDS)]
    return pairs


def of_languages(pairs, languages):
    """The pairs whose source is in one of `languages` (two-letter codes). Raises InputError for one without pairs."""
    found = {pair["source_lang"] for pair in pairs}
    for language in sorted(languages):
        if language not in found:
            raise InputError(f"no pairs of language {language} in align_data, only of {', '.join(sorted(found))}.")
    return [pair for pair in pairs if pair["source_lang"] in languages]


def _english_last(pair, where):
    """The anchor of the loss is the non-English side, whichever column it came in."""
    if (pair["source_lang"] == "en") == (pair["target_lang"] == "en"):
        raise InputError(
            f"{where} is a pair of {pair['source_lang']} and {pair['target_lang']}; exactly one side must be en."
        )
    if pair["target_lang"] == "en":
        return pair
    return {
        "id": pair["id"],
        "source": pair["target"],
        "target": pair["source"],
        "source_lang": pair["target_lang"],
        "target_lang": pair["source_lang"],
    }


def read_lines(path, required):
    """(line number, object) of a JSONL file whose objects hold text in every `required` field."""
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; name a JSONL file that can be read.") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: byte {error.start} is not UTF-8; save the file as UTF-8.") from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            reason = getattr(error, "msg", type(error).__name__)
            raise InputError(f"{path} line {number} is not JSON ({reason}); write one object per line.") from error
        _require_text(row, required, f"{path} line {number}")
        yield number, row


def _require_text(row, required, where):
    for field in required:
        if not isinstance(row, dict) or not isinstance(row.get(field), str) or not row[field].strip():
            raise InputError(f'{where} has no text in "{field}"; every line needs {", ".join(required)}.')


def hold_out(pairs, per_language, trained):
    """Split pairs into (training, held out).

    Takes `per_language` pairs of every language by a hash of the English text: languages that share their
    English side share the held-out sentences, no held-out sentence is trained on in any language, and runs
    with different seeds are measured on the same pairs.   trained: the languages that need pairs left.
    Raises InputError where a language would have nothing left.
    """

    def rank(pair):
        return hashlib.sha256(pair["target"].encode("utf-8", "surrogatepass")).digest()

    by_language = defaultdict(list)
    for pair in pairs:
        by_language[pair["source_lang"]].append(pair)
    held = [pair for group in by_language.values() for pair in sorted(group, key=rank)[:per_language]]
    texts = {pair["target"] for pair in held}
    training = [pair for pair in pairs if pair["target"] not in texts]
    for language in trained:
        group = by_language[language]
        if not any(pair["source_lang"] == language for pair in training):
            raise InputError(
                f"align_eval_pairs={per_language} leaves none of the {len(group)} pairs of {language}; lower it."
            )
    return training, held
