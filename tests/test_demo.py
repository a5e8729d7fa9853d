"""The demo corpus against the promises of its docstrings."""

import re
import unicodedata

import pytest

from midalign.demo import corpus
from midalign.tasks.slots.massive import SLOTS

TRAIN, TEST = 3598, 609


def script(text):
    """The script of every letter, e.g. {"GREEK"}."""
    return {unicodedata.name(letter).split()[0] for letter in text if letter.isalpha()}


def phrases_of(records):
    """(phrase, slots) of every language of every record."""
    return [
        [sorted(match[1] for match in corpus._PLACEHOLDER.finditer(phrase)) for phrase in phrases]
        for _, *phrases in corpus._records(records)
    ]


def test_the_corpus_is_the_same_when_made_again():
    first = corpus.rows("de-DE", "train"), corpus.plain_text("tr-TR")
    corpus._commands.cache_clear()
    assert (corpus.rows("de-DE", "train"), corpus.plain_text("tr-TR")) == first


@pytest.mark.parametrize("locale", corpus.DEMO_LOCALES)
def test_every_language_has_thousands_of_training_rows_and_hundreds_of_test_rows(locale):
    assert (len(corpus.rows(locale, "train")), len(corpus.rows(locale, "test"))) == (TRAIN, TEST)


@pytest.mark.parametrize("partition", corpus.PARTITIONS)
def test_a_row_has_the_same_id_intent_and_slots_in_every_language(partition):
    def facts(locale):
        return [
            (row["id"], row["partition"], row["intent"], sorted(re.findall(r"\[(\w+) :", row["annot_utt"])))
            for row in corpus.rows(locale, partition)
        ]

    english = facts("en-US")
    assert len({row[0] for row in english}) == len(english)
    for locale in corpus.DEMO_LOCALES:
        assert facts(locale) == english


@pytest.mark.parametrize("locale", corpus.DEMO_LOCALES)
def test_the_annotation_without_its_brackets_is_the_utterance(locale):
    for row in corpus.rows(locale, "train") + corpus.rows(locale, "test"):
        assert re.sub(r"\[\w+ : (.*?)\]", r"\1", row["annot_utt"]) == row["utt"]
        assert row["utt"] == " ".join(row["utt"].split()) == row["utt"].lower()
        assert not re.search(r"[\[\]{}()|/;:!]", row["utt"])


@pytest.mark.parametrize("locale", corpus.DEMO_LOCALES)
def test_no_test_or_dev_utterance_is_trained_on(locale):
    held_out = [row["utt"] for partition in ("dev", "test") for row in corpus.rows(locale, partition)]
    assert len(set(held_out)) == len(held_out)
    assert not set(held_out) & {row["utt"] for row in corpus.rows(locale, "train")}
    assert not set(held_out) & set(corpus.plain_text(locale))


@pytest.mark.parametrize(
    "locale, expected",
    [*zip(corpus.DEMO_LOCALES, ["LATIN", "LATIN", "LATIN", "LATIN", "CYRILLIC", "GREEK"], strict=True)],
)
def test_every_language_is_written_in_its_own_script(locale, expected):
    for row in corpus.rows(locale, "train"):
        assert script(row["utt"]) == {expected}


@pytest.mark.parametrize("locale", corpus.DEMO_LOCALES)
def test_every_test_word_and_value_was_seen_in_training(locale):
    def words(partition):
        return {word for row in corpus.rows(locale, partition) for word in row["utt"].split()}

    def values(partition):
        texts = [row["annot_utt"] for row in corpus.rows(locale, partition)]
        return {value for text in texts for value in re.findall(r"\[(.*?)\]", text)}

    assert words("test") <= words("train")
    assert values("test") <= values("train")


def test_slot_names_are_those_of_massive():
    names = {name for row in corpus.rows("en-US", "train") for name in re.findall(r"\[(\w+)", row["annot_utt"])}
    assert len(names) == 12
    assert names <= SLOTS


def test_some_rows_have_no_slot():
    assert any("[" not in row["annot_utt"] for row in corpus.rows("en-US", "test"))


@pytest.mark.parametrize("records", [corpus.phrases.COMMANDS, corpus.phrases.STATEMENTS])
def test_every_phrase_has_the_same_slots_in_all_languages(records):
    for slots in phrases_of(records):
        assert slots == [slots[0]] * len(corpus.DEMO_LOCALES)


def test_every_value_exists_in_all_languages():
    for values in corpus._lexicon().values():
        assert all(len(value) == len(corpus.DEMO_LOCALES) for value in values)


def test_a_german_row_reads_like_massive():
    row = next(row for row in corpus.rows("de-DE", "train") if row["utt"].startswith("weck mich am freitag um"))
    assert row["annot_utt"].startswith("weck mich am [date : freitag] um [time : ")
    assert (row["locale"], row["scenario"], row["intent"]) == ("de-DE", "alarm", "alarm_set")


def test_pairs_are_unlabelled_training_utterances_with_english_as_target():
    german = {row["id"]: row["utt"] for row in corpus.rows("de-DE", "train")}
    english = {row["id"]: row["utt"] for row in corpus.rows("en-US", "train")}
    pairs = corpus.pairs(["de", "el"])
    assert len(pairs) == 2 * TRAIN
    for pair in pairs[:TRAIN]:
        assert (pair["source_lang"], pair["target_lang"]) == ("de", "en")
        assert (pair["source"], pair["target"]) == (german[pair["id"]], english[pair["id"]])
    assert {pair["source_lang"] for pair in pairs[TRAIN:]} == {"el"}


def test_any_of_its_languages_may_be_the_target_of_pairs():
    german = {row["id"]: row["utt"] for row in corpus.rows("de-DE", "train")}
    english = {row["id"]: row["utt"] for row in corpus.rows("en-US", "train")}
    pairs = corpus.pairs(["en", "tr"], "de")
    assert [pair["source_lang"] for pair in pairs] == ["en"] * TRAIN + ["tr"] * TRAIN
    assert all((p["source"], p["target"]) == (english[p["id"]], german[p["id"]]) for p in pairs[:TRAIN])
    assert {pair["target_lang"] for pair in pairs} == {"de"}


def test_the_plain_text_of_two_languages_is_not_parallel():
    english, german = corpus.plain_text("en-US"), corpus.plain_text("de-DE")
    translation = {pair["target"]: pair["source"] for pair in corpus.pairs(["de"])}
    aligned = sum(translation.get(e) == d for e, d in zip(english, german, strict=True))
    assert aligned < 10
    assert len(english) > TRAIN
    assert not any("[" in sentence for sentence in english)


def test_a_language_that_is_not_there_is_named_with_those_that_are():
    with pytest.raises(ValueError, match=r"fr-FR.*en-US"):
        corpus.rows("fr-FR", "train")
    with pytest.raises(ValueError, match=r"validation.*dev"):
        corpus.rows("de-DE", "validation")
    with pytest.raises(ValueError, match=r"'en'.*de, es, tr, ru, el"):
        corpus.pairs(["en"])
    with pytest.raises(ValueError, match=r"'de' and 'de'"):
        corpus.pairs(["de"], "de")
