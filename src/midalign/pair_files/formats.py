"""What is in files of pairs: (place, record, problem) as of `files.records`, the sides in the order of the file."""

import csv
from itertools import zip_longest

from midalign.errors import InputError
from midalign.files import BLANKS, lines
from midalign.languages import language_of
from midalign.texts import place_of, quoted, shown

FIELDS = ("source", "target", "source_lang", "target_lang")


def moses(first, second, tags):
    """Of two files whose lines translate each other.   tags: their languages.

    Raises InputError at the end of files that have not the same number of lines.
    """
    counts, name = [0, 0], f"{place_of(first)} and {shown(second.name)}"
    for both in zip_longest(lines(first), lines(second)):
        counts = [line[0] if line else count for line, count in zip(both, counts, strict=True)]
        if None in both:
            continue  # to count them all
        numbers, texts, problems = zip(*both, strict=True)
        bad = next((side for side in (0, 1) if problems[side]), None)
        if bad is not None:
            yield f"{place_of((first, second)[bad])} line {numbers[0]}", None, problems[bad]
        elif any(text.strip(BLANKS) for text in texts):
            yield f"{name} line {numbers[0]}", *_pair(texts, tags)
    if counts[0] != counts[1]:
        raise InputError(
            f"{place_of(first)} has {counts[0]:,} lines and {shown(second.name)} has {counts[1]:,}, so they do not "
            "translate each other line by line; name the two files of one corpus."
        )


def table(path, named, pivot):
    """Of a TSV or CSV file.   named: the languages of its columns, from a recipe; None where the file says them.

    Raises InputError where nothing says them, and for a broken first line, which may be what does.
    """
    columns, tab, name = None, ".tsv" in path.suffixes, place_of(path)
    hint = "a text cannot hold a tab" if tab else "a text with commas stands in quotes"
    for number, cells, problem in (_tsv if tab else _csv)(path):
        place = f"{name} line {number}"
        if columns is None:
            if problem:
                raise InputError(f"{place} {problem}.")
            columns, width, is_pair = _columns(place, path, cells, named, pivot)
            if not is_pair:
                continue
        if not problem and len(cells) != width:
            problem = f"has {len(cells)} column(s) instead of {width}; {hint}"
        if problem:
            yield place, None, problem
        else:
            values = [cells[at] if isinstance(at, int) else at for at in columns]
            yield place, *_pair(values[:2], values[2:])


def _tsv(path):
    """(number, cells, problem) of every line that is not empty. Nothing is quoted: corpora are full of bare quotes."""
    for number, text, problem in lines(path):
        if problem or text.strip(BLANKS):
            yield number, text and text.split("\t"), problem


def _csv(path):
    """As `_tsv`; a quoted cell may hold line breaks, so a file with a broken line cannot be read on."""

    def texts():
        for number, text, problem in lines(path):
            if problem:
                raise InputError(f"{place_of(path)} line {number} {problem}.")
            yield f"{text}\n"

    reader, number = csv.reader(texts(), strict=True), 1
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield number, cells, None
            number = reader.line_num + 1
    except csv.Error as error:
        raise InputError(f"{place_of(path)} line {number} is no CSV ({error}); save the table anew.") from error


def _columns(place, path, cells, named, pivot):
    """(where in a row, or what, each of `FIELDS` is; how many columns there are; whether the first line is a pair).

    cells: of the first line. Raises InputError where it leaves the languages open.
    """
    names, tab = [cell.strip().strip('"').lower() for cell in cells], ".tsv" in path.suffixes
    told = named or _tags_of_name(path, pivot)
    spoken = set(map(language_of, told or ()))
    tags = {at: tag_of(name) for at, name in enumerate(names) if language_of(tag_of(name))}
    heads_pivot = len(tags) == len(cells) == 2 and pivot in map(language_of, tags.values())
    headed = tags if heads_pivot or (len(cells) == 2 and not told) else {}
    if pivot in spoken:  # other columns may be languages by accident, such as one called id
        headed = {at: tag for at, tag in tags.items() if language_of(tag) in spoken}
    if {*FIELDS} <= {*names}:
        columns = [names.index(field) for field in FIELDS]
    elif {*FIELDS[:2]} <= {*names} and told:
        columns = [*map(names.index, FIELDS[:2]), *told]
    elif len(headed) == 2:
        columns = [*headed, *headed.values()]
    elif told and tab and not heads_pivot:
        return (0, 1, *told), 2, True
    else:
        ending, separator = ("tsv", "\t") if tab else ("csv", ",")
        why = f"but the file is one of {' and '.join(told)}" if told else "which leaves open what is in which language"
        if not tab and len(cells) == 1 and (found := next((mark for mark in ";\t|" if mark in cells[0]), None)):
            why = f"with {shown(found)} between columns where a CSV has a comma"
        raise InputError(
            f"{place} is {quoted(separator.join(cells))}, {why}; begin with {quoted(separator.join(FIELDS))} or two "
            f"languages as {quoted(f'xx{separator}{pivot}')}, and call a file with other columns xx-{pivot}.{ending}."
        )
    twice = next((names[at] for at in columns if isinstance(at, int) and names.count(names[at]) > 1), None)
    if twice:
        raise InputError(f"{place} names the column {shown(twice)} twice; keep one of them.")
    if tab and '"' in "".join(cells):
        raise InputError(f"{place} has quotes around names, and in a TSV they are text; write it without, or as CSV.")
    return columns, len(cells), False


def _tags_of_name(path, pivot):
    """The two tags in the name of a file, such as de and en in news.de-en.tsv; None without."""
    parts = path.name.split(".")[:-1]
    return next(filter(None, (two_tags(part, pivot) for part in reversed(parts))), None)


def translations(found):
    """The records, with {"translation": {"de": ..., "en": ...}} as {"source": ..., ...}."""
    for place, record, problem in found:
        texts = record.get("translation") if isinstance(record, dict) else None
        if isinstance(texts, dict) and not {*FIELDS} <= record.keys():  # `source` alone may say where a row is from
            texts = {name: text for name, text in texts.items() if text is not None}  # Parquet's rows have equal keys
            if len(texts) == 2:
                record = dict(zip(FIELDS, (*texts.values(), *map(tag_of, texts)), strict=True))
            else:
                record, problem = None, f"has a translation of {len(texts)} language(s); every row needs exactly two"
        yield place, record, problem


def _pair(texts, tags):
    """(record, problem) of two texts in the order of their languages."""
    missing = next((tag for text, tag in zip(texts, tags, strict=True) if not text.strip()), None)
    record = dict(zip(FIELDS, (*texts, *tags), strict=True))
    return record, f"has no {shown(missing)} text, found blanks; every pair needs both sides" if missing else None


def two_tags(name, pivot):
    """The two tags in a name such as de-en or pt_BR-en; None where there are none, or it can be read in two ways."""
    parts = name.split("-")
    cuts = [(tag_of("-".join(parts[:i])), tag_of("-".join(parts[i:]))) for i in range(1, len(parts))]
    cuts = [cut for cut in cuts if all(map(language_of, cut))]
    cuts = [cut for cut in cuts if pivot in map(language_of, cut)] or cuts
    return cuts[0] if len(cuts) == 1 else None


def tag_of(name):
    """A language in a file's name or the head of a column as a tag: zh-cn of zh_CN."""
    return name.strip().replace("_", "-").lower()
