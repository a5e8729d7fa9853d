"""A merged adapter as a folder: written beside its place, checked, described, and only then put there."""

import hashlib
import json
import shutil
from importlib.metadata import version
from pathlib import Path

import jinja2
import torch
import yaml
from trl import ModelConfig

from midalign.errors import InputError, MidalignError
from midalign.models import merging
from midalign.models.adapters import CONFIG, WEIGHTS, read_adapter, server_notes, write_adapter
from midalign.models.agreement import TOLERANCE, gap_of_merged, sample_sentences
from midalign.models.loading import load_config, load_model, load_tokenizer
from midalign.texts import in_markdown

ORIGIN, CARD = "merge.json", "README.md"
TEMPLATE = Path(__file__).with_name("merged.md")
SENTENCES = 12
EXACT = 1e-6  # of an update's norm: what float32 leaves of a sum that is exact on paper


def merge(task, align, output, method="sum", weights=(1.0, 1.0), *, borders=None, density=None, rank=None,
          dtype="float32", base=None, check_logits=True):  # fmt: skip
    """Merge two adapter folders into `output`, a plain PEFT folder with merge.json and a card.

    Arguments as `midalign merge --help` has them.   Returns the record, JSON, that merge.json holds.
    Raises InputError for what cannot be merged, MidalignError where the result does not do what both updates do; then
    nothing is written.
    """
    output = new_folder(output)
    task, align = read_adapter(task), read_adapter(align)
    base = _common_base(task, align, base)
    _require_options(method, density, rank)
    depth = load_config(base, task.revision).get_text_config().num_hidden_layers
    model = _base_model(base, task, align) if check_logits or task.copies or align.copies else None
    chosen, error = None, None
    if method in merging.DENSE:
        factors, error = merging.dense_combine(method, task, align, weights, density, rank)
    else:
        chosen = merging.coefficients(method, task, align, weights, borders)
        factors = merging.combine(task, align, chosen, rank)
    factors = {module: tuple(side.to(getattr(torch, dtype)) for side in pair) for module, pair in factors.items()}
    if chosen:
        error = merging.relative_error(task, align, chosen, factors)
        _require(rank or dtype != "float32" or error <= EXACT, f"the merged update is {error:.1e} off")
    staging = output.with_name(output.name + ".incomplete")
    shutil.rmtree(staging, ignore_errors=True)
    try:
        record = {
            "method": method,
            "weights": list(weights),
            "borders": borders,
            "density": density,
            "base": base,
            "task": _source(task),
            "align": _source(align),
            "rank": write_adapter(staging, factors, task, align, base, depth),
            "dtype": dtype,
            "relative_error": error,
            "logits": None,
            "notes": server_notes(staging),
            "packages": {name: version(name) for name in ("midalign", "peft", "torch")},
        }
        if chosen and check_logits:
            exact = rank is None and dtype == "float32"
            record["logits"] = _logits(model, base, task, align, chosen, staging, exact)
        _describe(staging, output.name, record)
        staging.rename(output)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return record


def new_folder(path):
    """A folder that is not there or is empty. Raises InputError for another: nothing is ever overwritten."""
    path = Path(path)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise InputError(f"{path} is there already; name a new folder.")
    if path.exists():
        path.rmdir()
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _common_base(task, align, given):
    """The base model of both adapters. Raises InputError where they were trained on different ones."""
    if given:
        return given

    def identity(adapter):
        place = Path(adapter.base)
        return str(place.resolve()) if place.is_dir() else adapter.base, adapter.revision

    if identity(task) != identity(align):
        raise InputError(
            f"{task.folder} was trained on {_named(task)}, {align.folder} on {_named(align)}; updates of different "
            "models do not add up. Where the two are one model under two names (a 4-bit copy), say which with --base."
        )
    if task.fan_in_fan_out != align.fan_in_fan_out:
        raise InputError("one adapter has fan_in_fan_out and the other has not; they are of different architectures.")
    return task.base


def _named(adapter):
    return f"{adapter.base} at {adapter.revision}" if adapter.revision else adapter.base


def _require_options(method, density, rank):
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


def _base_model(base, task, align):
    """The base, float32. Raises InputError where an adapter brings embeddings of its own along."""
    settings = ModelConfig(model_name_or_path=base, model_revision=task.revision or "main", dtype="float32")
    model = load_model(base, settings)
    for adapter in (task, align):
        for module, weight in adapter.copies.items():
            own = model.get_submodule(module).weight
            if own.shape != weight.shape or not torch.equal(own, weight.to(own.dtype)):
                raise InputError(f"{adapter.folder} holds another {module} than {base}; whole weights are not merged.")
    return model


def _logits(model, base, task, align, chosen, merged, exact):
    sentences = sample_sentences(SENTENCES)
    tokenizer = load_tokenizer(base, task.revision)
    gap, largest = gap_of_merged(model, tokenizer, task.folder, align.folder, chosen, merged, sentences)
    _require(
        not exact or gap <= TOLERANCE * largest,
        f"logits with the merged adapter are {gap:.1e} off those with both (largest logit {largest:.1f})",
    )
    return {"largest_gap": gap, "largest_logit": largest, "sentences": len(sentences)}


def _source(adapter):
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
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["plain"] = lambda value: in_markdown(str(value))
    card = environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        record=record,
        name=name,
        front=yaml.safe_dump(front, sort_keys=False, allow_unicode=True, width=1000),
        code=json.dumps(name),  # a string of JSON is one of Python
    )
    (folder / CARD).write_text(card, encoding="utf-8")
