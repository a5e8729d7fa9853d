"""The embedded model: its tokenizer, its text, and that a build is whole or not there."""

import random

import pytest
import torch
from transformers import AutoTokenizer

from midalign.demo.corpus import plain_text
from midalign.models import tiny


@pytest.fixture(scope="module")
def tokenizer():
    return tiny.build_tokenizer()


def test_a_word_is_the_same_token_at_the_start_in_the_middle_and_in_a_chat(tokenizer):
    (word,) = tokenizer("freitag")["input_ids"]
    chat = [{"role": "user", "content": "freitag"}]
    assert tokenizer("am freitag")["input_ids"][1] == word
    assert word in tokenizer.apply_chat_template(chat, return_dict=False)


@pytest.mark.parametrize("text", ["weck mich um neun", "καλημέρα 日本 a_b", "time: neun uhr; date: freitag", "None"])
def test_text_comes_back_from_its_tokens(text, tokenizer):
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def test_the_reloaded_model_folder_tokenises_like_the_built_tokenizer(tokenizer, tmp_path, monkeypatch):
    monkeypatch.setattr(tiny, "pretrain", lambda model, tokenizer: None)
    path = tiny.tiny_model(tmp_path)
    assert tiny.tiny_model(tmp_path) == path  # found, not built again
    loaded = AutoTokenizer.from_pretrained(path)
    chat = [{"role": "user", "content": "despiértame a las ocho"}]
    assert loaded.apply_chat_template(chat) == tokenizer.apply_chat_template(chat)


def test_a_cut_off_build_leaves_no_model_folder(tmp_path, monkeypatch):
    def cut_off(model, tokenizer):
        raise KeyboardInterrupt

    monkeypatch.setattr(tiny, "pretrain", cut_off)
    with pytest.raises(KeyboardInterrupt):
        tiny.tiny_model(tmp_path)
    assert not list(tmp_path.glob("tiny-model-*"))


def test_documents_hold_one_sentence_and_nothing_but_its_own_words(tokenizer):
    rng = random.Random(0)
    frame = {"quote", "the", "user", "system", "assistant", *"1234", *":;"}
    for sentence in plain_text("de-DE")[:50]:
        text = tokenizer.decode(tiny.document(rng, tokenizer, sentence), skip_special_tokens=True)
        found = set(text.replace(":", " : ").replace(";", " ; ").split())
        assert found <= frame | set(sentence.split())


def test_pretraining_lowers_the_loss_of_plain_sentences(tokenizer):
    model = tiny.initial_model(tokenizer)
    batch = tokenizer(plain_text("tr-TR")[-32:], padding=True, return_tensors="pt")
    labels = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100)
    losses = []
    for steps in (0, 30):
        if steps:
            tiny.pretrain(model, tokenizer, steps)
        with torch.no_grad():
            losses.append(model(**batch, labels=labels).loss.item())
    assert losses[1] < losses[0] - 0.2


def test_a_build_shows_signs_of_life_where_no_bar_can_be_drawn(tokenizer, monkeypatch, caplog):
    monkeypatch.setattr(tiny, "TOLD", 2)
    caplog.set_level("INFO")
    tiny.pretrain(tiny.initial_model(tokenizer), tokenizer, steps=5)
    assert caplog.messages == ["embedded model: step 2 of 5", "embedded model: step 4 of 5"]


def test_two_builds_are_equal_and_leave_the_global_random_state_alone(tokenizer):
    state = torch.random.get_rng_state()
    models = [tiny.initial_model(tokenizer) for _ in range(2)]
    for model in models:
        tiny.pretrain(model, tokenizer, steps=2)
    assert torch.equal(torch.random.get_rng_state(), state)
    for one, other in zip(*(model.parameters() for model in models), strict=True):
        assert torch.equal(one, other)
