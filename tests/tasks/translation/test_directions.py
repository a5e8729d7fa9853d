"""Which rows a direction has, and where they are found."""

import gzip
import json

import datasets
import pytest

from midalign.config import DataConfig
from midalign.data.checks import Sieve
from midalign.data.reading import task_rows
from midalign.data.streams import load_task, scored_texts
from midalign.demo import corpus
from midalign.errors import InputError
from midalign.evaluation.transfer import group_of
from midalign.tasks import find_task
from midalign.tasks.sources import NoSplitError
from midalign.tasks.translation.names import NAMES, name_of
from midalign.tasks.translation.task import Translation

TASK = Translation("translation")
PAIRS = [("Das Haus", "The house"), ("Ein Hund", "A dog"), ("Guten Tag", "Good day")]


def rows(source, direction, partition="train", task=TASK):
    return task_rows(task, str(source), direction, partition, None)


def both(found):
    return [(row["source"], row["target"]) for row in found]


def jsonl(path, pairs, languages=("de", "en"), **more):
    path.parent.mkdir(parents=True, exist_ok=True)
    keys = ("source", "target", "source_lang", "target_lang")
    lines = [json.dumps(dict(zip(keys, (*pair, *languages), strict=True)) | more) for pair in pairs]
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")


def tsv(path, pairs):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join("\t".join(pair) + "\n" for pair in pairs), encoding="utf-8")


def moses(stem, pairs, languages=("de", "en")):
    stem.parent.mkdir(parents=True, exist_ok=True)
    for language, texts in zip(languages, zip(*pairs, strict=True), strict=True):
        stem.with_name(f"{stem.name}.{language}").write_text("".join(f"{t}\n" for t in texts), encoding="utf-8")


LAYOUTS = {
    "a folder of each partition": lambda at: jsonl(at / "train" / "de-en.jsonl", PAIRS),
    "turned in the file": lambda at: jsonl(at / "train" / "x.jsonl", [pair[::-1] for pair in PAIRS], ("en", "de")),
    "a file of each partition": lambda at: jsonl(at / "train.jsonl", PAIRS),
    "a file of each partition and pair": lambda at: tsv(at / "train.de-en.tsv", PAIRS),
    "the partition last": lambda at: tsv(at / "news.de-en.train.tsv", PAIRS),
    "two Moses files": lambda at: moses(at / "train", PAIRS),
    "a folder of the direction": lambda at: tsv(at / "de-en" / "train.de-en.tsv", PAIRS),
    "a folder of the other direction": lambda at: jsonl(at / "en-de" / "train" / "x.jsonl", PAIRS),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_of_a_folder_gives_the_same_rows_in_both_directions(layout, tmp_path):
    LAYOUTS[layout](tmp_path)
    jsonl(tmp_path / "train" / "fr-en.jsonl", [("Bonjour", "Hello")], ("fr", "en"))
    jsonl(tmp_path / "test" / "de-en.jsonl", [("Ja", "Yes")])
    assert both(rows(tmp_path, "de-en")) == PAIRS
    assert both(rows(tmp_path, "en-de")) == [pair[::-1] for pair in PAIRS]
    assert both(rows(tmp_path, "de-en", "test")) == [("Ja", "Yes")]
    assert both(rows(tmp_path, "fr-en")) == [("Bonjour", "Hello")]


def test_files_in_more_than_two_languages_are_read_two_at_a_time(tmp_path):
    texts = [("eins", "one", "uno"), ("zwei", "two", "dos")]
    moses(tmp_path / "test", texts, ("de", "en", "es"))
    assert both(rows(tmp_path, "es-de", "test")) == [("uno", "eins"), ("dos", "zwei")]
    assert both(rows(tmp_path, "en-es", "test")) == [("one", "uno"), ("two", "dos")]
    parallel = [[row["id"] for row in rows(tmp_path, d, "test")] for d in ("de-en", "en-de", "es-en", "en-es")]
    assert all(ids == parallel[0] for ids in parallel) and len(set(parallel[0])) == 2


TURNED = [pair[::-1] for pair in PAIRS]
BOTH_WAYS = {
    "folders of both directions": ("de-en/test.de-en.tsv", "en-de/test.en-de.tsv"),
    "folders of partitions in both": ("de-en/test/x.de-en.tsv", "en-de/test/y.en-de.tsv"),
    "a folder of the direction and files beside": ("de-en/test.de-en.tsv", "test.en-de.tsv"),
    "files beside and a folder of the other direction": ("test.de-en.tsv", "en-de/test.en-de.tsv"),
    "two files of a folder": ("test/de-en.tsv", "test/en-de.tsv"),
    "two files": ("test.de-en.tsv", "test.en-de.tsv"),
}


@pytest.mark.parametrize("layout", BOTH_WAYS)
def test_pairs_that_are_there_both_ways_are_read_once(layout, tmp_path):
    there, back = BOTH_WAYS[layout]
    tsv(tmp_path / there, [*PAIRS, PAIRS[0]])  # a sentence may well be in a test set twice
    tsv(tmp_path / back, [*TURNED, TURNED[0]])
    assert both(rows(tmp_path, "de-en", "test")) == [*PAIRS, PAIRS[0]]
    assert both(rows(tmp_path, "en-de", "test")) == [*TURNED, TURNED[0]]


def test_a_direction_has_the_rows_of_its_own_folder_before_those_of_the_other(tmp_path):
    tsv(tmp_path / "de-en" / "test.de-en.tsv", PAIRS[:1])
    tsv(tmp_path / "en-de" / "test.en-de.tsv", TURNED[1:])
    tsv(tmp_path / "en-de" / "train.en-de.tsv", [("No", "Nein")])
    assert both(rows(tmp_path, "de-en", "test")) == PAIRS[:1]
    assert both(rows(tmp_path, "en-de", "test")) == TURNED[1:]
    assert both(rows(tmp_path, "de-en")) == [("Nein", "No")]


@pytest.mark.parametrize("alone", ["pairs", "pairs/de-en.tsv"])
def test_pairs_without_partitions_are_training_rows(alone, tmp_path):
    tsv(tmp_path / "pairs" / "de-en.tsv", PAIRS)
    assert both(rows(tmp_path / alone, "de-en")) == PAIRS
    with pytest.raises(
        NoSplitError, match=r"neither a folder test nor a file such as test\.jsonl; add one with the test rows"
    ):
        rows(tmp_path / alone, "de-en", "test")


def test_a_folder_with_partitions_has_no_other_training_rows(tmp_path):
    tsv(tmp_path / "test.de-en.tsv", PAIRS)
    with pytest.raises(NoSplitError, match="neither a folder train"):
        rows(tmp_path, "de-en")


def test_packed_files_are_found_too(tmp_path):
    with gzip.open(tmp_path / "train.de-en.tsv.gz", "wt", encoding="utf-8") as file:
        file.write("Das Haus\tThe house\n")
    assert both(rows(tmp_path, "de-en")) == PAIRS[:1]


def test_the_embedded_corpus_has_all_directions_of_its_languages():
    found = rows("demo", "de-tr", "test")
    texts = [[row["utt"] for row in corpus.rows(locale, "test")] for locale in ("de-DE", "tr-TR")]
    assert both(found) == list(zip(*texts, strict=True))
    with pytest.raises(InputError, match="locale cy is not in the demo corpus; use any of"):
        rows("demo", "cy-en")


def test_rows_of_one_english_sentence_have_one_id_in_all_directions(tmp_path):
    jsonl(tmp_path / "train" / "a.jsonl", [*PAIRS, ("Das  haus!", "the  House")])
    jsonl(tmp_path / "train" / "b.jsonl", [("Y tŷ", "The house")], ("cy", "en"))
    (cy,), ids = rows(tmp_path, "cy-en"), [row["id"] for row in rows(tmp_path, "en-de")]
    assert cy["id"] == ids[0] and ids[3] == f"{ids[0]} 2" and len(set(ids)) == 4


def test_ids_of_the_data_are_kept_and_may_not_repeat(tmp_path):
    jsonl(tmp_path / "train" / "a.jsonl", PAIRS[:1], id=7)
    assert [row["id"] for row in rows(tmp_path, "en-de")] == ["7"]
    jsonl(tmp_path / "train" / "b.jsonl", PAIRS[1:2], id="7")
    with pytest.raises(InputError, match=r"b\.jsonl line 1 has id 7, which an earlier row has too"):
        rows(tmp_path, "en-de")


@pytest.fixture
def hub(monkeypatch):
    """Data sets of the hub: {(name, config): {split: rows}}; what was asked for is kept."""
    asked = []

    def load(name, config, revision):
        asked.append((name, config, revision))
        if (name, config) != ("wmt/wmt19", "de-en"):
            raise ValueError("no such configuration")
        translation = [{"translation": {"de": source, "en": target}} for source, target in PAIRS]
        return {"train": datasets.Dataset.from_list(translation), "validation": datasets.Dataset.from_list([])}

    monkeypatch.setattr(datasets, "load_dataset", load)
    return asked


def test_the_hub_is_read_in_the_configuration_of_the_direction_whichever_way_it_is_named(hub):
    task_rows(TASK, "wmt/wmt19", "de-en", "train", "main")
    assert hub == [("wmt/wmt19", "de-en", "main")]
    found = rows("wmt/wmt19", "en-de")
    assert both(found) == [pair[::-1] for pair in PAIRS]
    assert both(rows("wmt/wmt19:de-en", "en-de")) == both(found)
    assert found[2]["place"] == "wmt/wmt19, split train, row 2,"
    with pytest.raises(NoSplitError, match="has no split test, only train, validation"):
        rows("wmt/wmt19", "de-en", "test")
    with pytest.raises(
        InputError, match=r"wmt/wmt19 is no folder here and could not be read from the hub \(ValueError"
    ):
        rows("wmt/wmt19", "de-cs")
    with pytest.raises(InputError, match="could not be read from the hub"):
        rows("wmt/wmt19:xx", "en-de")


@pytest.mark.parametrize(
    "name", ["deutsch", "english-german", "en-DE-de-AT-en", "en-en-GB", "xx-en", "zh-tw-en", "-", "", "de_en"]
)
def test_what_is_no_direction_is_refused(name, tmp_path):
    with pytest.raises(InputError, match="no direction; name two languages, as in en-de or en-pt-BR"):
        rows(tmp_path, name)


def test_a_language_alone_is_no_direction(tmp_path):
    with pytest.raises(InputError, match="de is one language and no direction; name two languages, as in en-de"):
        rows(tmp_path, "de")


def test_an_empty_folder_of_a_partition_is_named_by_its_path(tmp_path):
    (tmp_path / "train").mkdir()
    with pytest.raises(InputError, match=rf"^{tmp_path}/train has no file ending in \.jsonl"):
        rows(tmp_path, "de-en")


def test_languages_of_a_command_may_be_directions_or_single():
    assert [TASK.language(name, "demo") for name in ("de-en", "en-pt-BR", "cy")] == ["de-en", "en-pt-BR", "cy"]
    with pytest.raises(InputError, match="-de is no direction"):
        TASK.language("-de", "demo")


@pytest.mark.parametrize(
    ("direction", "prompt"),
    [
        ("de-en", "Translate this from German to English:\nGerman: Hallo\nEnglish:"),
        ("en-pt-BR", "Translate this from English to Portuguese:\nEnglish: Hallo\nPortuguese:"),
        ("zh-Hant-sr-Latn", "Translate this from Chinese (Traditional) to Serbian (Latin):\n"
         "Chinese (Traditional): Hallo\nSerbian (Latin):"),
        ("xnt-en", "Translate this from xnt to English:\nxnt: Hallo\nEnglish:"),
    ],
)  # fmt: skip
def test_a_prompt_names_its_languages_in_english(direction, prompt):
    row = {"locale": direction, "source": "Hallo", "target": "Hello"}
    assert TASK.example(row) == {
        "prompt": [{"role": "user", "content": prompt}],
        "completion": [{"role": "assistant", "content": "Hello"}],
    }


def test_an_instruction_of_ones_own_may_name_the_languages_where_it_likes():
    row = {"locale": "de-en", "source": "Hallo {target}", "target": "Hello"}
    task = find_task("translation", "Into {target}, from {source}, {please}:")
    assert task.prompt(row)[0]["content"] == ("Into English, from German, {please}:\nGerman: Hallo {target}\nEnglish:")


def test_every_language_has_a_name_and_every_name_is_of_a_language():
    from midalign.languages import TWO_LETTERS, language_of

    assert {language_of(tag) for tag in TWO_LETTERS} <= NAMES.keys()
    assert all(language_of(tag) == tag for tag in NAMES)
    assert len(set(NAMES.values())) == len(NAMES)
    assert (
        name_of("no") == "Norwegian"
        and name_of("deu-AT") == "German"
        and name_of("arb_Arab".replace("_", "-")) == "Arabic"
    )


def test_a_direction_is_aligned_where_one_of_its_languages_is():
    groups = [group_of(TASK, name, ["de-en"], {"cy", "tr"}) for name in ("de-en", "en-de", "cy-en", "en-cy", "tr-cy")]
    assert groups == ["supervised", "never aligned", "aligned", "aligned", "aligned"]


@pytest.mark.parametrize(
    "pair",
    [("Das HAUS", "Something else"), ("Etwas anderes", "the house")],
    ids=["source", "target"],
)
@pytest.mark.parametrize("trained", ["de-en", "en-de"])
def test_a_training_row_must_share_neither_side_with_a_test_row_in_any_direction(pair, trained, tmp_path, tokenizer):
    jsonl(tmp_path / "train" / "a.jsonl", [PAIRS[1], pair])
    jsonl(tmp_path / "test" / "a.jsonl", PAIRS[:1])
    data = DataConfig(task="translation", task_data=str(tmp_path), task_languages=[trained], score_languages=["de-en"])
    sieve = Sieve("skip")
    table, _ = load_task(TASK, data, tokenizer, None, False, sieve, scored_texts(TASK, data, sieve))
    assert len(table) == 1
    assert [sentence.split(" has the text of a test row, ")[1] for sentence in sieve.left_out] == [
        f"'{pair[0] if 'HAUS' in pair[0] else pair[1]}'; what is scored must not be trained on"
    ]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('{"source": "a", "target": "b"}', "has no language codes in source_lang and target_lang, such as de and en"),
        ('{"source": "a", "target": "b", "source_lang": "German", "target_lang": "en"}', "has no language codes in"),
        ('{"source": "a", "target": " ", "source_lang": "de", "target_lang": "en"}', 'has no text in "target"'),
        ('{"source": 7, "target": "b", "source_lang": "de", "target_lang": "en"}', 'has no text in "source"'),
        ("[1]", "is no object; every row needs source, target and their languages"),
        ("{", "is not JSON"),
        ('{"translation": {"de": "a", "en": "b", "fr": "c"}}', "has a translation of 3 language"),
    ],
)
def test_a_row_that_is_none_is_named(line, problem, tmp_path):
    (tmp_path / "train.jsonl").write_text(line + "\n")
    with pytest.raises(InputError) as error:
        rows(tmp_path, "de-en")
    assert problem in str(error.value) and "train.jsonl line 1" in str(error.value)


@pytest.mark.parametrize("source", ["a" * 5000, "x/" * 3000, "a:" + "b" * 300, "."])
def test_a_source_that_no_disk_and_no_hub_has_is_one_sentence(source, hub):
    with pytest.raises(InputError) as error:
        rows(source, "cy-en")
    assert "\n" not in str(error.value)


def test_a_direction_that_is_not_there_is_said(tmp_path):
    jsonl(tmp_path / "train.jsonl", PAIRS)
    with pytest.raises(NoSplitError, match="has no train rows of cy-en; add some or name another direction"):
        rows(tmp_path, "cy-en")


def test_a_direction_may_be_trained_without_test_rows_of_its_own(tmp_path):
    jsonl(tmp_path / "train.jsonl", PAIRS)
    jsonl(tmp_path / "test.jsonl", [("Y tŷ", "The House")], ("cy", "en"))
    data = DataConfig(task="translation", task_data=str(tmp_path), task_languages=["de-en"], score_languages=["en-cy"])
    assert scored_texts(TASK, data, Sieve()) == {"ytŷ", "thehouse"}
