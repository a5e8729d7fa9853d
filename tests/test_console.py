"""Every verb on every stdout: other letters, any width, a reader that has gone."""

import io
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.table import Table
from rich.text import Text

from midalign import cli
from midalign.console import complain, console, program
from midalign.demo import corpus
from midalign.errors import InputError
from midalign.tasks.slots import massive

SRC = Path(cli.__file__).parents[2]


@pytest.fixture
def stdout(monkeypatch):
    """stdout(encoding) makes one that takes no other letters; stdout.read() gives what was printed there."""

    class Stdout:
        def __call__(self, encoding):
            self.file = io.TextIOWrapper(io.BytesIO(), encoding=encoding, newline="\n")
            monkeypatch.setattr(sys, "stdout", self.file)
            monkeypatch.delenv("COLUMNS", raising=False)

        def read(self):
            self.file.flush()
            return self.file.buffer.getvalue().decode(self.file.encoding)

    return Stdout()


def run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["midalign", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        cli.main()
    return end.value.code


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "latin-1", "cp932", "utf-16"])
def test_letters_that_stdout_cannot_take_get_stand_ins_one_for_one(encoding, stdout):
    stdout(encoding)
    with program():
        print("⟦time⟧ █ д \ud800")
        table = Table(title="⟦ab⟧")
        table.add_column("…")
        table.add_row("αβγ")
        console().print(table)
    out = stdout.read()
    for letter, stand_in in (("⟦", "["), ("█", "#"), ("д", "\\u0434"), ("α", "\\u03b1")):
        try:
            letter.encode(encoding)
        except UnicodeEncodeError:
            letter = stand_in
        assert letter in out
    assert "\\ud800" in out


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_a_preview_prints_on_a_stdout_without_its_brackets(encoding, recipe, stdout, monkeypatch):
    stdout(encoding)
    assert run(monkeypatch, "preview", recipe(), "--align_languages", "ru", "--align_eval_languages", "ru") == 0
    out = stdout.read()
    assert "<|im_start|>assistant\n[" in out and "[<|im_end|>]" in out
    assert "fits 24 GiB" in out


def test_a_comparison_prints_on_a_stdout_that_takes_ascii_only(parrot, write_rows, tmp_path, stdout, monkeypatch):
    data = write_rows({"tr-TR": ["uyan [time : nine] please", "[date : monday] günü today"]})
    stdout("ascii")
    assert run(monkeypatch, "evaluate", parrot, "--data", data, "--locale", "tr", "--output", tmp_path / "out") == 0
    assert "tr-TR" in stdout.read()


def test_what_is_no_terminal_gets_the_width_that_a_table_needs(stdout):
    stdout("utf-8")
    table = Table(title="wide")
    for column in range(40):
        table.add_column(f"column {column}")
    table.add_row(*["x" * 20] * 40)
    console().print(table)
    console().print(Text("y" * 500))
    lines = stdout.read().splitlines()
    assert "column 39" in "".join(lines) and "…" not in "".join(lines)
    assert {len(line) for line in lines[1:-1]} == {40 * 23 + 1}  # twenty letters, a space on each side, a border
    assert lines[-1] == "y" * 500


@pytest.mark.parametrize("forced", [False, True])  # what CI systems and other tools set: colours where no terminal is
def test_columns_and_a_real_terminal_set_the_width(stdout, monkeypatch, forced):
    stdout("utf-8")
    monkeypatch.setenv("FORCE_COLOR", "1") if forced else monkeypatch.delenv("FORCE_COLOR", raising=False)
    monkeypatch.setenv("TERM", "dumb")
    assert console().width == 10_000
    monkeypatch.setenv("COLUMNS", "90")
    assert console().width == 90
    monkeypatch.delenv("COLUMNS")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    assert console().width < 10_000
    monkeypatch.setenv("TERM", "dumb")
    assert console().width == 10_000


def test_brackets_and_colons_in_data_are_no_markup(stdout):
    stdout("utf-8")
    table = Table()
    table.add_column("[bold]a")
    table.add_row("[red]b[/red] :smile: [/]")
    console().print(table)
    out = stdout.read()
    assert "[bold]a" in out and "[red]b[/red] :smile: [/]" in out


def test_a_closed_stdout_is_no_error(recipe, monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    assert run(monkeypatch, "--version") == 0
    assert run(monkeypatch, "preview", recipe()) == 0


def test_a_reader_that_has_gone_ends_a_verb_without_a_traceback(tmp_path):
    file = tmp_path / "gold.txt"
    file.write_text("".join(massive.target(row["annot_utt"]) + "\n" for row in corpus.rows("de-DE", "test")))
    verbs = [["score", file, "--locale", "de", "--data", "demo", *more] for more in ([], ["--json"])]
    for verb in (["--help"], *verbs):
        reading, writing = os.pipe()
        os.close(reading)
        done = subprocess.run(
            [sys.executable, "-m", "midalign", *verb],
            stdout=writing,
            stderr=subprocess.PIPE,
            env={"PYTHONPATH": str(SRC)},
            text=True,
        )
        os.close(writing)
        assert done.returncode in (0, 1) and done.stderr == ""


def test_a_pipe_that_is_not_stdout_keeps_its_error(stdout):
    stdout("utf-8")
    with pytest.raises(BrokenPipeError), program():
        raise BrokenPipeError("a process that tokenises has died")


def test_the_sentence_at_the_end_is_one_line_that_steers_no_terminal(capsys):
    complain(InputError("a\nb\x1b[31m\x9b\u202e д https://me:secret@host"), "\n")
    assert capsys.readouterr().err == "\nerror: a\\nb\\x1b[31m\\x9b\\u202e д https://***@host\n"


def test_what_is_logged_steers_no_terminal(capsys, monkeypatch):
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    with program():
        logging.getLogger("midalign").info("%s: 3 rows", "out\x1b]0;title\x07")
    assert capsys.readouterr().err == "out\\x1b]0;title\\x07: 3 rows\n"


def test_packages_do_not_chatter_when_they_are_imported(caplog):
    with program():
        logging.getLogger("DeepSpeed").warning("Setting accelerator to CPU. If you have ...")
        logging.getLogger("bitsandbytes.backends.cpu.ops").warning("Failed to load CPU gemm_4bit_forward: %s", "x")
        logging.getLogger("DeepSpeed").warning("something else")
    assert [record.message for record in caplog.records] == ["something else"]
