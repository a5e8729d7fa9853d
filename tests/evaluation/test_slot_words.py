"""The measurement of recipes/evidence.md of what became of the words of slots."""

import importlib.util
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "recipes/evidence/slot_words.py"
ENGLISH = {("time", "nine am"), ("place_name", "london")}


@pytest.fixture(scope="module")
def fates():
    spec = importlib.util.spec_from_file_location("slot_words", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.fates


def test_each_slot_ends_in_one_fate(fates):
    utterance = "weck mich um neun uhr am freitag in bonn auf"
    gold = [("time", "neun uhr"), ("date", "freitag"), ("place_name", "bonn")]

    def of(answered):
        return [fate for *_, fate in fates("de-DE", gold, answered, utterance, ENGLISH)]

    assert of([("time", "Neun Uhr"), ("date", "am freitag"), ("place_name", "auf")]) == ["right", "border", "elsewhere"]
    assert of([("time", "nine am"), ("date", "nine am")]) == ["English", "invented", "not found"]
    assert of([]) == ["not found"] * 3


def test_right_words_are_taken_before_the_order_of_answers(fates):
    gold = [("date", "montag"), ("date", "freitag")]
    answered = [("date", "freitag"), ("date", "sonntag")]
    assert [fate for *_, fate in fates("de-DE", gold, answered, "montag oder freitag", set())] == ["invented", "right"]


def test_languages_without_spaces_are_compared_without_them(fates):
    assert fates("ja-JP", [("time", "午前 九 時")], [("time", "午前九時")], "午前九時に起こして", set()) == [
        ("time", "午前 九 時", "right")
    ]
