"""Tokenizer, configuration and weights of the model that a recipe names."""

from functools import cache
from pathlib import Path

import torch
from accelerate import PartialState
from huggingface_hub import constants
from huggingface_hub.utils import get_session
from peft import prepare_model_for_kbit_training
from safetensors import SafetensorError
from transformers import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
)
from transformers.utils import is_flash_attn_2_available
from trl import get_quantization_config

from midalign.data.templates import fit
from midalign.errors import InputError
from midalign.models.tiny import tiny_model
from midalign.models.weights import require_finite

PATIENCE = 5  # seconds
DEMO = "demo"  # as model_name_or_path: the embedded model
AUTO = "auto"  # as attn_implementation: what is fastest


def model_path(name, cache_dir):
    """`name`, or for `demo` the folder of the embedded model, built in `cache_dir` when it is not there."""
    if name != DEMO:
        return name
    with PartialState().main_process_first():
        return str(tiny_model(cache_dir))


def load_tokenizer(path, revision, system="auto", day=None):
    """The tokenizer of a folder or hub model, its chat template fitted: `data.templates.fit`, also for `system`, `day`.

    Raises InputError when there is none, and for a template that cannot be used.
    """
    tokenizer = _load(AutoTokenizer, path, revision)
    fit(tokenizer, system, day)
    return tokenizer


def load_config(path, revision):
    """The configuration of a folder or hub model. Raises InputError."""
    return _load(AutoConfig, path, revision)


def model_commit(path, revision):
    """The commit that a revision of a hub model is. Raises InputError."""
    return getattr(load_config(path, revision), "_commit_hash", None)


def load_model(path, model, attention=None):
    """The causal LM with its weights.   model: ModelConfig.   Safetensors only. Raises InputError.

    attention: overrides attn_implementation; nothing and `auto` mean sdpa, eager where the architecture has none.

    A quantised one is prepared for training as PEFT recommends: frozen, what is not quantised (norms, embeddings) in
    float32.
    """
    quantization = get_quantization_config(model)
    attention = attention or model.attn_implementation
    loaded = _load(
        AutoModelForCausalLM,
        path,
        model.model_revision,
        dtype=model.dtype if model.dtype in (None, "auto") else getattr(torch, model.dtype),
        attn_implementation=None if attention == AUTO else attention,
        quantization_config=quantization,
        use_safetensors=True,
    )
    require_finite(loaded.named_parameters(), f"model_name_or_path {path}")
    if quantization is None:
        return loaded
    for module in loaded.modules():
        # On CPUs with AVX512 bf16, bitsandbytes 0.50 repacks the weights in the first evaluation, and from then on its
        # 4-bit product has no gradient: the run would go on and train nothing.
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
    return prepare_model_for_kbit_training(loaded, use_gradient_checkpointing=False)


def fastest_attention(requested, config, packs, flash):
    """(attn_implementation, why) for training.

    requested: the recipe's; any but `auto` (or nothing) is kept, and fails where it cannot be met: another kernel is
    another experiment.   config: the model's.
    packs: whether rows can be packed where attention takes a mask. That leaves a fraction of the tokens to compute;
    flash attention takes no mask and computes them all.
    flash: whether flash attention could run on this device and in this precision, where it is installed.
    """
    if requested not in (None, AUTO):
        return requested, "the recipe asks for it"
    model = MODEL_FOR_CAUSAL_LM_MAPPING.get(type(config), PreTrainedModel)
    masked = "sdpa" if model._supports_sdpa else "eager"
    if packs:
        return masked, "packed rows need a mask, which flash attention does not take"
    if flash and is_flash_attn_2_available() and model._supports_flash_attn:
        return "flash_attention_2", "rows cannot be packed, and it is faster on padded ones"
    return masked, "flash attention is not installed, or not for this model, device and precision"


@cache
def look_for_hub():
    """One short look at the hub. Where it does not answer, the process goes on offline: what is cached is found, and
    what is not fails at once instead of after six tries with growing pauses.
    """
    try:
        get_session().head(constants.ENDPOINT, timeout=PATIENCE)
    except Exception:  # a dozen types of two packages, offline mode among them: each means that there is no hub
        constants.HF_HUB_OFFLINE = True


def _load(cls, path, revision, **kwargs):
    if not Path(path).is_dir():
        look_for_hub()
    try:
        return cls.from_pretrained(path, revision=revision, trust_remote_code=False, **kwargs)
    except (OSError, ValueError, ImportError, SafetensorError) as error:  # for a name, a file or a kernel
        reason = " ".join(str(error).split())
        raise InputError(f"model_name_or_path {path} cannot be loaded: {reason}") from error
