"""Made once: rows are kept on disk, as Arrow, under the hash of everything that goes into them."""

import hashlib
import json
import logging
import multiprocessing
import os
import tempfile
from collections import deque
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import version
from pathlib import Path

import datasets
import pyarrow
from datasets import Dataset
from datasets.table import MemoryMappedTable
from datasets.utils import tqdm

from midalign.data import context, templates, tokens, written

logger = logging.getLogger(__name__)
ROWS, LEFT_OUT = "rows.arrow", "left_out.arrow"
# before: how many rows that can be used come before it
BAD = pyarrow.schema([("before", pyarrow.int64()), ("place", pyarrow.string()), ("problem", pyarrow.string())])


def prepared(key, make, schema, total=None, what="tokenise"):
    """(the rows that can be used: Dataset, the others: pyarrow.Table of `BAD`).

    key: JSON of everything that goes in; None where that cannot be told, and nothing is kept.
    make: () -> pyarrow tables or batches with the columns of `schema` and `problem`, None where there is none. It is
    called where rows are not there yet.   total, what: how many rows there will be, and what is done, for the bar.
    They are read from the cache folder of `datasets` (HF_DATASETS_CACHE), under midalign; to be deleted at any time.
    """
    digest = hashlib.sha256(json.dumps(key).encode()).hexdigest()[:40]  # `datasets` adds to it and allows 64 in all
    parent = Path(datasets.config.HF_DATASETS_CACHE, "midalign")
    found = _kept(parent / digest, schema) if key is not None else None
    if found:
        return found
    if key is not None:
        try:
            parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=parent) as new:
                _write(Path(new), make(), schema, total, what)
                os.chmod(new, parent.stat().st_mode & 0o777)  # a temporary folder is its owner's alone
                os.rename(new, parent / digest)  # whole or not at all, also with several processes
                Path(new).mkdir()  # for TemporaryDirectory to take away
        except OSError as error:
            if not _kept(parent / digest, schema):  # else a run beside this one was first
                logger.info("prepared rows are not kept: %s.", error)
        found = _kept(parent / digest, schema)
    return found or _in_memory(make(), schema)


def _write(folder, tables, schema, total, what):
    with (
        pyarrow.OSFile(str(folder / ROWS), "wb") as good,
        pyarrow.OSFile(str(folder / LEFT_OUT), "wb") as bad,
        pyarrow.ipc.new_stream(good, schema) as rows,
        pyarrow.ipc.new_stream(bad, BAD) as left_out,
        tqdm(total=total, desc=what, unit=" rows", unit_scale=True, leave=False) as bar,
    ):
        for own, others in _parted(tables, schema):
            rows.write(own)
            left_out.write(others)
            bar.update(len(own) + len(others))


def _parted(tables, schema):
    """(the rows that can be used, the others) of each table."""
    before = 0
    for table in tables:
        table = pyarrow.table(table)
        good = table["problem"].is_null()
        own = table.filter(good).select(schema.names).cast(schema)
        others = table.select(["place", "problem"])
        numbers = pyarrow.array(good.to_numpy().cumsum() + before)
        yield own, others.add_column(0, "before", numbers).filter(table["problem"].is_valid()).cast(BAD)
        before += len(own)


def _in_memory(tables, schema):
    parts = list(_parted(tables, schema))
    rows = pyarrow.concat_tables([own for own, _ in parts] or [schema.empty_table()])
    return Dataset(rows), pyarrow.concat_tables([others for _, others in parts] or [BAD.empty_table()])


def _kept(folder, schema):
    try:
        rows, left_out = (MemoryMappedTable.from_file(str(folder / name)) for name in (ROWS, LEFT_OUT))
    except (OSError, pyarrow.ArrowException):  # not there, half deleted, or somebody else's
        return None
    return (Dataset(rows, fingerprint=folder.name), left_out.table) if rows.schema == schema else None


def in_processes(function, items, processes):
    """Yields `function` of each item in their order, made by so many processes; None for this one alone."""
    if not processes or processes == 1:
        yield from map(function, items)
        return
    waiting = deque()  # a few at a time: items may be all that is on the disk
    fork = multiprocessing.get_context("fork")  # so that nothing needs to be pickled but items and results
    with ProcessPoolExecutor(processes, fork, initializer=_begin, initargs=(function,)) as pool:
        for item in items:
            waiting.append(pool.submit(_call, item))
            if len(waiting) > 2 * processes:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _begin(function):
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # threads do not survive the fork
    _call.function = function


def _call(item):
    return _call.function(item)


def tokenizer_key(tokenizer):
    """JSON of its rules, its chat template, its settings, and the code that applies them; None for a tokenizer without
    the `tokenizers` backend, whose rules cannot be hashed.
    """
    if not tokenizer.is_fast:
        return None
    settings = {"class": type(tokenizer).__name__, "template": tokenizer.chat_template, **tokenizer.init_kwargs}
    backend = tokenizer.backend_tokenizer
    backend.no_padding()  # left from an earlier call, and set anew in the next
    backend.no_truncation()
    rules = hashlib.sha256(backend.to_str().encode()).hexdigest()
    return [json.dumps(settings, sort_keys=True, default=str), rules, code_key(tokens, templates, written, context)]


def code_key(*modules):
    """JSON of what some modules do: their text, and the versions of the packages that they lean on."""
    packages = {name: version(name) for name in ("transformers", "tokenizers", "jinja2")}
    return [packages, *(hashlib.sha256(Path(module.__file__).read_bytes()).hexdigest() for module in modules)]
