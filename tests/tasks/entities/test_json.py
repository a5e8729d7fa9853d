"""What models write instead of the answer, and what is made of it."""

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from midalign.tasks.entities import answers

FOUND = [("PER", "Anna"), ("PER", "Anna"), ("LOC", "Rio"), ("ORG", "UN")]
RIGHT = '{"PER": ["Anna", "Anna"], "LOC": ["Rio"], "ORG": ["UN"]}'


def test_an_answer_lists_entities_by_type_in_their_order_and_as_often_as_they_appear():
    found = [("LOC", "Rio"), ("PER", "Bo"), ("PER", "Al"), ("LOC", "Rio")]
    assert answers.write(found) == '{"PER": ["Bo", "Al"], "LOC": ["Rio", "Rio"], "ORG": []}'
    assert answers.write([]) == '{"PER": [], "LOC": [], "ORG": []}'


@pytest.mark.parametrize(
    "words", ['the "Big" One', "a\\b", "O'Brien", "中國時報", "x; y: {z} [1]", "```", "// no comment"]
)
def test_words_of_any_kind_come_back_as_they_were_written(words):
    assert answers.read(answers.write([("ORG", words)])) == ([("ORG", words)], {}, True)


def test_blanks_and_the_order_of_the_types_are_free():
    assert answers.read_strict('\n{"ORG":["UN"] , "PER":["Anna","Anna"],"LOC":["Rio"]}') == [FOUND[3], *FOUND[:3]]


def test_a_thought_before_the_answer_is_no_part_of_it():
    assert answers.read(f"<think>{{no}}</think>{RIGHT}") == (FOUND, {}, True)


# Every reading is FOUND, and what was mended has these names.
BROKEN = {
    "fence": (f"```json\n{RIGHT}\n```", "code fence"),
    "fence without a language": (f"```\n{RIGHT}\n```", "code fence"),
    "a fence that is not closed": (f"```json\n{RIGHT}", "code fence"),
    "text before": (f"Here they are: {RIGHT}", "text around"),
    "text after": (f"{RIGHT}\nI hope that helps.", "text around"),
    "a second answer": (f"{RIGHT}\n{RIGHT}", "text around"),
    "single quotes": (RIGHT.replace('"', "'"), "quotes"),
    "typographic quotes": ("{“PER”: [“Anna”, “Anna”], “LOC”: [“Rio”], “ORG”: [“UN”]}", "quotes"),
    "no quotes": (RIGHT.replace('"', ""), "quotes"),
    "keys without quotes": ('{PER: ["Anna", "Anna"], LOC: ["Rio"], ORG: ["UN"]}', "quotes"),
    "comma at the end of a list": (RIGHT.replace('"]', '",]'), "comma"),
    "comma at the end": (RIGHT.replace("]}", "],}"), "comma"),
    "two commas": (RIGHT.replace(",", ",,"), "comma"),
    "no comma between texts": (RIGHT.replace('", "', '" "'), "comma"),
    "no comma between lists": (RIGHT.replace("], ", "] "), "comma"),
    "semicolons": (RIGHT.replace(",", ";"), "comma"),
    "cut off before the last bracket": (RIGHT[:-1], "cut off"),
    "cut off before the last two": (RIGHT[:-2], "cut off"),
    "a list without end": (RIGHT.replace('"Anna"]', '"Anna"'), "bracket, comma"),
    "the last list without end": (RIGHT.replace("]}", "}"), "bracket"),
    "a bracket too many": (RIGHT.replace('"Anna"]', '"Anna"]]'), "bracket"),
    "no braces": (RIGHT.strip("{}"), "no braces"),
    "a key twice": ('{"PER": ["Anna"], "PER": ["Anna"], "LOC": ["Rio"], "ORG": ["UN"]}', "key twice"),
    "one more level": (f'{{"entities": {RIGHT}}}', "other key"),
    "a key of its own": (RIGHT.replace("{", '{"sentence": "Anna and Anna in Rio", '), "other key"),
    "a list in a list": (RIGHT.replace('["Anna", "Anna"]', '[["Anna", "Anna"]]'), "nested"),
    "objects in a list": (RIGHT.replace('"Rio"', '{"text": "Rio", "start": "0"}'), "nested"),
    "an object for a list": (RIGHT.replace('["Rio"]', '{"name": "Rio"}'), "nested"),
    "a text for a list": (RIGHT.replace('["Rio"]', '"Rio"'), "no list"),
    "null in a list": (RIGHT.replace('"Rio"', '"Rio", null'), "no text"),
    "true in a list": (RIGHT.replace('"Rio"', 'true, "Rio"'), "no text"),
    "NaN in a list": (RIGHT.replace('"Rio"', 'NaN, "Rio"'), "no text"),
    "an empty text": (RIGHT.replace('"Rio"', '"", "Rio"'), "nothing in it"),
    "a text of blanks": (RIGHT.replace('"Rio"', '" ", "Rio"'), "nothing in it"),
    "names of types": ('{"person": ["Anna", "Anna"], "Location": ["Rio"], "ORGANIZATIONS": ["UN"]}', "type name"),
    "a comment": (RIGHT.replace("]}", "] // all\n}"), "comment"),
    "a wrong escape": (RIGHT.replace('"Rio"', r'"R\io"'), "escape"),
    "a line break in a text": (RIGHT.replace('"Rio"', '"Rio\n"'), "line break"),
    "turned round": ('{"Rio": "LOC", "UN": "ORG"}', "turned round"),
    "a list of objects": ('[{"type": "LOC", "text": "Rio"}, {"type": "ORG", "text": "UN"}]', "nested, no object"),
    "a list behind a key": (
        '"Results": [{"TypeName": "LOC", "Text": "Rio"}, {"TypeName": "ORG", "Text": "UN"}]',
        "nested, no braces, other key",
    ),
    "two other keys": (RIGHT.replace("{", '{"language": "en", "sentence": "Anna",'), "other key"),
}


@pytest.mark.parametrize(("text", "mended"), BROKEN.values(), ids=BROKEN)
def test_broken_json_is_read_and_what_was_mended_is_counted(text, mended):
    found, repairs, readable = answers.read(text)
    assert found == (FOUND if "Anna" in text else FOUND[2:])
    assert readable and sorted(repairs) == mended.split(", ")
    with pytest.raises(ValueError):
        answers.read_strict(text)


@pytest.mark.parametrize("end", range(len(RIGHT)))
def test_an_answer_that_is_cut_off_has_the_entities_that_are_whole(end):
    found, repairs, readable = answers.read(RIGHT[:end])
    assert found == [one for one, word in zip(FOUND, ("Anna", "Anna", "Rio", "UN"), strict=True)][: len(found)]
    assert len(found) == sum(RIGHT[:end].count(f'"{word}"') for word in ("Anna", "Rio", "UN"))
    assert readable == (end > 0)
    assert repairs["cut off"] == 0 or end > 0


def test_quotes_within_a_text_are_part_of_it():
    assert answers.read('{"PER": ["the "Big" One"], "LOC": [], "ORG": []}')[0] == [("PER", 'the "Big" One')]
    assert answers.read("{'PER': ['O'Brien', 'Al'], 'LOC': [], 'ORG': []}")[0] == [("PER", "O'Brien"), ("PER", "Al")]


def test_numbers_are_read_as_they_are_written_and_an_unknown_type_stays_unknown():
    found, repairs, _ = answers.read('{"PER": [], "LOC": [], "ORG": [76], "MISC": ["World Cup"]}')
    assert found == [("ORG", "76"), ("?", "World Cup")]
    assert (repairs["number"], repairs["other key"]) == (1, 1)


def test_a_type_that_is_left_out_or_null_is_empty():
    assert answers.read('{"LOC": ["Rio"]}') == ([("LOC", "Rio")], {"type missing": 1}, True)
    assert answers.read('{"PER": null, "LOC": NaN, "ORG": None}') == ([], {"no text": 3}, True)
    assert answers.read("{}") == ([], {"type missing": 1}, True)


@pytest.mark.parametrize("text", ["", "None", "null", "There are none.", "PER: Anna", "!!!!", "<think>" + RIGHT])
def test_what_has_no_bracket_cannot_be_read(text):
    assert answers.read(text)[::2] == ([], False)


@pytest.mark.parametrize(
    "text", ["a" * 100_000, "_" * 100_000 + RIGHT, '"a' * 50_000, "[" + "/*," * 33_000, "PER:" * 25_000]
)
def test_a_long_answer_is_read_in_a_moment(text):
    start = time.process_time()
    answers.read(text)
    assert time.process_time() - start < 2


@pytest.mark.parametrize("before", ["", "a" * 50, "Here are "])
def test_a_list_behind_a_key_is_found_wherever_the_key_stands(before):
    for key in ("PER", "'PER'", "“PER”", '"PER"'):
        assert answers.read(f'{before} {key} : ["Anna"]')[0] == [("PER", "Anna")]


@pytest.mark.parametrize("text", ["[" * 20_000, '{"a":' * 20_000, '"' * 20_000, "{'" * 20_000, RIGHT * 200, "\ud800{"])
def test_no_answer_is_too_deep_or_too_strange(text):
    answers.read(text)


PIECES = ["{", "}", "[", "]", '"', "'", ",", ":", "\\", "PER", "LOC", " ", "\n", "null", "é", "//", "```"]


@given(st.lists(st.sampled_from(PIECES)).map("".join))
def test_any_text_is_read(text):
    found, _, readable = answers.read(text)
    assert all(kind in ("PER", "LOC", "ORG", "?") and words.strip() for kind, words in found)
    assert readable or not found


@given(st.lists(st.tuples(st.sampled_from(["PER", "LOC", "ORG"]), st.text("ab\"'\\,:[]{} \n", min_size=1))))
def test_what_is_written_is_valid_json_and_comes_back(found):
    found = sorted(
        [(kind, f"x{' '.join(words.split())}") for kind, words in found], key=lambda one: answers.TYPES.index(one[0])
    )
    assert answers.read_strict(answers.write(found)) == found
    assert json.loads(answers.write(found)).keys() == {"PER", "LOC", "ORG"}
