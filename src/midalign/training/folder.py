"""The output folder: it can be written, it is no other run's, and one run at a time writes to it."""

import contextlib
import fcntl
import json
import logging
import os
import shutil
import socket
import time
from pathlib import Path

from safetensors import SafetensorError

from midalign.errors import InputError, WriteError
from midalign.training.checkpoints import by_step, differences, newest_whole, read_seal
from midalign.training.record import RECORD

logger = logging.getLogger("midalign")

RUNNING = "_running.json"  # of a run at work or cut off; the hub passes over names with this beginning
# What a run writes or replaces.
WRITTEN = (
    "README.md", "scores.json", "left_out.txt", "incomplete", "*.safetensors", "*.safetensors.index.json",
    "*config.json", "tokenizer.json", "chat_template.jinja", "trainer_state.json", "training_args.bin",
)  # fmt: skip


class Folder:
    """output_dir, held by this process."""

    def __init__(self, path, lock):
        self.path, self.lock = Path(path), lock
        self._say(claimed=_began(path))

    def _say(self, claimed):
        who = {"process": os.getpid(), "host": socket.gethostname(), "since": time.strftime("%F %T")}
        self.lock.seek(0)
        self.lock.truncate()
        self.lock.write(json.dumps({**who, "claimed": claimed}))
        self.lock.flush()

    def claim(self, made_from, checkpoint):
        """Write here from now on.   checkpoint: in which the run goes on, or None.   Raises InputError."""
        goes_on = checkpoint and Path(checkpoint).parent.resolve() == self.path.resolve()
        reason = None if goes_on else taken(self.path, made_from)
        if reason:
            raise InputError(reason)
        self._say(claimed=True)

    def leave(self, done):
        """After the run.   Cut off, the folder stays marked as ours, unless nothing has been written."""
        alone = [path.name for path in self.path.iterdir()] == [RUNNING]
        if done or alone or not _began(self.path):
            (self.path / RUNNING).unlink(missing_ok=True)


def _began(path):
    """Whether a run that was cut off, or is at work, writes to a folder."""
    return _content(Path(path, RUNNING)).get("claimed") is True


@contextlib.contextmanager
def held(training):
    """A `Folder` for as long as the run lasts, in the first process; None in the others, which share it.

    Raises InputError where it cannot be written, or another process holds it.
    """
    path = Path(training.output_dir)
    try:
        path.mkdir(parents=True, exist_ok=True)
        if training.process_index == 0:
            _probe(path)
            lock = open(path / RUNNING, "a+", encoding="utf-8")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"output_dir {path}: {reason}; name a folder that can be written.") from error
    if training.process_index:
        yield None
        return
    with lock:
        _lock(path, lock)
        folder, done = Folder(path, lock), False
        try:
            yield folder
            done = True
        finally:
            folder.leave(done)


def _probe(path):
    probe = path / "_probe"
    probe.write_bytes(b"midalign")
    if probe.read_bytes() != b"midalign":
        raise OSError(0, "what is written is not read back")
    probe.unlink()


def _lock(path, lock):
    try:
        fcntl.flock(
            lock, fcntl.LOCK_EX | fcntl.LOCK_NB
        )  # the system lets go of it when the process ends, however it does
    except BlockingIOError as error:
        by = _content(path / RUNNING)
        who = f"process {by.get('process')} on {by.get('host')} since {by.get('since')}" if by else "another process"
        raise InputError(f"output_dir {path} is being written by {who}; wait for it, or name another.") from error
    except OSError as error:  # some network file systems have no locks
        logger.warning("output_dir %s cannot be locked (%s): start no other run there.", path, error.strerror)


def _content(file):
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        return found if isinstance(found, dict) else {}
    except (OSError, ValueError):
        return {}


def taken(path, made_from):
    """Why a run that starts anew must not write to a folder, or None: it holds another run, or files of others.

    The same run may be done anew, unless that would cost checkpoints.
    """
    path, other = Path(path), "name another output_dir"
    steps = by_step(path)
    foreign = [folder.name for folder in steps if read_seal(folder) is None]
    if foreign:
        return f"output_dir {path} holds {foreign[0]}, which no run has sealed; move it away, or {other}."
    if steps:
        return (
            f"output_dir {path} holds checkpoints up to {steps[0].name}; add --resume_from_checkpoint true to go on "
            f"from there, or {other}."
        )
    try:
        record = json.loads((path / RECORD).read_text(encoding="utf-8"))
        changed = differences({part: record[part] for part in ("recipe", "data", "step")}, made_from)
        return f"output_dir {path} holds another run: {'; '.join(changed)}; {other}." if changed else None
    except FileNotFoundError:
        found = [] if _began(path) else sorted(file.name for pattern in WRITTEN for file in path.glob(pattern))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        found = [RECORD]
    return f"output_dir {path} holds {found[0]}, which no run wrote there; move it away, or {other}." if found else None


@contextlib.contextmanager
def writing(folder, staging=None):
    """What a full or broken disk does while weights are written becomes a WriteError.

    staging: what is half written, deleted then: it may fill the disk.
    """
    try:
        yield
    except (OSError, SafetensorError, RuntimeError) as error:
        reason = " ".join(str(getattr(error, "strerror", None) or error).split())
        if isinstance(error, RuntimeError) and "PytorchStreamWriter" not in reason and "inline_container" not in reason:
            raise  # torch.save says a full disk in no other way
        if staging:
            shutil.rmtree(staging, ignore_errors=True)
        raise WriteError(f"{folder} could not be written: {reason}; {go_on(folder)}, once there is room.") from error


def go_on(folder):
    """How a run that was cut off goes on."""
    newest, _ = newest_whole(folder)
    if newest is None:
        return "there is no checkpoint yet: the same command starts anew"
    return f"nothing before {newest} is lost: the same command with --resume_from_checkpoint true goes on from there"
