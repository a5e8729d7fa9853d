"""The embedded model: its tokenizer, its text, its weights being of this code, its folder whole or not there."""

import random

import pytest
import torch
from transformers import AutoTokenizer, LlamaForCausalLM, PreTrainedTokenizerFast

from midalign.demo.corpus import plain_text
from midalign.errors import InputError
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


def test_the_model_folder_tokenises_like_the_built_tokenizer(tokenizer, tmp_path):
    path = tiny.tiny_model(tmp_path)
    loaded = AutoTokenizer.from_pretrained(path)
    chat = [{"role": "user", "content": "despiértame a las ocho"}]
    assert loaded.apply_chat_template(chat) == tokenizer.apply_chat_template(chat)


def test_the_model_folder_is_found_again_and_not_written_again(tmp_path, monkeypatch):
    path = tiny.tiny_model(tmp_path)
    monkeypatch.delattr(tiny, "pretrained_model")
    assert tiny.tiny_model(tmp_path) == path


def test_the_shipped_weights_are_of_this_corpus_and_code_and_know_its_words(tokenizer):
    model = tiny.pretrained_model(tokenizer, tiny.fingerprint(tokenizer))
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert tiny.WEIGHTS.stat().st_size < 2_500_000
    losses = [loss(one, tokenizer, "el-GR") for one in (tiny.initial_model(tokenizer), model)]
    assert losses[1] < losses[0] / 3


@pytest.mark.parametrize(
    ("what", "other"),
    [
        ("plain_text", lambda locale: ["a word"]),
        ("INSTRUCTION", "Another word."),
        ("STEPS", 3),
        ("pretrain", lambda model, tokenizer, steps: None),
    ],
)
def test_weights_of_another_corpus_or_code_are_refused_with_the_command_to_run(what, other, tmp_path, monkeypatch):
    monkeypatch.setattr(tiny, what, other)
    with pytest.raises(InputError, match=r"python -m midalign\.models\.tiny"):
        tiny.tiny_model(tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("damage", [lambda whole: whole[:1000], lambda whole: b""], ids=["cut", "empty"])
def test_damaged_weights_end_in_one_sentence(damage, tmp_path, monkeypatch):
    weights = tmp_path / "cut.safetensors"
    weights.write_bytes(damage(tiny.WEIGHTS.read_bytes()))
    monkeypatch.setattr(tiny, "WEIGHTS", weights)
    with pytest.raises(InputError, match=r"damaged.*install midalign again"):
        tiny.tiny_model(tmp_path / "cache")


def test_other_weights_have_another_folder(tokenizer, tmp_path, monkeypatch):
    first = tiny.tiny_model(tmp_path)
    tiny.make_weights(tmp_path / "small.safetensors", steps=1)
    monkeypatch.setattr(tiny, "WEIGHTS", tmp_path / "small.safetensors")
    assert tiny.tiny_model(tmp_path) != first


def test_weights_made_in_small_come_back_in_half_precision(tokenizer, tmp_path, monkeypatch):
    tiny.make_weights(tmp_path / "small.safetensors", steps=2)
    made = tiny.initial_model(tokenizer)
    tiny.pretrain(made, tokenizer, steps=2)
    monkeypatch.setattr(tiny, "WEIGHTS", tmp_path / "small.safetensors")
    loaded = tiny.pretrained_model(tokenizer, tiny.fingerprint(tokenizer))
    for one, other in zip(made.parameters(), loaded.parameters(), strict=True):
        assert torch.equal(one.half().float(), other)


@pytest.mark.parametrize("part", [LlamaForCausalLM, PreTrainedTokenizerFast])
def test_a_cut_off_process_leaves_no_model_folder(part, tmp_path, monkeypatch):
    def cut_off(self, folder):
        (folder / "config.json").write_text("{}")
        raise KeyboardInterrupt

    monkeypatch.setattr(part, "save_pretrained", cut_off)
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
    before = loss(model, tokenizer, "tr-TR")
    tiny.pretrain(model, tokenizer, steps=30)
    assert loss(model, tokenizer, "tr-TR") < before - 0.2


@torch.no_grad()
def loss(model, tokenizer, locale):
    """Mean loss of a token of 32 plain sentences."""
    batch = tokenizer(plain_text(locale)[-32:], padding=True, return_tensors="pt")
    labels = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100)
    return model(**batch, labels=labels).loss.item()


def test_two_builds_are_equal_and_leave_the_global_random_state_alone(tokenizer):
    state = torch.random.get_rng_state()
    models = [tiny.initial_model(tokenizer) for _ in range(2)]
    for model in models:
        tiny.pretrain(model, tokenizer, steps=2)
    assert torch.equal(torch.random.get_rng_state(), state)
    for one, other in zip(*(model.parameters() for model in models), strict=True):
        assert torch.equal(one, other)
