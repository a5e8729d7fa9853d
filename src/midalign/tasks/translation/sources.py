"""Where translations to learn and to score are: whatever translation pairs are read from, and the hub's data sets."""

import hashlib
import os
from pathlib import Path

from midalign.demo import corpus
from midalign.errors import InputError
from midalign.languages import language_of
from midalign.pair_files import pair_records
from midalign.pair_files.formats import tag_of, translations
from midalign.pair_files.sources import LISTS
from midalign.tasks.sources import NoSplitError, hub_table, require_known, value_of
from midalign.texts import comparable, place_of

PARTITIONS = ("train", "validation", "test")
LANGUAGES = ("source_lang", "target_lang")


def find(source, direction, tags, partition, revision):
    """What `tasks.sources.find` gives, each record a row of the direction.

    source: `demo`; a folder with a folder for each partition, or files with its name between dots, also below a folder
    of the direction's name (en-de or de-en); other pairs, which are training rows; or a hub data set, its configuration
    after a colon, else the direction's name.   direction: its name.   tags: of its source and its target.
    """
    languages = tuple(map(language_of, tags))
    if source == "demo":
        found, where = _demo(languages, partition), f"demo, {direction},"
    elif not is_local(source):
        found, where = _hub(source, tags, partition, revision), f"{source}, split {partition},"
    else:
        own = {name: _files(Path(source), name, tags) for name in PARTITIONS}
        files = own[partition] or ([source] if partition == "train" and not any(own.values()) else [])
        if not files:
            raise NoSplitError(
                f"task_data {place_of(source)} has neither a folder {partition} nor a file such as {partition}.jsonl; "
                f"add one with the {partition} rows of {direction}."
            )
        found, where = pair_records(files, _pivot(languages), revision), place_of(source)
    rows = list(_rows(found, direction, languages, partition))
    if not rows:
        raise NoSplitError(f"{where} has no {partition} rows of {direction}; add some or name another direction.")
    return rows, where, True


def _pivot(languages):
    """The language that files of pairs have in common, where one is."""
    return "en" if "en" in languages else languages[1]


def is_local(source):
    """Whether a name is of files here, or of what they begin with."""
    front, (folder, name) = source.rpartition(":")[0], os.path.split(source)
    if os.path.lexists(source) or (front and os.path.lexists(front)):
        return True
    try:
        return any(file.startswith(f"{name}.") for file in os.listdir(folder or "."))
    except OSError:  # there is none
        return False


def _files(folder, partition, tags):
    """The files and folders of a partition, as `pair_records` takes them; a corpus in more than two languages may have
    one file in each. Those below a folder of the direction's name are all that it has: test sets of de-en and of
    en-de may well differ.
    """
    languages = tuple(map(language_of, tags))
    beside = next(language for language in languages if language != _pivot(languages))
    for place in filter(os.path.isdir, (folder / "-".join(tags), folder / "-".join(reversed(tags)), folder)):
        found = [str(place / partition)] if os.path.isdir(place / partition) else []
        for file in sorted(place.glob("*")):
            *parts, suffix = file.name.removesuffix(".gz").split(".")
            if partition in parts and (file.name.endswith(LISTS) or language_of(tag_of(suffix)) == beside):
                found.append(str(file))
        if found:
            return found
    return []


def _rows(found, direction, languages, partition):
    """The records of the direction, however they are turned; those of other languages are passed over, and so are
    those that came before with their sides exchanged.
    """
    known, ways = {}, {}
    for place, record, problem in found:
        if not isinstance(record, dict) or problem:
            yield place, record, problem or "is no object; every row needs source, target and their languages"
            continue
        spoken = [language_of(tag) if isinstance(tag := record.get(key), str) else None for key in LANGUAGES]
        texts = [record.get("source"), record.get("target")]
        if None in spoken:
            yield place, None, "has no language codes in source_lang and target_lang, such as de and en"
        elif sorted(spoken) == sorted(languages):
            turned = spoken != list(languages)
            source, target = reversed(texts) if turned else texts
            if ways.setdefault((str(source), str(target)), turned) != turned:
                continue
            row = {"source": source, "target": target, "locale": direction, "partition": value_of(partition)}
            yield place, {**row, "id": _id(record, dict(zip(languages, (source, target), strict=True)), known)}, None


def _id(record, texts, known):
    """That of the record; without one a hash of its English text, or of that in the first language by name, so that
    translations of one sentence have one id.

    texts: {language: text}.   known: how often a hash has come, kept from record to record.
    """
    if isinstance(record.get("id"), str | int):
        return str(record["id"])
    text = texts.get("en", texts[min(texts)])
    digest = hashlib.sha256(comparable(str(text)).encode("utf-8", "surrogatepass")).hexdigest()[:16]
    known[digest] = known.get(digest, 0) + 1
    return digest if known[digest] == 1 else f"{digest} {known[digest]}"


def _demo(languages, partition):
    locales = {language_of(locale): locale for locale in corpus.DEMO_LOCALES}
    for language in languages:
        require_known(language, locales, "the demo corpus")
    both = (corpus.rows(locales[language], value_of(partition)) for language in languages)
    for source, target in zip(*both, strict=True):
        pair = {"id": source["id"], "source": source["utt"], "target": target["utt"]}
        yield f"demo row {source['id']}", {**pair, **dict(zip(LANGUAGES, languages, strict=True))}, None


def _hub(source, tags, partition, revision):
    name, _, config = source.partition(":")
    configs = [config] if config else ["-".join(tags), "-".join(reversed(tags))]
    table = hub_table(name, configs, partition, revision, f"a folder with a folder {partition} of pairs")
    if "translation" not in table.column_names and not {"source", "target", *LANGUAGES} <= {*table.column_names}:
        raise InputError(
            f"task_data {source} has the columns {', '.join(table.column_names)}; it needs translation, or source, "
            "target, source_lang, target_lang."
        )
    return translations((f"{source}, split {partition}, row {i},", row, None) for i, row in enumerate(table))
