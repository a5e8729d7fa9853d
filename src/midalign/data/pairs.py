"""Translation pairs: which of what was found can be used, and what is kept out of training.

A pair is a dict with `source`, `target`, `source_lang` and `target_lang`, the side in the language with the labels (the
pivot) always as target, the languages as `languages.language_of` names them, and a `place`: the file and line, or
whatever else it is found by.
"""

import hashlib
from collections import defaultdict
from functools import partial

from midalign.data.checks import PAIR_FIELDS, Sieve, pair_problem, repeated_pair
from midalign.data.reading import with_fields
from midalign.languages import language_of
from midalign.pair_files import pair_records
from midalign.texts import comparable, spelled


def read_pairs(sources, sieve=None, pivot="en", revision=None):
    """All pairs of files, folders, hub data sets or `demo`, see `pair_files.pair_records`.

    sieve: takes the bad ones, and is settled by the caller; without one they are refused.   pivot: any tag of the
    language with the labels.   revision: of hub data sets. Raises InputError.
    """
    own = sieve or Sieve()
    pairs = pairs_of(pair_records(sources, language_of(pivot), revision), own, pivot)
    if not sieve:
        own.settle()
    return pairs


def pairs_of(found, sieve, pivot="en"):
    """The pairs among records, wherever these are from.   found: (place, record, problem), as `files.records` gives it.

    sieve: takes the bad ones; the caller settles it.   pivot: see `read_pairs`.
    """
    pivot = language_of(pivot)
    pairs = sieve.passing(with_fields(found, PAIR_FIELDS, sieve), partial(pair_problem, pivot=pivot))
    return sieve.keep((_pivot_last(pair, pivot) for pair in pairs), repeated_pair())


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


def _pivot_last(pair, pivot):
    """The anchor of the loss is the side that is not the pivot, whichever column it came in."""
    languages = {side: language_of(pair[side]) for side in ("source_lang", "target_lang")}
    if languages["target_lang"] == pivot:
        return pair | languages
    turned = {"source": pair["target"], "target": pair["source"]}
    return pair | turned | {"source_lang": languages["target_lang"], "target_lang": pivot}


def hold_out(pairs, per_language, trained, sieve=None):
    """Split pairs into (training, held out).

    Takes `per_language` pairs of every language by a hash of the pivot's text: languages that share their
    pivot side share the held-out sentences, no held-out sentence is trained on in any language, and runs
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
