"""Records of JSONL, JSONL.gz and Parquet files, each with the place where it stands.

Files are read line by line and within limits, so that neither a small gzip nor a wrong file fills the memory.
"""

import gzip
import hashlib
import json
import os
import stat
import zlib
from contextlib import contextmanager
from pathlib import Path

import pyarrow
import pyarrow.compute
from pyarrow import parquet

from midalign.errors import InputError
from midalign.texts import place_of, shown, squeeze

SUFFIXES = (".jsonl", ".jsonl.gz", ".parquet")
LONGEST_LINE = 1 << 20  # bytes; MASSIVE's rows have up to 2,000
LARGEST_FILE = 1 << 30  # bytes, unpacked; millions of pairs
MOST_LINES = 10_000_000
BOM = b"\xef\xbb\xbf"
BLANKS = " \t\n\r\v\f"  # a line of these alone is empty
BATCH, MEASURED = 256, 1 << 14  # rows of Parquet that are read, and that are only measured, at a time


def records(path):
    """Yields (place, record, problem) for every line or row; problem is None, or says why record is.

    Raises InputError when the file as a whole cannot be read.
    """
    yield from _rows(path) if Path(path).suffix == ".parquet" else _objects(path)


@contextmanager
def opened(path, unpack=True):
    """A file as a stream of bytes, unpacked where it ends in .gz unless told not to.

    Raises InputError where it is no regular file (a pipe can be read once only), cannot be read, or turns out to be
    damaged while it is.
    """
    name = place_of(path)
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            kind = "is a folder" if Path(path).is_dir() else "is a pipe or a device"
            raise InputError(f"{name} {kind}; write what it holds to a file and name that.")
        with gzip.open(path) if unpack and Path(path).suffix == ".gz" else open(path, "rb") as file:
            yield file
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"{name}: {error.strerror or squeeze(str(error))}; name a file that can be read.") from error
    except (EOFError, zlib.error, pyarrow.ArrowException, ValueError, OverflowError) as error:
        raise InputError(f"{name} is damaged ({type(error).__name__}); write it anew.") from error


def whole(path, most):
    """All bytes of a file, unpacked, at most `most`. Raises InputError as `opened` does, and where there are more."""
    with opened(path) as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise _too_large(path, most)
    return content


def sha256_of(path):
    """Of a file as it lies on the disk, hex. Raises InputError as `opened` does, and for one too large to be read."""
    with opened(path, unpack=False) as file:
        if os.fstat(file.fileno()).st_size > LARGEST_FILE:
            raise _too_large(path, LARGEST_FILE)
        return hashlib.file_digest(file, "sha256").hexdigest()


def _too_large(path, most):
    return InputError(f"{place_of(path)} holds more than {most >> 20:,} MiB unpacked; split it or name another file.")


def lines(path):
    """Yields (number, text, problem) for every line of a file; one of the last two is None.

    Only \\n ends a line. Neither it nor the \\r before it is part of the text, nor is a BOM where the file begins.
    Raises InputError when the file as a whole cannot be read.
    """
    with opened(path) as file:
        yield from _lines(path, file)


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
            yield number, None, f"has {LONGEST_LINE >> 10:,} KiB or more; no row is that long"
        elif begins:
            yield number, *_decoded(piece.removeprefix(BOM) if number == 1 else piece)
        begins = piece.endswith(b"\n")


def _decoded(line):
    """(text, problem) of a line, one of the two None."""
    try:
        return line.removesuffix(b"\n").removesuffix(b"\r").decode("utf-8"), None
    except UnicodeDecodeError as error:
        return None, f"has byte {error.start} that is not UTF-8; save the file as UTF-8"


def _objects(path):
    name = place_of(path)
    for number, text, problem in lines(path):
        if problem or text.strip(BLANKS):
            yield f"{name} line {number}", *((None, problem) if problem else _parsed(text))


def parsed(text):
    """What a JSON text says. Raises ValueError or RecursionError where it is none, TwiceError."""
    return DECODER.decode(text)


class TwiceError(Exception):
    """A key that an object has twice: the end of a sentence that begins with the place."""


def _once(pairs):
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise TwiceError(f"has {shown(max(keys, key=keys.count))} twice in one object; keep one of them")
    return found


DECODER = json.JSONDecoder(object_pairs_hook=_once)


def _parsed(text):
    """(record, problem) of a line, one of the two None."""
    try:
        return parsed(text), None
    except TwiceError as error:
        return None, str(error)
    except (ValueError, RecursionError) as error:
        reason = error.msg if isinstance(error, json.JSONDecodeError) else type(error).__name__
        return None, f"is not JSON ({reason}); write one object per line"


def _rows(path):
    with opened(path) as file:
        yield from _table_rows(path, file)


def _table_rows(path, file):
    columns = _columns(path, parquet.read_schema(file))
    _require_small(path, file, columns)
    name, number = place_of(path), 0
    for batch in parquet.ParquetFile(file).iter_batches(BATCH, columns=columns):
        try:
            found = batch.to_pylist()
        except (pyarrow.ArrowException, ValueError, LookupError, OverflowError) as error:
            raise InputError(
                f"{name} has a value that cannot be read ({type(error).__name__}); write its column as text or leave "
                "the column out."
            ) from error
        for record in found:
            yield f"{name} row {number}", record, None
            number += 1


def _columns(path, schema):
    """The names of a table's columns but those with maps, which nothing reads. Raises InputError for a name twice."""
    names = schema.names
    if len(set(names)) < len(names):
        raise InputError(f"{place_of(path)} has two columns named {shown(max(names, key=names.count))}; keep one.")
    return [field.name for field in schema if not _holds_map(field.type)]


def _holds_map(kind):
    inner = (kind.field(i).type for i in range(kind.num_fields))
    return pyarrow.types.is_map(kind) or any(map(_holds_map, inner))


def _require_small(path, file, columns):
    """Refuse a table of which these columns, unpacked, are larger than a file may be.

    A text that is stored once may stand in every row, so texts are measured where they are stored.
    """
    metadata = parquet.read_metadata(file)
    leaves = [metadata.schema.column(i) for i in range(metadata.num_columns)]
    groups = (metadata.row_group(i) for i in range(metadata.num_row_groups))
    size = sum(group.total_byte_size for group in groups)
    if metadata.num_rows > MOST_LINES or size > LARGEST_FILE or any(leaf.length > LONGEST_LINE for leaf in leaves):
        raise _too_large(path, LARGEST_FILE)
    texts, size = [leaf.path for leaf in leaves if leaf.physical_type == "BYTE_ARRAY"], 0
    for batch in parquet.ParquetFile(file, read_dictionary=texts).iter_batches(MEASURED, columns=columns):
        size += sum(map(_unpacked, batch.columns))
        if size > LARGEST_FILE:
            raise _too_large(path, LARGEST_FILE)


def _unpacked(array):
    """How many bytes a column's values take, those of a dictionary as often as they stand there."""
    if pyarrow.types.is_dictionary(array.type):
        lengths = pyarrow.compute.binary_length(array.dictionary)
        return pyarrow.compute.sum(lengths.take(array.indices)).as_py() or 0
    if pyarrow.types.is_nested(array.type):
        inner = array.flatten()
        return sum(map(_unpacked, inner if isinstance(inner, list) else [inner]))
    return array.nbytes


def objects(path):
    """(place, object) of every line of a JSONL file. Raises InputError at the first that is none."""
    for place, record, problem in records(path):
        if problem:
            raise InputError(f"{place} {problem}.")
        yield place, record


def require_own_files(folder, files, keys, verb):
    """Refuse a folder in which a file has the name of one that a verb writes, and is none.

    files: names of what is written, first the JSON with `keys`.   Raises InputError.
    """
    found = [name for name in files if os.path.lexists(Path(folder, name))]
    try:
        own = not found or keys <= json.loads(Path(folder, files[0]).read_text(encoding="utf-8")).keys()
    except (OSError, ValueError, RecursionError, AttributeError):
        own = False
    if not own:
        raise InputError(
            f"{Path(folder, found[0])} would be written over, and is not what `midalign {verb}` writes; move it or "
            "name another --output."
        )


def write_whole(path, text):
    """Write a file that is whole or not there.   What UTF-8 cannot hold, half a character, is written as in JSON."""
    path = Path(path)
    new = path.with_name(f"{path.name}.part")
    new.write_bytes(text.encode("utf-8", "backslashreplace"))
    os.replace(new, path)


def write_result(path, text, instead):
    """`write_whole`, and the folder of the file.   instead: what to do where it cannot be. Raises InputError."""
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, text)
    except OSError as error:
        raise InputError(f"{place_of(path)}: {error.strerror}; {instead}.") from error
