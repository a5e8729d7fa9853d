"""Universal NER's files: which one a name means, and what stands in it."""

import gzip
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from seqeval.metrics.sequence_labeling import get_entities

from midalign.data.reading import task_rows
from midalign.errors import InputError
from midalign.tasks.entities import treebanks
from midalign.tasks.entities.task import Entities
from midalign.tasks.sources import NoSplitError

ANNA = [("Anna", "B-PER"), ("Lee", "I-PER"), ("sings", "O")]
TASK = Entities("entities")


def read(folder, language="en", partition="test"):
    return task_rows(TASK, str(folder), language, partition, None)


def entities(text, *tagged):
    tokens, tags = zip(*tagged, strict=True)
    return treebanks.entities({"text": text, "tokens": list(tokens), "tags": list(tags)})


def test_a_sentence_is_a_row_with_its_text_and_its_entities(write_treebank):
    (row,) = read(write_treebank("en_ewt", "test", [ANNA]))
    assert row["place"].endswith("en_ewt-ud-test.iob2 line 1")
    assert {key: row[key] for key in row if key != "place"} == {
        "id": "en_ewt s0",
        "locale": "en",
        "partition": "test",
        "treebank": "en_ewt",
        "text": "Anna Lee sings",
        "tokens": ["Anna", "Lee", "sings"],
        "tags": ["B-PER", "I-PER", "O"],
    }
    assert TASK.gold(row) == '{"PER": ["Anna Lee"], "LOC": [], "ORG": []}'


def test_words_are_spelled_as_in_the_text_and_not_as_tokens():
    al_ani = [("Shaikh", "B-PER"), ("al", "I-PER"), ("-", "I-PER"), ("Ani", "I-PER"), (",", "O"), ("al", "O")]
    assert entities("Shaikh al-Ani, al", *al_ani) == [("PER", "Shaikh al-Ani")]
    assert entities("人文大樓", ("人文", "B-LOC"), ("大樓", "I-LOC")) == [("LOC", "人文大樓")]
    assert entities("A\u00a0B", ("A", "B-ORG"), ("B", "I-ORG")) == [("ORG", "A B")]


def test_a_token_that_the_text_does_not_have_is_taken_as_it_is():
    assert entities("US$ de Rio", ("U$", "B-ORG"), ("de", "O"), ("Rio", "B-LOC")) == [("ORG", "U$"), ("LOC", "Rio")]
    assert entities("do Rio", ("de", "B-LOC"), ("o", "I-LOC"), ("Rio", "I-LOC")) == [("LOC", "de o Rio")]


def tagged(sentence, *kinds):
    """Tokens with tags, from `O [presidente de o Brasil] falou`."""
    found, kinds = [], iter(kinds)
    for part in re.split(r"(\[.*?\])", sentence):
        tags = [f"B-{next(kinds)}"] if part.startswith("[") else ["O"]
        tokens = part.strip("[]").split()
        tags = tags + [tags[0].replace("B-", "I-")] * (len(tokens) - 1)
        found += zip(tokens, tags[: len(tokens)], strict=True)
    return found


@pytest.mark.parametrize(
    ("text", "sentence", "expected"),
    [
        (
            "O presidente do Brasil falou de paz o dia todo no Brasil-Sul.",
            "O [presidente de o Brasil] falou de paz o dia todo em o [Brasil - Sul] .",
            ["presidente de o Brasil", "Brasil-Sul"],
        ),
        ("Zum See-Haus an dem See, zu der Zeit", "[Zu dem See - Haus] an dem [See] , zu der Zeit",
         ["Zu dem See - Haus", "See"]),
        ("Du café au lait de le Bar-Club", "De le café à le lait de le [Bar - Club]", ["Bar-Club"]),
        ("del Sur y de Al-Ani el sur", "de el [Sur] y de [Al - Ani] el sur", ["Sur", "Al-Ani"]),
    ],
)  # fmt: skip
def test_a_token_that_is_not_written_takes_no_words_from_elsewhere(text, sentence, expected):
    assert [words for _, words in entities(text, *tagged(sentence, "PER", "LOC"))] == expected


def test_entities_side_by_side_stay_two_and_one_that_appears_twice_is_there_twice():
    assert entities("a b c", ("a", "B-PER"), ("b", "B-PER"), ("c", "B-LOC")) == [
        ("PER", "a"), ("PER", "b"), ("LOC", "c"),
    ]  # fmt: skip
    assert entities("Rio or Rio", ("Rio", "B-LOC"), ("or", "O"), ("Rio", "B-LOC")) == [("LOC", "Rio")] * 2


@pytest.mark.parametrize("other", ["OTH", "O"])
def test_other_entities_are_none_and_end_the_one_before_them(other):
    tagged = [("a", "B-ORG"), ("b", f"B-{other}"), ("c", f"I-{other}"), ("d", "I-ORG")]
    assert entities("a b c d", *tagged) == [("ORG", "a"), ("ORG", "d")]


@given(st.lists(st.sampled_from(["O", *(f"{b}-{kind}" for b in "BI" for kind in ("PER", "LOC", "ORG", "OTH"))])))
def test_entities_are_those_of_seqeval_whatever_the_tags(tags):
    tokens = [f"t{i}" for i in range(len(tags))]
    found = treebanks.entities({"text": " ".join(tokens), "tokens": tokens, "tags": tags})
    expected = [(kind, " ".join(tokens[a : b + 1])) for kind, a, b in get_entities(tags) if kind != "OTH"]
    assert found == expected


@pytest.mark.parametrize("name", ["en", "en-US", "eng", "en_ewt"])
def test_a_language_means_its_only_treebank(name, write_treebank):
    write_treebank("da_ddt", "test", [ANNA])
    (row,) = read(write_treebank("en_ewt", "test", [ANNA]), name)
    assert (row["locale"], row["treebank"]) == (name, "en_ewt")


def test_a_language_with_two_treebanks_is_ambiguous_in_every_partition(write_treebank):
    write_treebank("en_ewt", "train", [ANNA])
    folder = write_treebank("en_pud", "test", [ANNA])
    for partition in ("train", "test"):
        with pytest.raises(InputError, match="locale en could be en_ewt or en_pud of task_data"):
            read(folder, "en", partition)
    assert read(folder, "en_pud")[0]["treebank"] == "en_pud"


def test_a_script_tells_chinese_treebanks_apart_and_serbian_is_in_latin_letters():
    known = list(treebanks.PUBLISHED)
    assert treebanks.resolve("zh-Hans", known, "x") == "zh_gsdsimp"
    assert treebanks.resolve("zh-TW", ["zh_gsd", "zh_gsdsimp"], "x") == "zh_gsd"
    assert treebanks.resolve("sr", known, "x") == treebanks.resolve("sr-Latn", known, "x") == "sr_set"
    for name in ("zh", "zh-Hant", "sr-Cyrl", "pt-BR", "en_foo", "Deutsch"):
        with pytest.raises(InputError):
            treebanks.resolve(name, known, "x")
    assert treebanks.languages_of("sr_set") == {"sr-Latn"}
    assert treebanks.languages_of("zh") == {"zh", "zh-Hant"}
    assert treebanks.languages_of("zh-Hans") == {"zh"}
    assert treebanks.languages_of("tl_trg") == treebanks.languages_of("fil") == {"tl"}


def test_a_language_that_is_not_there_and_a_partition_that_is_not_there_are_sentences(write_treebank):
    folder = write_treebank("en_ewt", "test", [ANNA])
    with pytest.raises(InputError, match="has no treebank of de; use any of en_ewt"):
        read(folder, "de")
    with pytest.raises(NoSplitError, match=r"has en_ewt without en_ewt-ud-dev\.iob2"):
        read(folder, "en", "validation")
    write_treebank("en_ewt", "test", [ANNA], folder="copy")
    with pytest.raises(InputError, match="is there twice"):
        read(folder)


def test_ids_are_parallel_in_pud_alone(write_treebank):
    write_treebank("pt_pud", "test", [ANNA])
    write_treebank("sk_snk", "test", [ANNA])
    folder = write_treebank("en_pud", "test", [ANNA])
    assert [read(folder, name)[0]["id"] for name in ("en", "pt", "sk")] == ["s0", "s0", "sk_snk s0"]


def test_a_file_may_lack_comments_have_line_ends_of_windows_and_be_packed(write_treebank):
    folder = write_treebank("en_ewt", "test", ["1\tAnna\tB-PER\r\n2\tsings\tO\r\n\r\n\r\n", "1\t#\tO\n2\tRio\tB-LOC"])
    path = folder / "UNER_en_ewt" / "en_ewt-ud-test.iob2"
    (folder / "UNER_en_ewt" / "en_ewt-ud-test.iob2.gz").write_bytes(gzip.compress(b"\xef\xbb\xbf" + path.read_bytes()))
    path.unlink()
    rows = read(folder)
    assert [(row["id"], row["text"]) for row in rows] == [("en_ewt 0", "Anna sings"), ("en_ewt 1", "# Rio")]
    assert rows[1]["place"].endswith("line 6")


def test_words_in_one_and_words_that_are_not_written_have_no_tag(write_treebank):
    sentence = "# text = do Rio\n1-2\tdo\t_\n1\tdo\tO\n2\tRio\tB-LOC\n2.1\tx\t_\n"
    (row,) = read(write_treebank("pt_bosque", "test", [sentence]), "pt")
    assert (row["tokens"], row["tags"]) == (["do", "Rio"], ["O", "B-LOC"])


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("1\tAnna\n", r"line 1 has '1\\tAnna'; write number, token and tag with tabs between them"),
        ("Anna\tNNP\tB-PER\n", "write number, token and tag"),
        ("1 Anna B-PER\n", "write number, token and tag"),
        ("1\tAnna\tPER\n", "has tag 'PER'; use O, or B- and I- with PER, LOC, ORG or OTH"),
        ("1\tAnna\tB-MISC\n", "has tag 'B-MISC'"),
        ("1\tAnna\t\n", "has tag ''"),
        ("1\tAnna\tb-per\n", "has tag 'b-per'"),
        ("# text = \u200b!\n1\t\u200b\tB-PER\n2\t!\tO\n", "has PER with nothing to read in it"),
        ("1\t\u200b\tO\n", 'has no text in "text"'),
    ],
)
def test_a_sentence_that_cannot_be_used_is_named_with_its_line(sentence, expected, write_treebank):
    with pytest.raises(InputError, match=expected):
        read(write_treebank("en_ewt", "test", [sentence]))


def test_a_file_that_is_no_utf_8_is_one_sentence(write_treebank):
    folder = write_treebank("en_ewt", "test", [])
    (folder / "UNER_en_ewt" / "en_ewt-ud-test.iob2").write_bytes("1\tJosé\tB-PER\n".encode("latin-1"))
    with pytest.raises(InputError, match="has byte 5 that is not UTF-8"):
        read(folder)


def test_an_empty_file_is_one_sentence(write_treebank):
    with pytest.raises(InputError, match="has no row with partition test"):
        read(write_treebank("en_ewt", "test", []))
