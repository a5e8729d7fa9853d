"""Where chat rows are: languages and partitions by folder, file, column, or the hub's configuration and split."""

import gzip
import json

import datasets
import pytest

from midalign.config import DataConfig
from midalign.data.checks import Sieve
from midalign.data.reading import task_rows
from midalign.data.streams import scored_texts
from midalign.errors import InputError
from midalign.tasks import find_task
from midalign.tasks.chat import Chat
from midalign.tasks.sources import NoSplitError


def record(text, **more):
    return {"messages": [{"role": "user", "content": text}, {"role": "assistant", "content": f"re: {text}"}], **more}


def write(path, *records):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        datasets.Dataset.from_list(list(records)).to_parquet(path)
    else:
        lines = "".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in records).encode()
        path.write_bytes(gzip.compress(lines) if path.suffix == ".gz" else lines)
    return str(path)


def texts(source, language, partition, task=None, sieve=None):
    return [row["user"] for row in task_rows(task or Chat(), str(source), language, partition, "main", sieve)]


def column(name):
    return find_task("chat", options={"task_language_column": name})


@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz", ".parquet"])
def test_a_folder_for_each_language_may_have_any_name_of_one(suffix, tmp_path):
    for language in ("de", "gsw-CH", "zh-Hant", "yue"):
        write(tmp_path / language / f"train{suffix}", record(language, language="whatever it says"))
    assert texts(tmp_path, "gsw-CH", "train") == ["gsw-CH"]
    assert texts(tmp_path, "yue", "train") == ["yue"]
    with pytest.raises(NoSplitError, match=r"has neither sw/train\.jsonl nor sw\.jsonl nor train\.jsonl \(or"):
        texts(tmp_path, "sw", "train")
    with pytest.raises(InputError, match="language german is none; use a BCP 47 tag"):
        texts(tmp_path, "german", "train")


@pytest.mark.parametrize("name", ["language", "locale"])
def test_one_file_may_hold_all_languages_and_partitions(name, tmp_path):
    rows = [record("a", split="train"), record("b", split="test"), record("c", partition="validation")]
    rows = [row | {name: language} for row in rows for language in ("de", "sw")]
    path = write(tmp_path / "chats.jsonl", *rows)
    assert [texts(path, "sw", part) for part in ("train", "validation", "test")] == [["a"], ["c"], ["b"]]
    (row,) = task_rows(Chat(), path, "sw", "test", "main")
    assert (row["id"], row["locale"], row["partition"]) == ("sw 3", "sw", "test")
    with pytest.raises(InputError, match="has no row of fr, only of de, sw"):
        texts(path, "fr", "train")


def test_a_folder_of_partitions_has_the_language_in_a_column(tmp_path):
    for part in ("train", "validation"):
        write(
            tmp_path / f"{part}.jsonl", *(record(part, lang=lang, split="x") for lang in ("deu_Latn", "en", "deu-Latn"))
        )
    assert texts(tmp_path, "deu-Latn", "validation", column("lang")) == ["validation", "validation"]
    with pytest.raises(NoSplitError):
        texts(tmp_path, "en", "test", column("lang"))


def test_a_file_without_a_split_holds_training_rows(tmp_path):
    path = write(tmp_path / "chats.jsonl", record("a", language="de"))
    assert texts(path, "de", "train") == ["a"]
    with pytest.raises(NoSplitError, match="has no column split, so all its rows are for training; add one"):
        texts(path, "de", "test")
    write(tmp_path / "folder" / "de.jsonl", record("a"))
    assert texts(tmp_path / "folder", "de", "train") == ["a"]


def test_what_a_recipe_needs_no_partition_of_may_be_absent(tmp_path):
    path = write(tmp_path / "chats.jsonl", record("a", language="de"))
    data = DataConfig(task="chat", task_data=path, task_languages=["de"])
    assert scored_texts(Chat(), data, Sieve()) == set()
    data.score_languages = ["de"]
    with pytest.raises(NoSplitError):
        scored_texts(Chat(), data, Sieve())


def test_ids_are_text_or_numbers_or_made_of_the_language_and_the_place(tmp_path):
    rows = [record("a", id="x"), record("b", id=7), record("c"), record("d", id=7.5), record("e", id=True)]
    write(tmp_path / "de.jsonl", *rows)
    sieve = Sieve("skip")
    found = task_rows(Chat(), str(tmp_path), "de", "train", "main", sieve)
    assert [row["id"] for row in found] == ["x", "7", "de 2"]
    assert [text.split("jsonl ")[1] for text in sieve.left_out] == [
        "line 4 has '7.5' in \"id\"; make it text or a whole number",
        "line 5 has 'True' in \"id\"; make it text or a whole number",
    ]
    write(tmp_path / "sw.parquet", record("a", id=7.0), record("b", id=None))
    assert [row["id"] for row in task_rows(Chat(), str(tmp_path), "sw", "train", "main")] == ["7", "sw 1"]


BAD = {
    "no language": (record("x"), 'line 3 has no text in "language", which says its language; see task_language_column'),
    "a language that is a number": (record("x", language=3), 'line 3 has no text in "language"'),
    "no split": (record("x", language="de"), 'line 3 has nothing in "split"; use train, validation, test'),
    "a split that is a number": (record("x", language="de", split=1), "line 3 has '1' in \"split\"; use train"),
    "a split of one's own": (record("x", language="de", split="train_sft"), "line 3 has partition train_sft; use"),
    "no object": ("[]", "line 3 is no object; a row is one"),
    "no JSON": ("{", "line 3 is not JSON"),
    "no chat": ({"language": "de", "split": "train", "text": "x"}, "line 3 has text; a row needs"),
    "an id twice": (record("x", language="de", split="train", id="1"), "line 3 has id 1, which an earlier row has"),
}


@pytest.mark.parametrize("bad, sentence", BAD.values(), ids=BAD)
def test_a_bad_row_is_named_by_file_and_line(bad, sentence, tmp_path):
    good = [record(str(i), language="de", split="train", id=str(i)) for i in range(2)]
    path = write(tmp_path / "chats.jsonl", *good, bad)
    with pytest.raises(InputError, match=r"chats\.jsonl ") as error:
        texts(path, "de", "train")
    assert sentence in str(error.value)


def test_a_split_that_only_later_rows_have_is_no_training_row(tmp_path):
    path = write(tmp_path / "c.jsonl", record("a", language="de"), record("b", language="de", split="test"))
    with pytest.raises(
        InputError, match="line 2 has split 'test', but the first row has none; give it to all or to none"
    ):
        texts(path, "de", "train")


def test_a_named_column_must_agree_with_the_folder(tmp_path):
    write(tmp_path / "de" / "train.jsonl", record("a", lang="de"), record("b", lang="sw"))
    with pytest.raises(InputError, match="line 2 has lang sw, but de was asked for; keep languages apart"):
        texts(tmp_path, "de", "train", column("lang"))


@pytest.fixture
def hub(monkeypatch):
    """hub({configuration or None: {split: [record]}}): what the hub holds."""

    def fill(configs):
        def load(source, config, revision):
            if config not in configs:
                raise ValueError(f"BuilderConfig {config!r} not found.")
            return {split: datasets.Dataset.from_list(rows) for split, rows in configs[config].items()}

        monkeypatch.setattr(datasets, "load_dataset", load)

    return fill


def test_the_hub_has_a_configuration_for_a_language_or_a_column(hub):
    hub(
        {
            "de": {"train": [record("a", language="German")]},
            None: {"train": [record("b", language="sw"), record("c", language="de")]},
        }
    )
    assert [texts("some/data", language, "train") for language in ("de", "sw")] == [["a"], ["b"]]
    with pytest.raises(NoSplitError, match="has no split test, only train"):
        texts("some/data", "sw", "test")
    hub({})
    with pytest.raises(InputError, match="could not be read from the hub"):
        texts("some/data", "de", "train")


def test_the_embedded_corpus_has_no_chats():
    with pytest.raises(InputError, match="task_data demo, the embedded corpus, has no chats"):
        texts("demo", "de", "train")


def test_nulls_of_a_table_are_no_arguments_of_a_call(tmp_path, hub):
    def calling(name, **arguments):
        call = {"type": "function", "function": {"name": name, "arguments": arguments}}
        return {"messages": [{"role": "user", "content": name}, {"role": "assistant", "tool_calls": [call]}]}

    rows = [calling("f", city="Bern"), calling("g", unit="C")]
    write(tmp_path / "de.parquet", *rows)
    hub({"de": {"train": rows}})
    for source in (tmp_path, "some/data"):
        found = task_rows(Chat(), str(source), "de", "train", "main")
        calls = [row["completion"][0]["tool_calls"][0]["function"]["arguments"] for row in found]
        assert calls == [{"city": "Bern"}, {"unit": "C"}]


def test_a_chat_is_kept_apart_from_test_rows_as_a_whole(tmp_path):
    def turns(*contents, system=None):
        said = [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(contents)]
        return {"messages": [*([{"role": "system", "content": system}] if system else []), *said]}

    write(
        tmp_path / "de" / "test.jsonl", turns("hi", "hello", "Thanks", "bye"), turns("Wetter?", "sonnig", system="kurz")
    )
    found = scored_texts(Chat(), DataConfig(task_data=str(tmp_path), task_languages=["de"]), Sieve())
    assert found == {"hihellothanks", "wetter?"}
    write(tmp_path / "de" / "train.jsonl", turns("x", "y", "thanks", "z"), turns("WETTER?", "regen"))
    rows = task_rows(Chat(), str(tmp_path), "de", "train", "main")
    assert [row["user"] for row in rows] == ["thanks", "WETTER?"]
    assert [row["chat"] for row in rows] == ["x\ny\nthanks", "WETTER?"]


def test_a_language_that_a_file_does_not_have_is_told_from_those_it_has(tmp_path):
    write(tmp_path / "train.jsonl", *(record(f"a {name}", language=name) for name in ("en", "de-DE", "en", "x\n")))
    with pytest.raises(NoSplitError) as error:
        texts(tmp_path, "de", "train")
    assert "train.jsonl has no row of de, only of en, de-DE, 'x\\n'; name another language" in str(error.value)
    many = [record("a", lang=f"word {n}") for n in range(30)]
    with pytest.raises(NoSplitError, match=r"only of word 0, word 1, .*, word 8 and others; name"):
        texts(write(tmp_path / "many.jsonl", *many), "en", "train", column("lang"))
    with pytest.raises(InputError, match='line 2 has no text in "language"'):  # which may be one of them
        texts(write(tmp_path / "some.jsonl", record("a", language="de"), record("b")), "en", "train")


def test_test_rows_in_other_languages_do_not_stop_a_run(tmp_path):
    write(tmp_path / "train.jsonl", record("a", language="en"), record("b", language="de"))
    write(tmp_path / "test.jsonl", record("c", language="de"))
    data = DataConfig(task="chat", task_data=str(tmp_path), task_languages=["en", "de"])
    assert scored_texts(Chat(), data, Sieve()) == {"c"}
    data.score_languages = ["en"]
    with pytest.raises(NoSplitError, match=r"test\.jsonl has no row of en, only of de"):
        scored_texts(Chat(), data, Sieve())
