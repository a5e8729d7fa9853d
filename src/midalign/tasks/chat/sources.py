"""Where chat rows are: files for each language, or files of many languages with a column that says which."""

import os
from itertools import chain
from pathlib import Path

from midalign.errors import InputError
from midalign.files import SUFFIXES, records
from midalign.languages import language_of
from midalign.tasks.sources import NoSplitError, hub_table, require_language, value_of
from midalign.texts import id_of, place_of, quoted, shown

COLUMNS = ("language", "locale")  # that say a language, where a recipe names none
SPLITS = ("split", "partition")  # that say a partition
MOST = 9  # languages that a sentence names
SAID = {"valid": "dev", "val": "dev", "validation": "dev"}


def find(source, language, partition, revision, column):
    """What `tasks.sources.find` gives, with records as they stand there but for their id, locale and partition.

    source: a folder with <language>/<partition>.jsonl or <language>.jsonl; a folder with <partition>.jsonl or one file,
    with a column for the language; or a hub data set, with a configuration for each language or such a column. Also
    .jsonl.gz and .parquet. Where neither its name nor a column `split` or `partition` says more, a file holds training
    rows.   column: the one for the language; None for `language` or `locale` where no folder says it.
    Records of other languages are passed over. Raises InputError, NoSplitError where there is no such partition.
    """
    require_language(language)
    if source == "demo":
        raise InputError("task_data demo, the embedded corpus, has no chats; name a file, a folder or a hub data set.")
    columns = (column,) if column else COLUMNS
    if not os.path.lexists(source):
        found, own = _hub_records(source, language, partition, revision)
        where, alone = f"{source}, split {partition},", True
    else:
        file, own, alone = _file_of(source, language, partition)
        found, where = _plain(file), place_of(file)
    by_column = None
    if not alone:
        found = iter(found)
        first = next(found, (None, None, None))
        found = chain([first], found) if first[0] else ()
        by_column = isinstance(first[1], dict) and any(name in first[1] for name in SPLITS)
        if not by_column and partition != "train":
            raise NoSplitError(f"task_data {where} has no column split, so all its rows are for training; add one.")
    rows = _rows(found, language, columns if column or not own else (), own, where)
    return _parted(rows, value_of(partition), by_column), where, alone


def _file_of(source, language, partition):
    """(the file with the rows, whether it is the language's own, whether it is the partition's own)."""
    if not os.path.isdir(source):
        return Path(source), False, False
    for stem, own, alone in (
        (f"{language}/{partition}", True, True),
        (language, True, False),
        (partition, False, True),
    ):
        for suffix in SUFFIXES:
            file = Path(source, f"{stem}{suffix}")
            if os.path.lexists(file):  # whatever it is: what cannot be read is said when it is read
                return file, own, alone
    raise NoSplitError(
        f"task_data {place_of(source)} has neither {language}/{partition}.jsonl nor {language}.jsonl nor "
        f"{partition}.jsonl (or .jsonl.gz, .parquet); add one or name another language."
    )


def languages_in(source, column):
    """The languages that a column names in files here of many languages with test rows, as `find` takes them.

    column: see `find`.
    """
    stems = [Path(source, f"test{suffix}") for suffix in SUFFIXES] if os.path.isdir(source) else [Path(source)]
    columns = (column,) if column else COLUMNS
    names = set()
    for file in filter(Path.is_file, stems):
        for _, record, _ in _plain(file):
            record = record if isinstance(record, dict) else {}
            if file == Path(source) and not any(name in record for name in SPLITS):
                break  # all its rows are for training
            said = next((record[name] for name in columns if record.get(name) is not None), None)
            names |= {said.replace("_", "-")} if isinstance(said, str) else set()
    return [name for name in names if language_of(name)]


def _hub_records(source, language, partition, revision):
    """(place, record, None) of a split, and whether it is of this language alone."""
    own, other = True, f"a file, or a folder with {language}/{partition}.jsonl"
    try:
        table = hub_table(source, [language], partition, revision, other)
    except NoSplitError:
        raise
    except InputError:  # no such configuration, or no answer, which the next says too
        own, table = False, hub_table(source, [None], partition, revision, other)
    place = f"{source}, split {partition}, row"
    return ((f"{place} {number},", without_nulls(row), None) for number, row in enumerate(table)), own


def _plain(file):
    if file.suffix != ".parquet":
        return records(file)
    return ((place, without_nulls(record), problem) for place, record, problem in records(file))


def without_nulls(value):
    """What a table holds without its nulls: it has one for every field that another row has, also inside of calls."""
    if isinstance(value, dict):
        return {key: without_nulls(part) for key, part in value.items() if part is not None}
    return [without_nulls(part) for part in value] if isinstance(value, list) else value


def _rows(found, language, columns, own, where):
    """The records of a language, with an id and their locale.   columns: of which one says it; () where all are.

    own: whether those of another language are wrong there, instead of passed over.   where: a name of the place.
    Raises NoSplitError after the last where all are of other languages.
    """
    others, only_others = {}, True
    for number, (place, record, problem) in enumerate(found):
        if problem or not isinstance(record, dict):
            only_others = False
            yield place, None, problem or "is no object; a row is one"
            continue
        said = next((record[name] for name in columns if record.get(name) is not None), None) if columns else language
        if isinstance(said, str) and language not in (said, said.replace("_", "-")) and not own:
            if len(others) <= MOST:
                others[said] = None
            continue
        only_others = False
        if not isinstance(said, str):
            yield place, None, f'has no text in "{columns[0]}", which says its language; see task_language_column'
        elif language not in (said, said.replace("_", "-")):
            yield place, None, f"has {columns[0]} {shown(said)}, but {language} was asked for; keep languages apart"
        else:
            name = record.get("id")
            own_id = f"{language} {number}" if name is None else id_of(name)
            if own_id is None:
                yield place, None, f'has {quoted(name)} in "id"; make it text or a whole number'
            else:
                yield place, {**record, "id": own_id, "locale": language}, None
    if others and only_others:
        named = ", ".join(map(shown, [*others][:MOST])) + (" and others" if len(others) > MOST else "")
        raise NoSplitError(
            f"{where} has no row of {language}, only of {named}; name another language as it stands there, or the "
            "column that says it, task_language_column."
        )


def _parted(rows, value, by_column):
    """Rows with a partition: `value`, or what a column says.

    by_column: None where the place says it, else whether rows have such a column; without one all are training rows.
    """
    for place, row, problem in rows:
        if not problem and by_column is not None:
            said = next((row[name] for name in SPLITS if row.get(name) is not None), None)
            if by_column and not isinstance(said, str):
                has = quoted(said) if said else "nothing"
                row, problem = None, f'has {has} in "split"; use train, validation, test'
            elif said and not by_column:
                row, problem = None, f"has split {quoted(said)}, but the first row has none; give it to all or to none"
        if not problem:
            said = value if by_column is None else SAID.get(said, said) if by_column else "train"
            row = {**row, "partition": said}
        yield place, row, problem
