"""The trainer as TRL's users take it: own rows and pairs, a name or a model, and one sentence for what is wrong."""

import copy
import datetime

import datasets
import pytest
import torch
from datasets import Dataset
from pairs_help import tokenised
from peft import LoraConfig, PeftModel, PromptTuningConfig
from transformers import AutoModelForCausalLM, TrainerCallback
from trl import SFTConfig

import midalign
from midalign.data import templates
from midalign.data.checks import Sieve
from midalign.data.given import task_stream
from midalign.data.tokens import example_columns
from midalign.errors import InputError

ROWS = [
    {
        "prompt": [{"role": "user", "content": f"say {'a' * (i % 4)}!"}],
        "completion": [{"role": "assistant", "content": "b" * (1 + i % 3)}],
    }
    for i in range(8)
]
PAIRS = [
    {"source": f"satz {i}", "target": f"sentence {i}", "source_lang": "de", "target_lang": "en"} for i in range(6)
] + [{"source": f"sentence {i}", "target": f"cümle {i}", "source_lang": "en", "target_lang": "tr"} for i in range(6)]
COMMON = {
    "per_device_train_batch_size": 2,
    "align_batch_size": 4,
    "max_steps": 2,
    "activation_checkpointing": False,
    "learning_rate": 1e-2,
    "logging_steps": 1,
    "save_strategy": "no",
    "report_to": "none",
    "disable_tqdm": True,
    "use_cpu": True,
    "seed": 3,
}


@pytest.fixture
def make(make_model, tokenizer, tmp_path):
    """make(argument=..., **settings of MidAlignConfig) -> a MidAlignTrainer with the rows and pairs of this file."""
    arguments = ("model", "args", "train_dataset", "eval_dataset", "pairs", "eval_pairs", "processing_class")
    arguments += (
        "peft_config",
        "callbacks",
        "align_pivot",
        "on_bad_row",
        "formatting_func",
        "quantization_config",
        "tokenizer",
    )

    def trainer(**given):
        own = {key: given.pop(key) for key in arguments if key in given}
        own.setdefault("model", None)
        own["model"] = own["model"] or make_model()
        args = {"output_dir": str(tmp_path / "out")} | COMMON | given
        own = {"train_dataset": ROWS, "pairs": PAIRS, "processing_class": tokenizer} | own
        own.setdefault("args", midalign.MidAlignConfig(**args))
        return midalign.MidAlignTrainer(**own)

    return trainer


@pytest.fixture(scope="module")
def folder(make_model, tokenizer, tmp_path_factory):
    """A model as the hub would have it."""
    folder = tmp_path_factory.mktemp("model")
    make_model().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def weights(trainer):
    return [weight.detach().clone() for weight in trainer.model.parameters()]


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_own_rows_and_pairs_train_as_the_same_tokens_do(make, tokenizer):
    trainer = make()
    trainer.train()
    rows = Dataset.from_dict(example_columns(tokenizer, ROWS))
    turned = [{"source": p["target"], "target": p["source"], "source_lang": "tr"} for p in PAIRS[6:]]
    texts = [{**pair, "place": "x"} for pair in PAIRS[:6] + turned]
    pairs = tokenised(texts, tokenizer)
    tokens = make(train_dataset=rows, pairs=pairs)
    tokens.train()
    assert same(weights(trainer), weights(tokens))
    assert [log["loss/align"] for log in trainer.state.log_history[:2]] == [
        log["loss/align"] for log in tokens.state.log_history[:2]
    ]


def test_messages_datasets_and_columns_beside_are_the_same_rows(make):
    messages = [{"messages": row["prompt"] + row["completion"], "source": "web"} for row in ROWS]
    expected = make().train_dataset[:]
    places = expected.pop("place")
    assert places[3] == "train_dataset[3]"
    for rows in (tuple(ROWS), Dataset.from_list(ROWS), messages, Dataset.from_list(messages)):
        found = make(train_dataset=rows).train_dataset[:]
        assert {key: found[key] for key in expected} == expected


def test_only_the_last_turn_of_several_is_trained(tokenizer):
    turns = [("user", "one"), ("assistant", "first"), ("user", "two"), ("assistant", "second")]
    row = {"messages": [{"role": role, "content": content} for role, content in turns]}
    args = midalign.MidAlignConfig("x", use_cpu=True)
    row = task_stream("rows", [row], tokenizer, args, Sieve())[0]
    trained = [token for token, label in zip(row["input_ids"], row["labels"], strict=True) if label != -100]
    assert tokenizer.decode(trained) == "second<|im_end|>\n"


def test_a_named_model_brings_its_tokenizer_and_is_saved_as_an_adapter(make, folder, tmp_path):
    lora = LoraConfig(r=4, target_modules=["q_proj"])
    trainer = make(model=folder, processing_class=None, peft_config=lora, align_layer=0.5)
    assert (trainer.align_layer, trainer.args.align_layer) == (2, 0.5)
    assert trainer.args.max_length == 1024  # the user's settings stay the user's
    trainer.train()
    trainer.save_model()
    own = AutoModelForCausalLM.from_pretrained(folder)
    adapted = PeftModel.from_pretrained(own, tmp_path / "out").state_dict()
    moved = [key for key, weight in adapted.items() if "lora_B" in key and weight.any()]
    assert moved and all("q_proj" in key for key in moved)


def test_model_init_kwargs_are_read(make, folder):
    trainer = make(model=folder, model_init_kwargs={"attn_implementation": "eager", "dtype": torch.float32})
    assert trainer.model.config._attn_implementation == "eager"


def test_pairs_with_the_same_english_side_are_no_negatives(make):
    texts = [(pair["target_text"], pair["language"]) for pair in make().pairs]
    assert texts[:6] == [(number, "de") for number, _ in texts[6:]]  # en-tr pairs are turned round


def test_another_language_than_english_may_have_the_labels(make):
    german = [{**pair, "source_lang": "sw", "target_lang": "de-DE"} for pair in PAIRS[:6]]
    assert [pair["language"] for pair in make(pairs=german, align_pivot="de").pairs] == ["sw"] * 6
    with pytest.raises(InputError, match=r"^pairs\[0\] is a pair of sw and de-DE; exactly one side must be en"):
        make(pairs=german)
    with pytest.raises(InputError, match=r"^align_pivot: found german; name a language by a code"):
        make(align_pivot="german")


def test_pairs_are_held_out_in_all_languages_at_once(make):
    trainer = make(eval_pairs=2)
    assert [pair["language"] for pair in trainer.eval_pairs] == ["de", "de", "tr", "tr"]
    held_out = {tuple(pair["target"]) for pair in trainer.eval_pairs}
    assert len(held_out) == 2 and len(trainer.pairs) == 8
    assert not held_out & {tuple(pair["target"]) for pair in trainer.pairs}


def test_a_measured_sentence_is_not_trained_on(make):
    held_out = [{"source": "frase", "target": "Sentence  3", "source_lang": "es", "target_lang": "en"}] * 1
    with pytest.raises(InputError, match=r"^pairs\[3\] has 'sentence 3', which eval_pairs has too.*1 more"):
        make(eval_pairs=held_out)
    trainer = make(eval_pairs=held_out, on_bad_row="skip")
    assert len(trainer.pairs) == 10 and len(trainer.left_out) == 2


def test_evaluations_callbacks_and_rows_given_later_are_trls(make):
    seen = []

    class Seen(TrainerCallback):
        def on_evaluate(self, args, state, control, metrics, **kwargs):
            seen.extend(metrics)

    trainer = make(
        eval_dataset={"mine": ROWS[:2], "theirs": ROWS[2:4]}, eval_pairs=2, eval_strategy="steps", callbacks=[Seen()]
    )
    trainer.train()
    assert {"eval_mine_task", "eval_theirs_loss", "eval_mine_retrieval_at_1_de"} <= set(seen)
    later = trainer.evaluate([{"messages": row["prompt"] + row["completion"]} for row in ROWS[:2]])
    assert later["eval_task"] == pytest.approx(trainer.evaluate(trainer.eval_dataset["mine"])["eval_task"])
    with pytest.raises(InputError, match=r"^eval\[0\] has text; a row needs"):
        trainer.evaluate([{"text": "x"}])


def test_a_run_goes_on_and_only_as_the_same_run(make, tmp_path):
    settings = {"max_steps": 4, "save_strategy": "steps", "save_steps": 2, "eval_pairs": 2}
    whole = make(**settings)
    whole.train()
    (tmp_path / "out" / "checkpoint-4").rename(tmp_path / "out" / "kept")
    resumed = make(**settings)
    resumed.train(resume_from_checkpoint=True)
    assert same(weights(whole), weights(resumed))
    with pytest.raises(InputError, match=r"holds checkpoints up to checkpoint-4; go on from there with train\(resume"):
        make(**settings).train()
    for change in ({"learning_rate": 1.0}, {"pairs": PAIRS[:-1]}, {"train_dataset": ROWS[1:]}, {"align_layer": 1}):
        with pytest.raises(InputError, match=r"belongs to another run: .* was .*, is "):
            make(**settings | change).train(resume_from_checkpoint=True)
    with pytest.raises(InputError, match="holds no checkpoint to resume from"):
        make(output_dir=str(tmp_path / "new")).train(resume_from_checkpoint=True)


def test_a_resumed_run_keeps_the_date_of_its_prompts(make, tokenizer, monkeypatch):
    settings = {"max_steps": 2, "save_strategy": "steps", "save_steps": 1}

    def dated():
        own = copy.deepcopy(tokenizer)
        own.chat_template = "{{ strftime_now('%Y-%m-%d') }}\n" + own.chat_template
        return own

    first = datetime.date(2026, 3, 1).isoformat()
    monkeypatch.setattr(templates, "today", lambda: first)
    make(processing_class=dated(), **settings).train()
    monkeypatch.setattr(templates, "today", lambda: "2026-03-02")
    resumed = make(processing_class=dated(), **settings)
    assert first in resumed.processing_class.decode(resumed.train_dataset[0]["input_ids"])
    resumed.train(resume_from_checkpoint=True)


def test_no_arguments_are_those_of_the_paper(make, monkeypatch, tmp_path, folder):
    monkeypatch.chdir(tmp_path)
    many = [
        {**pair, "source": f"{pair['source']} {i}", "target": f"{pair['target']} {i}"}
        for i in range(3)
        for pair in PAIRS
    ]
    trainer = make(model=folder, args=None, pairs=many)
    assert trainer.args.output_dir == f"{folder.rsplit('/', 1)[-1]}-MidAlign"
    assert (trainer.args.align_schedule, trainer.align_layer) == ("joint", 2)


ASK, ANSWER = {"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}
BAD_ROWS = {
    "text": ({"text": "x"}, r'has text; a row needs "messages", or "prompt" and "completion"'),
    "nothing": ({}, "has nothing; a row needs"),
    "prompt alone": ({"prompt": [ASK]}, "has prompt; a row needs"),
    "no dict": ("x", "is no object"),
    "plain messages": ({"messages": "x"}, 'has a str in "messages"; it is a list of messages'),
    "empty": ({"messages": []}, 'has nothing in "messages"'),
    "empty completion": ({"prompt": [ASK], "completion": []}, 'has nothing in "completion"'),
    "answer alone": ({"messages": [ANSWER]}, "has an answer and nothing before it"),
    "no answer": ({"messages": [ASK, ASK]}, "ends with a message of role user; the last one is the assistant's"),
    "blank answer": (
        {"messages": [ASK, {**ANSWER, "content": " "}]},
        r"has no text in messages\[1\], of role assistant",
    ),
    "surrogate": ({"messages": [{**ASK, "content": "\ud800"}, ANSWER]}, "has half a surrogate pair"),
    "tools": ({"messages": [ASK, ANSWER], "tools": [{"name": "f"}]}, "has the tool 'f', which the chat template of"),
    "long": ({"messages": [{**ASK, "content": "x" * 2000}, ANSWER]}, r"has 20\d\d tokens, but max_length is 1024"),
}


@pytest.mark.parametrize("row, sentence", BAD_ROWS.values(), ids=BAD_ROWS)
def test_a_row_that_cannot_be_used_is_named(row, sentence, tokenizer):
    args, sieve = midalign.MidAlignConfig("x", use_cpu=True), Sieve()
    with pytest.raises(InputError, match=rf"^train_dataset\[8\] {sentence}.*[^.]\.$"):
        task_stream("train_dataset", [*ROWS, row], tokenizer, args, sieve)
        sieve.settle()
    sieve = Sieve("skip")
    assert len(task_stream("train_dataset", [*ROWS, row], tokenizer, args, sieve)) == 8 and len(sieve.left_out) == 1


def test_keys_that_arrow_fills_in_are_no_content(tokenizer):
    rows = Dataset.from_list([{"messages": [ASK, {**ANSWER, "tool_calls": None}], "tools": None}])
    assert len(task_stream("rows", rows, tokenizer, midalign.MidAlignConfig("x", use_cpu=True), Sieve())) == 1


def test_what_arrow_fills_into_the_calls_of_a_dataset_is_no_argument(tokenizer, monkeypatch):
    def row(**arguments):
        call = {"type": "function", "function": {"name": "look", "arguments": arguments}}
        return {"messages": [ASK, {"role": "assistant", "tool_calls": [call]}]}

    def chat_rows(chats, *rest):
        examples.extend(chat["example"] for chat in chats())
        return examples

    examples = []
    monkeypatch.setattr("midalign.data.given.chat_rows", chat_rows)
    rows = Dataset.from_list([row(city="Bonn"), row(unit="C")])
    task_stream("rows", rows, tokenizer, midalign.MidAlignConfig("x", use_cpu=True), Sieve())
    calls = [example["completion"][0]["tool_calls"][0]["function"]["arguments"] for example in examples]
    assert calls == [{"city": "Bonn"}, {"unit": "C"}]


SPLITS = datasets.DatasetDict(train=Dataset.from_list(ROWS), test=Dataset.from_list(ROWS))
PAIR = PAIRS[0]
REFUSED = {
    "no pairs": (
        {"pairs": ()},
        "align_schedule joint needs pairs; give the trainer pairs, or set align_schedule to sft",
    ),
    "pairs None": ({"pairs": None}, "align_schedule joint needs pairs"),
    "no rows": ({"train_dataset": None}, "train_dataset is missing; give a list of dicts or a datasets.Dataset"),
    "empty rows": ({"train_dataset": []}, "train_dataset has no row that can be used"),
    "the name of a data set": ({"train_dataset": "trl-lib/Capybara"}, "train_dataset is of type str; give a list"),
    "all splits": ({"train_dataset": SPLITS}, "train_dataset has the parts train, test; give one of them"),
    "a stream": (
        {"train_dataset": Dataset.from_list(ROWS).to_iterable_dataset()},
        "train_dataset is of type IterableDataset",
    ),
    "tokens without labels": (
        {"train_dataset": Dataset.from_dict({"input_ids": [[1]]})},
        "has input_ids and no labels",
    ),
    "SFTConfig": (
        {"args": SFTConfig("x", use_cpu=True, bf16=False)},
        "args is of type SFTConfig; make it a MidAlignConfig",
    ),
    "packing": ({"packing": True}, "packing cannot be set: rows are never packed across examples"),
    "assistant_only_loss": ({"assistant_only_loss": True}, "assistant_only_loss cannot be set"),
    "liger": ({"use_liger_kernel": True}, "use_liger_kernel cannot be set"),
    "neftune": ({"neftune_noise_alpha": 5.0}, "neftune_noise_alpha cannot be set"),
    "layer": ({"align_layer": 4}, "align_layer=4 is layer 4, but the model has 4 layers; set it to 1..3"),
    "layer 0": ({"align_layer": 0}, "align_layer=0; set it to a layer number"),
    "temperature": ({"align_temperature": -1.0}, "align_temperature=-1.0; set it to a number above 0"),
    "key of another loss": ({"align_loss": "mse", "align_center": True}, "align_center belongs to align_loss infonce"),
    "align_every": ({"align_every": 2, "align_schedule": "alternate"}, "align_every works with align_schedule joint"),
    "batch": ({"align_batch_size": 32}, r"12 pairs do not fill a batch of align_batch_size=32"),
    "metric": ({"eval_pairs": 2, "metric_for_best_model": "retrieval_at_1_sw"}, "held-out pairs are of de, tr; name"),
    "evaluation of nothing": ({"eval_strategy": "steps"}, "eval_strategy steps needs rows; give the trainer an eval_d"),
    "one held out": ({"eval_pairs": 1}, "eval_pairs=1; set it to 2 or more"),
    "all held out": ({"eval_pairs": 6}, "align_eval_pairs=6 leaves none of the 6 pairs of de"),
    "a pair without languages": (
        {"pairs": [{"source": "x", "target": "y"}]},
        r'pairs\[0\] has no text in "source_lang"',
    ),
    "a pair of texts": ({"pairs": [("x", "y")]}, r"pairs\[0\] is no object; every row needs source, target"),
    "a pair without English": (
        {"pairs": [*PAIRS, {**PAIR, "target_lang": "tr"}]},
        r"pairs\[12\] is a pair of de and tr",
    ),
    "a pair twice": ({"pairs": [*PAIRS, PAIR]}, r"pairs\[12\] has the texts of an earlier pair"),
    "a language that is none": ({"pairs": [{**PAIR, "source_lang": "german"}]}, r"pairs\[0\] has source_lang german"),
    "prompt tuning": (
        {"peft_config": PromptTuningConfig(num_virtual_tokens=2, task_type="CAUSAL_LM")},
        "peft_config is of type PromptTuningConfig",
    ),
    "no tokenizer": ({"processing_class": None}, "processing_class is missing, and the model does not say"),
    "processor": ({"processing_class": object()}, "processing_class is of type object; give the model's tokenizer"),
    "model": ({"model": torch.nn.Linear(1, 1)}, "model is of type Linear; give a name, a folder or a model"),
    "model that is not there": ({"model": "no/such-model"}, "model_name_or_path no/such-model cannot be loaded"),
    "model_init_kwargs": (
        {"model": "x", "model_init_kwargs": {"device_map": "auto"}},
        "model_init_kwargs has device_map",
    ),
    "model_init_kwargs of a model": ({"model_init_kwargs": {"dtype": "auto"}}, "model_init_kwargs is for a model that"),
    "tokenizer": ({"tokenizer": object()}, "tokenizer cannot be given: it is called processing_class"),
    "peft_config": ({"peft_config": {"r": 4}}, "peft_config is of type dict; give a configuration such as LoraConfig"),
    "a schedule that is none": (
        {"align_schedule": "both"},
        "align_schedule: found 'both'; choose from joint, alternate, sft, align_only",
    ),
    "a loss that is none": ({"align_loss": "nce"}, "align_loss: found 'nce'; choose from infonce, mse, cka"),
    "a number in quotes": ({"align_layer": "2"}, "align_layer: found '2'; give it a number"),
    "a part of a pair": ({"align_batch_size": 4.0}, "align_batch_size: found 4.0; give it a whole number"),
    "nothing for a number": ({"align_weight": None}, "align_weight: found None; give it a number"),
    "a truth for a number": ({"align_weight": True}, "align_weight: found True; give it a number"),
    "a number for a truth": ({"align_center": 1}, "align_center: found 1; give it true or false"),
    "formatting_func": ({"formatting_func": str}, "formatting_func cannot be given: rows are chats"),
    "quantization_config": ({"quantization_config": object()}, "quantization_config cannot be given: load the model"),
    "on_bad_row": ({"on_bad_row": "ignore"}, "on_bad_row='ignore'; set it to error or skip"),
}


def test_a_model_without_an_lm_head_is_refused(make, make_model):
    with pytest.raises(InputError, match=r"^model is of type LlamaModel, without an LM head; load it as a causal LM"):
        make(model=make_model().model)


def test_alignment_alone_needs_no_rows(make):
    trainer = make(train_dataset=None, align_schedule="align_only")
    trainer.train()
    assert trainer.state.global_step == 2 and "loss/task" not in trainer.state.log_history[0]


def test_a_tokenizer_without_a_chat_template_is_refused(make, tokenizer):
    bare = copy.deepcopy(tokenizer)
    bare.chat_template = None
    with pytest.raises(InputError, match=r"^processing_class has no chat template"):
        make(processing_class=bare)


@pytest.mark.parametrize("given, sentence", REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_trained_is_refused_in_one_sentence(given, sentence, make):
    with pytest.raises(InputError, match=sentence) as refused:
        make(**given)
    assert str(refused.value).endswith(".") and "\n" not in str(refused.value)


def test_sft_needs_no_pairs(make):
    trainer = make(pairs=None, align_schedule="sft", gradient_checkpointing=False)
    trainer.train()
    assert "loss/align" not in trainer.state.log_history[0]
