"""A thought before an answer is no part of it."""

import pytest

from midalign.tasks.slots import massive, scoring
from midalign.tasks.thoughts import MARKS, without_thought

ROW = {"id": "1", "locale": "en-US", "utt": "wake me at nine", "annot_utt": "wake me at [time : nine]"}


@pytest.mark.parametrize(("start", "end"), MARKS)
@pytest.mark.parametrize("thought", ["", "\n\n", "\nThe user says nine; so time: ten?\n", "a\n{end}\nb"])
def test_only_what_follows_a_thought_is_graded(start, end, thought):
    text = f"{start}{thought.format(end=end)}{end}\n\ntime: nine"
    assert massive.read_answer(text) == ([("time", "nine")], 0)
    report = scoring.score([ROW], [text])
    assert (report["f1"], report["malformed"]) == (1, 0)


def test_a_thought_that_the_prompt_opened_ends_on_a_line_of_its_own():
    assert without_thought("It is nine.\n</think>\n\ntime: nine").strip() == "time: nine"
    assert without_thought("</think>\n\ntime: nine").strip() == "time: nine"


@pytest.mark.parametrize("text", ["<think>", " <think>\nIt is ni", "[THINK]time: nine", "<think>a</think><think>ni"])
def test_a_thought_without_an_end_has_no_answer(text):
    assert without_thought(text) == ""
    assert massive.read_answer(text) == ([], 1)


@pytest.mark.parametrize("text", ["song_name: <think>", "song_name: a </think> b", "None", "", "time: nine\n<think>x"])
def test_marks_elsewhere_are_words(text):
    assert without_thought(text) == text
