"""Run folders that no training has made."""

import json

import pytest


@pytest.fixture
def write_run(tmp_path):
    """write_run(name, log_history or the text of trainer_state.json, record) -> its folder; None: no such file."""

    def write(name, log=None, record=None, steps=5):
        folder = tmp_path / name
        folder.mkdir(parents=True, exist_ok=True)
        if log is not None:
            text = json.dumps({"global_step": steps, "max_steps": steps, "log_history": log})
            (folder / "trainer_state.json").write_text(log if isinstance(log, str) else text, encoding="utf-8")
        if record is not None:
            (folder / "run.json").write_text(json.dumps(record), encoding="utf-8")
        return folder

    return write
