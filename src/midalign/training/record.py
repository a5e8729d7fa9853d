"""The run record: what was asked for, what went in, what it ran on, what came out; and the model card made from it."""

import hashlib
import json
import os
import platform
import subprocess
from collections import Counter
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

import jinja2
import torch

RECORD, CARD = "run.json", "README.md"
PACKAGES = ("midalign", "trl", "transformers", "peft", "accelerate", "datasets", "torch", "tokenizers")
TEMPLATE = Path(__file__).with_name("card.md")


def resolved(data, training, model):
    """Every key of the recipe with the value it has, defaults included; JSON."""
    values = {**asdict(data), **training.to_dict(), **asdict(model)}
    return json.loads(json.dumps(values, default=str, sort_keys=True))


def data_record(task, pairs):
    """Counts and hashes of what is trained on, tokenised: equal hash, equal rows in equal order.

    task: Dataset with input_ids and labels.   pairs: rows of `pair_rows`.
    """
    return {
        "task_rows": len(task),
        "task_sha256": _sha256(task.select_columns(["input_ids", "labels"]).to_dict()),
        "pairs": dict(sorted(Counter(pair["language"] for pair in pairs).items())),
        "pairs_sha256": _sha256([[pair["source"], pair["target"], pair["language"]] for pair in pairs]),
    }


def step_record(args, processes):
    """What one optimizer step of all processes holds: equal sentences, equal steps, however they are split up.

    The pairs of one half are candidates for each other.
    """
    together = processes if args.align_gather_negatives else 1
    halves = -(-args.gradient_accumulation_steps // args.align_every) * processes // together
    rows = f"{args.per_device_train_batch_size * args.gradient_accumulation_steps * processes} task rows"
    pairs = f"{halves} x {args.align_batch_size * together} pairs"
    if args.align_every > 1:
        pairs += f" in {args.gradient_accumulation_steps} micro-batches"
    if not args.align_gather_negatives and processes > 1:
        pairs += f" of {processes} processes"  # each draws its own
    schedules = {"sft": rows, "joint": f"{rows} and {pairs}", "alternate": f"{rows} or {pairs}, in turn"}
    return {"holds": schedules.get(args.align_schedule, pairs)}


def _sha256(content):
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
    """run.json and the model card README.md into a folder; `record` is JSON."""
    folder = Path(folder)
    (folder / RECORD).write_text(json.dumps(record, indent=1, ensure_ascii=False), encoding="utf-8")
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    card = environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(record=record, name=folder.name)
    (folder / CARD).write_text(card, encoding="utf-8")
