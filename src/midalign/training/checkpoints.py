"""Checkpoints that are whole or not there, and what a run must share with the one it goes on from.

A checkpoint is written beside its final place, sealed with the size and CRC-32 of each of its files and with what it
was made from, and then renamed. So a folder without a seal, or with other files than sealed, is torn: a kill or a copy
was cut short, or a disk has lost something. A CRC, because damage is an accident and what is written is read once more:
0.2 s a GB on one core, where SHA-256 takes 0.6 s.
"""

import contextlib
import json
import logging
import os
import re
import shutil
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import MISSING, fields
from pathlib import Path

from midalign.config import MidAlignConfig
from midalign.errors import InputError

logger = logging.getLogger("midalign")

SEAL, STAGING = "midalign.json", "incomplete"
PARTS = ("recipe", "data", "step")
FORMS = {**dict.fromkeys((*PARTS, "files", "crc32", "chat"), dict), "name": str, "engine": str, "processes": int}
NAME = re.compile("checkpoint-(0|[1-9][0-9]*)")
READERS = 4  # files read at a time: a checkpoint of ZeRO has one or two for each process
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
    per_device_train_batch_size gradient_accumulation_steps align_batch_size align_diagnostics_steps
    try_on_start
    """.split()
)


def require_room(output_dir):
    """Raises InputError where a file stands in the place of a checkpoint, or of the folder it is written in."""
    named = [path for path in Path(output_dir).glob("checkpoint-*") if NAME.fullmatch(path.name)]
    for path in [*named, Path(output_dir, STAGING)]:
        if (path.is_symlink() or path.exists()) and not path.is_dir():
            raise InputError(f"{path} is no folder, and checkpoints go there; move it away or name another output_dir.")


def seal(folder, made_from):
    """Write the seal, the last file of a checkpoint, once all others are on the disk.

    made_from: {"recipe", "data", "step", "chat": {...}, "engine": a name, "processes": a count}, JSON.
    """
    folder = Path(folder)
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    names = [str(file.relative_to(folder)) for file in files]
    content = {
        "name": folder.name,
        "files": {name: file.stat().st_size for name, file in zip(names, files, strict=True)},
        "crc32": dict(zip(names, _crcs(files, sync=True), strict=True)),
        **made_from,
    }
    text = json.dumps({**content, "crc32_of_this": zlib.crc32(json.dumps(content).encode())}, indent=1)
    (folder / SEAL).write_text(text, encoding="utf-8")
    _crc(folder / SEAL, sync=True)
    for inner in (folder, *(inner for inner in folder.rglob("*") if inner.is_dir())):
        _sync_names(inner)


def place(staging, final):
    """Move a sealed checkpoint from the folder `staging`, which goes, to its final place.

    What stood there was torn, or is done anew. A kill leaves the old one, none or the new one, never half of one.
    """
    staging, final = Path(staging), Path(final)
    if final.exists():
        final.rename(staging / "replaced")
    (staging / final.name).rename(final)
    _sync_names(final.parent)
    shutil.rmtree(staging, ignore_errors=True)


def rotate(output_dir, limit, kept, staging):
    """Delete checkpoints that this program sealed until `limit` are left: torn ones, then those of the lowest steps.

    Never the newest whole one, nor what is in `kept` (just written, the best).   limit: None or 0 deletes nothing.
    staging: a folder that is nobody's; what goes is moved there first, so that a kill leaves no half of a checkpoint.
    """
    own = [folder for folder in by_step(output_dir) if not folder.is_symlink() and _is_own(folder)]
    whole = [folder for folder in own if tear(folder, content=False) is None]
    torn = [folder for folder in own if folder not in whole]
    safe = {Path(folder).resolve() for folder in (*whole[:1], *kept)}
    may_go = [folder for folder in (*reversed(torn), *reversed(whole)) if folder.resolve() not in safe]
    for folder in may_go[: max(len(own) - limit, 0)] if limit else ():
        try:
            Path(staging).mkdir(exist_ok=True)
            folder.rename(Path(staging, folder.name))
        except OSError as error:  # somebody holds on to it
            logger.warning("%s is not deleted: %s.", folder, error.strerror)
        shutil.rmtree(staging, ignore_errors=True)


def by_step(output_dir):
    """The folders that are named as checkpoints are, the highest step first. `checkpoint-8-keep` is none of them."""
    found = {path: NAME.fullmatch(path.name) for path in Path(output_dir).glob("checkpoint-*") if path.is_dir()}
    steps = {path: int(name[1]) for path, name in found.items() if name}
    return sorted(steps, key=steps.get, reverse=True)


def tear(folder, content=True):
    """What is wrong with a checkpoint, or None when it is whole.   content: also of its files, not of sizes alone."""
    found = read_seal(folder)
    if found is None:
        return f"it has no readable {SEAL}"
    sealed = found.get("crc32", {})  # none in seals of older versions
    try:
        for name, size in found["files"].items():
            file = Path(folder, name)
            if not file.is_file():
                return f"{name} is missing"
            if file.stat().st_size != size:
                return f"{name} has {file.stat().st_size} of {size} bytes"
        for name, crc in zip(sealed, _crcs([Path(folder, name) for name in sealed if content]), strict=content):
            if crc != sealed[name]:
                return f"{name} holds other bytes than were written"
    except (OSError, ValueError) as error:  # a disk that gives nothing back, a name that is none
        return f"a file of it cannot be read ({type(error).__name__})"
    return None


def newest_whole(output_dir):
    """(the newest checkpoint that can be gone on from or None, sentences about newer ones that cannot)."""
    torn = []
    for folder in by_step(output_dir):
        missing = None if _is_own(folder) else "its name is not the one it was written under"
        missing = unfit(folder) or missing
        if missing is None:
            return str(folder), torn
        torn.append(f"{folder} is not whole, {missing}; passed over")
    return None, torn


def checkpoint_of(wanted, output_dir):
    """The folder that `resume_from_checkpoint` means, true being the newest in output_dir; None for nothing and false.

    wanted: a path, true or false, also as text.   Raises InputError.
    """
    if wanted is None or str(wanted).lower() == "false":
        return None
    if str(wanted).lower() != "true":
        missing = unfit(wanted)
        if missing:
            raise InputError(f"resume_from_checkpoint {wanted} is not whole, {missing}; name one or say true.")
        return str(wanted)
    newest, torn = newest_whole(output_dir)
    for sentence in torn:
        logger.warning("%s.", sentence)
    if newest is None:
        raise InputError(f"{output_dir} holds no checkpoint to resume from; delete resume_from_checkpoint.")
    return newest


def unfit(folder):
    """Why a run cannot go on from a checkpoint, or None: it is torn, or the best one, to end with, is."""
    folder = Path(folder)
    missing = tear(folder)
    if missing or not read_seal(folder)["recipe"].get("load_best_model_at_end"):
        return missing
    try:
        state = json.loads((folder / "trainer_state.json").read_text(encoding="utf-8"))
        best = folder.with_name(Path(state["best_model_checkpoint"] or folder).name)
    except (OSError, ValueError, KeyError, TypeError):
        return "trainer_state.json cannot be read"
    missing = best != folder and tear(best)
    return f"{best.name}, the best one before it, is not: {missing}" if missing else None


def sealed_day(folder):
    """The date in the prompts of the run that wrote a checkpoint, ISO; None where they have none, or without a seal."""
    return (read_seal(folder) or {}).get("chat", {}).get("date")


def require_same(folder, made_from):
    """Raises InputError with every difference between what a checkpoint was made from and what goes on from it."""
    before = read_seal(folder)
    if before is None:
        raise InputError(f"{folder} has no readable {SEAL}; go on from a checkpoint that this program wrote.")
    if "engine" not in before:
        raise InputError(f"{folder} was written by an older midalign; start anew without it.")
    was, now = ((made["engine"], made["processes"]) for made in (before, made_from))
    if was != now and not {was[0], now[0]} <= {"single", "ddp"}:
        raise InputError(
            f"{folder} was written by {was[0]} on {was[1]} processes and only goes on there, found {now[0]} on "
            f"{now[1]}; launch it as before, or start anew without resume_from_checkpoint."
        )
    changed = differences(before, made_from)
    if changed:
        raise InputError(
            f"{folder} belongs to another run: {'; '.join(changed)}. Undo the change, or start anew in another "
            "output_dir without resume_from_checkpoint."
        )


def differences(before, made_from):
    """What two runs were made from, where it differs and is not `FREE`: sentences.

    A key of ours that came after a record was written had its default there.
    """
    own = (field for field in fields(MidAlignConfig) if field.name in MidAlignConfig.__annotations__)
    defaults = {field.name: field.default for field in own if field.default is not MISSING}
    before = {**before, "recipe": defaults | before["recipe"]}
    after = json.loads(json.dumps(made_from))  # as it reads after a round trip
    return [
        f"{key} was {before[part][key]!r}, is {after[part][key]!r}"
        for part in PARTS
        for key in sorted(before[part].keys() & after[part].keys() - FREE)
        if before[part][key] != after[part][key]
    ]


def read_seal(folder):
    """The content of a seal, or None for one that this program has not written, or that was changed since.

    Older ones have no name, no crc32 and no crc32_of_this, the oldest no step, engine and processes.
    """
    try:
        found = json.loads(Path(folder, SEAL).read_text(encoding="utf-8"))
        own = found.pop("crc32_of_this", None)
        if (own is not None or "name" in found) and own != zlib.crc32(json.dumps(found).encode()):
            return None
        sizes, crcs = found["files"], found.get("crc32", {})
        required = {"recipe", "data", "step", "processes"} if "engine" in found else {"recipe"}
        is_ours = required <= found.keys() and sizes and crcs.keys() in (set(), sizes.keys())
        is_ours = is_ours and all(isinstance(found[part], form) for part, form in FORMS.items() if part in found)
        return found if is_ours and all(isinstance(size, int) for size in sizes.values()) else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _is_own(folder):
    """Whether a checkpoint was sealed under the name it has. Seals of older versions do not say."""
    found = read_seal(folder)
    return found is not None and found.get("name", folder.name) == folder.name


def _crcs(files, sync=False):
    """The CRC-32 of files; with `sync` they are on the disk then, not in the system's memory alone."""
    with ThreadPoolExecutor(READERS) as pool:
        return list(pool.map(lambda file: _crc(file, sync), files))


def _crc(file, sync=False):
    crc = 0
    with open(file, "rb") as stream:
        while block := stream.read(1 << 22):
            crc = zlib.crc32(block, crc)
        if sync:
            os.fsync(stream.fileno())
    return crc


def _sync_names(folder):
    """Bring the names in a folder to the disk; some network file systems cannot, and say so."""
    with contextlib.suppress(OSError):
        number = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)
