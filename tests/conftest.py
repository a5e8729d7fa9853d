"""Paths and small models that several test files share. Offline, CPU, one thread."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["ACCELERATE_USE_CPU"] = "true"  # the tests compare exact CPU arithmetic, also where a GPU is present

from pathlib import Path

import pytest
import torch

SHARED = Path(__file__).parents[2] / "shared"
GOLDENS = SHARED / "goldens"


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


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
        config = transformers.AutoConfig.for_model(
            family,
            vocab_size=len(tokenizer),
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=layers,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=8,
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
            bos_token_id=None,
            tie_word_embeddings=False,
            **changes,
        )
        torch.manual_seed(0)
        return transformers.AutoModelForCausalLM.from_config(config)

    return make
