"""A run of the task from recipe to scores, and what a recipe gets wrong."""

import json
from pathlib import Path

import pytest
import sacrebleu
from typer.testing import CliRunner

from midalign.cli import app
from midalign.data.reading import task_rows
from midalign.errors import InputError
from midalign.tasks.translation.task import Translation
from midalign.training import job

NTREX = Path(__file__).parents[4] / "shared" / "data" / "parallel"
TRANSLATE = ["--task", "translation", "--task_languages", "de-en", "en-de", "--score_languages", "tr-en", "en-de"]


def test_a_run_learns_both_ways_aligns_and_scores_each_direction(recipe, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(Translation, "max_new_tokens", 8)
    scores = job.run([str(recipe()), *TRANSLATE])
    assert scores.keys() == {"tr-en", "en-de"} and all(own.keys() == {"chrf", "bleu"} for own in scores.values())
    record = json.loads((tmp_path / "recipe" / "run.json").read_text())
    assert record["data"]["task_rows"] == 32 and record["languages"] == ["de", "en", "tr"]
    said = " ".join(capsys.readouterr().out.split())
    assert "chrF++" in said and "nw:2" in said and "supervised" in said and "aligned" in said


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--task", "translation"], "en-US is one language and no direction; name two languages"),
        (
            [*TRANSLATE, "--task_data", "{folder}"],
            "has neither a folder train nor a file such as train.jsonl; add one with",
        ),
        ([*TRANSLATE, "--task_languages", "de-cy"], "locale cy is not in the demo corpus"),
        ([*TRANSLATE, "--task_data", "{folder}/pairs.tmx"], "pairs.tmx"),
    ],
)
def test_what_a_recipe_gets_wrong_is_one_sentence(argv, message, recipe, tmp_path):
    (tmp_path / "test.de-en.tsv").write_text("a\tb\n")
    (tmp_path / "test.tr-en.tsv").write_text("c\td\n")
    with pytest.raises(InputError) as error:
        job.run([str(recipe()), *(text.format(folder=tmp_path) for text in argv)])
    assert message in str(error.value) and "\n" not in str(error.value)


@pytest.mark.skipif(not NTREX.is_dir(), reason="needs NTREX, which is not part of this repository")
def test_ntrex_is_split_by_lines_and_scored_as_sacrebleu_scores_its_files(tmp_path):
    for partition, part in (("train", slice(0, 1500)), ("test", slice(1500, None))):
        (tmp_path / partition).mkdir()
        for name in ("de-en.jsonl", "ja-en.jsonl"):
            lines = (NTREX / name).read_text(encoding="utf-8").splitlines(keepends=True)[part]
            (tmp_path / partition / name).write_text("".join(lines), encoding="utf-8")
    rows = {way: task_rows(Translation(), str(tmp_path), way, "test", None) for way in ("de-en", "en-ja", "ja-en")}
    assert [len(some) for some in rows.values()] == [497] * 3
    assert len({tuple(row["id"] for row in some) for some in rows.values()}) == 1
    assert len(task_rows(Translation(), str(tmp_path), "en-de", "train", None)) == 1500
    answers = [row["target"].split(".")[0] for row in rows["en-ja"]]
    (tmp_path / "answers.txt").write_text("".join(text + "\n" for text in answers), encoding="utf-8")
    arguments = ["score", str(tmp_path / "answers.txt"), "--task", "translation", "--locale", "en-ja"]
    report = json.loads(CliRunner().invoke(app, [*arguments, "--data", str(tmp_path), "--json"]).output)
    references = [[row["target"] for row in rows["en-ja"]]]
    bleu = sacrebleu.corpus_bleu(answers, references, tokenize="char", force=True)
    assert report["bleu"] == pytest.approx(bleu.score / 100, abs=1e-12) and 0.5 < report["bleu"] < 1
    chrf = sacrebleu.corpus_chrf(answers, references, word_order=2)
    assert report["chrf"] == pytest.approx(chrf.score / 100, abs=1e-12)
    assert report["chrf_ci"][0] < report["chrf"] < report["chrf_ci"][1]
