import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from midalign.tasks.slots import massive
from midalign.tasks.slots.task import Slots

SLOTS_DATA = Path(__file__).parents[3] / "shared" / "data" / "slots"
any_text = st.text(st.characters())  # lone surrogates included
any_slot = st.sampled_from(sorted(massive.SLOTS))
any_pairs = st.lists(st.tuples(any_slot, any_text.filter(lambda value: value.strip())))


def test_target_lists_the_slots_in_order_of_appearance():
    annot_utt = "wake me at [time : nine am] on [date : friday] please"
    assert massive.target(annot_utt) == "time: nine am; date: friday"


def test_target_of_an_utterance_without_slots_is_none():
    assert massive.target("stop") == "None"


def test_target_writes_a_spaced_colon_as_the_reference_does():
    assert massive.target("at [time : 5 : 30 pm]") == "time: 5: 30 pm"


def test_target_keeps_a_repeated_slot_twice():
    assert massive.target("[date : monday] or [date : monday]") == "date: monday; date: monday"


def test_targets_equal_those_of_the_reference(goldens):
    golden = json.loads((goldens / "massive_scoring.json").read_text(encoding="utf-8"))
    for locale, rows in golden["rows"].items():
        assert [massive.target(row["annot_utt"]) for row in rows] == golden["gold_targets"][locale]


def test_segments_keep_the_plain_text_between_the_slots():
    pieces = massive.segments("at [time :  nine   am], ok")
    assert pieces == [(None, "at"), ("time", "nine am"), (None, ", ok")]


def test_parse_gives_only_the_slots():
    assert massive.parse("at [time : nine am] [date : friday]") == [("time", "nine am"), ("date", "friday")]


@pytest.mark.parametrize(
    "annot_utt",
    ["at [time : nine", "at nine]", "[time : [date : x]]", "[time nine]", "[ : nine]", "[time : ]", "a ][ b"],
)
def test_a_broken_bracket_is_refused_with_the_text_and_the_format(annot_utt):
    with pytest.raises(ValueError) as error:
        massive.parse(annot_utt)
    assert repr(annot_utt) in str(error.value)
    assert "[slot : words]" in str(error.value)


def test_semicolons_and_backslashes_in_a_value_are_marked():
    assert massive.write_target([("list_item", r"a;b\c"), ("time", "x")]) == r"list_item: a\;b\\c; time: x"
    assert massive.read_target(r"list_item: a\;b\\c; time: x") == [("list_item", r"a;b\c"), ("time", "x")]


def test_line_breaks_in_a_value_are_written_as_one_space():
    assert massive.write_target([("time", " nine \n\t am ")]) == "time: nine am"


def test_only_the_first_colon_of_a_part_separates():
    assert massive.read_target("time: 5:30: pm") == [("time", "5:30: pm")]


@given(any_pairs)
def test_every_list_of_slots_reads_back_as_it_was_written(pairs):
    text = massive.write_target(pairs)
    assert massive.read_answer(text) == ([(slot, massive.clean(words)) for slot, words in pairs], 0)


@given(any_text)
def test_reading_any_text_gives_items_that_write_and_read_back(text):
    found = massive.read_target(text)
    assert massive.read_target(massive.write_target(found)) == found


@pytest.mark.parametrize("text", ["None", "none", " NONE\n"])
def test_none_in_any_case_is_a_well_formed_answer_without_slots(text):
    assert massive.read_answer(text) == ([], 0)


@pytest.mark.parametrize("text", ["", "   ", "\n", ";", "nonsense", "time:", ": nine", "None.", "\ud800"])
def test_an_answer_without_any_item_is_one_malformed_part(text):
    assert massive.read_answer(text) == ([], 1)


@pytest.mark.parametrize("bad", ["no colon", "date:", "date:  ", ": friday", "\ud800", "x" * 10_000])
def test_a_bad_part_is_dropped_and_the_others_stay(bad):
    pairs, malformed = massive.read_answer(f"time: nine; {bad}; person: anna")
    assert (pairs, malformed) == ([("time", "nine"), ("person", "anna")], 1)


def test_a_line_break_in_an_answer_ends_a_part():
    assert massive.read_answer("time: nine\r\nI hope this helps") == ([("time", "nine")], 1)


def test_a_lone_backslash_is_read_as_itself():
    assert massive.read_target("time: a\\b\\") == [("time", "a\\b\\")]


def test_ten_thousand_parts_are_all_read():
    assert len(massive.read_target("time: a; " * 10_000)) == 10_000


def test_an_example_is_the_prompt_and_the_target():
    row = {"utt": "wake me at nine", "annot_utt": "wake me at [time : nine]"}
    system, user = Slots().prompt(row)
    assert system == {"role": "system", "content": massive.INSTRUCTION}
    assert user == {"role": "user", "content": "wake me at nine"}
    assert Slots().example(row) == {
        "prompt": [system, user],
        "completion": [{"role": "assistant", "content": "time: nine"}],
    }


def test_a_prompt_needs_no_annotation():
    assert Slots().prompt({"utt": "stop"})[1]["content"] == "stop"


def test_massive_has_55_slots_and_52_locales():
    assert len(massive.SLOTS) == 55
    assert len(set(massive.LOCALES)) == len(massive.LOCALES) == 52
    assert set(massive.SUPERVISED + massive.ALIGNED) <= set(massive.LOCALES)


@pytest.mark.skipif(not SLOTS_DATA.is_dir(), reason="needs MASSIVE, which is not part of this repository")
def test_the_english_training_rows_use_exactly_our_slots():
    lines = (SLOTS_DATA / "en-US" / "train.jsonl").read_text(encoding="utf-8").splitlines()
    annotations = [json.loads(line)["annot_utt"] for line in lines]
    assert {slot for annot_utt in annotations for slot, _ in massive.parse(annot_utt)} == massive.SLOTS
