"""Columns of Datasets as arrays: millions of rows are looked at without becoming objects of Python."""

import json

import numpy as np
import pyarrow
import pyarrow.compute as pc

PIECE = 10_000  # rows at a time


def pieces(rows, *names):
    """Yields pyarrow.Tables of some columns, up to PIECE rows at a time.   rows: Dataset."""
    if len(rows):
        yield from rows.select_columns(list(names)).with_format("arrow").iter(PIECE)


def numbers(rows, name):
    """A column of numbers: (rows,)."""
    return np.concatenate([table[name].to_numpy() for table in pieces(rows, name)] or [np.empty(0, int)])


def codes(column):
    """(the texts of a column, sorted; which of them each row has: (rows,) int16).   column: pyarrow.ChunkedArray."""
    names = sorted(pc.unique(column).to_pylist())
    values = pyarrow.array(names, column.type)
    found = [pc.index_in(chunk, values).to_numpy().astype(np.int16) for chunk in column.chunks]
    return names, np.concatenate(found or [np.empty(0, np.int16)])


def codes_of(rows, name):
    """`codes` of a column of a Dataset."""
    parts = [table[name] for table in pieces(rows, name)]
    chunks = [chunk for part in parts for chunk in part.chunks]
    return codes(pyarrow.chunked_array(chunks, pyarrow.string()))


def lengths(rows, *names):
    """How many items the lists in some columns have: (rows, columns)."""
    each = [np.empty((0, len(names)), np.int32)]
    for table in pieces(rows, *names):
        each.append(np.stack([pc.list_value_length(column).to_numpy() for column in table.columns], axis=1))
    return np.concatenate(each)


def longest(rows, *names):
    """The most items that a list in one of the columns has; 0 without any."""
    return int(lengths(rows, *names).max(initial=0))


def most(rows, *names):
    """The largest number in the lists of some columns; 0 without any."""
    each = (pc.max(pc.list_flatten(column)).as_py() for table in pieces(rows, *names) for column in table.columns)
    return max(filter(None, each), default=0)


def among(column, values):
    """Whether each number of a column is one of the values: (rows,) bool.   Both: arrays or ChunkedArrays."""
    values = pyarrow.array(np.asarray(values))
    chunks = column.chunks if isinstance(column, pyarrow.ChunkedArray) else [pyarrow.array(column)]
    return np.concatenate([pc.is_in(chunk, values).to_numpy(False) for chunk in chunks] or [np.empty(0, bool)])


def first_ids(pairs):
    """The tokens that sentences begin with: set.   pairs: Dataset of `data.pair_rows`."""
    found = (pc.list_element(column, 0) for table in pieces(pairs, "source", "target") for column in table.columns)
    return set().union(*(pc.unique(own).to_pylist() for own in found))


def counts(rows, name):
    """{text: in how many rows it is}, sorted, of a column."""
    names, own = codes_of(rows, name)
    return dict(zip(names, np.bincount(own, minlength=len(names)).tolist(), strict=True))


def row_of_longest(rows, *names):
    """The first row with the longest list in any of the columns."""
    return int(lengths(rows, *names).max(axis=1).argmax())


def in_json(rows, *names):
    """Yields the parts of what `json.dumps` makes of a list with each row's value, or values where names are several.

    Columns are lists of numbers, or texts.
    """
    yield "["
    for number, table in enumerate(pieces(rows, *names)):
        columns = [_in_json(column.combine_chunks()) for column in table.columns]
        each = pc.binary_join_element_wise(*columns, ", ").to_pylist()
        yield (", " if number else "") + ", ".join(each if len(names) == 1 else (f"[{own}]" for own in each))
    yield "]"


def _in_json(column):
    if pyarrow.types.is_string(column.type):
        values = column.dictionary_encode()
        return pyarrow.array(map(json.dumps, values.dictionary.to_pylist())).take(values.indices)
    texts = pc.binary_join(column.cast(pyarrow.list_(pyarrow.string())), ", ")
    return pc.binary_join_element_wise("[", texts, "]", "")


def repeats(*columns):
    """Which rows have the numbers of an earlier one in all columns: (rows,) bool.   columns: (rows,) integers each."""
    mixed = np.zeros(len(columns[0]), np.int64)
    for column in columns:
        mixed = 3 * mixed + column  # it wraps round
    ordered = np.sort(mixed)
    again, some = np.zeros(len(mixed), bool), among(mixed, np.unique(ordered[1:][ordered[1:] == ordered[:-1]]))
    some = np.flatnonzero(some)  # few of millions: the others need no exact look
    keys = np.stack([column[some] for column in columns])
    order = np.lexsort(keys)  # stable: the first of equal ones is the earliest
    same = (keys[:, order[1:]] == keys[:, order[:-1]]).all(axis=0)
    again[some[order[1:][same]]] = True
    return again


def distinct(rows, name):
    """How many lists a column has that differ."""
    return len({own.values.to_numpy().tobytes() for table in pieces(rows, name) for own in table[name]})


def rows_of(table):
    """Yields the rows of a pyarrow.Table as dicts."""
    for batch in table.to_batches(PIECE):
        yield from batch.to_pylist()
