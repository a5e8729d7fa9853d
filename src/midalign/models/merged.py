"""A merged adapter as a folder: written beside its place, checked, described, and only then put there."""

import hashlib
import json
import math
import os
import shutil
import tempfile
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import torch
from safetensors import SafetensorError
from trl import ModelConfig

from midalign.cards import card
from midalign.errors import InputError, MidalignError
from midalign.models import merging
from midalign.models.adapters import CONFIG, WEIGHTS, base_of, layer_of, read_adapter, server_notes, write_adapter
from midalign.models.agreement import TOLERANCE, gap_of_merged, sample_sentences
from midalign.models.loading import load_config, load_model, load_tokenizer
from midalign.texts import shown

ORIGIN, CARD = "merge.json", "README.md"
TEMPLATE = Path(__file__).with_name("merged.md")
SENTENCES = 12
EXACT = 1e-6  # of an update's norm: what float32 leaves of a sum that is exact on paper
ROUNDED = 0.02  # of a factor's norm: several times what rounding to bfloat16 takes; more is underflow


def merge(task, align, output, method="sum", weights=(1.0, 1.0), *, borders=None, density=None, rank=None,
          dtype="float32", base=None, check_logits=True):  # fmt: skip
    """Merge two adapter folders into `output`, a plain PEFT folder with merge.json and a card.

    Arguments as `midalign merge --help` has them.   Returns the record, JSON, that merge.json holds.
    Raises InputError for what cannot be merged, MidalignError where the result does not do what both updates do; then
    nothing is written.
    """
    output = free_place(output)
    task, align = read_adapter(task), read_adapter(align)
    base, revision = common_base(task, align, base)
    _require_options(method, weights, density, rank)
    config = load_config(base, revision)
    text = config.get_text_config()
    _require_layers(task, align, base, text.num_hidden_layers, borders)
    model = _base_model(base, revision, task, align) if check_logits or task.copies or align.copies else None
    chosen, error = None, None
    if method in merging.DENSE:
        factors, error = merging.dense_combine(method, task, align, weights, density, rank)
    else:
        chosen = merging.coefficients(method, task, align, weights, borders)
        factors = merging.combine(task, align, chosen, rank)
    whole = factors
    factors = {module: tuple(side.to(getattr(torch, dtype)) for side in pair) for module, pair in factors.items()}
    if not all(torch.isfinite(side).all() for pair in factors.values() for side in pair):
        raise InputError(f"the merged update does not fit into {dtype}; use smaller weights or --dtype float32.")
    for module, pair in whole.items():
        for exact, cast in zip(pair, factors[module], strict=True):
            if (exact - cast).norm() > ROUNDED * exact.norm():
                raise InputError(f"{dtype} is too coarse for the merged update of {module}; use --dtype float32.")
    if chosen:
        error = merging.relative_error(task, align, chosen, factors)
        _require(rank or dtype != "float32" or error <= EXACT, f"the merged update is {error:.1e} off")
    with placed(output) as staging:
        record = {
            "method": method,
            "weights": list(weights),
            "borders": borders,
            "density": density,
            "base": base,
            "task": source(task),
            "align": source(align),
            "rank": write_adapter(
                staging, factors, task, align, base, revision, text.num_hidden_layers if text is config else None
            ),
            "cut_to_rank": rank,
            "dtype": dtype,
            "relative_error": error,
            "logits": None,
            "notes": server_notes(staging),
            "packages": {name: version(name) for name in ("midalign", "peft", "torch")},
        }
        if chosen and check_logits:
            exact = rank is None and dtype == "float32"
            record["logits"] = _logits(model, base, revision, task, align, chosen, staging, exact)
        _describe(staging, output.name, record)
    return record


def free_place(path):
    """The absolute path of a folder that is not there or is empty. Raises InputError: nothing is ever overwritten."""
    try:
        place = Path(path).resolve()
        taken = place.exists() and (not place.is_dir() or any(place.iterdir()))
        place.parent.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        raise InputError(f"{shown(str(path))} cannot be a folder: {error}; name another.") from error
    if taken:
        raise InputError(f"{path} is there already; name a new folder.")
    return place


@contextmanager
def placed(output):
    """A folder beside `output` (`free_place`) to be filled, which takes its place at the end, whole or not at all."""
    try:
        staging = Path(tempfile.mkdtemp(prefix=".incomplete-", dir=output.parent))
    except OSError as error:
        raise InputError(f"{output.parent} cannot be written: {error.strerror}; name another folder.") from error
    try:
        yield staging
        os.chmod(staging, output.parent.stat().st_mode & 0o777)  # a temporary folder is its owner's alone
        staging.rename(output)
    except (OSError, SafetensorError) as error:
        raise InputError(f"{output} cannot be written: {error}; nothing is left behind.") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def common_base(task, align, given):
    """(name or folder, revision or None) of the base model of both adapters, the one that is `given` at its newest.

    Raises InputError where they were trained on different ones.
    """
    if task.fan_in_fan_out != align.fan_in_fan_out:
        raise InputError("one adapter has fan_in_fan_out and the other has not; they are of different architectures.")
    if given:
        return given, None
    bases = [base_of(adapter.base, adapter.folder) for adapter in (task, align)]
    places = [os.path.realpath(base) if os.path.isdir(base) else base for base in bases]
    if places[0] != places[1] or task.revision != align.revision:
        raise InputError(
            f"{task.folder} was trained on {_named(task)}, {align.folder} on {_named(align)}; updates of different "
            "models do not add up. Where the two are one model under two names (a 4-bit copy), say which with --base."
        )
    return bases[0], task.revision


def _named(adapter):
    return f"{adapter.base} at {adapter.revision}" if adapter.revision else adapter.base


def _require_layers(task, align, base, depth, borders):
    """Both adapters fit one another and the layers of the base. Raises InputError."""
    for adapter in (task, align):
        high = [module for module in adapter.updates if (layer_of(module) or 0) >= depth]
        if high:
            raise InputError(f"{adapter.folder} has an update for {high[0]}, but {base} has {depth} layers.")
    for module in task.updates.keys() & align.updates.keys():
        sizes = [(down.shape[1], up.shape[0]) for down, up, _ in (task.updates[module], align.updates[module])]
        if sizes[0] != sizes[1]:
            raise InputError(
                f"{module} is {sizes[0]} in {task.folder} and {sizes[1]} in {align.folder}; they have not one base."
            )
    if borders and not 0 <= borders[0] < borders[1] <= depth:
        raise InputError(f"borders {borders[0]} {borders[1]}; give two of 0 to {depth}, the smaller one first.")


def _require_options(method, weights, density, rank):
    if not all(map(math.isfinite, weights)):
        raise InputError(f"weights {weights[0]} {weights[1]}; give two finite numbers.")
    if rank is not None and rank < 1:
        raise InputError(f"rank {rank}; give 1 or more.")
    if method not in merging.METHODS:
        raise InputError(f"method {method}; use {', '.join(merging.METHODS)}.")
    dense = method in merging.DENSE
    if dense and not (density and 0 < density <= 1 and rank):
        raise InputError(f"{method} drops entries of whole updates; give --density, above 0 to 1, and --rank to keep.")
    if not dense and density is not None:
        raise InputError(f"--density belongs to {' and '.join(merging.DENSE)}, found method {method}; delete it.")


def _require(holds, sentence):
    if not holds:
        raise MidalignError(f"{sentence}; nothing was written.")


def _base_model(base, revision, task, align):
    """The base, float32. Raises InputError where an adapter brings embeddings of its own along."""
    settings = ModelConfig(model_name_or_path=base, model_revision=revision or "main", dtype="float32")
    model = load_model(base, settings)
    modules = {name for name, _ in model.named_modules()}
    for adapter in (task, align):
        unknown = sorted(adapter.updates.keys() - modules)
        if unknown:
            raise InputError(f"{adapter.folder} has an update for {unknown[0]}, which {base} does not have.")
        for module, weight in adapter.copies.items():
            own = model.get_submodule(module).weight
            if own.shape != weight.shape or not torch.equal(own, weight.to(own.dtype)):
                raise InputError(f"{adapter.folder} holds another {module} than {base}; whole weights are not merged.")
    return model


def _logits(model, base, revision, task, align, chosen, merged, exact):
    sentences = sample_sentences(SENTENCES)
    tokenizer = load_tokenizer(base, revision)
    try:
        gap, largest = gap_of_merged(model, tokenizer, task.folder, align.folder, chosen, merged, sentences)
    except (RuntimeError, ValueError, TypeError, KeyError) as error:  # what PEFT says of an adapter it cannot put on
        reason = " ".join(str(error).split())
        raise InputError(f"{task.folder} and {align.folder} cannot both be put on {base}: {reason}") from error
    _require(
        not exact or gap <= TOLERANCE * largest,
        f"logits with the merged adapter are {gap:.1e} off those with both (largest logit {largest:.1f})",
    )
    return {"largest_gap": gap, "largest_logit": largest, "sentences": len(sentences)}


def source(adapter):
    """Folder and hash of an adapter, for a record."""
    digest = hashlib.sha256((adapter.folder / WEIGHTS).read_bytes() + (adapter.folder / CONFIG).read_bytes())
    return {"folder": str(adapter.folder), "sha256": digest.hexdigest()}


def _describe(folder, name, record):
    (folder / ORIGIN).write_text(json.dumps(record, indent=1, ensure_ascii=False), encoding="utf-8")
    front = {
        "base_model": record["base"],
        "library_name": "peft",
        "pipeline_tag": "text-generation",
        "tags": ["midalign", "lora", "merge"],
    }
    (folder / CARD).write_text(card(TEMPLATE, front, name, record=record), encoding="utf-8")
