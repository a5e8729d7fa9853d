"""Rows are made once of the same contents and by the same rules, and never mixed up."""

import copy
from functools import partial
from pathlib import Path

import datasets
import pyarrow
import pytest
from pairs_help import as_pairs

from midalign.data import prepared as module
from midalign.data.chat_rows import chat_rows
from midalign.data.checks import Sieve
from midalign.data.pair_rows import pair_rows
from midalign.data.pairs import read_pairs
from midalign.data.prepared import in_processes, prepared
from midalign.data.tokens import example_ids, sentence_ids
from midalign.errors import InputError

TEXTS = ["eins", "zwei", "drei, vier"]
SCHEMA = pyarrow.schema({"number": pyarrow.int64(), "place": pyarrow.string()})


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path)
    return tmp_path / "midalign"


def kept(cache):
    return sorted(path.name for path in cache.iterdir())


def tables(*sizes, bad=()):
    """Tables of so many rows, numbered; those in `bad` cannot be used."""
    start = 0
    for size in sizes:
        own = range(start, start + size)
        problems = ["is bad" if number in bad else None for number in own]
        columns = {"number": own, "place": [f"row {number}" for number in own], "problem": problems}
        yield pyarrow.table(columns, SCHEMA.append(pyarrow.field("problem", pyarrow.string())))
        start += size


def example(text):
    return {"prompt": [{"role": "user", "content": text}], "completion": [{"role": "assistant", "content": "None"}]}


def chats(tokenizer, texts=TEXTS, processes=None):
    chats = [{"example": example(text), "place": text, "vital": []} for text in texts]
    return chat_rows(lambda: chats, tokenizer, None, Sieve(), processes)["input_ids"]


def ids(tokenizer, texts=TEXTS):
    return [example_ids(tokenizer, example(text))["input_ids"] for text in texts]


@pytest.mark.parametrize("key", ["a key", None])
def test_rows_that_cannot_be_used_are_told_with_their_place_among_the_others(key):
    rows, others = prepared(key, partial(tables, 3, 2, 4, bad=(1, 3, 8)), SCHEMA)
    assert list(rows["number"]) == [0, 2, 4, 5, 6, 7]
    assert others.to_pylist() == [
        {"before": before, "place": f"row {number}", "problem": "is bad"} for before, number in ((1, 1), (2, 3), (6, 8))
    ]
    assert prepared("nothing", tables, SCHEMA)[0].column_names == ["number", "place"]


def test_the_second_time_rows_and_what_is_left_out_come_from_disk(cache):
    first = prepared(["key", 1], partial(tables, 2, 2, bad=(0, 3)), SCHEMA)
    rows, others = prepared(["key", 1], None, SCHEMA)
    assert list(rows["number"]) == list(first[0]["number"]) == [1, 2] and others == first[1]
    assert len(kept(cache)) == 1
    assert list(prepared(["key", 2], partial(tables, 1), SCHEMA)[0]["number"]) == [0]
    assert len(kept(cache)) == 2


def test_pairs_are_tokenised_once_for_a_tokenizer_and_each_file_alone(tokenizer, cache, tmp_path, monkeypatch):
    folder = tmp_path / "pairs"
    folder.mkdir()
    for name in ("de", "tr"):
        Path(folder, f"{name}-en.tsv").write_text(f"{name} eins\tone\n{name} zwei\ttwo\n")

    def sources():
        return [row["source"] for row in pair_rows(read_pairs([str(folder)]), tokenizer, None, Sieve())]

    expected = sentence_ids(tokenizer, ["de eins", "de zwei", "tr eins", "tr zwei"])
    assert sources() == expected and len(kept(cache)) == 4  # what was read and what was tokenised of two files
    monkeypatch.setattr(module, "_write", None)
    assert sources() == expected
    monkeypatch.undo()
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path)
    Path(folder, "tr-en.tsv").write_text("tr drei\tthree\n")
    assert sources() == [*expected[:2], *sentence_ids(tokenizer, ["tr drei"])] and len(kept(cache)) == 6


def test_pairs_of_which_some_cannot_be_used_are_the_same_the_second_time(tmp_path):
    file = tmp_path / "de-en.tsv"
    file.write_text("eins\tone\nzwei\t \nEins\tone\nja\tja\nzwei\ttwo\n")
    found = []
    for _ in range(2):
        sieve = Sieve("skip")
        pairs = list(read_pairs([str(file), "demo"], sieve))
        found.append((pairs, sieve.left_out))
    assert found[0] == found[1]
    assert [sentence.removeprefix(f"{file} ") for sentence in found[0][1]] == [
        "line 2 has no en text, found blanks; every pair needs both sides",
        "line 3 has the texts of an earlier pair, 'Eins'; keep one of them",
        "line 4 has the same text on both sides, 'ja'; one of them is no translation",
    ]


def test_what_a_tokenizer_did_before_does_not_make_rows_anew(tokenizer, cache):
    chats(tokenizer)
    tokenizer(TEXTS, padding=True, truncation=True, max_length=3)
    chats(tokenizer)
    assert len(kept(cache)) == 1


def test_other_texts_another_template_and_another_vocabulary_are_made_anew(tokenizer, cache):
    other_template, other_tokens = copy.deepcopy(tokenizer), copy.deepcopy(tokenizer)
    other_template.chat_template = "#" + tokenizer.chat_template
    other_tokens.add_tokens(["eins"])
    for by, texts in ((tokenizer, TEXTS), (tokenizer, TEXTS[::-1]), (other_template, TEXTS), (other_tokens, TEXTS)):
        assert list(chats(by, texts)) == ids(by, texts)
    assert len(kept(cache)) == 4


def test_a_tokenizer_that_is_changed_in_place_makes_its_rows_anew(tokenizer):
    own = copy.deepcopy(tokenizer)
    chats(own)
    own.chat_template = "#" + own.chat_template
    assert list(chats(own)) == ids(own)


@pytest.mark.parametrize("name", ["rows.arrow", "left_out.arrow"])
def test_a_half_deleted_entry_is_made_anew(name, cache):
    prepared("key", partial(tables, 3), SCHEMA)
    (entry,) = cache.iterdir()
    (entry / name).unlink()
    assert list(prepared("key", partial(tables, 3), SCHEMA)[0]["number"]) == [0, 1, 2]


def test_several_processes_make_the_same_rows_in_the_same_order(tokenizer):
    assert list(in_processes(lambda number: number**2, range(30), 2)) == [number**2 for number in range(30)]
    texts = ["x" * i for i in range(7)]
    assert list(chats(tokenizer, texts, processes=2)) == ids(tokenizer, texts)
    pairs = [{"source": f"satz {i}", "target": f"sentence {i}", "source_lang": "de"} for i in range(7)]
    one, two = (pair_rows(as_pairs(pairs), tokenizer, i, Sieve(), n).to_list() for i, n in ((50, None), (51, 2)))
    assert one == two


def test_a_mistake_found_by_a_process_stays_one_sentence(tokenizer):
    without = copy.deepcopy(tokenizer)
    without.chat_template = None
    with pytest.raises(InputError, match="has no chat template"):
        chats(without, ["x"] * 4, processes=2)


def test_a_cache_folder_that_cannot_be_written_costs_nothing_but_the_time(tmp_path, monkeypatch):
    Path(tmp_path, "file").touch()
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "file")
    assert list(prepared("key", partial(tables, 3), SCHEMA)[0]["number"]) == [0, 1, 2]


def test_a_run_beside_this_one_may_be_first(cache, caplog):
    def make():
        prepared("key", partial(tables, 3), SCHEMA)
        return tables(3)

    with caplog.at_level("INFO"):
        assert list(prepared("key", make, SCHEMA)[0]["number"]) == [0, 1, 2]
    assert len(kept(cache)) == 1 and "not kept" not in caplog.text
