"""Intents and scenarios: what is right, and what is counted."""

from pathlib import Path

import pytest

from midalign.tasks import find_task
from midalign.tasks.intents import INTENTS, Intents

TASK = Intents("intents")
EXAMPLE = Path(__file__).parents[2] / "examples" / "intents.py"


def row(intent):
    return {"id": "1", "locale": "en-US", "partition": "test", "utt": "wake me", "intent": intent}


@pytest.mark.parametrize(
    ("answer", "accuracy", "scenario"),
    [
        ("alarm set", 1, 1),
        ("Alarm  Set.", 1, 1),
        ("alarm_set", 1, 1),
        ("<think>\nit is an alarm query\n</think>\n\nalarm set", 1, 1),
        ("alarm query", 0, 1),
        ("alarms set", 0, 0),
        ("alarm set please", 0, 1),
        ("set alarm", 0, 0),
        ("", 0, 0),
    ],
)
def test_an_answer_is_right_as_intent_and_as_scenario(answer, accuracy, scenario):
    counts = TASK.counts(row("alarm_set"), answer)
    assert counts == {"accuracy": (accuracy, 1), "scenario": (scenario, 1)}


def test_figures_are_shares_of_rows_and_every_intent_has_its_own():
    rows = [row("alarm_set"), row("alarm_set"), row("play_music"), row("qa_maths")]
    report = TASK.report(rows, ["alarm set", "play music", "play music", "qa stock"])
    assert (report["accuracy"], report["scenario"], report["rows"]) == (0.5, 0.75, 4)
    assert report["per_intent"]["alarm set"] == {
        "precision": 1,
        "recall": 0.5,
        "f1": pytest.approx(2 / 3),
        "support": 2,
    }
    assert report["per_intent"]["play music"]["precision"] == 0.5
    assert report["per_intent"]["qa maths"] == {"precision": 0, "recall": 0, "f1": 0, "support": 1}


def test_massive_has_60_intents_in_18_scenarios_and_another_is_refused():
    assert (len(INTENTS), len({intent.split("_")[0] for intent in INTENTS})) == (60, 18)
    assert TASK.problem(row("alarm_set")) is None
    assert TASK.problem(row("tickets_open")).startswith("has intent tickets_open, which MASSIVE does not know")


def test_the_file_of_ones_own_asks_and_scores_as_the_task_of_the_product():
    own = find_task(str(EXAMPLE))
    assert len(EXAMPLE.read_text(encoding="utf-8").splitlines()) <= 40
    assert own.example(row("iot_hue_lightoff")) == TASK.example(row("iot_hue_lightoff"))
    rows = [row("alarm_set"), row("play_music")]
    assert own.report(rows, ["alarm set", "alarm set"]) == {"accuracy": 0.5, "rows": 2}
