"""Slots with names of one's own, in languages that MASSIVE has not."""

import json

import pytest

import run_midalign
from midalign.data.checks import Sieve
from midalign.data.reading import task_rows
from midalign.errors import InputError
from midalign.tasks import find_task
from midalign.tasks.slots.task import Slots

TICKETS = [
    ("mein [device : router] blinkt [color : rot]", "device: router; color: rot"),
    ("der [device : drucker] ist seit [since : gestern] weg", "device: drucker; since: gestern"),
    ("hilfe", "None"),
]


def bare(annotation):
    """A row with nothing but what it needs."""
    words = annotation
    for slot in ("device", "color", "since"):
        words = words.replace(f"[{slot} : ", "")
    return {"utt": words.replace("]", ""), "annot_utt": annotation}


@pytest.fixture
def tickets(tmp_path):
    """A folder of tickets in two languages, rows with utt and annot_utt alone."""
    for language in ("de", "gsw"):
        for partition in ("train", "validation", "test"):
            file = tmp_path / "tickets" / language / f"{partition}.jsonl"
            file.parent.mkdir(parents=True, exist_ok=True)
            rows = [bare(annotation) for annotation, _ in TICKETS]
            rows = [{key: f"{partition} {text}" for key, text in row.items()} for row in rows]
            file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path / "tickets"


def problem(task, annotation):
    return task.problem(bare(annotation))


def test_names_of_a_list_are_learned_and_others_are_named_with_the_list():
    task = find_task("slots", options={"task_slots": ["device", "color"]})
    assert [problem(task, annotation) for annotation, _ in TICKETS][::2] == [None, None]
    assert problem(task, TICKETS[1][0]) == "has slot since, which is not among task_slots; use color, device"
    assert [task.gold(bare(annotation)) for annotation, _ in TICKETS] == [answer for _, answer in TICKETS]


def test_any_takes_every_name_that_can_be_read():
    task = find_task("slots", options={"task_slots": ["any"]})
    assert not any(problem(task, annotation) for annotation, _ in TICKETS)
    row = {"utt": "x", "annot_utt": "[\u200b : x]"}
    assert task.problem(row) == "has a slot with nothing to read in its name, '\\u200b'; give it one"


def test_without_a_list_the_names_are_those_of_massive():
    assert problem(Slots(), "[time : nine]".replace("time", "device")).startswith(
        "has slot device, which MASSIVE does not know; use alarm_type"
    )


@pytest.mark.parametrize("name", ["a:b", "[a", "a]", " a", "a  b", "\u200b", "a\n"])
def test_a_name_that_no_annotation_can_have_is_refused(name):
    with pytest.raises(InputError, match="task_slots: found"):
        find_task("slots", options={"task_slots": ["device", name]})


def test_any_stands_alone():
    with pytest.raises(InputError, match="any beside other names"):
        find_task("slots", options={"task_slots": ["device", "any"]})


def test_an_answered_name_outside_of_the_list_and_the_gold_is_unknown():
    row = {"locale": "de", "annot_utt": "[device : router]"}
    answers = {None: "?", ("any",): "?", ("device", "tool"): "tool"}
    for slots, name in answers.items():
        task = find_task("slots", options={"task_slots": slots and list(slots)})
        per_slot = task.report([row], ["tool: router"])["per_slot"]
        assert per_slot.keys() == {"device", name}
        assert per_slot[name] == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 0}


def test_a_name_may_hold_what_seqeval_s_tags_hold():
    task = find_task("slots", options={"task_slots": ["any"]})
    names = ["from-city", "B-time", "O", "I", "_", "a b", "e;f", "g\\h", "städte"]
    rows = [{"locale": "de", "annot_utt": f"[{name} : x]"} for name in names]
    report = task.report(rows, [task.gold(row) for row in rows])
    assert report["f1"] == 1 and report["per_slot"].keys() == set(names)
    assert {figures["support"] for figures in report["per_slot"].values()} == {1}


WRITTEN = ("gr\u00f6\u00dfe", "gro\u0308\u00dfe")  # one name: a letter, and a letter with its mark


@pytest.mark.parametrize("gold", WRITTEN)
@pytest.mark.parametrize("answered", WRITTEN)
@pytest.mark.parametrize("listed", [*WRITTEN, "any"])
def test_a_name_is_one_however_its_letters_are_composed(gold, answered, listed):
    task = find_task("slots", options={"task_slots": [listed]})
    row = {"locale": "de", "utt": "xl", "annot_utt": f"[{gold} : xl]"}
    assert task.problem(row) is None
    assert task.counts(row, f"{answered}: xl")["f1"] == task.counts(row, f"{answered}: xl")["name_f1"] == (1, 0, 0)
    assert task.report([row, row], [f"{answered}: xl", "None"])["per_slot"] == {
        WRITTEN[0]: {"precision": 1, "recall": 0.5, "f1": pytest.approx(2 / 3), "support": 2}
    }


WITHOUT_SPACES = [("jpn", "午前 九時", True), ("lo", "ມື້ ນີ້", True), ("de", "a b", False)]


@pytest.mark.parametrize(("locale", "answer", "right"), WITHOUT_SPACES)
def test_a_language_without_spaces_is_known_by_any_of_its_tags(locale, answer, right):
    row = {"locale": locale, "annot_utt": f"[time : {''.join(answer.split())}]"}
    assert Slots().right(row, f"time: {answer}") == right


def test_rows_need_no_id_locale_and_partition_and_languages_are_free(tickets):
    task = find_task("slots", options={"task_slots": ["any"]})
    rows = task_rows(task, str(tickets), "gsw", "test", "main")
    assert [(row["id"], row["locale"], row["partition"]) for row in rows] == [
        ("gsw 0", "gsw", "test"),
        ("gsw 1", "gsw", "test"),
        ("gsw 2", "gsw", "test"),
    ]
    for locale in ("xx", "german", "../gsw"):
        with pytest.raises(InputError, match="is none; use a BCP 47 tag"):
            task_rows(task, str(tickets), locale, "test", "main")


def test_a_folder_that_has_a_language_is_asked_for_it_by_its_own_name(tmp_path):
    row = {"id": "1", "locale": "de", "partition": "test", "utt": "um neun", "annot_utt": "um [time : neun]"}
    (tmp_path / "de.jsonl").write_text(json.dumps(row))
    task = Slots()
    assert task.language("de", str(tmp_path)) == "de"
    assert [found["utt"] for found in task_rows(task, str(tmp_path), "de", "test", "main")] == ["um neun"]
    assert task.language("sw", str(tmp_path)) == "sw-KE"  # nothing of its own: MASSIVE's
    assert task.language("de", "demo") == "de-DE"
    with pytest.raises(InputError, match="xx is not in MASSIVE"):
        task.language("xx", str(tmp_path))


def test_a_bad_row_is_named_with_file_line_and_slot(tickets):
    with (tickets / "de" / "test.jsonl").open("a") as file:
        file.write(json.dumps(bare("[since : heute]") | {"id": "x"}))
    task, sieve = find_task("slots", options={"task_slots": ["device", "color", "since"]}), Sieve("skip")
    assert len(task_rows(task, str(tickets), "de", "test", "main", sieve)) == 4
    task = find_task("slots", options={"task_slots": ["device", "color"]})
    task_rows(task, str(tickets), "de", "test", "main", sieve)
    assert [sentence.split("de/")[1] for sentence in sieve.left_out] == [
        f"test.jsonl line {line} has slot since, which is not among task_slots; use color, device" for line in (2, 4)
    ]


def test_a_recipe_with_own_names_trains_is_scored_and_scores_answers_from_elsewhere(
    recipe, tickets, tmp_path, midalign, capsys
):
    own = recipe("task_instruction: Nenne die Felder.\ntask_slots: [device, color, since]\n")
    text = own.read_text().replace("task_data: demo", f"task_data: {tickets}\ntask_languages: [gsw]")
    own.write_text(text.replace("[en-US, ru-RU]", "[gsw, de]"))
    assert run_midalign.main([str(own)]) == 0
    assert json.loads((tmp_path / "recipe" / "scores.json").read_text())["scores"].keys() == {"gsw", "de"}
    capsys.readouterr()
    answers = tmp_path / "answers.txt"
    answers.write_text("".join(f"{answer}\n" for _, answer in TICKETS))
    code, out, _ = midalign("score", answers, "--task", own, "--locale", "de", "--json")
    report = json.loads(out)
    assert (code, report["f1"], report["per_slot"].keys()) == (0, 1, {"device", "color", "since"})
