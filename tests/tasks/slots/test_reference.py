import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from midalign.tasks.slots import massive, reference, scoring

SLOTS_DATA = Path(__file__).parents[3] / "shared" / "data" / "slots"  # not part of this repository
ENGLISH = {"locale": "en-US", "utt": "at five today", "annot_utt": "at [time : five] [date : today]"}
NO_SLOT = {"locale": "en-US", "utt": "stop", "annot_utt": "stop"}


def read(folder, name):
    return json.loads((folder / name).read_text(encoding="utf-8"))


def tags(row, prediction):
    _, predicted, _ = reference.tag_rows([row], prediction)
    return predicted[0]


@pytest.mark.parametrize("name", ["massive_scoring.json", "massive_scoring_real.json"])
def test_all_figures_equal_those_of_the_authors(goldens, name):
    golden = read(goldens, name)
    assert golden["cases"]
    for case in golden["cases"]:
        report = scoring.score(golden["rows"][case["rows"]], case["predictions"], compat="reference")
        expected = {"f1": case["slot_micro_f1"], "exact_match": case["ex_match_acc"]}
        if "slot_micro_f1_stderr" in case:
            expected["f1_stderr"] = case["slot_micro_f1_stderr"]
        assert {key: report[key] for key in expected} == pytest.approx(expected, abs=1e-9), case["id"]
        assert report["malformed"] == case["ill_formatted"], case["id"]


def test_every_token_is_tagged_as_the_authors_tag_it(goldens):
    golden = read(goldens, "massive_scoring.json")
    for case in golden["cases"]:
        text = "".join(prediction + "\n" for prediction in case["predictions"])
        gold, predicted, _ = reference.tag_rows(golden["rows"][case["rows"]], text)
        assert gold == golden["gold_tags"][case["rows"]]
        assert predicted == case["pred_tags"], case["id"]


def test_prediction_files_score_as_the_authors_score_them(goldens):
    golden = read(goldens, "massive_scoring.json")
    for case in golden["edge_cases"]:
        rows = case.get("rows_inline") or golden["rows"][case["rows"]]
        report = scoring.score_reference_file(rows, case["file_text"])
        if "error" not in case:
            assert report["f1"] == pytest.approx(case["slot_micro_f1"], abs=1e-9), case["id"]
            assert report["malformed"] == case["ill_formatted"], case["id"]


@pytest.mark.parametrize("split", ["validation", "test"])
@pytest.mark.parametrize("locale", sorted(path.parent.name for path in SLOTS_DATA.glob("*/test.jsonl")))
def test_perfect_predictions_reach_the_authors_ceiling(goldens, locale, split):
    ceiling = read(goldens, "massive_gold_ceiling.json")
    if f"{locale}/{split}" not in ceiling:
        pytest.skip(f"the authors' scorer was not run on {locale}")
    rows = [json.loads(line) for line in (SLOTS_DATA / locale / f"{split}.jsonl").open(encoding="utf-8")]
    perfect = [massive.target(row["annot_utt"]) for row in rows]
    report = scoring.score(rows, perfect, compat="reference")
    assert round(report["f1"], 4) == ceiling[f"{locale}/{split}"]


def test_a_blank_phrase_that_stops_the_reference_is_skipped():
    report = scoring.score_reference_file([ENGLISH], "time:  ; date: today\n")
    assert (report["precision"], report["recall"], report["malformed"]) == (1.0, 0.5, 0)


def test_a_line_past_the_last_row_that_stops_the_reference_is_ignored():
    report = scoring.score_reference_file([ENGLISH], "time: five; date: today\ntime: x\n")
    assert (report["f1"], report["malformed"]) == (1.0, 0)


@given(st.text(st.one_of(st.sampled_from("time:; \n\r"), st.characters())))
def test_no_prediction_file_raises(file_text):
    assert 0 <= scoring.score_reference_file([ENGLISH, NO_SLOT], file_text)["f1"] <= 1


def test_a_line_break_in_an_answer_shifts_all_later_rows():
    answers = ["None\n", "time: five; date: today"]
    assert scoring.score([NO_SLOT, ENGLISH], answers)["f1"] == 1.0
    assert scoring.score([NO_SLOT, ENGLISH], answers, compat="reference")["f1"] == 0.0


def test_rows_without_a_prediction_count_as_answered_none():
    report = scoring.score([ENGLISH, ENGLISH], ["time: five; date: today"], compat="reference")
    assert (report["precision"], report["recall"]) == (1.0, 0.5)


def test_no_slot_and_no_answer_is_zero_as_in_the_reference():
    report = scoring.score([NO_SLOT], ["None"], compat="reference")
    assert (report["f1"], report["per_language"], report["exact_match"]) == (0.0, {"en-US": 0.0}, 1.0)


def test_later_slots_overwrite_earlier_ones_at_every_occurrence():
    row = {"locale": "en-US", "utt": "now or now", "annot_utt": "now or now"}
    assert tags(row, "time: now; date: NOW") == ["date", "Other", "date"]


def test_neighbouring_slots_of_one_name_are_one_span():
    assert reference.spans(["date", "date", "Other", "date"]) == [("date", (0, 2)), ("date", (3, 4))]


def test_japanese_matches_by_character_but_keeps_a_latin_word_whole():
    row = {"locale": "ja-JP", "utt": "djを今", "annot_utt": "[music_genre : dj] を [time : 今]"}
    assert reference.gold_tags(row) == (["dj", "を", "今"], ["music_genre", "music_genre", "time"])
    assert tags(row, "music_genre: dj; time: 今") == ["Other", "Other", "time"]


def test_the_last_row_decides_whether_all_rows_match_by_character():
    chinese = {"locale": "zh-CN", "utt": "五点", "annot_utt": "[time : 五点]"}
    _, predicted, _ = reference.tag_rows([chinese, ENGLISH], "time: 五点\ntime: five\n")
    assert predicted == [["Other", "Other"], ["Other", "time", "Other"]]
    _, predicted, _ = reference.tag_rows([ENGLISH, chinese], "time: five\ntime: 五点\n")
    assert predicted == [["Other", "Other", "Other"], ["time", "time"]]
