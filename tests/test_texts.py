"""When two texts are one sentence, and how text of others is shown."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from midalign.texts import comparable, harmless, in_markdown, quoted, shown, spelled, without_secrets


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("caf\u00e9 um neun", "cafe\u0301 um neun"),  # composed and not
        ("licht  aus", "licht aus"),
        ("licht\u00a0aus", "licht aus"),
        ("licht\u2028aus\n", "licht aus"),
        ("Licht AUS", "licht aus"),
        ("li\u200bcht\ufeff aus", "licht aus"),
        ("li\u00adcht aus", "licht aus"),
        ("\u202elicht aus\u202c", "licht aus"),
        ("Straße", "STRASSE"),
        ("می\u200cخواهم", "میخواهم"),  # Persian with and without the joiner
        ("क\u094d\u200dष", "क\u094dष"),  # Hindi
        ("明日 の 天気", "明日の天気"),
        ("今天\u3000天气", "今天天气"),
        ("ﾃﾚﾋﾞ", "テレビ"),
        ("ＡＢＣ", "abc"),
        ("IŞIĞI AÇ", "ışığı aç"),
        ("İstanbul", "istanbul"),
        ("İSTANBUL", "ISTANBUL"),
        ("ΟΔΟΣ", "οδος"),
        ("ﻻ", "لا"),
        ("❤\ufe0f", "❤"),
        ("și țara", "şi ţara"),  # Romanian with the comma below and the cedilla of older encodings
        ("ȘI ȚARA", "s\u0327i t\u0327ara"),
        ("s\u034f\u0327i", "și"),
        ("كتاب علي", "کتاب علی"),  # Persian on an Arabic keyboard
        ("يہ ہے", "یه هے"),  # Urdu
        ("അവന\u0d4d\u200d", "അവൻ"),  # Malayalam before Unicode 5.1
        ("\u09a4\u09cd\u200d", "ৎ"),  # Bengali before Unicode 4.1
        ("مـــوسيقى", "موسيقى"),
        ("İ\u0307", "i\u0307"),
        ("play my play list", "play my playlist"),
    ],
)
def test_what_a_reader_takes_for_one_sentence_is_one(one, other):
    assert one != other and comparable(one) == comparable(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        *(
            ("licht an", "licht aus"),
            ("schön", "schon"),
            ("کار", "کر"),
            ("か", "が"),
            ("क", "कि"),
            ("5", "6"),
            ("a.", "a"),
        ),
        *(("على", "علي"), ("ße", "se"), ("ت", "ث"), ("അവൻ", "അവൾ"), ("e-mail", "email")),
    ],
)
def test_other_sentences_stay_others(one, other):
    assert comparable(one) != comparable(other)


@pytest.mark.parametrize(
    "text", ["", " \t\u3000", "\u200b\u200d", "\u00ad", "\u3164", "\u2800", "\ufeff\u2060", "\x07"]
)
def test_a_text_with_nothing_to_read_is_empty(text):
    assert comparable(text) == ""


@given(st.text())
def test_comparing_twice_changes_nothing(text):
    once = comparable(text)
    assert comparable(once) == once == comparable(spelled(text)) == comparable(unicodedata.normalize("NFD", text))


def test_a_spelling_keeps_case_and_joiners():
    assert spelled(" Cafe\u0301\u00a0um\n می\u200cخواهم ") == "Café um می\u200cخواهم"


HOSTILE = [
    "a\nb",
    "\x1b[2J",
    "\u202egpj",
    "\ud800",
    "\x9b31m",
    "x" * 1_000_000,
    "\u2028",
    "",
    " x",
    "\r",
    {"a": ["\n"] * 99},
]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_text_of_others_is_one_short_line_without_control_characters(text):
    for line in (quoted(text), *((shown(text), in_markdown(text)) if isinstance(text, str) else ())):
        assert line.isprintable() and 2 <= len(line) <= 300


def test_a_plain_name_is_shown_as_it_is():
    assert shown("data/My pairs/sw-KE.jsonl") == "data/My pairs/sw-KE.jsonl"
    assert quoted("licht aus") == "'licht aus'"


def test_text_on_a_terminal_keeps_its_lines_alone():
    assert harmless("licht\naus \x1b[2J\u202eمرحبا") == "licht\naus \\x1b[2J\\u202eمرحبا"


def test_a_name_in_markdown_is_no_link_tag_code_or_column():
    assert in_markdown("[a](javascript:x)|<b>`c`") == "\\[a\\](javascript:x)\\|&lt;b&gt;\\`c\\`"
    assert in_markdown("tiny-align_2") == "tiny-align_2"
    assert in_markdown("a\n# b") == "'a\\\\n# b'"


def test_a_password_in_an_address_that_became_a_path_is_masked():
    assert without_secrets("https:/u:S3CR3T@host/d") == "https:/***@host/d"
