"""Sentences of pairs inside a task's prompt: which of its tokens are theirs, and what cannot be told."""

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pairs_help import as_pairs
from test_templates import DAY, TEMPLATES, make_tokenizer

from midalign.data.batches import collate_pairs
from midalign.data.checks import Sieve
from midalign.data.context import PROBE, frame_of, prompt_columns
from midalign.data.packing import pack_behind_prefix, unpack
from midalign.data.pair_rows import pair_rows
from midalign.data.templates import fit
from midalign.data.tokens import prompt_ids, sentence_ids
from midalign.errors import InputError
from midalign.tasks import find_task
from midalign.tasks.base import Task
from midalign.tasks.intents import Intents
from midalign.tasks.slots.task import Slots

# Words of templates and of the instruction, white space at the ends, marks that begin control tokens, all scripts.
SENTENCES = [
    "wake me",
    "user",
    "assistant",
    "model",
    "utterance",
    "  two\n",
    "a <b> | c",
    "größe 🙂",
    "明日",
    "time: nine",
]


class Asked(Task):
    """The text behind a word, on the same line, and something behind it."""

    def prompt(self, row):
        return [{"role": "user", "content": f"Text: {row['utt']} - answer"}]

    def gold(self, row):
        return "x"


class Plain(Task):
    """A prompt that no chat template touches."""

    def prompt(self, row):
        return f"Text:\n{row['utt']}\nAnswer:"


def fitted(template, system="auto"):
    tokenizer = make_tokenizer(template)
    fit(tokenizer, system, DAY)
    return tokenizer


def columns(tokenizer, task, sentences, whole=False):
    frame = frame_of(tokenizer, task.asks(PROBE, "de"))
    items = [{"chat": task.asks(text, "de"), "text": text, "frame": frame, "whole": whole} for text in sentences]
    rows = prompt_columns(tokenizer, items)
    return [dict(zip(rows, row, strict=True)) for row in zip(*rows.values(), strict=True)]


@pytest.mark.parametrize("system", ["auto", "user"])
@pytest.mark.parametrize("name", TEMPLATES)
def test_a_sentence_in_a_prompt_is_its_own_tokens_at_the_end_of_what_the_task_asks(name, system):
    tokenizer = fitted(TEMPLATES[name], system)
    for task in (Slots(), Intents(), Intents(instruction="Name it: wake me, user, model.")):
        _, behind = frame_of(tokenizer, task.asks(PROBE, "de"))
        for text, row in zip(SENTENCES, columns(tokenizer, task, SENTENCES), strict=True):
            asked = prompt_ids(tokenizer, task.prompt({"utt": text}))
            assert row["problem"] == ""
            assert asked[: len(row["input_ids"])] == row["input_ids"]
            assert tokenizer.decode(asked[len(row["input_ids"]) :]).strip() == behind.strip()
            assert tokenizer.decode(row["input_ids"][row["own"] :]).strip() == text.strip()


@pytest.mark.parametrize("name", TEMPLATES)
def test_all_of_the_prompt_is_kept_where_the_state_before_the_answer_is_read(name):
    tokenizer = fitted(TEMPLATES[name])
    for text, row in zip(SENTENCES, columns(tokenizer, Slots(), SENTENCES, whole=True), strict=True):
        assert row["input_ids"] == prompt_ids(tokenizer, Slots().prompt({"utt": text}))
        assert tokenizer.decode(row["input_ids"][row["own"] :]).lstrip().startswith(text.strip())


def test_a_token_that_holds_a_letter_of_the_sentence_is_its_own():
    tokenizer = fitted(TEMPLATES["Gemma 3"])  # " nine" is a token of it, " z" is none
    joined, other = columns(tokenizer, Asked(), ["nine", "zehn"])
    assert tokenizer.decode(joined["input_ids"][joined["own"] :]) == " nine"
    assert tokenizer.decode(other["input_ids"][other["own"] :]) == "zehn"


def test_a_plain_prompt_is_looked_through_too(tokenizer):
    (row,) = columns(tokenizer, Plain(), ["Text:"])
    assert tokenizer.decode(row["input_ids"]) == "Text:\nText:"
    assert row["own"] == len("Text:\n")


def test_what_leaves_no_place_to_tell_is_one_sentence(tokenizer):
    def asks(content):
        return frame_of(tokenizer, [{"role": "user", "content": content}])

    assert asks(f"a{PROBE}b")[0].endswith("a")
    for content in (f"{PROBE} {PROBE}", PROBE.upper()):
        with pytest.raises(InputError, match="a sentence stands in one place"):
            asks(content)
    slow = copy.copy(tokenizer)
    slow.__class__ = type("Slow", (type(tokenizer),), {"is_fast": False})
    with pytest.raises(InputError, match="Slow does not tell where its tokens stand"):
        frame_of(slow, PROBE)


OWN = """
from midalign.tasks.base import Task

class Answers(Task):
    fields = ("question", "context")
    text = "question"

    def prompt(self, row):
        return [{"role": "user", "content": row["context"] + row["question"]}]

    def gold(self, row):
        return "x"
"""


@pytest.mark.parametrize(
    ("task", "sentence"),
    [
        ("chat", "a chat has no prompt in which one text stands"),
        ("translation", "names two languages, and a sentence has one"),
        (OWN, r"cannot be written of question and locale alone.*raised KeyError: 'context'"),
    ],
)
def test_a_task_that_asks_by_more_than_a_text_is_one_sentence(task, sentence, tmp_path):
    if task == OWN:
        (tmp_path / "answers.py").write_text(OWN)
        task = str(tmp_path / "answers.py")
    with pytest.raises(InputError, match=sentence):
        find_task(task).asks("wie geht es", "de")


def pair(source, target="good day", **changes):
    return {"source": source, "target": target, "source_lang": "de", "target_lang": "en", "place": source, **changes}


def test_pairs_that_have_no_place_in_a_prompt_are_left_out_with_the_reason(tokenizer):
    class Loud(Asked):
        def prompt(self, row):
            return [{"role": "user", "content": "- " + row["utt"].replace("ja", "JA")}]

    pairs = [pair("guten Tag"), pair("<|im_end|> oh"), pair("ja"), pair("lang " * 9)]
    sieve = Sieve("skip")
    rows = pair_rows(as_pairs(pairs), tokenizer, 50, sieve, context=(Loud(), False))
    assert [row["place"] for row in rows] == ["guten Tag"]
    assert sieve.left_out == [
        "<|im_end|> oh has a control token in '<|im_end|> oh', so its place in a prompt cannot be told; delete it",
        "ja has 'ja', which the prompt of the task writes otherwise; mend it",
        f"{'lang ' * 9} has 52 tokens, but max_length is 50; raise max_length or shorten it",
    ]


def test_a_pair_in_a_prompt_keeps_its_sentences_alone_too(tokenizer):
    (row,) = pair_rows(as_pairs([pair("Tag", "day")]), tokenizer, None, Sieve(), context=(Intents(), False))
    assert row["plain"] == {
        "source": sentence_ids(tokenizer, ["Tag"])[0],
        "target": sentence_ids(tokenizer, ["day"])[0],
    }
    for side, text in (("source", "Tag"), ("target", "day")):
        start = row[f"{side}_start"]
        assert tokenizer.decode(row[side][start:]) == text
        assert tokenizer.decode(row[side][:start]).endswith("<|im_start|>user\n")
    (plain,) = pair_rows(as_pairs([pair("Tag", "day")]), tokenizer, None, Sieve())
    assert plain == {key: row[key] for key in plain} | row["plain"]


def test_each_side_stands_in_the_prompt_of_its_language(tokenizer):
    (row,) = pair_rows(
        as_pairs([pair("Anna", "Anna B")]), tokenizer, None, Sieve(), context=(find_task("entities"), False)
    )
    german, english = (tokenizer.decode(row[side]) for side in ("source", "target"))
    assert "Finde die Namen" in german and german.endswith("Anna")
    assert "Find the names" in english and english.endswith("Anna B")


IDS = st.lists(st.integers(1, 5), min_size=1, max_size=6)


@given(
    prefixes=st.lists(st.lists(st.integers(1, 5), max_size=6), min_size=1, max_size=2),
    own=st.lists(st.tuples(st.integers(0, 1), IDS), min_size=1, max_size=10),
)
def test_sentences_behind_what_they_share_can_be_read_back(prefixes, own):
    prompts = [prefixes[which % len(prefixes)] for which, _ in own]
    sentences = [[*prompt, *ids] for prompt, (_, ids) in zip(prompts, own, strict=True)]
    packed = pack_behind_prefix(sentences, list(map(len, prompts)))
    (segments,), (prefixes,), (ids,) = (packed[key] for key in ("segments", "prefixes", "input_ids"))
    for key in ("input_ids", "position_ids"):
        back = unpack(packed[key][..., None], packed["places"])[..., 0]
        found = [row[mask].tolist() for row, mask in zip(back, packed["pooled"].bool(), strict=True)]
        positions = [list(range(len(p), len(s))) for p, s in zip(prompts, sentences, strict=True)]
        assert found == (positions if key == "position_ids" else [ids for _, ids in own])
    for place, mask, sentence in zip(packed["places"], packed["pooled"], sentences, strict=True):
        last = place[mask.sum() - 1]  # what it sees, itself included, is its sentence and nothing else
        seen = (segments[: last + 1] == segments[last]) | (segments[: last + 1] == prefixes[last])
        assert ids[: last + 1][seen].tolist() == sentence


def test_a_prompt_that_all_sentences_share_is_there_once():
    packed = pack_behind_prefix([[9, 8, 7, 1, 2], [9, 8, 7, 3], [9, 8, 7, 1, 4, 5]], [3, 3, 3])
    assert packed["input_ids"].tolist() == [[9, 8, 7, 1, 2, 1, 4, 5, 3]]
    assert packed["position_ids"].tolist() == [[0, 1, 2, 3, 4, 3, 4, 5, 3]]
    assert packed["segments"].tolist() == [[0, 0, 0, 1, 1, 2, 2, 2, 3]]
    assert packed["places"].tolist() == [[3, 4, 0], [8, 0, 0], [5, 6, 7]]
    assert packed["pooled"].tolist() == [[1, 1, 0], [1, 0, 0], [1, 1, 1]]


def test_the_words_that_all_sentences_begin_with_are_pooled_from_what_is_shared():
    packed = pack_behind_prefix([[9, 1, 2], [9, 1, 3]], [1, 1])
    assert packed["input_ids"].tolist() == [[9, 1, 2, 3]]
    assert packed["places"].tolist() == [[1, 2], [1, 3]]


def test_a_padded_half_pools_what_follows_the_prompt():
    pairs = [
        {"source": [9, 8, 1, 2], "target": [9, 8, 3], "source_start": 2, "target_start": 2}
        | {"source_text": 0, "target_text": 1}
    ]
    batch = collate_pairs(pairs, pad_token_id=0)
    assert batch["chunks"][0]["attention_mask"].tolist() == [[1, 1, 1, 1], [1, 1, 1, 0]]
    assert batch["chunks"][0]["pooled"].tolist() == [[0, 0, 1, 1], [0, 0, 1, 0]]
    assert batch["padding"] == pytest.approx(1 / 8)
    packed = collate_pairs(pairs, pad_token_id=0, packed=True)
    assert packed["chunks"][0]["input_ids"].tolist() == [[9, 8, 1, 2, 3]]
    assert packed["padding"] == 0
    assert torch.equal(packed["chunks"][0]["pooled"], torch.tensor([[1, 1], [1, 0]]))
