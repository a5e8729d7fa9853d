"""The run record: what was asked for, what went in, what it ran on, what came out; and the model card made from it."""

import hashlib
import json
import os
import platform
import re
import subprocess
from dataclasses import asdict
from importlib.metadata import version
from itertools import chain
from pathlib import Path

import torch

from midalign.cards import card
from midalign.data.columns import counts, in_json
from midalign.files import write_whole
from midalign.texts import without_secrets
from midalign.training.several import labels_of, rows_by_task

RECORD, CARD = "run.json", "README.md"
PACKAGES = ("midalign", "trl", "transformers", "peft", "accelerate", "datasets", "torch", "tokenizers")
TEMPLATE = Path(__file__).with_name("card.md")
SECRET = re.compile("(^|_)(token|password|passwd|secret|(api|access|private|secret)_?key|credentials?)$", re.IGNORECASE)


def masked(value, key=""):
    """JSON without secrets: values of keys that name one, and what looks like one in any text."""
    if isinstance(value, dict):
        return {name: masked(own, str(name)) for name, own in value.items()}
    if isinstance(value, list):
        return [masked(own, key) for own in value]
    if not isinstance(value, str):
        return value
    return f"<{key.upper()}>" if SECRET.search(key) else without_secrets(value)


def resolved(data, training, model):
    """Every key of the recipe with the value it has, defaults included; JSON without secrets."""
    values = {**asdict(data), **training.to_dict(), **asdict(model)}
    return masked(json.loads(json.dumps(values, default=str, sort_keys=True)))


def data_record(task, pairs, held_out_task=None, held_out_pairs=()):
    """Counts and hashes of what is trained on and evaluated with, tokenised: equal hash, equal rows in equal order.

    task, held_out_task: Datasets with input_ids and labels, of several tasks with the column of `several.labels_of`.
    pairs, held_out_pairs: Datasets of `pair_rows`.
    """
    names = labels_of(task)
    return {
        "task_rows": len(task),
        **({"rows_of_tasks": dict(zip(names, rows_by_task(task), strict=True))} if names else {}),
        "task_sha256": _rows_sha256(task),
        "held_out_task_sha256": _rows_sha256(held_out_task) if held_out_task else None,
        "pairs": counts(pairs, "language"),
        "pairs_sha256": _pairs_sha256(pairs),
        "held_out_pairs_sha256": _pairs_sha256(held_out_pairs),
    }


def _rows_sha256(rows):
    """Of {"input_ids": [...], "labels": [...]} as JSON."""
    ids, labels = in_json(rows, "input_ids"), in_json(rows, "labels")
    return _sha256_of(chain(['{"input_ids": '], ids, [', "labels": '], labels, ["}"]))


def _pairs_sha256(pairs):
    return _sha256_of(in_json(pairs, "source", "target", "language"))


def _sha256_of(parts):
    """Of a text in parts."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.encode())
    return digest.hexdigest()


def step_record(args, processes):
    """What one optimizer step of all processes holds: equal sentences, equal steps, however they are split up.

    The pairs of one half are candidates for each other.
    """
    together = processes if args.align_gather_negatives else 1
    halves = -(-args.gradient_accumulation_steps // args.align_every) * processes // together
    rows = f"{args.per_device_train_batch_size * args.gradient_accumulation_steps * processes} task rows"
    pairs = f"{halves} x {args.align_batch_size * together} pairs"
    if args.align_until is not None:
        pairs += f" up to step {args.align_until}"
    if args.align_every > 1:
        pairs += f" in {args.gradient_accumulation_steps} micro-batches"
    if not args.align_gather_negatives and processes > 1:
        pairs += f" of {processes} processes"  # each draws its own
    schedules = {"sft": rows, "joint": f"{rows} and {pairs}", "alternate": f"{rows} or {pairs}, in turn"}
    task_rows = 0 if args.align_schedule == "align_only" else args.per_device_train_batch_size
    return {
        "holds": schedules.get(args.align_schedule, pairs),
        "task_rows": task_rows * args.gradient_accumulation_steps * processes,
    }


def sha256(content):
    """Of JSON."""
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def environment():
    """Versions, commit and hardware of this process."""
    names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {
        "packages": {name: version(name) for name in PACKAGES},
        "python": platform.python_version(),
        "commit": _commit(),
        "hardware": {"machine": platform.machine(), "cpus": os.cpu_count(), "gpus": names, "cuda": torch.version.cuda},
    }


def code_sha256():
    """Of this program's own files, whatever has been committed."""
    folder = Path(__file__).parents[1]
    return sha256([[file.name, file.read_text(encoding="utf-8")] for file in sorted(folder.rglob("*.py"))])


def _commit():
    """The commit of the source tree, with `+changes` where files differ from it; None outside of a checkout."""

    def git(*arguments):
        command = ["git", "-C", str(Path(__file__).parent), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout.strip()

    try:
        if not git("ls-files", "--error-unmatch", __file__):
            return None
        return git("rev-parse", "HEAD") + ("+changes" if git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def write_record(folder, record):
    """run.json and the model card README.md into a folder, without secrets; `record` is JSON."""
    folder, record = Path(folder), masked(record)
    write_whole(folder / RECORD, json.dumps(record, indent=1, ensure_ascii=False))
    write_whole(folder / CARD, card_of(record))


def card_of(record):
    """The model card: text."""
    recipe = record["recipe"]
    peft = bool(recipe["use_peft"])
    front = {
        "base_model": record["model"]["name"],
        "library_name": "peft" if peft else "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["midalign", "trl", "sft", *(["lora"] if peft else [])],
        "language": record["languages"],
    }
    place = (recipe["push_to_hub"] and recipe["hub_model_id"]) or recipe["output_dir"]
    return card(TEMPLATE, front, place, record=record)
