"""A build that was killed long ago must not keep DeepSpeed waiting without a word."""

import os
import time

from midalign.training.engines import tell_of_stale_locks


def test_a_lock_that_no_build_can_still_hold_is_named_where_deepspeed_would_wait(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path))
    old, new = tmp_path / "deepspeed_shm_comm" / "lock", tmp_path / "py311_cpu" / "cpu_adam" / "lock"
    for lock in (old, new):
        lock.parent.mkdir(parents=True)
        lock.touch()
    before = time.time() - 3600
    os.utime(old, (before, before))
    tell_of_stale_locks()
    assert not caplog.text  # another engine
    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "true")
    tell_of_stale_locks()
    (record,) = caplog.records
    assert record.getMessage().startswith(f"{old} is 60 minutes old") and "delete it" in record.getMessage()
    caplog.clear()
    monkeypatch.setenv("RANK", "1")
    tell_of_stale_locks()
    assert not caplog.records  # the first process has said it
