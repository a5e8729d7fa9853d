"""Records of JSONL, JSONL.gz and Parquet files, each with the place where it stands."""

import gzip
import json
import zlib
from pathlib import Path

import pyarrow
from pyarrow import parquet

from midalign.errors import InputError

SUFFIXES = (".jsonl", ".jsonl.gz", ".parquet")


def records(path):
    """Yields (place, record, problem) for every line or row; problem is None, or says why record is.

    Raises InputError when the file as a whole cannot be read.
    """
    path = Path(path)
    try:
        if path.suffix == ".parquet":
            for number, record in enumerate(parquet.read_table(path).to_pylist()):
                yield f"{path} row {number}", record, None
        else:
            data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
            yield from _lines(path, data)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}; name a file that can be read.") from error
    except (EOFError, zlib.error, pyarrow.ArrowException, ValueError, OverflowError) as error:
        raise InputError(f"{path} is damaged ({type(error).__name__}); write it anew.") from error


def _lines(path, data):
    for number, line in enumerate(data.removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        if not line.strip():
            continue
        place = f"{path} line {number}"
        try:
            yield place, json.loads(line.decode("utf-8")), None
        except UnicodeDecodeError as error:
            yield place, None, f"has byte {error.start} that is not UTF-8; save the file as UTF-8"
        except (ValueError, RecursionError) as error:
            reason = getattr(error, "msg", type(error).__name__)
            yield place, None, f"is not JSON ({reason}); write one object per line"


def objects(path):
    """(place, object) of every line of a JSONL file. Raises InputError at the first that is none."""
    for place, record, problem in records(path):
        if problem:
            raise InputError(f"{place} {problem}.")
        yield place, record
