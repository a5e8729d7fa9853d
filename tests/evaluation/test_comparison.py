"""Figures of several runs, worked out by hand."""

import pytest

from midalign.evaluation.comparison import compare, examples, failing_slots


def row(number, locale, annotation):
    return {"id": str(number), "locale": locale, "utt": annotation, "annot_utt": annotation}


ROWS = {
    "en-US": [row(0, "en-US", "[time : nine]"), row(1, "en-US", "[date : friday]")],
    "tr-TR": [row(0, "tr-TR", "[time : dokuz]"), row(1, "tr-TR", "[date : cuma]")],
    "cy-GB": [row(0, "cy-GB", "[time : naw]"), row(1, "cy-GB", "[date : gwener]")],
}
GROUPS = {"en-US": "supervised", "tr-TR": "aligned", "cy-GB": "aligned"}
ANSWERS = {
    "sft": {"en-US": ["time: nine", "date: friday"], "tr-TR": ["None", "date: friday"], "cy-GB": ["None", "None"]},
    "align": {"en-US": ["time: nine", "None"], "tr-TR": ["time: dokuz", "date: cuma"], "cy-GB": ["time: naw", "x: y"]},
}


def test_languages_and_groups_have_the_figures_worked_out_by_hand():
    report = compare(ROWS, ANSWERS, GROUPS, "sft")
    sft, align = report["sft"], report["align"]
    assert {locale: figures["f1"] for locale, figures in sft["languages"].items()} == {
        "en-US": 1,
        "tr-TR": 0,
        "cy-GB": 0,
    }
    assert align["languages"]["en-US"]["gain"] == pytest.approx(2 / 3 - 1)
    assert align["languages"]["cy-GB"]["gain"] == pytest.approx(0.5)  # one hit, one spurious, one missed
    assert align["groups"]["aligned"]["f1"] == pytest.approx((1 + 0.5) / 2)
    assert align["groups"]["aligned"]["gain"] == pytest.approx(0.75)
    assert align["groups"]["aligned"]["languages"] == 2
    low, high = align["groups"]["aligned"]["gain_ci"]
    assert 0 < low <= 0.75 <= high
    assert list(align["groups"]) == ["supervised", "aligned"]
    assert "gain" not in sft["languages"]["en-US"] and "gain" not in sft["groups"]["aligned"]


def test_a_run_against_its_equal_gains_nothing_with_certainty():
    same = compare(ROWS, {"a": ANSWERS["align"], "b": ANSWERS["align"]}, GROUPS, "a")["b"]
    assert same["groups"]["aligned"]["gain_ci"] == (0, 0)
    assert {figures["p"] for figures in same["languages"].values()} == {1}


def test_translations_of_the_same_utterances_do_not_narrow_the_interval_of_a_mean():
    annotations = ["[time : nine]", "[time : ten]"] * 50
    answers = ["time: nine", "None"] * 50
    locales = ["tr-TR", "cy-GB", "ja-JP", "sw-KE"]

    def width(some, shift):
        rows = {
            locale: [row(number + shift * place, locale, text) for number, text in enumerate(annotations)]
            for place, locale in enumerate(some)
        }
        report = compare(rows, {"a": dict.fromkeys(some, answers)}, dict.fromkeys(some, "aligned"), "a")
        low, high = report["a"]["groups"]["aligned"]["f1_ci"]
        return high - low

    one, four, four_unrelated = width(locales[:1], 0), width(locales, 0), width(locales, 1000)
    assert four == pytest.approx(one, rel=0.05)
    assert four_unrelated == pytest.approx(one / 2, rel=0.2)  # the mean of four independent languages


def test_languages_without_common_utterances_keep_their_rows_in_every_draw():
    rows = {
        "sw-KE": [row(f"sw{i}", "sw-KE", "[time : x]") for i in range(2)],
        "tr-TR": [row(i, "tr-TR", "[time : x]") for i in range(200)],
    }
    wrong = {locale: ["None"] * len(some) for locale, some in rows.items()}
    report = compare(rows, {"a": wrong}, dict.fromkeys(rows, "aligned"), "a")
    assert report["a"]["groups"]["aligned"]["f1_ci"] == (0, 0)  # a language without rows would count as 1


def test_slots_are_listed_by_how_often_they_are_missed():
    report = compare(ROWS, ANSWERS, GROUPS, "sft")
    worst, second = failing_slots(report, "sft", "align", count=2)
    assert (worst["slot"], worst["support"], worst["missed"]) == ("date", 3, 2)
    assert (second["slot"], second["missed"], second["f1"]) == ("time", 0, 1)


def test_examples_show_what_was_mended_broken_and_is_still_wrong():
    found = [(e["locale"], e["kind"], e["gold"]) for e in examples(ROWS, ANSWERS, "sft", "align", per_kind=1)]
    assert found == [
        ("en-US", "broken", "date: friday"),
        ("tr-TR", "mended", "time: dokuz"),
        ("cy-GB", "mended", "time: naw"),
        ("cy-GB", "still wrong", "date: gwener"),
    ]
