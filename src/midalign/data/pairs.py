"""Translation pairs from files or the embedded corpus.

A pair is a dict with `source`, `target`, `source_lang` and `target_lang`, the English side always as target, the
languages as `languages.language_of` names them, and a `place`: the file and line, or whatever else it is found by.
"""

import hashlib
from collections import defaultdict
from pathlib import Path

from midalign.data.checks import PAIR_FIELDS, Sieve, pair_problem, repeated_pair
from midalign.data.reading import with_fields
from midalign.demo import corpus
from midalign.errors import InputError
from midalign.files import SUFFIXES, records
from midalign.languages import language_of
from midalign.texts import comparable, spelled


def read_pairs(sources, sieve=None):
    """All pairs of JSONL, JSONL.gz or Parquet files, folders of them, or `demo`, the English side as target.

    sieve: takes the bad ones, and is settled by the caller; without one they are refused. Raises InputError.
    """
    own = sieve or Sieve()
    pairs = pairs_of(_pair_records(sources), own)
    if not sieve:
        own.settle()
    return pairs


def pairs_of(found, sieve):
    """The pairs among records, wherever these are from.   found: (place, record, problem), as `files.records` gives it.

    sieve: takes the bad ones; the caller settles it.
    """
    pairs = sieve.passing(with_fields(found, PAIR_FIELDS, sieve), pair_problem)
    return sieve.keep(map(_english_last, pairs), repeated_pair())


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
