"""Tokenised once: rows are kept on disk under the hash of everything that goes into them."""

import hashlib
import json
import logging
import os
import tempfile
from importlib.metadata import version
from pathlib import Path

import datasets
from datasets import Dataset

from midalign.data import context, templates, tokens, written

logger = logging.getLogger(__name__)


def prepared(tokenizer, items, make, processes=None):
    """`make(tokenizer, items)` as a Dataset, from disk where the same tokenizer has made it of the same items before.

    items: texts or chats, anything that JSON takes.   make: a function of `data.tokens` that gives {column: list}
    and treats every item alone.   processes: how many make it, the `dataset_num_proc` of TRL.
    Kept in the cache folder of `datasets` (HF_DATASETS_CACHE), under midalign; to be deleted at any time. Not kept
    for a tokenizer without the `tokenizers` backend: its rules cannot be hashed.
    """
    if not items or not tokenizer.is_fast:
        return Dataset.from_dict(make(tokenizer, items))
    folder = Path(datasets.config.HF_DATASETS_CACHE, "midalign", _key(tokenizer, items, make))
    kept = _kept(folder)
    if kept is not None:
        return kept
    table = Dataset.from_dict({"item": range(len(items))}).map(
        lambda batch: make(tokenizer, [items[i] for i in batch["item"]]),
        batched=True,
        remove_columns="item",
        num_proc=processes,
        new_fingerprint=folder.name,  # else `datasets` pickles tokenizer and items to hash them
        desc="tokenise",
    )
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as new:
            table.save_to_disk(new)
            os.chmod(new, folder.parent.stat().st_mode & 0o777)  # a temporary folder is its owner's alone
            os.rename(new, folder)  # whole or not at all, also with several processes
            Path(new).mkdir()  # for TemporaryDirectory to take away
    except OSError as error:
        if _kept(folder) is None:  # else a run beside this one was first
            logger.info("tokenised rows are not kept: %s.", error)
    return table


def _kept(folder):
    try:
        return Dataset.load_from_disk(str(folder))
    except (OSError, ValueError):  # not there, half deleted, or somebody else's
        return None


def _key(tokenizer, items, make):
    """A hash of what goes in, and of the first row that comes out: a template may read a clock."""
    digest = hashlib.sha256(_tokenizer_digest(tokenizer))
    for part in (make.__name__, json.dumps(items), json.dumps(make(tokenizer, items[:1]))):
        digest.update(hashlib.sha256(part.encode()).digest())
    return digest.hexdigest()[:40]  # `datasets` adds to it and allows 64 in all


def _tokenizer_digest(tokenizer):
    """Of its rules, its chat template, its settings, and the code that applies them."""
    settings = {"class": type(tokenizer).__name__, "template": tokenizer.chat_template, **tokenizer.init_kwargs}
    packages = {name: version(name) for name in ("transformers", "tokenizers", "jinja2")}
    backend = tokenizer.backend_tokenizer
    backend.no_padding()  # left from an earlier call, and set anew in the next
    backend.no_truncation()
    parts = (backend.to_str(), json.dumps([settings, packages], sort_keys=True, default=str))
    code = b"".join(Path(module.__file__).read_bytes() for module in (tokens, templates, written, context))
    return hashlib.sha256("".join(parts).encode() + code).digest()
