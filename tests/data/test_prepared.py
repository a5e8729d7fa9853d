"""Tokenised rows are made once for the same tokenizer and the same texts, and never mixed up."""

import copy
from pathlib import Path

import datasets
import pytest

from midalign.data.prepared import prepared
from midalign.data.tokens import example_columns, example_ids, sentence_columns, sentence_ids
from midalign.errors import InputError

TEXTS = ["eins", "zwei", "drei, vier"]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path)
    return tmp_path / "midalign"


def kept(cache):
    return sorted(path.name for path in cache.iterdir())


def example(text):
    return {"prompt": [{"role": "user", "content": text}], "completion": [{"role": "assistant", "content": "None"}]}


def test_the_second_time_rows_come_from_disk(tokenizer, cache):
    calls = []

    def make(tokenizer, texts):
        calls.append(texts)
        return sentence_columns(tokenizer, texts)

    first = prepared(tokenizer, TEXTS, make)["input_ids"]
    second = prepared(tokenizer, TEXTS, make)["input_ids"]
    assert list(first) == list(second) == sentence_ids(tokenizer, TEXTS)
    assert calls == [TEXTS[:1], TEXTS, TEXTS[:1]]  # one of them for the key
    assert len(kept(cache)) == 1


def test_what_a_tokenizer_did_before_does_not_make_rows_anew(tokenizer, cache):
    prepared(tokenizer, TEXTS, sentence_columns)
    tokenizer(TEXTS, padding=True, truncation=True, max_length=3)
    prepared(tokenizer, TEXTS, sentence_columns)
    assert len(kept(cache)) == 1


def test_other_texts_another_template_and_another_vocabulary_are_made_anew(tokenizer, cache):
    other_template, other_tokens = copy.deepcopy(tokenizer), copy.deepcopy(tokenizer)
    other_template.chat_template = "#" + tokenizer.chat_template
    other_tokens.add_tokens(["eins"])
    chats = [example(text) for text in TEXTS]
    for by, items in (
        (tokenizer, chats),
        (tokenizer, chats[::-1]),
        (other_template, chats),
        (other_tokens, chats),
    ):
        rows = prepared(by, items, example_columns)
        assert list(rows["input_ids"]) == [example_ids(by, item)["input_ids"] for item in items]
    assert len(kept(cache)) == 4


def test_a_tokenizer_that_is_changed_in_place_makes_its_rows_anew(tokenizer):
    own = copy.deepcopy(tokenizer)
    chats = [example(text) for text in TEXTS]
    prepared(own, chats, example_columns)
    own.chat_template = "#" + own.chat_template
    assert list(prepared(own, chats, example_columns)["input_ids"]) == [
        example_ids(own, chat)["input_ids"] for chat in chats
    ]


def test_a_half_deleted_entry_is_made_anew(tokenizer, cache):
    prepared(tokenizer, TEXTS, sentence_columns)
    (entry,) = cache.iterdir()
    (entry / "state.json").unlink()
    assert list(prepared(tokenizer, TEXTS, sentence_columns)["input_ids"]) == sentence_ids(tokenizer, TEXTS)


def test_several_processes_make_the_same_rows_in_the_same_order(tokenizer):
    chats = [example("x" * i) for i in range(7)]
    rows = prepared(tokenizer, chats, example_columns, processes=2)
    assert list(rows["input_ids"]) == [example_ids(tokenizer, chat)["input_ids"] for chat in chats]


def test_a_mistake_found_by_a_process_stays_one_sentence(tokenizer):
    without = copy.deepcopy(tokenizer)
    without.chat_template = None
    with pytest.raises(InputError, match="has no chat template"):
        prepared(without, [example("x")] * 4, example_columns, processes=2)


def test_a_cache_folder_that_cannot_be_written_costs_nothing_but_the_time(tokenizer, tmp_path, monkeypatch):
    Path(tmp_path, "file").touch()
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "file")
    rows = prepared(tokenizer, TEXTS, sentence_columns)
    assert list(rows["input_ids"]) == sentence_ids(tokenizer, TEXTS)


def test_a_run_beside_this_one_may_be_first(tokenizer, cache, caplog):
    turns = []

    def make(tokenizer, texts):
        turns.append(texts)
        if len(turns) == 2:  # the first was for the key
            prepared(tokenizer, TEXTS, make)
        return sentence_columns(tokenizer, texts)

    with caplog.at_level("INFO"):
        assert list(prepared(tokenizer, TEXTS, make)["input_ids"]) == sentence_ids(tokenizer, TEXTS)
    assert len(turns) == 4 and len(kept(cache)) == 1
    assert "not kept" not in caplog.text
