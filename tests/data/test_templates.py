"""Whatever the chat template: training, our generation and lm-eval ask, stop and score the same."""

import copy
import datetime
import itertools
import json
import re
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from tokenizers.processors import TemplateProcessing
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from midalign.data.templates import End, chat_record, end_of_turn, fit
from midalign.data.tokens import example_ids, prompt_ids
from midalign.errors import InputError
from midalign.evaluation.generation import generate, stop_ids
from midalign.tasks.slots import massive, scoring
from midalign.tasks.slots.task import Slots

SRC = Path(__file__).parents[2] / "src"
PAGE = SRC.parent / "recipes" / "keys.md"
LM_TASKS = SRC / "midalign" / "evaluation" / "lm_tasks"

# Short, in the style of the originals.
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
LLAMA3 = (
    "{{- bos_token }}{%- if not date_string is defined %}{%- set date_string = strftime_now('%d %b %Y') %}"
    "{%- endif %}\n"
    "{%- for m in messages %}{{- '<|start_header_id|>' + m.role + '<|end_header_id|>\n\n' }}"
    "{%- if loop.first %}{{- 'Today Date: ' + date_string + '\n\n' }}{%- endif %}{{- m.content | trim + '<|eot_id|>' }}"
    "{%- endfor %}\n"
    "{%- if add_generation_prompt %}{{- '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{%- endif %}\n"
)
GEMMA3 = (
    "{{ bos_token }}{%- if messages[0]['role'] == 'system' -%}{%- set first = messages[0]['content'] + '\n\n' -%}"
    "{%- set messages = messages[1:] -%}{%- else -%}{%- set first = '' -%}{%- endif -%}{%- for m in messages -%}"
    "{{ '<start_of_turn>' + ('model' if m.role == 'assistant' else m.role) + '\n' + (first if loop.first else '') }}"
    "{{ m.content | trim }}{{ '<end_of_turn>\n' }}{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ '<start_of_turn>model\n' }}{%- endif -%}\n"
)
GEMMA2 = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}"
    "{% endif %}{% for m in messages %}{{ '<start_of_turn>' + ('model' if m.role == 'assistant' else 'user') + '\n' }}"
    "{{ m.content | trim + '<end_of_turn>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{'<start_of_turn>model\n'}}{% endif %}"
)
MISTRAL = (
    "{%- if messages[0]['role'] == 'system' %}{%- set first = messages[0]['content'] %}{%- set rest = messages[1:] %}"
    "{%- else %}{%- set rest = messages %}{%- endif %}{{- bos_token }}{%- for m in rest %}{%- if m.role == 'user' %}"
    "{%- if loop.last and first is defined %}{{- '[INST] ' + first + '\n\n' + m.content + '[/INST]' }}"
    "{%- else %}{{- '[INST] ' + m.content + '[/INST]' }}{%- endif %}"
    "{%- else %}{{- ' ' + m.content + eos_token }}{%- endif %}{%- endfor %}"
)
QWEN3 = (
    "{%- for m in messages %}{%- if m.role == 'assistant' and loop.last %}"
    "{{- '<|im_start|>assistant\n<think>\n\n</think>\n\n' + m.content + '<|im_end|>\n' }}"
    "{%- else %}{{- '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{%- endif %}{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}"
)
QWEN3_HYBRID = QWEN3 + (
    "{%- if enable_thinking is defined and enable_thinking is false %}{{- '<think>\n\n</think>\n\n' }}{%- endif %}"
    "{%- endif %}"
)
QWEN3_ALWAYS = QWEN3 + "{{- '<think>\n' }}{%- endif %}"
NO_END = (
    "{% for m in messages %}\n### {{ m.role }}\n{{ m.content }}{% endfor %}"
    "{% if add_generation_prompt %}\n### assistant\n{% endif %}"
)
HEADLESS = "{% for m in messages %}{{ m.role | capitalize }}: {{ m.content }}\n{% endfor %}"
TEMPLATES = {
    "ChatML, tokenizer of a base model": CHATML,
    "Llama 3.2, with a date": LLAMA3,
    "Gemma 3": GEMMA3,
    "Gemma 2, no system role": GEMMA2,
    "Mistral, system in the last turn": MISTRAL,
    "Qwen3, thinking can be off": QWEN3_HYBRID,
    "Qwen3, always thinking": QWEN3_ALWAYS,
    "no generation prompt, ends in plain text": HEADLESS,
}
CONTROL = ["<|im_start|>", "<|im_end|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
CONTROL += ["<start_of_turn>", "<end_of_turn>", "[INST]", "[/INST]"]
WORDS = [" time:", "time:", " nine", "\n\n"]  # a token each
# The model answers "time: nine" to whatever: 2 hits, 2 spurious, 2 missed.
ROWS = ["wake me at [time : nine]", "[time : nine] now", "meet on [date : friday]", "call [person : mom]", "stop"]
F1 = 2 * 2 / (2 * 2 + 3 + 2)
DAY = "2026-03-01"
ASKED = Slots().prompt({"utt": "wake me"})


def make_tokenizer(template, eos="<|endoftext|>", **special):
    """Bytes, some words, and everybody's control tokens; its EOS ends no turn, as in a base model."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = [word.replace(" ", "Ġ").replace("\n", "Ċ") for word in WORDS]
    merges = list(dict.fromkeys((word[:i], word[i]) for word in words for i in range(1, len(word))))
    vocabulary = {token: i for i, token in enumerate([*letters, *(a + b for a, b in merges)])}
    backend = Tokenizer(models.BPE(vocabulary, merges))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in CONTROL])
    backend.add_tokens(["<think>", "</think>"])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token=eos, bos_token="<s>", **special)
    tokenizer.chat_template = template
    return tokenizer


def make_speaker(tokenizer):
    """A causal LM that answers "time: nine" to every prompt of a fitted tokenizer, ends its turn, and says it again."""
    row = example_ids(tokenizer, Slots().example({"utt": "a", "annot_utt": "[time : nine]"}))
    trained = [label for label in row["labels"] if label != -100]
    last = row["input_ids"][-len(trained) - 1]
    chain = [last, *trained, trained[0]]
    known = list(dict.fromkeys(chain))
    sizes = {"hidden_size": 16, "intermediate_size": 4, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = LlamaConfig(vocab_size=len(tokenizer), tie_word_embeddings=False, max_position_embeddings=2048, **sizes)
    model = LlamaForCausalLM(config).eval()
    model.generation_config.eos_token_id = tokenizer.convert_tokens_to_ids("<|endoftext|>")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()  # a layer adds nothing: the state stays the embedding of the last token
        model.model.norm.weight.fill_(1)
        model.model.embed_tokens.weight[known] = torch.eye(len(known), 16)
        for token, following in itertools.pairwise(chain):
            model.lm_head.weight[following, known.index(token)] = 1
    return model


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """(the folder of the rows, the rows)."""
    folder = tmp_path_factory.mktemp("rows")
    (folder / "de-DE").mkdir()
    made = [
        {"id": str(i), "locale": "de-DE", "partition": "test", "utt": re.sub(r"\[\w+ : (\w+)\]", r"\1", text)}
        | {"annot_utt": text}
        for i, text in enumerate(ROWS)
    ]
    (folder / "de-DE" / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in made))
    return folder, made


@pytest.fixture(scope="module")
def task(rows):
    manager = TaskManager(include_path=str(LM_TASKS), include_defaults=False, metadata={"task_data": str(rows[0])})
    return manager.load(["massive_slots_de-DE"])["tasks"]["massive_slots_de-DE"]


def by_lm_eval(task, model, tokenizer, **options):
    """({utterance: prompt ids}, stop ids, until, {utterance: answer}) of `lm_eval --model hf`."""
    harness = HFLM(model, tokenizer=tokenizer, batch_size=2, **options)
    task.build_all_requests(apply_chat_template=True, chat_template=harness.apply_chat_template)
    requests = task.instances
    prompts = {request.doc["utt"]: harness.tok_encode(request.arguments[0]) for request in requests}
    settings = [request.arguments[1] for request in requests]
    assert all(some == settings[0] for some in settings)
    for request in requests:
        request.arguments[1]["max_gen_toks"] = 24
    answers = harness.generate_until(requests, disable_tqdm=True)
    answers = {request.doc["utt"]: answer for request, answer in zip(requests, answers, strict=True)}
    return prompts, settings[0]["eos_token_id"], settings[0]["until"], answers


def compared(name, rows, task, folder):
    """One line of the table in recipes/keys.md; asserts that the three agree."""
    own = make_tokenizer(TEMPLATES[name])
    fit(own, day=DAY)
    examples = {row["utt"]: example_ids(own, Slots().example(row)) for row in rows}
    trained = {utt: row["input_ids"][: row["labels"].count(-100)] for utt, row in examples.items()}
    own.save_pretrained(folder)
    saved = AutoTokenizer.from_pretrained(folder)  # on another day
    fit(saved)
    assert {row["utt"]: prompt_ids(saved, Slots().prompt(row)) for row in rows} == trained
    model, end = make_speaker(saved), end_of_turn(saved)
    for row in examples.values():
        answer = saved.decode([label for label in row["labels"] if label != -100])
        assert end.text in answer and not answer.split(end.text)[1].strip()
    texts = generate(model, saved, [Slots().prompt(row) for row in rows], 2, 24)
    prompts, stops, until, answers = by_lm_eval(task, model, saved)
    assert prompts == trained
    assert stops == stop_ids(model, saved) and until[0] == end.text
    assert end.token is None or end.token in stops
    assert texts == [answers[row["utt"]] for row in rows]
    assert {text.strip() for text in texts} == {"time: nine"}
    f1 = [scoring.score(rows, some)["f1"] for some in (texts, [answers[row["utt"]] for row in rows])]
    assert f1 == [pytest.approx(F1)] * 2
    told = chat_record(saved)
    marks = [told["instruction"], told["thinking"], told["date"] or "", told["asks with"], f"`{end.text!r}`"]
    cells = [name, *(cell.replace("|", "\\|") for cell in marks), "equal", *(f"{100 * value:.1f}" for value in f1)]
    return f"| {' | '.join(cells)} |"


@pytest.mark.parametrize("name", TEMPLATES)
def test_training_evaluation_and_lm_eval_agree_as_the_table_says(name, rows, task, tmp_path):
    assert compared(name, rows[1], task, tmp_path) in PAGE.read_text(encoding="utf-8").splitlines()


def fitted(template, **options):
    tokenizer = make_tokenizer(template, **options)
    fit(tokenizer, day=DAY)
    return tokenizer


def trained(tokenizer):
    row = example_ids(tokenizer, Slots().example({"utt": "a", "annot_utt": "[time : nine]"}))
    return tokenizer.decode([label for label in row["labels"] if label != -100])


@pytest.mark.parametrize("name", ["ChatML, tokenizer of a base model", "Gemma 3"])
def test_a_template_that_has_all_is_left_as_it_is(name):
    assert fitted(TEMPLATES[name]).chat_template == TEMPLATES[name]


@pytest.mark.parametrize("name", TEMPLATES)
def test_fitting_twice_is_fitting_once(name):
    once = fitted(TEMPLATES[name])
    template, told = once.chat_template, chat_record(once)
    fit(once, day="1999-01-01")
    assert (once.chat_template, chat_record(once)) == (template, told)


def test_the_end_of_turn_becomes_the_eos_that_is_saved():
    tokenizer = fitted(CHATML)
    assert (tokenizer.eos_token, tokenizer.pad_token) == ("<|im_end|>", "<|im_end|>")
    assert end_of_turn(tokenizer) == End(tokenizer.convert_tokens_to_ids("<|im_end|>"), "<|im_end|>")


def test_a_template_that_writes_eos_behind_its_end_of_turn_keeps_that_eos():
    phi3 = CHATML.replace("{% if add", "{% if not add_generation_prompt %}{{ eos_token }}{% endif %}{% if add")
    tokenizer = fitted(phi3)
    assert tokenizer.eos_token == "<|endoftext|>" and end_of_turn(tokenizer).text == "<|im_end|>"
    assert trained(tokenizer) == "time: nine<|im_end|>\n<|endoftext|>"
    model = make_speaker(tokenizer)
    assert stop_ids(model, tokenizer) == tokenizer.convert_tokens_to_ids(["<|im_end|>", "<|endoftext|>"])
    assert generate(model, tokenizer, [ASKED], 1, 24) == ["time: nine"]


@pytest.mark.parametrize(
    ("template", "text"),
    [
        (CHATML.replace("<|im_end|>", "<|end]"), "<|end]"),
        (CHATML.replace("<|im_end|>\n", "~#-="), "~#-="),
        (CHATML.replace("<|im_end|>\n", "\n\n"), "\n\n"),
        (CHATML.replace("<|im_end|>\n", "; bye "), "; bye"),
    ],
)
def test_an_end_that_is_plain_text_ends_answers_in_both_programs(template, text, rows, task):
    tokenizer = fitted(template)
    assert end_of_turn(tokenizer) == End(None, text)
    model, passes = make_speaker(tokenizer), []
    model.register_forward_hook(lambda *_: passes.append(1))
    texts = generate(model, tokenizer, [Slots().prompt(row) for row in rows[1]], 5, 24)
    assert len(passes) <= 12  # the shared prompt, and no more tokens than answer and end have
    _, _, until, answers = by_lm_eval(task, model, tokenizer)
    assert texts == ["time: nine"] * 5 == [answers[row["utt"]] for row in rows[1]]
    assert until[0] == text


@pytest.mark.parametrize("template", [NO_END, NO_END.replace("content }}", "content }} ")])
def test_where_a_template_ends_no_answer_its_eos_does(template):
    tokenizer = fitted(template + "\n")
    assert trained(tokenizer).replace("nine <", "nine<") == "time: nine<|endoftext|>"
    assert end_of_turn(tokenizer).token == tokenizer.eos_token_id
    assert prompt_ids(tokenizer, ASKED)[-1] == tokenizer.convert_tokens_to_ids("Ċ")


def test_a_template_without_an_end_and_a_tokenizer_without_eos_are_refused():
    with pytest.raises(InputError, match="writes nothing after an answer, and the tokenizer has no EOS token to add"):
        fitted(NO_END, eos=None)


def test_the_header_of_a_prompt_is_not_trained_on():
    tokenizer = fitted(HEADLESS)
    assert trained(tokenizer) == " time: nine\n"
    assert tokenizer.decode(prompt_ids(tokenizer, ASKED)).endswith("\nUser: wake me\nAssistant:")


def test_a_prompt_that_ends_in_a_space_leaves_it_to_the_answer():
    spaced = HEADLESS + "{% if add_generation_prompt %}Assistant: {% endif %}"
    assert prompt_ids(fitted(spaced), ASKED) == prompt_ids(fitted(HEADLESS), ASKED)


@pytest.mark.parametrize("name", ["Gemma 2, no system role", "Mistral, system in the last turn"])
def test_an_instruction_without_a_system_role_is_in_front_of_the_user_turn(name):
    tokenizer = fitted(TEMPLATES[name])
    expected = [{"role": "user", "content": f"{massive.INSTRUCTION}\n\nwake me"}]
    bare = make_tokenizer(TEMPLATES[name])
    assert prompt_ids(tokenizer, ASKED) == bare.apply_chat_template(
        expected, add_generation_prompt=True, return_dict=False
    )


def test_an_instruction_that_a_template_drops_is_moved_too():
    dropping = CHATML.replace("{% for m in messages %}", "{% for m in messages if m.role != 'system' %}")
    tokenizer = fitted(dropping)
    assert chat_record(tokenizer)["instruction"] == "user turn"
    assert f"user\n{massive.INSTRUCTION}\n\nwake me<|im_end|>" in tokenizer.decode(prompt_ids(tokenizer, ASKED))


def test_where_the_instruction_goes_can_be_said():
    tokenizer = make_tokenizer(CHATML)
    fit(tokenizer, "user")
    assert "system" not in tokenizer.decode(prompt_ids(tokenizer, ASKED))
    with pytest.raises(InputError, match=r"refuses the messages: System role not supported; set task_system: auto, or"):
        fit(make_tokenizer(GEMMA2), "system")


def test_thinking_is_switched_off_in_prompt_and_answer():
    tokenizer = fitted(QWEN3_HYBRID)
    assert tokenizer.decode(prompt_ids(tokenizer, ASKED)).endswith("assistant\n<think>\n\n</think>\n\n")
    assert trained(tokenizer) == "time: nine<|im_end|>\n"
    opening = fitted(QWEN3_ALWAYS)
    assert prompt_ids(opening, ASKED) == prompt_ids(tokenizer, ASKED)


@pytest.mark.parametrize(
    "form",
    [
        *(
            "%d %b %Y",
            "%Y-%m-%d",
            "%B %d, %Y",
            "%A %-d. %B, week %V, day %j",
            "%H:%M",
            "100 %%",
            "%%d",
            "%%%d",
            "%%%%d",
        ),
        *("100%", "%h %R %G %C %g", "%e|%k|%l|%P|%-e|%-k", "%n%t", "%z%Z", "%Ey %Od", "%Q"),
    ],
)
def test_the_date_in_a_prompt_is_pinned_in_any_form(form):
    template = CHATML.replace("{{ m.content }}", f"{{% set form = '{form}' %}}{{{{ m.content ~ strftime_now(form) }}}}")
    tokenizer = fitted(template)
    written = datetime.date.fromisoformat(DAY).strftime(form)
    assert f"wake me{written}<|im_end|>" in tokenizer.decode(prompt_ids(tokenizer, ASKED))
    assert chat_record(tokenizer)["date"] == DAY


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{{ messages[0].content }}{{ messages[1].content }}", "leaves the answer out"),
        ("{{ messages[-1].content }}", "leaves the system message out"),
        ("{{ messages | length }}" + CHATML, "writes a prompt differently once an answer follows"),
        ("{{ raise_exception('no') }}", "refuses the messages: no"),
        ("{{ 'a' + 1 }}", "refuses the messages: can only concatenate str"),
        ("{% for", "refuses the messages: "),
        ("{{ 1 // 0 }}", "refuses the messages: integer division or modulo by zero"),
        ("{% for i in range(10 ** 9) %}x{% endfor %}", "refuses the messages: Range too big"),
        ("{% include 'header' %}", "refuses the messages: "),
        ("{% macro again() %}{{ again() }}{% endmacro %}{{ again() }}", "refuses the messages: maximum recursion"),
        ("{{ messages[7].content.strip() }}", "refuses the messages: "),
        ("{{ 'x'.center(10 ** 13) }}", "refuses the messages: MemoryError"),
        ("{{ raise_exception('a\\n b') }}", "refuses the messages: a b;"),
    ],
)
def test_a_template_that_cannot_be_used_is_one_sentence_with_a_remedy(template, reason):
    with pytest.raises(InputError, match=reason) as error:
        fitted(template)
    assert "save a chat_template.jinja" in str(error.value) and "\n" not in str(error.value)


def test_a_tokenizer_without_padding_and_eos_is_refused():
    with pytest.raises(InputError, match="has neither a padding nor an EOS token"):
        fitted(CHATML.replace("<|im_end|>", "END"), eos=None)


@settings(max_examples=15)
@given(st.text(st.characters(codec="utf-8", exclude_characters="{}"), max_size=9))
def test_the_text_around_a_template_stays(text):
    own = make_tokenizer(text + HEADLESS + "\n")
    wrapped = copy.deepcopy(own)
    fit(wrapped, "user")
    assert wrapped.chat_template != own.chat_template
    chat = [{"role": "user", "content": "a"}]
    assert wrapped.apply_chat_template(chat, tokenize=False) == own.apply_chat_template(chat, tokenize=False)


def adding(tokenizer, before="", after=""):
    """A copy that puts a token before or behind every text."""
    tokenizer = copy.deepcopy(tokenizer)
    names = [name for name in (before, after) if name]
    tokens = [(name, tokenizer.convert_tokens_to_ids(name)) for name in names]
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single=f"{before} $A {after}".strip(), special_tokens=tokens
    )
    return tokenizer


@pytest.mark.parametrize("sides", [{"before": "<s>"}, {"after": "<|endoftext|>"}, {"before": "<s>", "after": "<s>"}])
def test_lm_eval_is_refused_where_it_adds_tokens_that_training_does_not_have(sides, task, rows):
    tokenizer = adding(fitted(CHATML), **sides)
    model = make_speaker(tokenizer)
    with pytest.raises(InputError, match=r"tokenise the prompt of .* otherwise than training did.*add_bos_token=False"):
        by_lm_eval(task, model, tokenizer)
    prompts, *_ = by_lm_eval(task, model, tokenizer, add_bos_token=False)
    assert prompts == {row["utt"]: prompt_ids(tokenizer, Slots().prompt(row)) for row in rows[1]}


def test_lm_eval_asks_as_the_adapter_was_asked(task, rows, tmp_path):
    adapters = make_tokenizer(LLAMA3)
    fit(adapters, "user", DAY)
    adapters.save_pretrained(tmp_path)
    base = make_tokenizer(LLAMA3)
    harness = HFLM(make_speaker(adapters), tokenizer=base, batch_size=2)
    harness.peft = str(tmp_path)
    task.build_all_requests(apply_chat_template=True, chat_template=harness.apply_chat_template)
    asked = {request.doc["utt"]: harness.tok_encode(request.arguments[0]) for request in task.instances}
    assert asked == {row["utt"]: prompt_ids(adapters, Slots().prompt(row)) for row in rows[1]}
    assert base.chat_template == LLAMA3  # other tasks of the same model are asked as ever


@pytest.mark.parametrize("special", [True, False])
def test_a_thought_is_no_part_of_an_answer(special, rows):
    tokenizer = make_tokenizer(CHATML)
    tokenizer.add_tokens(
        [AddedToken(mark, special=special) for mark in ("[THINK]", "[/THINK]")], special_tokens=special
    )
    fit(tokenizer)
    chain = tokenizer("[THINK]x[/THINK]time: nine<|im_end|>", add_special_tokens=False)["input_ids"]
    model = make_speaker(tokenizer)
    with torch.no_grad():
        model.lm_head.weight.zero_()
        model.model.embed_tokens.weight.zero_()
        known = [prompt_ids(tokenizer, ASKED)[-1], *chain]
        model.model.embed_tokens.weight[known] = torch.eye(len(known), 16)
        for token, following in itertools.pairwise(known):
            model.lm_head.weight[following, known.index(token)] = 1
    assert generate(model, tokenizer, [ASKED], 1, 24) == ["time: nine"]
    assert generate(model, tokenizer, [ASKED], 1, 2) == [""]  # cut before the thought had an end
