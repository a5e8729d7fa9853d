"""One notion of language."""

import pytest

from midalign.languages import language_of
from midalign.tasks.slots.massive import LOCALES


@pytest.mark.parametrize(
    ("language", "tags"),
    [
        ("de", "de de-DE de-AT deu deu-DE de-Latn de-1996"),
        ("pt", "pt pt-BR pt-PT por"),
        ("sw", "sw sw-KE swa swh"),
        ("en", "en en-US en-GB eng en-GB-oxendict"),
        ("zh", "zh zh-CN zh-Hans zh-hans-cn zho cmn zh-Hans-TW"),
        ("zh-Hant", "zh-TW zh-HK zh-Hant zh-hant-tw"),
        ("sr", "sr sr-RS sr-Cyrl srp"),
        ("sr-Latn", "sr-Latn sr-Latn-RS sr-ME"),
        ("hi", "hi hi-IN hi-Deva"),
        ("hi-Latn", "hi-Latn"),
        ("nb", "nb no nb-NO nob nor"),
        ("tl", "tl tl-PH fil tgl"),
        ("ckb", "ckb ckb-IQ"),
        ("es", "es es-419"),
    ],
)
def test_tags_of_one_language_are_one_language(language, tags):
    assert {language_of(tag) for tag in tags.split()} == {language}


@pytest.mark.parametrize(
    "tag", ["", "xx", "d", "german", "DE", "de_DE", "de-", "-de", "und", "de-x", "de\n", "de-DE\nx: y"]
)
def test_what_is_no_tag_is_no_language(tag):
    assert language_of(tag) is None


def test_massives_locales_are_as_many_languages():
    languages = {language_of(locale) for locale in LOCALES}
    assert None not in languages and len(languages) == len(LOCALES)
