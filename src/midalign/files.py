"""Records of JSONL, JSONL.gz and Parquet files, each with the place where it stands.

Files are read line by line and within limits, so that neither a small gzip nor a wrong file fills the memory.
"""

import gzip
import json
import os
import stat
import zlib
from contextlib import contextmanager
from pathlib import Path

import pyarrow
from pyarrow import parquet

from midalign.errors import InputError
from midalign.texts import place_of

SUFFIXES = (".jsonl", ".jsonl.gz", ".parquet")
LONGEST_LINE = 1 << 20  # bytes; MASSIVE's rows have up to 2,000
LARGEST_FILE = 1 << 30  # bytes, unpacked; millions of pairs
MOST_LINES = 10_000_000
BOM = b"\xef\xbb\xbf"
BATCH = 256  # rows of Parquet at a time


def records(path):
    """Yields (place, record, problem) for every line or row; problem is None, or says why record is.

    Raises InputError when the file as a whole cannot be read.
    """
    with opened(path) as file:
        yield from _rows(path, file) if Path(path).suffix == ".parquet" else _lines(path, file)


@contextmanager
def opened(path):
    """A file as a stream of bytes, unpacked where it ends in .gz.

    Raises InputError where it is no regular file (a pipe can be read once only), cannot be read, or turns out to be
    damaged while it is.
    """
    name = place_of(path)
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            kind = "is a folder" if Path(path).is_dir() else "is a pipe or a device"
            raise InputError(f"{name} {kind}; write what it holds to a file and name that.")
        with gzip.open(path) if Path(path).suffix == ".gz" else open(path, "rb") as file:
            yield file
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"{name}: {error.strerror or error}; name a file that can be read.") from error
    except (EOFError, zlib.error, pyarrow.ArrowException, ValueError, OverflowError) as error:
        raise InputError(f"{name} is damaged ({type(error).__name__}); write it anew.") from error


def whole(path, most):
    """All bytes of a file, unpacked, at most `most`. Raises InputError as `opened` does, and where there are more."""
    with opened(path) as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise _too_large(path, most)
    return content


def _too_large(path, most):
    return InputError(f"{place_of(path)} holds more than {most >> 20:,} MiB unpacked; split it or name another file.")


def _lines(path, file):
    name, read, number, begins = place_of(path), 0, 0, True  # begins: whether the next piece begins a line
    while piece := file.readline(LONGEST_LINE):
        read += len(piece)
        if read > LARGEST_FILE:
            raise _too_large(path, LARGEST_FILE)
        number += begins
        if number > MOST_LINES:
            raise InputError(f"{name} has more than {MOST_LINES:,} lines; split it or name another file.")
        if begins and len(piece) == LONGEST_LINE:
            yield f"{name} line {number}", None, f"has {LONGEST_LINE >> 10:,} KiB or more; no row is that long"
        elif begins and (line := piece.removeprefix(BOM) if number == 1 else piece).strip():
            yield f"{name} line {number}", *_parsed(line)
        begins = piece.endswith(b"\n")


def _parsed(line):
    """(record, problem) of a line, one of the two None."""
    try:
        return json.loads(line.decode("utf-8")), None
    except UnicodeDecodeError as error:
        return None, f"has byte {error.start} that is not UTF-8; save the file as UTF-8"
    except (ValueError, RecursionError) as error:
        reason = error.msg if isinstance(error, json.JSONDecodeError) else type(error).__name__
        return None, f"is not JSON ({reason}); write one object per line"


def _rows(path, file):
    table, name, read = parquet.ParquetFile(file), place_of(path), 0
    groups = (table.metadata.row_group(i) for i in range(table.metadata.num_row_groups))
    if sum(group.total_byte_size for group in groups) > LARGEST_FILE:
        raise _too_large(path, LARGEST_FILE)
    number = 0
    for batch in table.iter_batches(BATCH):
        read += batch.nbytes
        if read > LARGEST_FILE:
            raise _too_large(path, LARGEST_FILE)
        for record in batch.to_pylist():
            yield f"{name} row {number}", record, None
            number += 1


def objects(path):
    """(place, object) of every line of a JSONL file. Raises InputError at the first that is none."""
    for place, record, problem in records(path):
        if problem:
            raise InputError(f"{place} {problem}.")
        yield place, record
