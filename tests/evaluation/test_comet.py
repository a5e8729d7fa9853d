"""COMET in an environment of its own, played by a module of that name."""

import json
import sys
import tempfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

from midalign.cli import app
from midalign.errors import InputError
from midalign.evaluation.comet import comet_scores, judge, require_comet
from midalign.tasks import find_task

# Scores an answer by how many of its letters the reference has, less where the source was copied.
PLAYS = """
import os, sys
assert "midalign" not in sys.modules and "PYTHONPATH" not in os.environ
print("noise on standard output")

def download_model(name):
    return name + ".ckpt"

class Model:
    def predict(self, rows, batch_size, gpus):
        assert all(set(row) == {"src", "mt", "ref"} for row in rows) and gpus == 0
        class Found: scores = [len(row["mt"]) / 10 - (row["src"] == row["mt"]) for row in rows]
        return Found

def load_from_checkpoint(path):
    assert path.endswith(".ckpt"), path
    assert path != "broken.ckpt", "no such model"
    return Model()
"""
ROWS = [("Das Haus", "The house"), ("Ein Hund", "A dog"), ("Guten\u2028Tag", "Good day")]


@pytest.fixture(scope="module")
def comet_python(tmp_path_factory):
    """make(the module called comet) -> a Python that has it."""

    def make(plays=PLAYS):
        folder = tmp_path_factory.mktemp("environment")
        (folder / "comet.py").write_text(plays, encoding="utf-8")
        (folder / "torch.py").write_text("class cuda: is_available = staticmethod(lambda: False)\n")
        program = folder / "python"
        program.write_text(f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(folder)!r})\n"
                           "assert sys.argv[1] == '-c'\nsys.argv = sys.argv[1:]\nexec(sys.argv.pop(1))\n")  # fmt: skip
        program.chmod(0o755)
        return str(program)

    return make


def test_every_answer_gets_its_score_and_equal_ones_are_asked_once(comet_python):
    triples = [
        ("Haus", "house", "house"),
        ("Haus", "Haus", "house"),
        ("Haus", "house", "house"),
        ("a\n", "", "b\u2028"),
    ]
    found = comet_scores(comet_python(), "Unbabel/wmt22-comet-da", triples)
    assert found == {triples[0]: 0.5, triples[1]: pytest.approx(-0.6), triples[3]: 0}


def test_a_thought_before_a_translation_is_not_judged(comet_python):
    task, row = find_task("translation"), {"locale": "de-en", "source": "Haus", "target": "house"}
    answers = ["<think>Haus is house</think>house", "house"]
    judge(task, comet_python(), "m", [(row, answer) for answer in answers])
    assert [task.counts(row, answer)["comet"] for answer in answers] == [(0.5, 1)] * 2


@pytest.mark.parametrize(
    ("plays", "message"),
    [
        ("raise ImportError('No module named comet')", "could not run COMET (ImportError: No module named comet)"),
        (PLAYS.replace("for row in rows]", "for row in rows[1:]]"), "gave no score for each of 2 answers"),
        (PLAYS.replace("len(row[\"mt\"]) / 10", "float('nan')"), "gave no score for each of 2 answers"),
        (PLAYS.replace("return Model()", "sys.exit(3)"), "could not run COMET (exit code 3)"),
        (PLAYS.replace("return Model()", "os._exit(0)"), "gave no score for each"),
    ],
)  # fmt: skip
def test_what_goes_wrong_in_the_other_environment_is_one_sentence(plays, message, comet_python):
    with pytest.raises(InputError) as error:
        comet_scores(comet_python(plays), "m", [("a", "b", "c"), ("d", "e", "f")])
    assert message in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("python", ["/nowhere/python", "no-such-python", "tests", "README.md"])
def test_what_is_no_python_is_named(python):
    with pytest.raises(InputError, match="is no program here; name the python of an environment in which"):
        require_comet(find_task("translation"), python)


def test_the_python_of_this_environment_is_refused_before_anything_is_generated():
    with pytest.raises(InputError, match=r"could not run COMET .*No module named 'comet'"):
        require_comet(find_task("translation"), sys.executable)


def test_nothing_is_imported_from_the_temporary_or_the_current_folder(tmp_path, monkeypatch):
    plays = f"open({str(tmp_path / 'was run')!r}, 'w')\ndownload_model = load_from_checkpoint = 1"
    (tmp_path / "comet.py").write_text(plays)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"could not run COMET .*No module named"):
        require_comet(find_task("translation"), sys.executable)
    assert not (tmp_path / "was run").exists()


@pytest.mark.parametrize("plays", [None, "", "def download_model(name): ..."])
def test_a_module_that_is_not_comet_is_refused_before_anything_is_generated(plays, comet_python):
    python = Path(comet_python(plays or ""))
    if plays is None:
        (python.parent / "comet.py").unlink()
        (python.parent / "comet").mkdir()
    with pytest.raises(InputError, match=r"could not run COMET \(ImportError: cannot import name"):
        require_comet(find_task("translation"), str(python))


def test_comet_is_for_translations_alone(comet_python):
    with pytest.raises(InputError, match="--comet-python scores translations, not task slots; leave it out"):
        require_comet(find_task("slots"), comet_python())


@pytest.fixture
def data(tmp_path):
    (tmp_path / "rows" / "test").mkdir(parents=True)
    lines = [{"source": s, "target": t, "source_lang": "de", "target_lang": "en"} for s, t in ROWS]
    (tmp_path / "rows" / "test" / "de-en.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return str(tmp_path / "rows")


def test_score_adds_comet_beside_bleu_and_chrf(data, tmp_path, comet_python):
    answers, others = tmp_path / "answers.txt", tmp_path / "others.txt"
    answers.write_text("The house\nA dog\nGood day\n")
    others.write_text("Das Haus\nA dog\nGood\n")
    arguments = ["score", str(answers), "--task", "translation", "--locale", "de-en", "--data", data]
    arguments += ["--against", str(others), "--comet-python", comet_python()]
    report = json.loads(CliRunner().invoke(app, [*arguments, "--json"]).output)
    assert report["comet"] == pytest.approx((9 + 5 + 8) / 30)
    assert report["chrf"] == 1 and report["chrf_against"] < 1
    shown = CliRunner().invoke(app, arguments).output
    assert "comet" in shown and "73.33 %" in shown and "nw:2|space:no" in "".join(shown.split())


def test_evaluate_shows_comet_in_its_table_and_says_which(data, tmp_path, comet_python, make_model, tokenizer):
    make_model().save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    arguments = [
        "evaluate",
        str(tmp_path / "model"),
        "--task",
        "translation",
        "--locale",
        "de-en,en-de",
        "--data",
        data,
    ]
    arguments += [
        "--output",
        str(tmp_path / "out"),
        "--max-new-tokens",
        "4",
        "--supervised",
        "de-en",
        "--aligned",
        "de",
    ]
    done = CliRunner().invoke(app, [*arguments, "--comet-python", comet_python(), "--comet-model", "own.ckpt"])
    assert done.exit_code == 0, done.output
    result = json.loads((tmp_path / "out" / "scores.json").read_text())
    languages = result["runs"]["model"]["languages"]
    texts = [json.loads(line)["prediction"] for line in (tmp_path / "out" / "model" / "de-en.jsonl").open()]
    assert languages["de-en"]["comet"] == pytest.approx(sum(map(len, texts)) / 30)
    assert result["groups"] == {"de-en": "supervised", "en-de": "aligned"} and result["record"]["comet"] == "own.ckpt"
    assert result["task"]["shown"] == {"chrf": "chrF++", "bleu": "BLEU", "comet": "COMET"}
    assert "COMET" in (tmp_path / "out" / "report.md").read_text()
    assert "tok:13a" in languages["de-en"]["signatures"]["bleu"]
