"""The scripts of recipes/evidence.md: what its runs are, what became of the words of slots, foreign words in their
place, and how retrieval goes with accuracy.
"""

import importlib.util
import json
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest

from midalign.recipe import read_recipe

SCRIPTS = Path(__file__).parents[2] / "recipes/evidence"
ENGLISH = {("time", "nine am"), ("place_name", "london")}


def load(name):
    spec = importlib.util.spec_from_file_location(name, SCRIPTS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def fates():
    return load("slot_words").fates


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
    assert fates("ja-JP", [("time", "九 時")], [("time", "nine am")], "九時に", ENGLISH) == [
        ("time", "九 時", "English")
    ]


@pytest.mark.parametrize(
    ("annotated", "language", "text", "expected"),
    [
        ("wake me at [time : nine am]", "sw", "saa tatu", "wake me at [time : saa tatu]"),
        ("play [artist : queen]'s [song : one]", "ja", "猫 が", "play [artist : 猫が]'s [song : 猫が]"),
        ("find [place : a very long name]", "cy", "bore da", "find [place : bore da]"),
        ("stop", "sw", "saa tatu", "stop"),
    ],
    ids=["words", "no spaces", "short sentence", "no slots"],
)
def test_foreign_values_stand_in_slots_and_in_the_utterance(annotated, language, text, expected):
    row = {"id": "1", "annot_utt": annotated, "utt": "before"}
    made = load("foreign_values").with_foreign_values(row, [(language, text)], random.Random(1))
    assert made["annot_utt"] == expected
    assert made["utt"] == re.sub(r"\[\w+ : ([^]]*)\]", r"\1", expected)


def test_rows_with_foreign_values_are_as_many_as_those_with_labels_and_hold_no_label_of_others(tmp_path):
    data, pairs, output = tmp_path / "data", tmp_path / "pairs.jsonl", tmp_path / "out"
    (data / "en-US").mkdir(parents=True)
    rows = [
        {
            "id": str(i),
            "locale": "en-US",
            "partition": "train",
            "utt": f"call anna {i}",
            "annot_utt": f"call [person : anna {i}]",
        }
        for i in range(9)
    ]
    test = {"id": "x", "locale": "en-US", "partition": "test", "utt": "call anna 3", "annot_utt": "call anna 3"}
    (data / "en-US/test.jsonl").write_text(json.dumps(test) + "\n")
    (data / "en-US/train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    pairs.write_text('{"source": "saa tatu", "target": "nine", "source_lang": "sw", "target_lang": "en"}\n')
    command = [sys.executable, SCRIPTS / "foreign_values.py", data, output, pairs, "--labelled", "6", "--share", "1"]
    subprocess.run(command, check=True, capture_output=True)
    made = [json.loads(line) for line in (output / "en-US/train.jsonl").read_text().splitlines()]
    assert [row["annot_utt"] for row in made] == ["call [person : saa tatu]"] * 6
    assert {row["utt"] for row in made} == {"call saa tatu"}
    assert "3" not in {row["id"] for row in made}  # the text of a test row


@pytest.fixture
def queue(tmp_path, monkeypatch):
    """queue(*runs) -> (exit code, the arguments of the trainings that queue.sh would start, what it says)."""
    log, bin = tmp_path / "log", tmp_path / "bin"
    bin.mkdir()
    (bin / "python").write_text(
        '#!/usr/bin/env bash\ncase $1 in *run_midalign.py) shift; printf "%s\\t" "$@" >> "$LOG"; echo >> "$LOG"\n'
        'while [ "$1" != --output_dir ]; do shift; done; mkdir -p "$2" ;; *) mkdir -p "$3" ;; esac\n'
    )
    (bin / "midalign").write_text("#!/usr/bin/env bash\n")
    for stub in bin.iterdir():
        stub.chmod(0o755)
    monkeypatch.setenv("LOG", str(log))
    monkeypatch.setenv("PATH", f"{bin}:/usr/bin:/bin")

    def run(*runs):
        command = ["bash", SCRIPTS / "queue.sh", "MODEL", "MASSIVE", "TATOEBA", tmp_path / "out", *runs]
        done = subprocess.run(command, capture_output=True, text=True)
        lines = log.read_text().splitlines() if log.exists() else []
        return done.returncode, [line.split("\t")[:-1] for line in lines], done.stderr

    return run


def test_no_two_arms_of_the_queue_are_the_same_run_and_each_has_a_recipe(queue):
    code, trainings, said = queue()
    assert code == 0, said
    settings = {}
    for recipe, *given in trainings:
        data, training, _ = read_recipe([str(SCRIPTS.parents[1] / recipe), *given])
        align = {key: value for key, value in vars(training).items() if key.startswith("align_")}
        own = {**vars(data), **align, "steps": training.max_steps, "seed": training.seed}
        settings[Path(training.output_dir).name] = json.dumps(own, default=str, sort_keys=True)
    assert len(settings) == len(trainings) == len(set(settings.values()))
    assert {"task-1", "context_gentle-5", "translate-1", "slots_task-1"} <= settings.keys()


@pytest.mark.parametrize("run", ["contxt-1", "context_gentel-1", "words-1"])
def test_an_arm_that_is_none_trains_nothing(run, queue):
    code, trainings, said = queue(run)
    assert code == 2 and not trainings
    assert run.split("-")[0] in said


def test_the_chosen_setting_is_what_the_recipe_says(queue):
    _, [[recipe, *given]], _ = queue("context_gentle-1")
    assert recipe == "recipes/gemma3/align_intents_270m.yaml"
    assert [word for word in given if word.startswith("--align")] == ["--align_data"]


def test_retrieval_that_foretells_accuracy_is_correlated_over_the_languages_of_all_files(tmp_path):
    foretold = load("foretold")
    for name, locales in (("one", {"sw-KE": 0.1, "tr-TR": 0.5}), ("other", {"fr-FR": 0.7, "ko-KR": 0.3})):
        languages = {locale: {"accuracy": accuracy} for locale, accuracy in locales.items()}
        (tmp_path / f"{name}.json").write_text(json.dumps({"runs": {"task": {"languages": languages}}}))
    found = foretold.accuracies([tmp_path / "one.json", tmp_path / "other.json"])
    assert found == {"task": {"sw-KE": 0.1, "tr-TR": 0.5, "fr-FR": 0.7, "ko-KR": 0.3}}
    assert foretold.told(foretold.correlation(found["task"], found["task"])) == "+1.00, 4 languages"
