"""Where translation pairs are: files and folders in the forms that people have, the hub, the demo corpus."""

import os
import re
from pathlib import Path

import datasets

from midalign.demo import corpus
from midalign.errors import InputError
from midalign.files import MOST_LINES, SUFFIXES, records, sha256_of
from midalign.languages import language_of
from midalign.pair_files.formats import FIELDS, moses, table, tag_of, translations, two_tags
from midalign.texts import harmless, place_of, shown, squeeze

TABLES = (".tsv", ".tsv.gz", ".csv", ".csv.gz")
LISTS = (*SUFFIXES, *TABLES)
PACKED = (".zip", ".tar", ".tar.gz", ".tgz", ".xz", ".bz2", ".zst", ".7z", ".rar", ".tmx", ".xlsx", ".ods")
MISTAKEN = (".json", ".txt", ".xlsx", ".ods")
HUB_NAME = re.compile(r"[\w-][\w.-]*(/[\w.-]+)?(:[\w.-]+)?")


def pair_records(sources, pivot, revision):
    """Yields (place, record, problem) for all that may be a pair, of each of `pair_lists` in turn."""
    for read, *arguments in pair_lists(sources, pivot, revision):
        yield from read(*arguments)


def pair_lists(sources, pivot, revision):
    """[(a function that yields (place, record, problem) for all that may be a pair, *its arguments)], one for each
    file; a file that is named twice is there once.

    sources: `demo`; a file; a folder, of which all files of pairs are read; the common beginning of two Moses files;
    a table with its columns' languages after a colon; or a hub data set, its configuration after a colon, of which the
    training rows are read at `revision`.   pivot: as `language_of` names it.   Raises InputError.
    """
    return list(dict.fromkeys(file for source in dict.fromkeys(sources) for file in _files(source, pivot, revision)))


def content_of(read, *arguments):
    """What a list of `pair_lists` holds, as JSON that is equal where it yields the same. Raises InputError."""
    return [read.__name__, *map(_content, arguments)]


def _content(argument):
    if isinstance(argument, Path):
        return [str(argument), sha256_of(argument)]
    return argument._fingerprint if isinstance(argument, datasets.Dataset) else argument


def _files(source, pivot, revision):
    """The part of `pair_lists` that a source is."""
    path, (front, colon, back) = Path(source), source.rpartition(":")
    if source == "demo":
        return [(_demo, pivot)]
    if os.path.isdir(path):
        return _folder(path, pivot)
    if os.path.lexists(path):
        return [_file(path, pivot)]
    if path.name in (stems := _moses_files(path.parent)):
        return [_both(path.parent, path.name, stems[path.name], pivot)]
    if colon and os.path.lexists(front):
        if not front.endswith(TABLES) or not (tags := two_tags(back, pivot)):
            raise InputError(
                f"{shown(source, 1000)}: {shown(front, 1000)} is here, so {shown(back)} must be the "
                f"languages of the columns of a TSV or CSV file, such as xx-{pivot}; name a file or folder as it is."
            )
        return [(table, Path(front), tags, pivot)]
    if HUB_NAME.fullmatch(source) and not source.endswith((*LISTS, *PACKED)):
        return [(_hub, source, _hub_table(source, revision))]
    return [(_objects, path)]  # that it is not there is said when it is read


def _folder(folder, pivot):
    try:
        files = sorted(folder.iterdir())
    except OSError as error:
        raise InputError(f"{place_of(folder)}: {error.strerror}; name a folder that can be read.") from error
    found = {file: _list(file, pivot) for file in files if file.name.endswith(LISTS)}
    for file in files:
        if file.suffix in MISTAKEN and two_tags(file.stem, pivot):
            raise InputError(
                f"{place_of(file)} has the name of pairs and is none of {', '.join(LISTS)}; save it as one, or move it "
                "away."
            )
    for stem, halves in _moses_files(folder).items():
        found[folder / stem] = _both(folder, stem, halves, pivot)
    if not found:
        raise InputError(
            f"{place_of(folder)} has no file ending in {', '.join(LISTS)}, nor two that differ in "
            f"their last part, a language, as corpus.xx and corpus.{pivot} do; name one that does."
        )
    return [found[file] for file in sorted(found)]


def _list(path, pivot):
    return (table, path, None, pivot) if path.name.endswith(TABLES) else (_objects, path)


def _file(path, pivot):
    if path.name.endswith(PACKED):
        raise InputError(
            f"{place_of(path)} is no list of pairs; unpack it, or save it as {', '.join(LISTS)} or two Moses files."
        )
    stem, _, suffix = path.name.removesuffix(".gz").rpartition(".")
    own = language_of(tag_of(suffix))
    if path.name.endswith(LISTS) or not stem or not own:
        return _list(path, pivot)
    halves = _moses_files(path.parent).get(stem, {})
    if own not in halves:
        if pivot not in halves or _named(stem, pivot):
            return _list(path, pivot)
        raise InputError(
            f"{place_of(path)} ends in {shown(suffix)}, which may be no language; call a side of pairs "
            f"{shown(f'{stem}.{suffix}-{pivot}.{suffix}')}, and the other accordingly."
        )
    others = {pivot} if own != pivot and pivot in halves else halves.keys() - {own}
    if len(others) != 1:
        found = ", ".join(sorted(others)) or "none"
        raise InputError(
            f"{place_of(path)} is one side of pairs, and beside it must be one file of the other, {shown(stem)} and "
            f"its language, found {found}; add it, or name the side that is not {pivot}."
        )
    return _both(path.parent, stem, {language: halves[language] for language in (own, *others)}, pivot)


def _both(folder, stem, halves, pivot):
    """What reads two files, that of the pivot last.   halves: {language: files}. Raises InputError for more or less."""
    order = sorted(halves, key=lambda language: (language == pivot, language))
    names = ", ".join(shown(file.name) for language in order for file in halves[language])
    if len(order) != 2 or any(len(files) > 1 for files in halves.values()):
        raise InputError(
            f"{place_of(folder)} has {names}, but it takes two files that differ in the language behind {shown(stem)}; "
            f"add what is missing, or name the one that is meant and not {pivot}."
        )
    return moses, *(halves[language][0] for language in order), tuple(order)


def _moses_files(folder):
    """{stem: {language: [files]}} of the files in a folder that end in a language, as corpus.de and corpus.en.gz.

    An ending of three letters names a language (txt, xml, ids) also where none is meant: it counts where the stem names
    it, as in corpus.ckb-en.ckb.
    """
    try:
        files = sorted(folder.iterdir())
    except OSError:  # there is none
        return {}
    stems = {}
    for file in files:
        stem, _, suffix = file.name.removesuffix(".gz").rpartition(".")
        language = language_of(tag_of(suffix))
        if stem and language and not file.is_dir() and _is_sure(language, stem):
            stems.setdefault(stem, {}).setdefault(language, []).append(file)
    return stems


def _is_sure(language, stem):
    return len(language) == 2 or "-" in language or language in _named(stem, language)


def _named(stem, pivot):
    """The languages in the last part of a stem such as corpus.de-en, or none."""
    return [language_of(tag) for tag in two_tags(stem.rpartition(".")[2], pivot) or ()]


def _demo(pivot):
    languages = [language_of(locale) for locale in corpus.DEMO_LOCALES]
    if pivot not in languages:
        raise InputError(f"align_data demo has pairs of {', '.join(languages)}, but align_pivot is {pivot}; use one.")
    languages.remove(pivot)
    for pair in corpus.pairs(languages, pivot):
        yield f"demo pair {pair['id']}", pair, None


def _objects(path):
    return translations(records(path))


def _hub(source, rows):
    return translations((f"{source}, split train, row {number},", row, None) for number, row in enumerate(rows))


def _hub_table(source, revision):
    """The training rows of a hub data set."""
    name, _, config = source.partition(":")
    try:
        rows = datasets.load_dataset(name, config or None, revision=revision, split="train")
    except Exception as error:  # the hub raises a dozen types; each means that nothing was read
        raise InputError(
            f"align_data {source} is neither a file, a folder nor the beginning of two Moses files here, and could not "
            f"be read from the hub ({type(error).__name__}: {harmless(squeeze(str(error)))[:200]}); check name and "
            f"network, and name one configuration as in {name}:xx-yy."
        ) from error
    if "translation" not in rows.column_names and not {*FIELDS} <= {*rows.column_names}:
        raise InputError(
            f"align_data {source} has the columns {', '.join(map(shown, rows.column_names))}; it needs translation, "
            f"or {', '.join(FIELDS)}."
        )
    if len(rows) > MOST_LINES:
        raise InputError(f"align_data {source} has more than {MOST_LINES:,} rows; save as many as you need in a file.")
    return rows
