"""Where the rows of a task are: the embedded corpus, a folder, or a hub data set."""

import os
from pathlib import Path

import datasets

from midalign.demo import corpus
from midalign.errors import InputError
from midalign.files import SUFFIXES, records
from midalign.languages import language_of
from midalign.texts import id_of, place_of, shown

ALWAYS = ("id", "locale", "partition")


class NoSplitError(InputError):
    """The data has no such partition: it could be read, and there is neither a file nor a row of it."""


def find(source, language, partition, revision, fields, config=None):
    """(place, record, problem) of all that may be rows of a language, as `files.records` gives it; a name of the place;
    whether no other partition is there.

    source: `demo`; a folder with <language>/<partition>.jsonl, or with <language>.jsonl holding all partitions as
    Amazon ships MASSIVE (also .jsonl.gz and .parquet); or a hub data set, read at `revision` from its Parquet branch so
    that no script runs.   partition: train, validation or test.   fields: of id, locale and partition, those that
    records must bring; the others are filled in where they are not, the id as one that no other language has.
    config: what the hub data set calls the language, where it has another name for it.
    Raises InputError, NoSplitError where there is no such partition.
    """
    if source == "demo":
        require_known(language, corpus.DEMO_LOCALES, "the demo corpus")
        rows = corpus.rows(language, value_of(partition))
        return ((f"demo row {row['id']}", row, None) for row in rows), f"demo, locale {language},", True
    require_language(language)
    if os.path.isfile(source):
        raise InputError(
            f"task_data {place_of(source)} is a file; name a folder that has it as {language}/{partition}.jsonl, or as "
            f"{language}.jsonl with a partition in each row."
        )
    folder = Path(source)
    if not os.path.isdir(folder):  # False, too, for what can be no path
        found = _hub_records(source, config or language, partition, revision, fields)
        return _filled(found, language, partition, fields), f"{source}, split {partition},", True
    for stem in (f"{language}/{partition}", language):
        for suffix in SUFFIXES:
            file = folder / f"{stem}{suffix}"
            if os.path.lexists(file):  # whatever it is: what cannot be read is said when it is read
                alone = stem != language
                needed = fields if alone else (*fields, "partition")
                return _filled(records(file), language, partition, needed), place_of(file), alone
    there = ", ".join(languages_in(source)[:60])
    raise NoSplitError(
        f"task_data {source} has neither {language}/{partition}.jsonl nor {language}.jsonl (or .jsonl.gz, .parquet); "
        f"add one or name another locale{f', such as are there: {there}' if there else ''}."
    )


def holds(source, language):
    """Whether a folder has rows of a language, of whatever partition."""
    return source != "demo" and any(os.path.lexists(Path(source, f"{language}{suffix}")) for suffix in ("", *SUFFIXES))


def languages_in(source):
    """The languages of which a folder has rows, by the names of its folders and files; [] for what is no folder."""
    if source == "demo" or not os.path.isdir(source):
        return []
    names = {entry.name.partition(".")[0] for entry in Path(source).iterdir() if entry.is_dir() or entry.suffix}
    return sorted(name for name in names if language_of(name) and holds(source, name))


def value_of(partition):
    """What MASSIVE writes in the rows of a partition."""
    return {"validation": "dev"}.get(partition, partition)


def require_language(name):
    """Raises InputError for a name that is no BCP 47 tag."""
    if language_of(name) is None:
        raise InputError(f"language {shown(name)} is none; use a BCP 47 tag such as sw, pt-BR or zh-Hant.")


def require_known(language, known, where):
    """Raises InputError for a language that is not among the known ones."""
    if language not in known:
        raise InputError(f"locale {shown(language)} is not in {where}; use any of {', '.join(known)}.")


def _filled(found, language, partition, fields):
    missing = [field for field in ALWAYS if field not in fields]
    for number, (place, record, problem) in enumerate(found):
        if missing and isinstance(record, dict):
            own = {"id": f"{language} {number}", "locale": language, "partition": value_of(partition)}
            record = {**record, **{field: id_of(record.get(field)) or own[field] for field in missing}}
        if isinstance(record, dict) and isinstance(record.get("partition"), str):
            record = {**record, "partition": value_of(record["partition"])}
        yield place, record, problem


def hub_table(source, configs, partition, revision, instead):
    """A split of a hub data set, in the first of some configurations that can be read.

    instead: what else to name, for the sentence where none can.   Raises InputError, NoSplitError.
    """
    for config in configs:
        try:
            # All splits, which are fetched anyway: a split that is not there is no error of the hub then.
            splits = datasets.load_dataset(source, config, revision=revision)
            break
        except Exception as error:  # the hub raises a dozen types; each means that nothing was read
            reason = error
    else:
        raise InputError(
            f"task_data {source} is no folder here and could not be read from the hub "
            f"({type(reason).__name__}); name {instead}, or check name and network."
        ) from reason
    if partition not in splits:
        raise NoSplitError(f"task_data {source} has no split {partition}, only {', '.join(splits)}; name another.")
    return splits[partition]


def _hub_records(source, config, partition, revision, fields):
    table = hub_table(source, [config], partition, revision, f"a folder with <locale>/{partition}.jsonl")
    missing = [field for field in fields if field not in table.column_names]
    if missing:
        raise InputError(f"task_data {source} has no column {missing[0]}; it needs {', '.join(fields)}.")
    labels = {key: _labels(kind) for key, kind in table.features.items()}
    names = {key: own for key, own in labels.items() if own}
    return (
        (f"{source}, split {partition}, row {number},", {**row, **_named(row, names)}, None)
        for number, row in enumerate(table)
    )


def _labels(kind):
    """The names of a column's class labels, or of those in its lists; None without any."""
    kind = kind.feature if isinstance(kind, datasets.List | datasets.LargeList) else kind
    return kind.names if isinstance(kind, datasets.ClassLabel) else None


def _named(row, names):
    """The names of class labels, which the hub keeps as numbers."""
    return {key: _name(row[key], own) for key, own in names.items()}


def _name(value, names):
    if isinstance(value, list):
        return [_name(one, names) for one in value]
    return names[value] if value is not None and 0 <= value < len(names) else value
