"""A thought before an answer is no part of it."""

import pytest

from midalign.tasks.base import Task
from midalign.tasks.slots import massive, scoring
from midalign.tasks.thoughts import MARKS, without_thought
from midalign.tasks.translation.task import Translation

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


GOLD = "Hallo Welt mein Freund"
PAIR = {"locale": "en-de", "source": "Hello world my friend", "target": GOLD}


class Own(Task):
    def gold(self, row):
        return row["target"]


@pytest.mark.parametrize(
    "thought", ["<think>hm, which word</think>", "Hello is Hallo.\n</think>\n\n", "[THINK]\n[/THINK] "]
)
@pytest.mark.parametrize("answer", [GOLD, "Hallo Welt", PAIR["source"], ""])
@pytest.mark.parametrize("task", [Translation(), Own()])
def test_a_thought_changes_no_figure_of_a_task_that_compares_whole_texts(task, answer, thought):
    assert task.counts(PAIR, thought + answer) == task.counts(PAIR, answer)
    assert task.report([PAIR], [thought + answer]) == task.report([PAIR], [answer])
    assert task.right(PAIR, thought + answer) == (answer == GOLD)


def test_an_answer_that_is_cut_off_within_its_thought_is_an_empty_translation():
    report = Translation().report([PAIR], [f"<think>{GOLD}"])
    assert (report["chrf"], report["bleu"], report["empty"]) == (0, 0, 1)


def test_a_task_of_ones_own_may_teach_thoughts_and_is_right_without_them():
    row = {"target": "<think>easy</think>\nyes"}
    assert [Own().right(row, answer) for answer in ("<think>hard</think>yes", "yes", "easy")] == [True, True, False]
