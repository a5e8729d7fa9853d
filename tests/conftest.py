"""Paths and small models that several test files share. Offline, CPU, one thread."""

import os
import sys

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["ACCELERATE_USE_CPU"] = "true"  # the tests compare exact CPU arithmetic, also where a GPU is present

from pathlib import Path

import datasets
import hypothesis
import pytest
import torch

hypothesis.settings.register_profile("any machine", deadline=None)
hypothesis.settings.load_profile("any machine")

SHARED = Path(__file__).parents[2] / "shared"
GOLDENS = SHARED / "goldens"


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def cache_of_tokenised_rows(tmp_path_factory):
    """Nothing of the tests stays in the user's cache, also from the processes that they start."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_DATASETS_CACHE", str(folder))
        patch.setattr(datasets.config, "HF_DATASETS_CACHE", folder)
        yield


@pytest.fixture(scope="session")
def goldens():
    """The folder with values of the authors' code; absent in a plain checkout."""
    if not GOLDENS.is_dir():
        pytest.skip("needs the golden values, which are not part of this repository")
    return GOLDENS


CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@pytest.fixture(scope="session")
def tokenizer():
    """Byte-level, 260 ids, ChatML: any text in any script, no training."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend = Tokenizer(models.BPE({letter: i for i, letter in enumerate(alphabet)}, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        eos_token="<|im_end|>",
        pad_token="<|pad|>",
        additional_special_tokens=["<|im_start|>"],
    )
    tokenizer.chat_template = CHATML
    return tokenizer


@pytest.fixture(scope="session")
def make_model(tokenizer):
    """make_model(layers=4, family="llama") -> a random decoder for `tokenizer`, the same every time."""
    import transformers

    def make(layers=4, family="llama", **changes):
        sizes = {"hidden_size": 32, "intermediate_size": 64, "head_dim": 8}
        config = transformers.AutoConfig.for_model(
            family,
            vocab_size=len(tokenizer),
            num_hidden_layers=layers,
            num_attention_heads=4,
            num_key_value_heads=2,
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
            bos_token_id=None,
            tie_word_embeddings=False,
            **sizes | changes,
        )
        torch.manual_seed(0)
        return transformers.AutoModelForCausalLM.from_config(config)

    return make


# What the parrot says after the last word of a prompt; after any other word it ends its turn.
PARROT_SAYS = {"please": "time: nine", "today": "date: monday", "music": "None"}


@pytest.fixture(scope="session")
def parrot(tmp_path_factory):
    """The folder of a causal LM whose next token depends on the last one only: answers are known beforehand."""
    import itertools

    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    chains = [[last, *answer.split(), "<end>"] for last, answer in PARROT_SAYS.items()]
    words = ["<end>", "<pad>", "<unk>", *{word: None for chain in chains for word in chain[:-1]}]
    backend = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, eos_token="<end>", pad_token="<pad>", unk_token="<unk>"
    )
    tokenizer.chat_template = "{% for m in messages %}{{ m.content }} {% endfor %}"

    config = LlamaConfig(
        vocab_size=len(words),
        hidden_size=16,
        intermediate_size=4,
        num_hidden_layers=2,
        num_attention_heads=2,
        eos_token_id=0,
        pad_token_id=1,
        bos_token_id=None,
        max_position_embeddings=512,
        tie_word_embeddings=False,
    )
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        for parameter in model.model.layers.parameters():
            parameter.zero_()  # a layer adds nothing: the state stays the embedding of the last token
        model.model.embed_tokens.weight.copy_(torch.eye(len(words), 16))
        model.lm_head.weight.zero_()
        model.lm_head.weight[0] = 0.5
        for chain in chains:
            for word, following in itertools.pairwise(chain):
                model.lm_head.weight[words.index(following), words.index(word)] = 1.0
    folder = tmp_path_factory.mktemp("parrot")
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def midalign(monkeypatch, capsys):
    """midalign(*arguments) -> (exit code, stdout, stderr)."""

    from midalign import cli

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["midalign", *map(str, arguments)])
        monkeypatch.setenv("COLUMNS", "200")
        with pytest.raises(SystemExit) as stop:
            cli.main()
        out, err = capsys.readouterr()
        return stop.value.code, out, err

    return run


@pytest.fixture
def write_rows(tmp_path):
    """write_rows({locale: [annotation, ...]}) -> a folder of MASSIVE test rows."""
    import json
    import re

    def write(annotations):
        for locale, texts in annotations.items():
            rows = [
                {
                    "id": str(number),
                    "locale": locale,
                    "partition": "test",
                    "utt": re.sub(r"\[\w+ : ([^\]]+)\]", r"\1", text),
                    "annot_utt": text,
                }
                for number, text in enumerate(texts)
            ]
            file = tmp_path / "massive" / locale / "test.jsonl"
            file.parent.mkdir(parents=True)
            file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return tmp_path / "massive"

    return write


RECIPE = """
model_name_or_path: {model}
use_peft: true
lora_r: 4
lora_target_modules: [q_proj, v_proj]
task_data: demo
task_rows: 16
task_eval_rows: 4
align_data: [demo]
align_languages: [de, tr]
align_eval_languages: [de, tr, ru]
align_eval_pairs: 5
align_layer: 0.5
align_batch_size: 4
score_languages: [en-US, ru-RU]
score_rows: 2
max_steps: 2
per_device_train_batch_size: 2
activation_checkpointing: false
eval_strategy: steps
eval_steps: 2
eval_on_start: true
save_strategy: "no"
logging_steps: 1
report_to: none
use_cpu: true
output_dir: {output}
"""


@pytest.fixture
def recipe(tmp_path, make_model, tokenizer):
    """recipe(extra lines) -> path of a recipe for a random model; its output goes to tmp_path/out."""
    make_model().save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")

    def write(extra="", name="recipe"):
        path = tmp_path / f"{name}.yaml"
        path.write_text(RECIPE.format(model=tmp_path / "model", output=tmp_path / name) + extra)
        return path

    return write
