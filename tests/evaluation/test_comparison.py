"""Figures of several runs, worked out by hand."""

import pytest

from midalign.evaluation.comparison import compare, examples, failing
from midalign.evaluation.counts import counted_each
from midalign.tasks.slots.task import Slots


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


def compared(rows, answers, groups, baseline):
    """Every run an arm of its own."""
    return compare(Slots(), counted_each(Slots(), rows, answers), groups, baseline)


def test_languages_and_groups_have_the_figures_worked_out_by_hand():
    report = compared(ROWS, ANSWERS, GROUPS, "sft")
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
    assert align["groups"]["aligned"]["name_f1"] == pytest.approx((1 + 0.5) / 2)
    assert align["groups"]["aligned"]["gain_ci"] is None and align["groups"]["aligned"]["f1_ci"] is None  # 2 rows
    assert list(align["groups"]) == ["supervised", "aligned"]
    assert "gain" not in sft["languages"]["en-US"] and "gain" not in sft["groups"]["aligned"]


def test_a_run_against_its_equal_gains_nothing():
    rows = {locale: [row(i, locale, "[time : nine]") for i in range(40)] for locale in ("tr-TR", "cy-GB")}
    half = {locale: ["time: nine", "None"] * 20 for locale in rows}
    same = compared(rows, {"a": half, "b": half}, dict.fromkeys(rows, "aligned"), "a")["b"]
    for figures in (*same["languages"].values(), *same["groups"].values()):
        assert (figures["gain"], figures["p"], figures["p_method"], figures["gain_ci"]) == (0, 1, "exact", None)
        low, high = figures["f1_ci"]
        assert low < figures["f1"] < high


def test_an_utterance_is_swapped_in_all_its_languages_at_once():
    locales = ("tr-TR", "cy-GB", "sw-KE")
    rows = {locale: [row(i, locale, "[time : nine]") for i in range(30)] for locale in locales}
    right = {locale: ["time: nine"] * 30 for locale in locales}
    worse = {locale: ["None"] * 5 + ["time: nine"] * 25 for locale in locales}
    report = compared(rows, {"sft": worse, "align": right}, dict.fromkeys(rows, "aligned"), "sft")["align"]
    group = report["groups"]["aligned"]
    assert group["p"] == pytest.approx(2 / 2**5)  # fifteen rows differ, but only five utterances
    low, high = group["gain_ci"]
    assert 0 < low < group["gain"] < high
    for figures in report["languages"].values():
        assert figures["p"] == pytest.approx(2 / 2**5)
        assert figures["p_holm"] == pytest.approx(3 * 2 / 2**5)
        assert figures["p_bh"] == pytest.approx(2 / 2**5)
    assert "p_holm" not in group


def test_languages_with_other_utterances_are_swapped_by_themselves():
    rows = {
        "tr-TR": [row(i, "tr-TR", "[time : nine]") for i in range(3)],
        "cy-GB": [row(i + 2, "cy-GB", "[time : nine]") for i in range(3)],  # number 2 is in both
    }
    answers = {
        "sft": {locale: ["None"] * 3 for locale in rows},
        "align": {locale: ["time: nine"] * 3 for locale in rows},
    }
    report = compared(rows, answers, dict.fromkeys(rows, "aligned"), "sft")["align"]
    assert report["groups"]["aligned"]["p"] == pytest.approx(2 / 2**5)
    assert report["languages"]["tr-TR"]["p"] == pytest.approx(2 / 2**3)


def test_translations_of_the_same_utterances_do_not_narrow_the_interval_of_a_mean():
    annotations = ["[time : nine]", "[time : ten]"] * 50
    answers = ["time: nine", "None"] * 50
    locales = ["tr-TR", "cy-GB", "ja-JP", "sw-KE"]

    def width(some, shift):
        rows = {
            locale: [row(number + shift * place, locale, text) for number, text in enumerate(annotations)]
            for place, locale in enumerate(some)
        }
        report = compared(rows, {"a": dict.fromkeys(some, answers)}, dict.fromkeys(some, "aligned"), "a")
        low, high = report["a"]["groups"]["aligned"]["f1_ci"]
        return high - low

    one, four, four_unrelated = width(locales[:1], 0), width(locales, 0), width(locales, 1000)
    assert four == pytest.approx(one, rel=0.05)
    assert four_unrelated == pytest.approx(one / 2, rel=0.2)  # the mean of four independent languages


def test_a_mean_over_languages_without_common_utterances_has_half_the_interval_of_the_only_one_that_varies():
    rows = {
        "sw-KE": [row(f"sw{i}", "sw-KE", "[time : x]") for i in range(30)],
        "tr-TR": [row(i, "tr-TR", "[time : x]") for i in range(200)],
    }
    answers = {"sw-KE": ["None"] * 30, "tr-TR": ["None", "time: x"] * 100}
    report = compared(rows, {"a": answers}, dict.fromkeys(rows, "aligned"), "a")["a"]
    alone, mean = report["languages"]["tr-TR"]["f1_ci"], report["groups"]["aligned"]["f1_ci"]
    assert mean == pytest.approx((alone[0] / 2, alone[1] / 2), abs=0.01)


def test_a_language_with_too_few_rows_leaves_its_group_without_an_interval():
    rows = {locale: [row(i, locale, "[time : x]") for i in range(n)] for locale, n in (("sw-KE", 29), ("tr-TR", 60))}
    answers = {locale: ["None", "time: x"] * 30 for locale in rows}
    answers = {locale: some[: len(rows[locale])] for locale, some in answers.items()}
    report = compared(rows, {"a": answers}, dict.fromkeys(rows, "aligned"), "a")["a"]
    assert report["languages"]["sw-KE"]["f1_ci"] is None
    assert report["languages"]["tr-TR"]["f1_ci"]
    assert report["groups"]["aligned"]["f1_ci"] is None


def test_slots_are_listed_by_how_often_they_are_missed():
    report = compared(ROWS, ANSWERS, GROUPS, "sft")
    worst, second = failing(Slots(), report, "sft", "align", count=2)
    assert (worst["slot"], worst["support"], worst["missed"]) == ("date", 3, 2)
    assert (second["slot"], second["missed"], second["f1"]) == ("time", 0, 1)


def test_an_answer_that_cannot_be_read_is_wrong_where_there_is_no_slot():
    rows = {"en-US": [row(0, "en-US", "stop")]}
    found = examples(Slots(), rows, {"a": {"en-US": ["!!!!"]}, "b": {"en-US": ["none"]}}, "a", "b")
    assert [example["kind"] for example in found] == ["mended"]


def test_examples_show_what_was_mended_broken_and_is_still_wrong():
    found = [(e["locale"], e["kind"], e["gold"]) for e in examples(Slots(), ROWS, ANSWERS, "sft", "align", per_kind=1)]
    assert found == [
        ("en-US", "broken", "date: friday"),
        ("tr-TR", "mended", "time: dokuz"),
        ("cy-GB", "mended", "time: naw"),
        ("cy-GB", "still wrong", "date: gwener"),
    ]
