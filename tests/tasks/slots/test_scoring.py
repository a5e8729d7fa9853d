import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from midalign.demo import corpus
from midalign.tasks.slots import massive, scoring

SLOTS_DATA = Path(__file__).parents[3] / "shared" / "data" / "slots"  # not part of this repository
TWO_SLOTS = {"locale": "en-US", "annot_utt": "at [time : nine am] on [date : friday]"}
NO_SLOT = {"locale": "en-US", "annot_utt": "stop"}
PERFECT = "time: nine am; date: friday"
BAD = ["\n", "", "time:", "no colon", "x" * 10_000, "a: b; " * 2_000, "\ud800", "B-time: O", "micro avg: x"]


def slot_counts(row, prediction):
    """(true positives, false positives, false negatives)."""
    return scoring.row_figures(row, prediction)[0]


def row(annot_utt, locale="en-US"):
    return {"locale": locale, "annot_utt": annot_utt}


def test_one_hit_one_spurious_and_one_missed_item_score_one_half():
    report = scoring.score([TWO_SLOTS], ["time: nine am; date: monday"])
    assert (report["f1"], report["precision"], report["recall"]) == (0.5, 0.5, 0.5)
    assert (report["exact_match"], report["rows"], report["malformed"]) == (0.0, 1, 0)


def test_precision_counts_spurious_and_recall_missed_items():
    report = scoring.score([TWO_SLOTS, NO_SLOT], ["time: nine am", "person: anna; person: bob"])
    assert (report["precision"], report["recall"]) == (pytest.approx(1 / 3), 0.5)
    assert report["f1"] == pytest.approx(0.4)  # 2 * 1 hit / (2 * 1 hit + 2 spurious + 1 missed)


def test_the_order_of_the_items_does_not_matter():
    assert slot_counts(TWO_SLOTS, "date: friday; time: nine am") == (2, 0, 0)


def test_each_gold_item_is_matched_once():
    twice = row("[person : anna] and [person : anna]")
    assert slot_counts(twice, "person: anna") == (1, 0, 1)
    assert slot_counts(twice, "person: anna; person: anna; person: anna") == (2, 1, 0)


def test_the_right_words_under_the_wrong_slot_are_spurious_and_missed():
    assert slot_counts(row("[date : friday]"), "time: friday") == (0, 1, 1)


def test_white_space_counts_only_in_languages_written_with_spaces():
    assert slot_counts(row("[time : 午前 九時]", "ja-JP"), "time: 午前九時") == (1, 0, 0)
    assert slot_counts(row("[time : 午前九時]", "zh-TW"), "time: 午前 九時") == (1, 0, 0)
    assert slot_counts(row("[time : nine am]"), "time: nineam") == (0, 1, 1)
    assert slot_counts(row("[time : nine am]"), "time:   nine   am ") == (1, 0, 0)


def test_composed_and_decomposed_letters_are_equal():
    assert slot_counts(row("[place_name : m\u00fcnchen]"), "place_name: mu\u0308nchen") == (1, 0, 0)


def test_a_time_with_a_spaced_colon_matches_however_it_is_spaced():
    spaced = row("[time : 5 : 30 pm]")
    assert slot_counts(spaced, massive.target(spaced["annot_utt"])) == (1, 0, 0)
    assert slot_counts(spaced, "time: 5 : 30 pm") == (1, 0, 0)


def test_marked_semicolons_in_a_value_score_as_a_hit():
    semicolon = row(r"[list_item : a;b\c]")
    assert slot_counts(semicolon, massive.target(semicolon["annot_utt"])) == (1, 0, 0)


def test_per_slot_and_per_language_figures_are_those_of_their_items():
    rows = [TWO_SLOTS, row("[time : 今]", "ja-JP"), row("もう", "th-TH")]
    report = scoring.score(rows, ["time: nine am; date: monday", "None", "None"])
    assert report["per_slot"] == {
        "date": {"precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 1},
        "time": {"precision": 1.0, "recall": 0.5, "f1": pytest.approx(2 / 3), "support": 2},
    }
    assert report["per_language"] == {"en-US": 0.5, "ja-JP": 0.0, "th-TH": 1.0}


def test_unknown_slot_names_are_spurious_under_one_name():
    answer = "song-name: x; I-time: nine am; ?: x; micro avg: x; " + "y" * 10_000 + ": x"
    report = scoring.score([TWO_SLOTS], [f"{answer}; {PERFECT}"])
    assert (report["precision"], report["recall"]) == (pytest.approx(2 / 7), 1.0)
    assert set(report["per_slot"]) == {"?", "date", "time"}


def test_a_slot_that_only_the_gold_knows_is_scored_under_its_own_name():
    report = scoring.score([row("[pet-name : rex]"), NO_SLOT], ["pet-name: rex", "pet-name: tom"])
    assert report["per_slot"]["pet-name"]["precision"] == 0.5


def test_nothing_to_find_and_nothing_answered_scores_one():
    report = scoring.score([NO_SLOT], ["None"])
    assert (report["f1"], report["precision"], report["recall"], report["exact_match"]) == (1, 1, 1, 1)


@pytest.mark.parametrize("bad", BAD)
def test_a_bad_prediction_costs_its_own_row_and_no_other(bad):
    rows = [TWO_SLOTS, TWO_SLOTS, TWO_SLOTS]
    report = scoring.score(rows, [PERFECT, bad, PERFECT])
    assert slot_counts(TWO_SLOTS, bad)[::2] == (0, 2)
    assert report["recall"] == pytest.approx(4 / 6)
    assert report["exact_match"] == pytest.approx(2 / 3)


def test_dropped_parts_are_counted_as_malformed():
    assert scoring.score([TWO_SLOTS, TWO_SLOTS], ["", f"{PERFECT}; oops; time:"])["malformed"] == 3


@given(st.lists(st.lists(st.sampled_from(["time: nine am", "date: friday", "time: x", "?", "q: r"]))))
def test_seqeval_and_the_row_counts_give_the_same_f1(answers):
    answers = ["; ".join(parts) for parts in [["time: x"], *answers]]
    counts = [slot_counts(TWO_SLOTS, answer) for answer in answers]
    report = scoring.score([TWO_SLOTS] * len(answers), answers)
    assert report["f1"] == pytest.approx(scoring.micro_f1(np.sum(counts, axis=0)))


def test_a_missing_prediction_is_refused_with_both_numbers():
    with pytest.raises(ValueError, match="1 predictions for 2 rows"):
        scoring.score([NO_SLOT, NO_SLOT], ["None"])


def test_an_unknown_compat_is_refused():
    with pytest.raises(ValueError, match='only None and "reference"'):
        scoring.score([NO_SLOT], ["None"], compat="alexa")


@pytest.mark.parametrize("compat", [None, "reference"])
def test_no_rows_at_all_are_refused(compat):
    with pytest.raises(ValueError, match="at least one row"):
        scoring.score([], [], compat=compat)


@pytest.mark.parametrize("locale", sorted(path.parent.name for path in SLOTS_DATA.glob("*/test.jsonl")))
def test_perfect_predictions_score_exactly_one_on_all_of_massive(locale):
    files = [SLOTS_DATA / locale / f"{split}.jsonl" for split in ("validation", "test")]
    rows = [json.loads(line) for file in files for line in file.open(encoding="utf-8")]
    report = scoring.score(rows, [massive.target(row["annot_utt"]) for row in rows])
    assert (report["f1"], report["exact_match"], report["malformed"]) == (1.0, 1.0, 0)


@pytest.mark.parametrize("locale", corpus.DEMO_LOCALES)
def test_perfect_predictions_score_exactly_one_on_the_demo_corpus(locale):
    rows = [row for partition in corpus.PARTITIONS for row in corpus.rows(locale, partition)]
    report = scoring.score(rows, [massive.target(row["annot_utt"]) for row in rows])
    assert (report["f1"], report["exact_match"], report["malformed"]) == (1.0, 1.0, 0)


def test_micro_f1_is_twice_the_hits_over_all_items_of_both_sides():
    assert scoring.micro_f1([[3, 1, 2], [0, 1, 1], [0, 0, 0]]) == pytest.approx([6 / 9, 0.0, 1.0])


@pytest.mark.parametrize("answer", ["", " \n", "!!!!", "none of them", "None; !!!!", "time:", ": nine", ";", "\u200b"])
def test_an_answer_that_cannot_be_read_is_no_exact_match_of_a_row_without_slots(answer):
    assert not scoring.is_exact(NO_SLOT, answer)
    report = scoring.score([NO_SLOT, NO_SLOT], [answer, "None"])
    assert (report["exact_match"], report["malformed"]) == (0.5, 1)
    assert (report["f1"], report["precision"], report["recall"]) == (1, 1, 1)  # there is nothing to find


@pytest.mark.parametrize("answer", ["None", "none", "NONE", " None\n", "None;", "None; none"])
def test_none_in_any_case_is_an_exact_match_of_a_row_without_slots(answer):
    assert scoring.is_exact(NO_SLOT, answer)
    assert scoring.score([NO_SLOT], [answer])["exact_match"] == 1
    assert not scoring.is_exact(TWO_SLOTS, answer)


def test_a_dropped_part_beside_right_ones_is_still_an_exact_match():
    assert scoring.is_exact(TWO_SLOTS, f"{PERFECT}; oops")
    assert scoring.score([TWO_SLOTS], [f"{PERFECT}; oops"])["exact_match"] == 1
    assert not scoring.is_exact(TWO_SLOTS, "time: nine am; oops")


def test_name_f1_asks_for_the_slot_and_not_for_its_words():
    row = {"locale": "en-US", "annot_utt": "wake me at [time : nine am] on [date : friday]"}
    result = scoring.score([row], ["time: ten; place_name: rome"])
    # time is found with wrong words, place_name is spurious, date is missed: 2 / (2 + 1 + 1)
    assert (result["name_f1"], result["f1"]) == (0.5, 0.0)
