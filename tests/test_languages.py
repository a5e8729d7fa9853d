"""One notion of language."""

import json

import pytest

from midalign.config import DataConfig
from midalign.evaluation.transfer import group_of
from midalign.languages import language_of
from midalign.models.runs import aligned_languages
from midalign.tasks.slots.massive import LOCALES
from midalign.tasks.slots.task import Slots
from midalign.tasks.translation.task import Translation


@pytest.mark.parametrize(
    ("language", "tags"),
    [
        ("de", "de de-DE de-AT deu deu-DE de-Latn de-1996 ger"),
        ("cy", "cy cy-GB cym wel"),
        ("pt", "pt pt-BR pt-PT por"),
        ("sw", "sw sw-KE swa swh"),
        ("en", "en en-US en-GB eng en-GB-oxendict"),
        ("zh", "zh zh-CN zh-Hans zh-hans-cn zho chi cmn zh-Hans-TW"),
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


@pytest.mark.parametrize("tag", ["de", "de-DE", "deu", "pt-BR", "zh-CN", "sw-KE", "zh-TW", "nb", "no"])
def test_what_was_aligned_under_any_tag_counts_as_aligned(tag, tmp_path):
    pair = {"source": "ja", "target": "yes", "source_lang": tag, "target_lang": "en-US"}
    (tmp_path / "p.jsonl").write_text(json.dumps(pair))
    locale = {"de": "de-DE", "deu": "de-DE", "pt-BR": "pt-PT", "nb": "nb-NO", "no": "nb-NO"}.get(tag, tag)
    for data in (
        DataConfig(align_data=[str(tmp_path)]),
        DataConfig(align_data=[str(tmp_path)], align_languages=[tag]),
    ):
        aligned = aligned_languages(data)
        assert group_of(Slots(), locale, ["en-US"], aligned) == "aligned"
        assert group_of(Slots(), locale, [locale], aligned) == "supervised"
        assert group_of(Slots(), "cy-GB", ["en-US"], aligned) == "never aligned"


def test_the_other_script_of_a_language_counts_as_never_aligned():
    assert group_of(Slots(), "zh-TW", [], {"zh"}) == group_of(Slots(), "zh-CN", [], {"zh-Hant"}) == "never aligned"


@pytest.mark.parametrize(
    ("task", "language", "labelled", "expected"),
    [
        (Slots(), "en-US", ["en"], True),
        (Slots(), "en", ["eng"], True),
        (Slots(), "zh-TW", ["zh-CN"], False),
        (Translation(), "de-en", ["de-DE-en"], True),
        (Translation(), "en-de", ["de-en"], False),
    ],
)
def test_a_language_had_labels_by_whatever_tag(task, language, labelled, expected):
    assert (group_of(task, language, labelled, set()) == "supervised") == expected


def test_codes_of_flores_are_the_languages_that_others_mean():
    assert [language_of(code) for code in ("als-Latn", "kmr-Latn", "arb-Arab")] == ["sq", "ku", "ar"]
