"""Translation pairs: which of what was found can be used, and what is kept out of training."""

import hashlib
import heapq
import unicodedata
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice

import numpy as np
import pyarrow

from midalign import files, languages, texts
from midalign.data import checks
from midalign.data.checks import PAIR_FIELDS, Sieve, among_tests, field_problem, pair_problem, repeated_pair
from midalign.data.columns import PIECE, among, codes, repeats, rows_of
from midalign.data.prepared import code_key, prepared
from midalign.languages import language_of
from midalign.pair_files import content_of, formats, pair_lists, sources
from midalign.texts import comparable, spelled

SIDES = ("source", "target")
FEWEST, MOST = 4, 100  # pairs of a language held out when a recipe does not say how many
SCHEMA = pyarrow.schema(
    {
        **dict.fromkeys((*PAIR_FIELDS, "place"), pyarrow.string()),
        **dict.fromkeys(("source_text", "target_text"), pyarrow.int64()),
        "rank": pyarrow.uint64(),
    }
)


@dataclass(frozen=True)
class Pairs:
    """Pairs in tables of `SCHEMA`, one of each file, memory-mapped: the texts stay on the disk.

    Columns: `source`, `target`, `source_lang` and `target_lang`, the side in the language with the labels (the pivot)
    always as target, the languages as `languages.language_of` names them; `place`, the file and line, or whatever else
    a pair is found by; `source_text` and `target_text`, numbers that are equal where two texts are one sentence
    (`texts.comparable`); `rank`, which decides what is held out.
    """

    tables: list[pyarrow.Table]
    kept: np.ndarray  # (rows,) bool: which rows of the tables these pairs are

    @classmethod
    def of(cls, *tables):
        """All pairs of some tables."""
        return cls(list(tables), np.ones(sum(map(len, tables)), bool))

    def __len__(self):
        return int(self.kept.sum())

    def __iter__(self):
        """Yields the pairs as dicts of text."""
        for table in self.pieces():
            yield from table.select([*PAIR_FIELDS, "place"]).to_pylist()

    def column(self, name):
        """Of all rows of the tables: ChunkedArray."""
        chunks = [chunk for table in self.tables for chunk in table[name].chunks]
        return pyarrow.chunked_array(chunks, SCHEMA.field(name).type)

    def each(self):
        """The pairs of each table as `Pairs`."""
        ends = np.cumsum([len(table) for table in self.tables])
        parts = zip(self.tables, np.split(self.kept, ends)[:-1], strict=True)
        return [Pairs([table], kept) for table, kept in parts]

    def pieces(self):
        """Yields the pairs as tables, up to PIECE of them at a time."""
        first = 0
        for batch in (batch for table in self.tables for batch in table.to_batches(PIECE)):
            kept = self.kept[first : first + len(batch)]
            first += len(batch)
            if kept.any():
                yield pyarrow.Table.from_batches([batch]).filter(pyarrow.array(kept))

    def but(self, rows):
        """These pairs without some rows.   rows: (rows,) bool."""
        return replace(self, kept=self.kept & ~rows)

    def only(self, rows):
        """Those of these pairs that are in `rows`: (rows,) bool."""
        return replace(self, kept=self.kept & rows)


def read_pairs(named, sieve=None, pivot="en", revision=None):
    """`Pairs` of files, folders, hub data sets or `demo`, see `pair_files.pair_lists`, none of them twice.

    sieve: takes the bad ones, and is settled by the caller; without one they are refused.   pivot: any tag of the
    language with the labels.   revision: of hub data sets. Raises InputError.
    Each file is read and checked once; what that gave is kept, see `prepared`.
    """
    own, pivot, parts = sieve or Sieve(), language_of(pivot), []
    code = [code_key(files, languages, texts, checks, formats, sources), unicodedata.unidata_version]
    for read, *arguments in pair_lists(named, pivot, revision):
        content = content_of(read, *arguments)
        make = partial(_checked_list, read, arguments, pivot)
        parts.append(prepared(content and [content, pivot, code], make, SCHEMA, what="read pairs"))
    pairs = _once(parts, own)
    if not sieve:
        own.settle()
    return pairs


def _checked_list(read, arguments, pivot):
    return checked(read(*arguments), pivot)


def pairs_of(found, sieve, pivot="en"):
    """`read_pairs` of records that are in memory.   found: (place, record, problem), as `files.records` gives it."""
    return _once([prepared(None, partial(checked, found, language_of(pivot)), SCHEMA)], sieve)


def checked(found, pivot):
    """Yields what was found as tables of `SCHEMA` and `problem`.   pivot: as `language_of` names it."""
    found = iter(found)
    while some := list(islice(found, PIECE)):
        yield pair_table([_checked_pair(*one, pivot) for one in some])


def _checked_pair(place, record, problem, pivot):
    problem = problem or field_problem(record, PAIR_FIELDS) or pair_problem(record, pivot)
    if problem:
        return {"place": place, "problem": problem}
    source, target, source_lang, target_lang = (record[field] for field in PAIR_FIELDS)
    source_lang, target_lang = language_of(source_lang), language_of(target_lang)
    if target_lang != pivot:  # the anchor of the loss is the side that is not the pivot
        source, target, source_lang, target_lang = target, source, target_lang, source_lang
    texts = {"source": source, "target": target, "source_lang": source_lang, "target_lang": target_lang}
    return {**texts, "place": place}


def pair_table(pairs):
    """Pairs, dicts of text, as a table of `SCHEMA` and `problem`."""
    columns = {name: [pair.get(name, "") for pair in pairs] for name in (*PAIR_FIELDS, "place")}
    for side in SIDES:
        columns[f"{side}_text"] = text_numbers(columns[side])
    columns["rank"] = _hashes(map(spelled, columns["target"]), ">u8").astype(np.uint64)
    columns["problem"] = [pair.get("problem") for pair in pairs]
    return pyarrow.table(columns, SCHEMA.append(pyarrow.field("problem", pyarrow.string())))


def text_numbers(texts):
    """(n,) int64: equal for texts that are one sentence. Hashes: two of a billion texts share one once in 37 times."""
    return _hashes(map(comparable, texts), "<i8")


def _hashes(texts, kind):
    """The first eight bytes of a hash of each text."""
    digests = (hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest() for text in texts)
    return np.frombuffer(b"".join(digest[:8] for digest in digests), kind)


def _once(parts, sieve):
    """`Pairs` without those that have the texts and languages of an earlier one.

    parts: as `prepared` gives them.   sieve: takes these, and what cannot be used, in the order of the lists.
    """
    pairs = Pairs.of(*(rows.data.table for rows, _ in parts))
    numbers = (pairs.column(f"{side}_text").to_numpy() for side in SIDES)
    again = repeats(*numbers, codes(pairs.column("source_lang"))[1])
    for own, (_, others) in zip(pairs.only(again).each(), parts, strict=True):
        said = ((row["before"], 0, row["place"], row["problem"]) for row in rows_of(others))
        rows = zip(np.flatnonzero(own.kept).tolist(), own, strict=True)
        repeated = ((number, 1, pair["place"], repeated_pair(pair)) for number, pair in rows)
        for *_, place, problem in heapq.merge(said, repeated):
            sieve.leave_out(place, problem)
    return pairs.but(again)


def of_languages(pairs, wanted, sieve=None):
    """The pairs whose source is in one of the languages, as `language_of` names them.

    sieve: what was left out of the pairs, which may be why a language has none.
    Raises InputError for one without pairs.
    """
    names, language = codes(pairs.column("source_lang"))
    found = spoken(pairs)
    for name in sorted(wanted):
        if name not in found:
            only = f"only of {', '.join(found)}" if found else "nor of any other"
            (sieve or Sieve()).fail(f"no pairs of language {name} in align_data, {only}.")
    return pairs.only(np.isin(language, [names.index(name) for name in wanted]))


def spoken(pairs, side="source"):
    """The languages of one side of pairs, sorted."""
    names, language = codes(pairs.column(f"{side}_lang"))
    return [names[code] for code in np.unique(language[pairs.kept])]


def without_tests(pairs, texts, sieve):
    """Pairs without those that hold the text of a test row.

    texts: of test rows, as `comparable` gives them.   sieve: takes these pairs.
    """
    if not texts:
        return pairs
    keys, problem = text_numbers(texts), among_tests(texts, ("source", "target"))
    hit = among(pairs.column("source_text"), keys) | among(pairs.column("target_text"), keys)
    leaked = np.zeros_like(hit)
    for row, pair in zip(np.flatnonzero(pairs.kept & hit).tolist(), pairs.only(hit), strict=True):
        if found := problem(pair):
            sieve.leave_out(pair["place"], found)
            leaked[row] = True
    return pairs.but(leaked)


def hold_out(pairs, per_language, trained, sieve=None):
    """Split pairs into (training, held out).

    Takes `per_language` pairs of every language by a hash of the pivot's text: languages that share their
    pivot side share the held-out sentences, no held-out sentence is trained on in any language, and runs
    with different seeds are measured on the same pairs.   trained: the languages that need pairs left.
    per_language: None for a tenth of those that are trained, from `FEWEST` to `MOST`, and `MOST` of the others.
    sieve: see `of_languages`.   Raises InputError where a language would have nothing left.
    """
    names, language = codes(pairs.column("source_lang"))
    rank, chosen, counts = pairs.column("rank").to_numpy(), [], {}
    codes_there, first = np.unique(np.where(pairs.kept, language, -1), return_index=True)
    for code in codes_there[np.argsort(first)]:
        if code >= 0:
            own = np.flatnonzero(pairs.kept & (language == code))
            tenth = min(MOST, max(FEWEST, len(own) // 10)) if names[code] in trained else MOST
            count = tenth if per_language is None else per_language
            counts[names[code]] = count, len(own)
            chosen.append(own[np.argsort(rank[own], kind="stable")[:count]])
    held = np.concatenate(chosen or [np.empty(0, int)])
    taken = np.zeros_like(pairs.kept)
    taken[held] = True
    some = pyarrow.concat_tables([SCHEMA.empty_table(), *pairs.only(taken).pieces()]).combine_chunks()
    some = some.take(np.searchsorted(np.sort(held), held))
    held_out = Pairs.of(some)
    training = pairs.but(sharing(pairs, held_out))
    left = spoken(training)
    for name in trained:
        if name not in left:
            count, own = counts.get(name, (per_language, 0))
            change = "lower it" if per_language else "add pairs"
            if count < own:
                change = "the others have a target that is held out: add pairs with other sentences"
            (sieve or Sieve()).fail(f"align_eval_pairs={count} leaves none of the {own} pairs of {name}; {change}.")
    return training, held_out


def sharing(pairs, others):
    """Which pairs have the target of one of the others: (rows,) bool."""
    return among(pairs.column("target_text"), others.column("target_text").filter(pyarrow.array(others.kept)))
