"""BLEU and chrF++ from counts that add up, beside sacrebleu's own of the same segments."""

import json
import math
import subprocess
import sys

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
import sacrebleu

from midalign.tasks.base import Task
from midalign.tasks.translation import figures
from midalign.tasks.translation.task import Translation

REFERENCES = [
    "The cat sat on the mat, and it's 5,000 years old.",
    "Welsh AMs worried about 'looking like muppets'",
    "a",
    "He said: “no”.",
]
ANSWERS = ["The cat sat on a mat and it's 5,000 years old.", "", "b", "He said: “no”. He did\nindeed  say so."]


def summed(name, language, answers, references):
    return np.sum([figures.counts(name, language, *both) for both in zip(answers, references, strict=True)], axis=0)


def command_line(tmp_path, answers, references, *arguments):
    """The figures of sacrebleu's own command, on files with a segment a line."""
    files = []
    for name, texts in (("answers", answers), ("references", references)):
        files.append(tmp_path / name)
        files[-1].write_text("".join(" ".join(text.split()) + "\n" for text in texts), encoding="utf-8")
    command = [sys.executable, "-m", "sacrebleu", str(files[1]), "-i", str(files[0]), "-w", "12", *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_figures_and_signatures_are_those_of_sacrebleus_command_line(tmp_path):
    both = command_line(tmp_path, ANSWERS, REFERENCES, "-m", "bleu", "chrf", "--chrf-word-order", "2")
    report = Translation().report([{"locale": "de-en", "source": "x", "target": text} for text in REFERENCES], ANSWERS)
    for name, theirs in zip(("bleu", "chrf"), both, strict=True):
        assert 0.1 < report[name] < 0.9
        assert report[name] == pytest.approx(theirs["score"] / 100, abs=1e-13)
        assert report["signatures"][name] == theirs["signature"]


@pytest.mark.parametrize(
    ("language", "tokenizer"),
    [
        ("en", "13a"),
        ("cy", "13a"),
        ("zh", "zh"),
        ("zh-Hant", "zh"),
        ("ja", "char"),
        ("kor", "char"),
        ("th", "char"),
        ("cmn-Hant-TW", "zh"),
        ("jpn", "char"),
    ],
)
def test_every_target_language_is_cut_by_what_its_signature_names(language, tokenizer):
    assert f"tok:{tokenizer}|" in figures.signature("bleu", language)
    references = ["我喜欢猫，你呢？", "今日は良い天気です。", "I like cats, and you?"]
    answers = ["我喜欢狗，你呢？", "今日は天気です。", "I like cats and you?"]
    theirs = sacrebleu.corpus_bleu(answers, [references], tokenize=tokenizer, force=True).score / 100
    assert theirs > 0.2
    assert figures.bleu(summed("bleu", language, answers, references)) == pytest.approx(theirs, abs=1e-13)


def test_bleu_worked_out_by_hand():
    # 4 words, 3 of them matched; pairs a-b, b-c matched of 3; triple a-b-c of 2; none of one four: 1/2 of one match.
    sums = summed("bleu", "en", ["a b c d"], ["a b c e"])
    assert sums.tolist() == [4, 4, 3, 2, 1, 0, 4, 3, 2, 1]
    assert figures.bleu(sums) == pytest.approx((3 / 4 * 2 / 3 * 1 / 2 * 1 / 2) ** (1 / 4))
    shorter = summed("bleu", "en", ["a b c d"], ["a b c d e f"])
    assert figures.bleu(shorter) == pytest.approx(math.exp(1 - 6 / 4))


def test_chrf_worked_out_by_hand():
    # "ab" for "ac": 1 of 2 letters, 0 of 1 pair, 0 of 1 word; the other orders have none and do not count.
    sums = summed("chrf", "en", ["ab"], ["ac"])
    assert sums.reshape(8, 3).tolist() == [[2, 2, 1], [1, 1, 0], *[[0, 0, 0]] * 4, [1, 1, 0], [0, 0, 0]]
    assert figures.chrf(sums) == pytest.approx(1 / 6)


SENTENCES = st.lists(
    st.tuples(*[st.text(st.sampled_from("ab .,-'é中文ไ\n\t\u00a0\u2028&;<5"), max_size=20)] * 2).filter(
        lambda both: both[1].strip()
    ),
    min_size=1,
    max_size=4,
)


@hypothesis.given(SENTENCES, st.sampled_from(["en", "zh", "ja"]))
@hypothesis.settings(max_examples=150)
def test_any_segments_have_sacrebleus_figures(segments, language):
    answers, references = zip(*segments, strict=True)
    lines = [[" ".join(text.split()) for text in texts] for texts in (answers, references)]
    bleu = sacrebleu.corpus_bleu(lines[0], [lines[1]], tokenize=figures.tokenizer_of(language), force=True).score
    assert figures.bleu(summed("bleu", language, answers, references)) == pytest.approx(bleu / 100, abs=1e-12)
    chrf = sacrebleu.corpus_chrf(lines[0], [lines[1]], word_order=2).score
    assert figures.chrf(summed("chrf", language, answers, references)) == pytest.approx(chrf / 100, abs=1e-12)


def test_many_sums_at_once_give_the_figures_of_each():
    for name, share in (("bleu", figures.bleu), ("chrf", figures.chrf)):
        rows = np.array([figures.counts(name, "en", *both) for both in zip(ANSWERS, REFERENCES, strict=True)])
        sums = rows[:, None] + rows[None]  # (4, 4, C)
        assert share(sums).shape == (4, 4)
        assert share(sums)[0, 3] == share(rows[0] + rows[3])


def test_a_line_break_is_a_space_as_in_a_file_of_one_segment_a_line():
    for text in ("well-\nknown to all", "well- \r\n known to all", "well-\u2028known to\tall "):
        assert figures.counts("bleu", "en", text, "well- known to all")[2:6] == [
            4,
            3,
            2,
            1,
        ]  # 13a would join the halves


def test_an_empty_answer_counts_as_one_without_any_words():
    assert figures.counts("bleu", "en", " \n", "two words") == [0, 2, *[0] * 8]
    assert figures.counts("chrf", "en", "", "ab")[:3] == [0, 2, 0]
    assert figures.bleu(np.zeros(10)) == figures.chrf(np.zeros(24)) == 0
    others = summed("bleu", "en", ["x y z w v", ""], ["x y z w v", "p q r s t"])
    assert figures.bleu(others) == pytest.approx(math.exp(1 - 10 / 5))  # words that are not there are too few


def test_what_a_bad_translation_is_counted_as():
    row = {"locale": "de-en", "source": "Das Haus ist blau", "target": "The house is blue"}
    task = Translation()
    copied, empty, foreign, right = (
        task.report([row], [answer])
        for answer in ("das haus  ist blau", " ", "La maison est bleue", "The house is blue")
    )
    assert (copied["copied"], copied["empty"], copied["bleu"]) == (1, 0, 0) and 0 < copied["chrf"] < 0.3
    assert (empty["copied"], empty["empty"], empty["bleu"], empty["chrf"]) == (0, 1, 0, 0)
    assert (foreign["copied"], foreign["empty"], foreign["bleu"]) == (0, 0, 0) and 0 < foreign["chrf"] < 0.3
    assert (right["copied"], right["empty"], right["bleu"], right["chrf"]) == (0, 0, pytest.approx(1), 1)


def test_a_name_that_stays_as_it_is_is_no_copy():
    row = {"locale": "de-en", "source": "Angela Merkel", "target": "Angela Merkel"}
    assert Translation().report([row], ["Angela Merkel"])["copied"] == 0


def test_examples_are_told_by_the_chrf_of_their_sentence():
    row = {"locale": "de-en", "source": "Das Haus", "target": "The blue house"}
    change = Translation().change
    assert change(row, "The house", "The blue house") == "better"
    assert change(row, "The blue house", "The house") == "worse"
    assert change(row, "The house", "The  house") == "equal"


def test_a_task_with_right_and_wrong_answers_still_tells_what_was_mended():
    class Words(Task):
        def gold(self, row):
            return row["utt"]

    row = {"utt": "a"}
    changes = [Words().change(row, *both) for both in (("b", "a"), ("a", "b"), ("b", "c"), ("a", "a"))]
    assert changes == ["mended", "broken", "still wrong", None]
