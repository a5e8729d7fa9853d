"""Checkpoints that are whole or not there, and what a run must share with the one it goes on from.

A checkpoint is written beside its final place, sealed with the sizes of its files and what it was made from, and then
renamed. So a folder without a seal, or with other sizes than sealed, is torn: a kill or a copy was cut short.
"""

import json
import shutil
from pathlib import Path

from transformers.trainer_utils import sort_checkpoints

from midalign.errors import InputError

SEAL = "midalign.json"
# What may change between two parts of a run: where it writes, what it says, how it fits time, memory and processes. A
# process's batch sizes are among them, because `step` says what they make together.
FREE = frozenset(
    """
    output_dir resume_from_checkpoint report_to run_name project logging_dir logging_steps logging_strategy
    logging_first_step log_level log_level_replica disable_tqdm save_steps save_strategy save_total_limit push_to_hub
    hub_model_id hub_strategy hub_token hub_private_repo dataloader_num_workers dataloader_prefetch_factor
    dataloader_pin_memory dataloader_persistent_workers dataset_num_proc score_languages score_rows baseline_recipe
    task_data align_data local_rank ddp_timeout gradient_checkpointing activation_checkpointing align_chunk_size
    task_tokens_per_batch per_device_eval_batch_size on_bad_row ddp_backend ddp_find_unused_parameters
    per_device_train_batch_size gradient_accumulation_steps align_batch_size
    """.split()
)


def seal(folder, made_from):
    """Write the seal, the last file of a checkpoint.

    made_from: {"recipe": {...}, "data": {...}, "step": {...}, "engine": a name, "processes": a count}, JSON.
    """
    folder = Path(folder)
    sizes = {str(file.relative_to(folder)): file.stat().st_size for file in folder.rglob("*") if file.is_file()}
    (folder / SEAL).write_text(json.dumps({"files": sizes, **made_from}, indent=1), encoding="utf-8")


def place(folder, final):
    """Move a sealed checkpoint to its final place; what stood there was torn or is done anew."""
    if Path(final).exists():
        shutil.rmtree(final)
    Path(folder).rename(final)


def tear(folder):
    """What is missing from a checkpoint, or None when it is whole."""
    try:
        sizes = json.loads(Path(folder, SEAL).read_text(encoding="utf-8"))["files"]
        for name, size in sizes.items():
            file = Path(folder, name)
            if not file.is_file():
                return f"{name} is missing"
            if file.stat().st_size != size:
                return f"{name} has {file.stat().st_size} of {size} bytes"
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return f"it has no readable {SEAL}"
    return None


def newest_whole(output_dir):
    """(the newest whole checkpoint or None, sentences about newer ones that are torn)."""
    torn = []
    for folder in reversed(sort_checkpoints(str(output_dir))):
        missing = tear(folder)
        if missing is None:
            return folder, torn
        torn.append(f"{folder} is not whole, {missing}; passed over")
    return None, torn


def require_same(folder, made_from):
    """Raises InputError with every difference between what a checkpoint was made from and what goes on from it."""
    try:
        before = json.loads(Path(folder, SEAL).read_text(encoding="utf-8"))
        was, now = ((made["engine"], made["processes"]) for made in (before, made_from))
    except KeyError as error:
        raise InputError(f"{folder} was written by an older midalign; start anew without it.") from error
    except (OSError, ValueError) as error:
        raise InputError(
            f"{folder} has no readable {SEAL}; go on from a checkpoint that this program wrote."
        ) from error
    if was != now and not {was[0], now[0]} <= {"single", "ddp"}:
        raise InputError(
            f"{folder} was written by {was[0]} on {was[1]} processes and only goes on there, found {now[0]} on "
            f"{now[1]}; launch it as before, or start anew without resume_from_checkpoint."
        )
    after = json.loads(json.dumps(made_from))  # as it reads after a round trip
    differences = [
        f"{key} was {before[part][key]!r}, is {after[part][key]!r}"
        for part in ("recipe", "data", "step")
        for key in sorted(before[part].keys() & after[part].keys() - FREE)
        if before[part][key] != after[part][key]
    ]
    if differences:
        raise InputError(
            f"{folder} belongs to another run: {'; '.join(differences)}. Undo the change, or start anew in another "
            "output_dir without resume_from_checkpoint."
        )
