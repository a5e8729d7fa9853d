"""The scripts of recipes/evidence.md: what its runs are, what became of the words of slots, foreign words in their
place, and how retrieval goes with accuracy.
"""

import importlib.util
import json
import os
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
    monkeypatch.setenv("PATH", f"{bin}{os.pathsep}{os.environ['PATH']}")
    for name in ("PARTITION", "DTYPE", "NTREX"):
        monkeypatch.delenv(name, raising=False)

    def run(*runs):
        command = ["bash", SCRIPTS / "queue.sh", "MODEL", "MASSIVE", "TATOEBA", tmp_path / "of runs", *runs]
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


def test_an_arm_whose_pairs_were_not_given_says_so_and_trains_nothing(queue):
    code, trainings, said = queue("context_gentle_ntrex-1")
    assert code and not trainings
    assert "NTREX: give the folder" in said


ALONE = {"context": "plain", "pooling": "mean", "pool_skip_first": True, "stop_gradient": False, "weight": 1.0}
IN_PROMPT = {"context": "task", "pooling": "last", "pool_skip_first": False}
GENTLE = {**IN_PROMPT, "stop_gradient": True, "weight": 0.5}
CONTEXT = {**IN_PROMPT, "stop_gradient": False, "weight": 1.0}


@pytest.mark.parametrize(
    ("arm", "pairs", "keys"),
    [
        ("domain1000", ["domain1000"], ALONE),
        ("tatoeba", ["TATOEBA"], ALONE),
        ("shuffled", ["shuffled"], ALONE),
        ("both", ["TATOEBA", "domain1000"], ALONE),
        ("paper", ["TATOEBA"], {**ALONE, "center": False, "pool_skip_first": False}),
        ("context", ["domain1000"], CONTEXT),
        ("context_first", ["domain1000"], {**CONTEXT, "until": 150}),
        ("context48", ["domain1000"], {**CONTEXT, "batch_size": 48}),
        ("context_held", ["domain1000"], {**GENTLE, "weight": 1.0}),
        ("context_half", ["domain1000"], {**GENTLE, "stop_gradient": False}),
        ("context_gentle", ["domain1000"], GENTLE),
        ("context_gentle300", ["domain300"], GENTLE),
        ("context_gentle100", ["domain100"], {**GENTLE, "eval_pairs": 10}),
        ("context_gentle_tatoeba", ["TATOEBA"], GENTLE),
        ("context_gentle_ntrex", ["NTREX"], GENTLE),
        ("context_gentle_shuffled", ["shuffled"], GENTLE),
    ],
)
def test_an_arm_has_the_pairs_and_alignment_keys_that_the_page_says(arm, pairs, keys, queue, monkeypatch):
    monkeypatch.setenv("NTREX", "NTREX")
    _, [[recipe, *given]], _ = queue(f"{arm}-1")
    data, training, _ = read_recipe([str(SCRIPTS.parents[1] / recipe), *given])
    assert [Path(name).name for name in data.align_data] == pairs
    keys = {"center": True, "batch_size": 16, "until": None, "eval_pairs": 100, **keys}
    found = {**vars(data), **vars(training)}
    assert {key: found[f"align_{key}"] for key in keys} == keys


def test_retrieval_that_foretells_accuracy_is_correlated_over_the_languages_of_all_files(tmp_path, monkeypatch, capsys):
    foretold = load("foretold")
    task = {"sw-KE": 0.1, "tr-TR": 0.5, "fr-FR": 0.7, "ko-KR": 0.3, "en-US": 0.9}
    more = {"sw-KE": 0.4, "tr-TR": 0.6, "fr-FR": 0.7, "ko-KR": 0.5, "en-US": 0.9}  # the less retrieval, the more gained
    gains = {"sw-KE": 0.3, "tr-TR": 0.1, "fr-FR": 0.0, "ko-KR": 0.2, "en-US": 0.0}  # as scores.json tells them
    files = [tmp_path / "one.json", tmp_path / "other.json"]
    for file, locales in zip(files, (("sw-KE", "tr-TR", "en-US"), ("fr-FR", "ko-KR")), strict=True):
        runs = {
            "task": {"languages": {locale: {"accuracy": task[locale]} for locale in locales}},
            "more": {"languages": {locale: {"accuracy": more[locale], "gain": gains[locale]} for locale in locales}},
        }
        groups = {"sw-KE": "aligned"} | {locale: "never aligned" for locale in locales if locale != "sw-KE"}
        file.write_text(json.dumps({"runs": runs, "baseline": "task", "groups": groups}))
    monkeypatch.setattr(
        foretold, "retrieval", lambda model, massive, locales: ({key: task[key] for key in locales}, 11)
    )
    monkeypatch.setattr(sys, "argv", ["foretold.py", "MODEL", "MASSIVE", *map(str, files)])
    foretold.main()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "| | retrieval@1, layer 11 | task | more |"
    assert [line.split()[1] for line in lines[2:6]] == ["sw-KE", "ko-KR", "tr-TR", "fr-FR"]
    assert lines[6] == "accuracy of task: +1.00, 4 languages"
    assert lines[8:] == [
        "gain of more over task: -1.00, 4 languages",
        "of those without pairs alone: -1.00, 3 languages",
    ]


def test_a_figure_that_does_not_vary_has_no_correlation():
    foretold = load("foretold")
    assert (
        foretold.told(foretold.correlation({"sw": 1, "de": 2, "fr": 3}, {"sw": 0, "de": 0, "fr": 0}))
        == "none, 3 languages"
    )
