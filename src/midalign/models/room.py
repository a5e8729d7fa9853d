"""What memory this process holds, and what it could still take."""

import ctypes
import os
import re
import resource
import sys
from contextlib import contextmanager
from itertools import accumulate
from pathlib import Path

import psutil
import torch
from torch.autograd.profiler import profile

GROUPS = Path("/sys/fs/cgroup")
# The files of a control group, by version: its limit, what it uses, and what of that is cached files, which make room.
LIMITS = {
    2: ("memory.max", "memory.current", r"^(?:in)?active_file (\d+)"),
    1: ("memory.limit_in_bytes", "memory.usage_in_bytes", r"^total_(?:in)?active_file (\d+)"),
}


def peak_bytes(device, reset=False):
    """The most memory that this process has held: on a GPU what torch has there, on a CPU all of it.

    reset: forget what was before, and let go of what is free; then it is what is held now. On a CPU, Linux alone does.
    """
    if device.type == "cuda":
        if reset:
            torch.cuda.reset_peak_memory_stats(device)
        return torch.cuda.max_memory_allocated(device)
    try:
        if reset:
            ctypes.CDLL("libc.so.6").malloc_trim(0)  # freed memory would hide what the next step asks for
            Path("/proc/self/clear_refs").write_text("5")
        return _kilobytes("VmHWM")
    except (OSError, AttributeError):  # a C library without it
        unit = 1 if sys.platform == "darwin" else 2**10  # bytes there, KiB elsewhere
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


@contextmanager
def within_free_memory(device):
    """On a CPU, what memory has no room for fails at once: Linux would promise it, and kill who uses it."""
    if device.type != "cpu" or not sys.platform.startswith("linux"):
        yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limits = [_kilobytes("VmData") + free_bytes(), *(limit for limit in (soft, hard) if limit >= 0)]  # -1: none
    resource.setrlimit(resource.RLIMIT_DATA, (min(limits), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def free_bytes():
    """What a process could take of the machine's memory, or of its control group's where that has less. Linux."""
    free = [psutil.virtual_memory().available]
    for line in Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines():
        _, kinds, path = line.split(":", 2)
        if kinds not in ("", "memory"):
            continue
        root, (limit, used, cached) = GROUPS / kinds, LIMITS[1 if kinds else 2]
        own = root / path.lstrip("/")
        # Any of them may have a limit; in a container those below may not be seen.
        for folder in (own, *own.parents):
            try:
                most, now = ((folder / name).read_text(encoding="utf-8").strip() for name in (limit, used))
                files = re.findall(cached, (folder / "memory.stat").read_text(encoding="utf-8"), re.MULTILINE)
            except OSError:  # at last those above the root
                continue
            if most != "max":
                free.append(int(most) - int(now) + sum(map(int, files)))
    return max(min(free), 0)


def _kilobytes(key):
    """Bytes that the system says in KiB."""
    return int(re.search(rf"{key}:\s+(\d+)", Path("/proc/self/status").read_text(encoding="utf-8"))[1]) * 2**10


def added_by(run, device):
    """Bytes of tensors that `run()` has at its highest beside those that were there before."""
    if device.type == "cuda":
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        run()
        return torch.cuda.max_memory_allocated(device) - before
    profiled = profile(profile_memory=True)
    with _without_stderr():  # on which it says that it starts
        profiled.__enter__()
    try:
        run()
    finally:
        with _without_stderr():
            profiled.__exit__(None, None, None)
    events = [event for event in profiled.kineto_results.events() if event.name() == "[memory]"]
    return max(accumulate(event.nbytes() for event in sorted(events, key=lambda event: event.start_ns())), default=0)


@contextmanager
def _without_stderr():
    """For what writes there past Python."""
    sys.stderr.flush()
    own, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(own, 2)
        os.close(own)
        os.close(nowhere)
