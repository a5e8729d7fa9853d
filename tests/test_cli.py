"""`midalign <verb>` from its command line."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from midalign import cli
from midalign.data import demo
from midalign.tasks import massive

ROWS = demo.rows("de-DE", "test")
GOLD = [massive.target(row["annot_utt"]) for row in ROWS]


@pytest.fixture
def midalign(monkeypatch, capsys):
    """midalign(*arguments) -> (exit code, stdout, stderr)."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["midalign", *map(str, arguments)])
        monkeypatch.setenv("COLUMNS", "200")
        with pytest.raises(SystemExit) as stop:
            cli.main()
        out, err = capsys.readouterr()
        return stop.value.code, out, err

    return run


@pytest.fixture
def write(tmp_path):
    """write(name, lines) -> the path of a file; objects become JSON."""

    def write(name, lines):
        path = tmp_path / name
        lines = [line if isinstance(line, str) else json.dumps(line) for line in lines]
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        return path

    return write


def with_ids(answers):
    return [{"id": row["id"], "prediction": answer} for row, answer in zip(ROWS, answers, strict=False)]


def figures(done):
    code, out, err = done
    assert code == 0, err
    return json.loads(out)


def test_perfect_answers_score_1_from_every_kind_of_file(midalign, write):
    samples = [{"doc": row, "filtered_resps": [answer]} for row, answer in zip(ROWS, GOLD, strict=True)]
    files = [
        write("plain.txt", GOLD),
        write("shuffled.jsonl", with_ids(GOLD)[::-1]),
        write("ordered.jsonl", [{"prediction": answer} for answer in GOLD]),
        write("samples_massive_slots.jsonl", samples),
    ]
    for file in files:
        report = figures(midalign("score", file, "--locale", "de", "--data", "demo", "--json"))
        assert (report["f1"], report["exact_match"], report["rows"]) == (1, 1, len(ROWS))
        assert report["f1_ci"] == [1, 1]


def test_a_part_of_the_rows_is_scored_alone(midalign, write):
    file = write("part.jsonl", with_ids(GOLD[:7]))
    assert figures(midalign("score", file, "--locale", "de-DE", "--data", "demo", "--json"))["rows"] == 7


def test_against_another_file_the_gain_and_its_p_value_are_given(midalign, write):
    good, bad = write("good.jsonl", with_ids(GOLD)), write("bad.jsonl", with_ids(["None"] * len(ROWS)))
    report = figures(midalign("score", good, "--locale", "de", "--data", "demo", "--against", bad, "--json"))
    assert report["gain"] == 1 - report["f1_against"]
    assert report["p"] < 0.01
    same = figures(midalign("score", good, "--locale", "de", "--data", "demo", "--against", good, "--json"))
    assert (same["gain"], same["p"]) == (0, 1)


def test_the_table_is_in_percent_with_an_interval(midalign, write):
    code, out, _ = midalign("score", write("plain.txt", GOLD), "--locale", "de", "--data", "demo")
    assert code == 0
    assert "100.00 % (95 % interval 100.00 to 100.00)" in out


def test_the_authors_figures_take_a_file_of_another_length(midalign, write):
    file = write("short.txt", GOLD[:5])
    report = figures(midalign("score", file, "--locale", "de", "--data", "demo", "--compat", "reference", "--json"))
    assert 0 < report["recall"] < 0.1
    assert "f1_stderr" in report


@pytest.mark.parametrize(
    ("name", "lines", "arguments", "message"),
    [
        ("p.txt", ["None"], [], "has 1 answers for"),
        ("p.jsonl", ["{"], [], "line 1 is not JSON"),
        ("p.jsonl", ["[]"], [], 'line 1 has no text in "prediction"'),
        ("p.jsonl", [{"id": "x", "prediction": ""}], [], "no row of de-DE has id x"),
        ("p.jsonl", [{"id": "1", "prediction": ""}, {"prediction": ""}], [], '1 of 2 lines have no "id"'),
        ("p.jsonl", with_ids(["a"]) * 2, [], "answers 1 rows twice"),
        ("p.txt", GOLD, ["--against", "nowhere.txt"], "nowhere.txt: No such file"),
        ("p.txt", GOLD, ["--against", "p.txt", "--compat", "reference"], "leave --compat out"),
        ("p.txt", GOLD, ["--locale", "zh"], "could be zh-CN or zh-TW"),
        ("p.txt", GOLD, ["--locale", "xx"], "xx is not in MASSIVE"),
        ("p.txt", GOLD, ["--locale", "sw"], "sw-KE is not in the demo corpus"),
    ],
)
def test_a_file_that_does_not_fit_is_one_sentence(midalign, write, name, lines, arguments, message):
    code, _, err = midalign("score", write(name, lines), "--locale", "de", "--data", "demo", *arguments)
    assert code == 2
    assert err.startswith("error: ") and message in err and err.count("\n") == 1


def test_score_needs_neither_torch_nor_trl():
    code = "import sys, midalign.cli; sys.exit(str({'torch', 'trl', 'transformers'} & set(sys.modules) or ''))"
    environment = {"PYTHONPATH": str(Path(cli.__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.stderr.strip() == ""
