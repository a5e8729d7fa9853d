"""The check of a machine runs to its end on a CPU, and says what is wrong where something is."""

import subprocess
from pathlib import Path

import pytest
import torch

from midalign.bench import check

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_the_script_finds_nothing_wrong_on_a_cpu_and_says_all_that_the_page_shows(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "src"))
    done = subprocess.run(
        ["bash", ROOT / "recipes" / "gpu_check.sh", "--cpu"], capture_output=True, text=True, check=False
    )

    def told(text):
        lines = [line.split(":")[0] for line in text.splitlines() if line.startswith(("ok ", "skipped ", "FAILED "))]
        # Seconds are for a reader, not for a test: another job may turn them round.
        return [line.split(maxsplit=1)[1] if "seconds" in line else line for line in lines]

    assert told(done.stdout) == told((ROOT / "recipes" / "gpu_check.md").read_text(encoding="utf-8")) != []


def test_what_breaks_is_said_hides_no_other_check_and_gives_exit_code_1(monkeypatch, capsys):
    def broken(checks, machine):
        raise RuntimeError("no kernel image")

    def close(checks, machine):
        checks.say("a sum", "4", "5", False)
        checks.skip("a product", "there\n is none")

    monkeypatch.setattr(check, "Machine", lambda name, folder: None)
    for name in ("paths", "training", "engines", "bench", "memory", "syncs"):
        monkeypatch.setattr(check, f"check_{name}", {"paths": broken, "training": close}.get(name, lambda *_: None))
    assert check.main(["--cpu"]) == 1
    first, second, third, *_, last = capsys.readouterr().out.splitlines()[1:]
    assert first.startswith("FAILED") and "found RuntimeError: no kernel image" in first
    assert second == "FAILED   a sum: expected 4, found 5" and third == "skipped  a product: there is none"
    assert last.startswith("2 failed; ")


def test_without_a_gpu_it_says_so(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert check.main([]) == 2 and "there is no GPU; add --cpu" in capsys.readouterr().err


def test_differences_are_relative_to_the_largest_entry():
    expected = {"a": torch.tensor([1.0, -4.0]), "b": torch.tensor([0.0])}
    assert check.difference({"a": torch.tensor([1.0, -4.0]), "b": torch.tensor([0.5])}, expected) == 0.125
    assert check.apart([1.0, 2.2], [1.0, 2.0]) == pytest.approx(0.1)
