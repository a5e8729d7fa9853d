"""Task rows and translation pairs from files, the hub or the embedded corpus.

A task row is a dict in MASSIVE's format with `id`, `locale`, `partition`, `utt` and `annot_utt`. A pair is a dict with
`id`, `source`, `target`, `source_lang` and `target_lang`, the English side always as target. Both have a `place`: the
file and line, or whatever else they are found by.
"""

import hashlib
from collections import defaultdict
from functools import partial
from pathlib import Path

import datasets

from midalign.data.checks import PAIR_FIELDS, TASK_FIELDS, Sieve, field_problem, pair_problem, repeated, task_problem
from midalign.data.demo import corpus
from midalign.data.files import SUFFIXES, records
from midalign.errors import InputError
from midalign.tasks.slots.massive import LOCALES


def task_rows(source, locale, partition, revision, sieve=None):
    """Rows of one locale, at least one.   partition: train, validation or test (MASSIVE writes `dev` in the rows).

    source: `demo`; a folder with <locale>/<partition>.jsonl, or with <locale>.jsonl holding all partitions as
    Amazon ships it (also .jsonl.gz and .parquet); or a hub data set, read at `revision` from its Parquet branch so
    that no script runs.   sieve: takes the bad rows, and is settled by the caller; without one they are refused.
    Raises InputError.
    """
    value = {"validation": "dev"}.get(partition, partition)
    if source == "demo":
        _require_known(locale, corpus.DEMO_LOCALES, "the demo corpus")
        return [row | {"place": f"demo row {row['id']}"} for row in corpus.rows(locale, value)]
    _require_known(locale, LOCALES, "MASSIVE")
    found, where = _found(source, locale, partition, revision)
    own = sieve or Sieve()
    rows = _with_fields(found, TASK_FIELDS, own)
    rows = own.keep(rows, partial(task_problem, locale=locale))
    rows = [row for row in rows if row["partition"] == value]
    rows = own.keep(rows, repeated(lambda row: row["id"]))
    if not (sieve and rows):
        own.settle()
    if not rows:
        raise InputError(f"{where} has no row with partition {value}; add some or name another locale.")
    return rows


def _found(source, locale, partition, revision):
    """(what stands where the rows should be, as `files.records` gives it; a name of the place)."""
    folder = Path(source)
    if not folder.is_dir():
        return _hub_records(source, locale, partition, revision), f"{source}, split {partition},"
    for stem in (f"{locale}/{partition}", locale):
        for suffix in SUFFIXES:
            file = folder / f"{stem}{suffix}"
            if file.is_file():
                return records(file), str(file)
    raise InputError(
        f"task_data {source} has neither {locale}/{partition}.jsonl nor {locale}.jsonl (or .jsonl.gz, .parquet); "
        "add one or name another locale."
    )


def _with_fields(found, fields, sieve):
    """The records that are objects with text in all fields, as rows that know their place."""
    rows = []
    for place, record, problem in found:
        problem = problem or field_problem(record, fields)
        if problem:
            sieve.left_out.append(f"{place} {problem}")
        else:
            rows.append({**{field: record[field] for field in fields}, "place": place})
    return rows


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


def _hub_records(source, locale, partition, revision):
    try:
        table = datasets.load_dataset(source, locale, split=partition, revision=revision)
    except Exception as error:  # the hub raises a dozen types; each means that nothing was read
        raise InputError(
            f"task_data {source} is no folder here and could not be read from the hub "
            f"({type(error).__name__}); name a folder with <locale>/{partition}.jsonl, or check name and network."
        ) from error
    missing = [field for field in TASK_FIELDS if field not in table.column_names]
    if missing:
        raise InputError(f"task_data {source} has no column {missing[0]}; it needs {', '.join(TASK_FIELDS)}.")
    return [(f"{source}, split {partition}, row {number},", row, None) for number, row in enumerate(table)]


def read_pairs(sources, sieve=None):
    """All pairs of JSONL, JSONL.gz or Parquet files, folders of them, or `demo`, the English side as target.

    sieve: takes the bad ones, and is settled by the caller; without one they are refused. Raises InputError.
    """
    own = sieve or Sieve()
    pairs = []
    for source in sources:
        if source == "demo":
            made = corpus.pairs([locale.split("-")[0] for locale in corpus.DEMO_LOCALES if locale != "en-US"])
            pairs += [pair | {"place": f"demo pair {pair['id']}"} for pair in made]
            continue
        path = Path(source)
        files = sorted(f for f in path.iterdir() if f.name.endswith(SUFFIXES)) if path.is_dir() else [path]
        if not files:
            raise InputError(f"align_data {source} has no file ending in {', '.join(SUFFIXES)}; name one that does.")
        for file in files:
            pairs += own.keep(_with_fields(records(file), PAIR_FIELDS, own), pair_problem)
    pairs = own.keep(pairs, repeated(lambda pair: (pair["id"], pair["source_lang"], pair["target_lang"])))
    if not sieve:
        own.settle()
    return [_english_last(pair) for pair in pairs]


def of_languages(pairs, languages):
    """The pairs whose source is in one of `languages` (two-letter codes). Raises InputError for one without pairs."""
    found = {pair["source_lang"] for pair in pairs}
    for language in sorted(languages):
        if language not in found:
            raise InputError(f"no pairs of language {language} in align_data, only of {', '.join(sorted(found))}.")
    return [pair for pair in pairs if pair["source_lang"] in languages]


def _english_last(pair):
    """The anchor of the loss is the non-English side, whichever column it came in."""
    if pair["target_lang"] == "en":
        return pair
    turned = {"source": "target", "target": "source", "source_lang": "target_lang", "target_lang": "source_lang"}
    return pair | {to: pair[of] for to, of in turned.items()}


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
