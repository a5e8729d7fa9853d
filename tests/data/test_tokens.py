"""Token ids of chats and sentences."""

import copy

import pytest
from datasets import Dataset
from hypothesis import example, given
from hypothesis import strategies as st
from pairs_help import tokenised
from tokenizers.processors import TemplateProcessing
from trl import SFTConfig, SFTTrainer

from midalign.data.tokens import example_ids, prompt_ids, sentence_ids
from midalign.errors import InputError

EXAMPLE = {
    "prompt": [{"role": "system", "content": "Fill slots."}, {"role": "user", "content": "wecke mich um neun"}],
    "completion": [{"role": "assistant", "content": "time: neun"}],
}


def test_labels_cover_the_answer_and_its_end_of_turn_only(tokenizer):
    row = example_ids(tokenizer, EXAMPLE)
    answer = [token for token in row["labels"] if token != -100]
    assert tokenizer.decode(answer) == "time: neun<|im_end|>\n"
    assert row["input_ids"][: -len(answer)] == prompt_ids(tokenizer, EXAMPLE["prompt"])


def test_a_row_equals_what_stock_sft_prepares(tokenizer, make_model, tmp_path):
    args = SFTConfig(output_dir=str(tmp_path), use_cpu=True, bf16=False, report_to="none")
    stock = SFTTrainer(make_model(), args, train_dataset=Dataset.from_list([EXAMPLE]), processing_class=tokenizer)
    prepared = stock.train_dataset[0]
    assert {key: prepared[key] for key in ("input_ids", "labels")} == example_ids(tokenizer, EXAMPLE)


def test_control_tokens_in_user_text_stay_text(tokenizer):
    control = tokenizer.convert_tokens_to_ids("<|im_end|>")
    chat = [{"role": "user", "content": "say <|im_end|> twice <|im_end|>"}]
    assert prompt_ids(tokenizer, chat).count(control) == 1  # the template's own
    assert control not in sentence_ids(tokenizer, ["say <|im_end|>"])[0]


@given(text=st.text(st.sampled_from("ab \n<|>_im\U000f0000") | st.characters(codec="utf-8"), max_size=12))
@example("<|im_end|>")
@example("\U000f0000<|im_\U000f0001start|>")
def test_any_text_gets_the_ids_of_stock_sanitizing(tokenizer, text):
    chat = [{"role": "user", "content": text}]
    stock = tokenizer.apply_chat_template(
        chat, sanitize_control_tokens=True, return_dict=False, add_generation_prompt=True
    )
    assert prompt_ids(tokenizer, chat) == stock


def test_a_control_token_added_later_stays_text_too(tokenizer):
    grown = copy.deepcopy(tokenizer)
    chat = [{"role": "user", "content": "a \u00a4x and a \t"}]
    prompt_ids(grown, chat)
    grown.add_tokens(["\u00a4x", "\t"], special_tokens=True)
    assert not set(prompt_ids(grown, chat)) & set(grown.convert_tokens_to_ids(["\u00a4x", "\t"]))


def test_a_sentence_has_no_chat_template_and_no_end_of_turn(tokenizer):
    assert tokenizer.decode(sentence_ids(tokenizer, ["guten Tag"])[0]) == "guten Tag"


@pytest.mark.parametrize(
    ("single", "expected"),
    [("$A <|im_end|>", "{}"), ("<|im_start|> $A <|im_end|>", "<|im_start|>{}"), ("$A <|im_end|> <|im_end|>", "{}")],
)
def test_what_a_tokenizer_adds_behind_a_sentence_is_taken_away(tokenizer, single, expected):
    adding = copy.deepcopy(tokenizer)
    names = ("<|im_start|>", "<|im_end|>")
    tokens = [(name, adding.convert_tokens_to_ids(name)) for name in names if name in single]
    adding.backend_tokenizer.post_processor = TemplateProcessing(single=single, special_tokens=tokens)
    assert len(adding("a")["input_ids"]) > 1
    texts = ["guten Tag", "a <|im_end|>", "aa"]
    found = [adding.decode(ids) for ids in sentence_ids(adding, texts)]
    assert found == [expected.format(text) for text in texts]


def test_equal_texts_share_a_number_across_pairs_and_sides(tokenizer):
    pairs = [
        {"source": "ja", "target": "yes", "source_lang": "de", "place": "1"},
        {"source": "jo", "target": "yes", "source_lang": "sv", "place": "2"},
    ]
    first, second = tokenised(pairs, tokenizer)
    assert first["target_text"] == second["target_text"] != first["source_text"] != second["source_text"]


def test_a_template_that_rewrites_the_prompt_is_refused(tokenizer):
    rewriting = type(tokenizer)(tokenizer_object=tokenizer.backend_tokenizer)
    rewriting.chat_template = "{{ messages | length }}{{ messages[-1].content }}"
    with pytest.raises(InputError, match="renders a prompt differently"):
        example_ids(rewriting, EXAMPLE)


def test_a_tokenizer_without_chat_template_is_refused(tokenizer):
    bare = type(tokenizer)(tokenizer_object=tokenizer.backend_tokenizer)
    with pytest.raises(InputError, match="no chat template"):
        prompt_ids(bare, EXAMPLE["prompt"])
