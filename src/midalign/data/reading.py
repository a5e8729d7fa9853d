"""Task rows and translation pairs from files, the hub or the embedded corpus.

A task row is a dict in MASSIVE's format with `id`, `locale`, `partition`, `utt` and `annot_utt`. A pair is a dict with
`source`, `target`, `source_lang` and `target_lang`, the English side always as target, the languages as
`languages.language_of` names them. Both have a `place`: the file and line, or whatever else they are found by.
"""

import hashlib
import os
from collections import defaultdict
from functools import partial
from pathlib import Path

import datasets

from midalign.data.checks import (
    PAIR_FIELDS,
    TASK_FIELDS,
    Sieve,
    field_problem,
    pair_problem,
    repeated_id,
    repeated_pair,
    task_problem,
)
from midalign.demo import corpus
from midalign.errors import InputError
from midalign.files import SUFFIXES, place_of, records
from midalign.languages import language_of, primary_of
from midalign.tasks.slots.massive import LOCALES
from midalign.texts import comparable, shown, spelled


class NoSplitError(InputError):
    """The data has no such partition: it could be read, and there is neither a file nor a row of it."""


def task_rows(source, locale, partition, revision, sieve=None):
    """Rows of one locale, at least one.   partition: train, validation or test (MASSIVE writes `dev` in the rows).

    source: `demo`; a folder with <locale>/<partition>.jsonl, or with <locale>.jsonl holding all partitions as
    Amazon ships it (also .jsonl.gz and .parquet); or a hub data set, read at `revision` from its Parquet branch so
    that no script runs.   sieve: takes the bad rows, and is settled by the caller; without one they are refused.
    Raises InputError, NoSplitError where there is no such partition.
    """
    found, where, _ = _found(source, locale, partition, revision)
    value, own = _value(partition), sieve or Sieve()
    rows = own.passing(_with_fields(found, TASK_FIELDS, own), partial(task_problem, locale=locale))
    rows = own.keep((row for row in rows if row["partition"] == value), repeated_id())
    if not rows:
        own.fail(f"{where} has no row with partition {value}; add some or name another locale.")
    if not sieve:
        own.settle()
    return rows


def texts_of_tests(source, locale, revision, sieve):
    """The utterances of all test rows of a locale, also of those that cannot be scored, as `texts.comparable` has them.

    sieve: takes rows without an utterance, which may be one that is trained on; the caller settles it.
    Raises InputError, NoSplitError where there is no such partition: one that is there must be readable.
    """
    found, where, alone = _found(source, locale, "test", revision)
    texts = set()
    for place, record, problem in found:
        problem = problem or field_problem(record, TASK_FIELDS)
        if problem and (not isinstance(record, dict) or field_problem(record, ("utt",))):
            sieve.leave_out(place, problem)
        elif alone or record.get("partition") not in ("train", "dev"):
            texts.add(comparable(record["utt"]))
    if alone and not texts:
        sieve.fail(f"{where} has no utterance, so nothing keeps the test rows apart; write it anew or delete it.")
    return texts


def _value(partition):
    """What MASSIVE writes in the rows of a partition."""
    return {"validation": "dev"}.get(partition, partition)


def _found(source, locale, partition, revision):
    """(what is where the rows should be, as `files.records` gives it; a name of the place; whether no other partition
    is there). Raises InputError."""
    if source == "demo":
        _require_known(locale, corpus.DEMO_LOCALES, "the demo corpus")
        rows = corpus.rows(locale, _value(partition))
        return ((f"demo row {row['id']}", row, None) for row in rows), f"demo, locale {locale},", True
    _require_known(locale, LOCALES, "MASSIVE")
    folder = Path(source)
    if not folder.is_dir():
        return _hub_records(source, locale, partition, revision), f"{source}, split {partition},", True
    for stem in (f"{locale}/{partition}", locale):
        for suffix in SUFFIXES:
            file = folder / f"{stem}{suffix}"
            if os.path.lexists(file):  # whatever it is: what cannot be read is said when it is read
                return records(file), place_of(file), stem != locale
    raise NoSplitError(
        f"task_data {source} has neither {locale}/{partition}.jsonl nor {locale}.jsonl (or .jsonl.gz, .parquet); "
        "add one or name another locale."
    )


def _with_fields(found, fields, sieve):
    """Yields the records that are objects with text in all fields, as rows that know their place."""
    for place, record, problem in found:
        problem = problem or field_problem(record, fields)
        if problem:
            sieve.leave_out(place, problem)
        else:
            yield {**{field: record[field] for field in fields}, "place": place}


def find_locale(name):
    """The MASSIVE locale that `sw-KE` or `sw` means. Raises InputError for an unknown or ambiguous name."""
    found = [name] if name in LOCALES else [locale for locale in LOCALES if primary_of(locale) == name]
    if not found:
        raise InputError(f"locale {shown(name)} is not in MASSIVE; use any of {', '.join(LOCALES)}.")
    if len(found) > 1:
        raise InputError(f"locale {name} could be {' or '.join(found)}; name one.")
    return found[0]


def _require_known(locale, known, where):
    if locale not in known:
        raise InputError(f"locale {shown(locale)} is not in {where}; use any of {', '.join(known)}.")


def _hub_records(source, locale, partition, revision):
    try:
        # All splits, which are fetched anyway: a split that is not there is no error of the hub then.
        splits = datasets.load_dataset(source, locale, revision=revision)
    except Exception as error:  # the hub raises a dozen types; each means that nothing was read
        raise InputError(
            f"task_data {source} is no folder here and could not be read from the hub "
            f"({type(error).__name__}); name a folder with <locale>/{partition}.jsonl, or check name and network."
        ) from error
    if partition not in splits:
        raise NoSplitError(f"task_data {source} has no split {partition}, only {', '.join(splits)}; name another.")
    table = splits[partition]
    missing = [field for field in TASK_FIELDS if field not in table.column_names]
    if missing:
        raise InputError(f"task_data {source} has no column {missing[0]}; it needs {', '.join(TASK_FIELDS)}.")
    return ((f"{source}, split {partition}, row {number},", row, None) for number, row in enumerate(table))


def read_pairs(sources, sieve=None):
    """All pairs of JSONL, JSONL.gz or Parquet files, folders of them, or `demo`, the English side as target.

    sieve: takes the bad ones, and is settled by the caller; without one they are refused. Raises InputError.
    """
    own = sieve or Sieve()
    pairs = own.passing(_with_fields(_pair_records(sources), PAIR_FIELDS, own), pair_problem)
    pairs = own.keep(map(_english_last, pairs), repeated_pair())
    if not sieve:
        own.settle()
    return pairs


def _pair_records(sources):
    for source in sources:
        if source == "demo":
            languages = [language_of(locale) for locale in corpus.DEMO_LOCALES if locale != "en-US"]
            yield from ((f"demo pair {pair['id']}", pair, None) for pair in corpus.pairs(languages))
            continue
        path = Path(source)
        try:
            files = sorted(f for f in path.iterdir() if f.name.endswith(SUFFIXES)) if path.is_dir() else [path]
        except OSError as error:
            raise InputError(f"align_data {source}: {error.strerror}; name a folder that can be read.") from error
        if not files:
            raise InputError(f"align_data {source} has no file ending in {', '.join(SUFFIXES)}; name one that does.")
        for file in files:
            yield from records(file)


def of_languages(pairs, languages, sieve=None):
    """The pairs whose source is in one of `languages`, as `language_of` names them.

    sieve: what was left out of the pairs, which may be why a language has none.
    Raises InputError for one without pairs.
    """
    found = {pair["source_lang"] for pair in pairs}
    for language in sorted(languages):
        if language not in found:
            only = f"only of {', '.join(sorted(found))}" if found else "nor of any other"
            (sieve or Sieve()).fail(f"no pairs of language {language} in align_data, {only}.")
    return [pair for pair in pairs if pair["source_lang"] in languages]


def _english_last(pair):
    """The anchor of the loss is the non-English side, whichever column it came in."""
    languages = {side: language_of(pair[side]) for side in ("source_lang", "target_lang")}
    if languages["target_lang"] == "en":
        return pair | languages
    turned = {"source": pair["target"], "target": pair["source"]}
    return pair | turned | {"source_lang": languages["target_lang"], "target_lang": "en"}


def hold_out(pairs, per_language, trained, sieve=None):
    """Split pairs into (training, held out).

    Takes `per_language` pairs of every language by a hash of the English text: languages that share their
    English side share the held-out sentences, no held-out sentence is trained on in any language, and runs
    with different seeds are measured on the same pairs.   trained: the languages that need pairs left.
    sieve: see `of_languages`.   Raises InputError where a language would have nothing left.
    """

    def rank(pair):
        return hashlib.sha256(spelled(pair["target"]).encode("utf-8", "surrogatepass")).digest()

    by_language = defaultdict(list)
    for pair in pairs:
        by_language[pair["source_lang"]].append(pair)
    held = [pair for group in by_language.values() for pair in sorted(group, key=rank)[:per_language]]
    texts = {comparable(pair["target"]) for pair in held}
    training = [pair for pair in pairs if comparable(pair["target"]) not in texts]
    for language in trained:
        group = by_language[language]
        if not any(pair["source_lang"] == language for pair in training):
            (sieve or Sieve()).fail(
                f"align_eval_pairs={per_language} leaves none of the {len(group)} pairs of {language}; lower it."
            )
    return training, held
