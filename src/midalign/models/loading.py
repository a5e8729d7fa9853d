"""Tokenizer, configuration and weights of the model that a recipe names."""

import re
from contextlib import suppress
from copy import deepcopy
from functools import cache
from pathlib import Path

import torch
from accelerate import PartialState
from huggingface_hub import constants
from huggingface_hub.utils import get_session
from peft import prepare_model_for_kbit_training
from transformers import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    PreTrainedModel,
)
from transformers.utils import is_flash_attn_2_available
from trl import get_peft_config, get_quantization_config

from midalign.data.capability import FLEX
from midalign.data.templates import fit
from midalign.errors import InputError
from midalign.models.tiny import tiny_model
from midalign.models.weights import require_finite
from midalign.texts import quoted, shown, squeeze

PATIENCE = 5  # seconds
DEMO = "demo"  # as model_name_or_path: the embedded model
AUTO = "auto"  # as attn_implementation: what is fastest
TOKENS = ("bos_token_id", "eos_token_id", "pad_token_id")
SIZES = ("num_hidden_layers", "hidden_size", "vocab_size")
# What torch, its kernels, the system and C++ say when memory runs out.
FULL = ("t allocate memory", "not allocate memory", "not enough memory", "out of memory", "bad_alloc", "ALLOC_FAILED")
# Parts of a model that also sees or hears, which a text-only load leaves behind.
OTHER_SENSES = re.compile(r"(^|[._])(vision|visual|audio|image|multi_modal|multimodal|mm)([._]|$)")


def model_path(name, cache_dir):
    """`name`, or for `demo` the folder of the embedded model, written in `cache_dir` when it is not there."""
    if name != DEMO:
        return name
    with PartialState().main_process_first():
        return str(tiny_model(cache_dir))


def load_tokenizer(path, revision, system="auto", day=None):
    """The tokenizer of a folder or hub model, its chat template fitted: `data.templates.fit`, also for `system`, `day`.

    Raises InputError when there is none, and for a template that cannot be used.
    """
    tokenizer = plain_tokenizer(path, revision)
    fit(tokenizer, system, day)
    return tokenizer


def plain_tokenizer(path, revision):
    """The tokenizer of a folder or hub model as it is, for plain text. Raises InputError when there is none."""
    return _load(AutoTokenizer, path, revision)


def load_config(path, revision):
    """The configuration of a folder or hub model. Raises InputError, also for one without the sizes of a decoder."""
    config = _load(AutoConfig, path, revision)
    text = config.get_text_config()
    for key in SIZES:
        value = getattr(text, key) if hasattr(text, key) else None
        if type(value) is not int or not 1 <= value < 2**31:
            raise InputError(
                f"model_name_or_path {path} has {key} {quoted(value)} in config.json, where a decoder has a number; "
                "name a causal language model, or mend the file."
            )
    return config


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
    loaded, report = _load(
        AutoModelForCausalLM,
        path,
        model.model_revision,
        dtype=model.dtype if model.dtype in (None, "auto") else getattr(torch, model.dtype),
        attn_implementation=None if attention == AUTO else attention,
        **({"quantization_config": quantization} if quantization else {}),  # None would hide what a checkpoint says
        use_safetensors=True,
        output_loading_info=True,
        ignore_mismatched_sizes=True,  # they are in the report
    )
    _require_complete(path, report)
    if model.use_peft:
        _require_modules(loaded, model)
    require_finite(loaded.named_parameters(), f"model_name_or_path {path}")
    if loaded.generation_config is not None:
        loaded.generation_config = _without_contradictions(loaded.generation_config)
    if not hasattr(loaded.config, "quantization_config"):
        return loaded
    for module in loaded.modules():
        # On CPUs with AVX512 bf16, bitsandbytes 0.50 repacks the weights in the first evaluation, and from then on its
        # 4-bit product has no gradient: the run would go on and train nothing.
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
    return prepare_model_for_kbit_training(loaded, use_gradient_checkpointing=False)


def adapter_of(model, config):
    """The adapter that a recipe asks for: a LoraConfig, None without use_peft.

    model: our ModelConfig, lora_layers being a number or None.   config: the model's.
    """
    adapter = get_peft_config(model)
    if adapter is not None and model.lora_layers is not None:
        upper = "|".join(map(str, range(model.lora_layers, config.get_text_config().num_hidden_layers)))
        adapter.exclude_modules = rf"(.*\.)?layers\.({upper})\..*"  # PEFT takes no layers_to_transform with all-linear
    if adapter is not None and model.model_revision != "main":
        adapter.revision = model.model_revision  # PEFT cannot tell it of a model that is loaded already
    return adapter


def fastest_attention(requested, config, shares, flash, flex=False):
    """(attn_implementation, why) for training.

    requested: the recipe's; any but `auto` (or nothing) is kept, and fails where it cannot be met: another kernel is
    another experiment.   config: the model's.
    shares: whether rows see a shared prefix, which is computed once. That leaves a fraction of the tokens; flash
    attention lets each row see itself alone, and would compute them all.
    flash, flex: whether flash attention, where it is installed, and flex attention could train on this device, in this
    precision; flex also whether rows are so long that it pays.
    """
    if requested not in (None, AUTO):
        return requested, "the recipe asks for it"
    model = MODEL_FOR_CAUSAL_LM_MAPPING.get(type(config), PreTrainedModel)
    masked = "sdpa" if model._supports_sdpa else "eager"
    if model._compatible_flash_implementations is not None:  # attention sinks, which others round or leave out
        return masked, "this model names the few kernels that compute what it needs, and they are none of ours"
    if shares and flex and model._supports_flex_attn:
        return FLEX, "packed rows need a mask, and it passes over what is masked, which pays for long ones"
    if shares:
        return masked, "packed rows need a mask, which flash attention does not take"
    if flash and is_flash_attn_2_available() and model._supports_flash_attn:
        return "flash_attention_2", "rows share no prefix, and it takes them without a mask"
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


def _require_complete(path, report):
    """Refuse a model of which weights were drawn at random, or that left weights of its text part behind.

    report: transformers' loading info. It knows which weights are tied to others, and the buffers in older files.
    """
    missing = sorted(report["missing_keys"])
    wrong = sorted(
        f"{name} {tuple(found)} for {tuple(expected)}" for name, found, expected in report["mismatched_keys"]
    )
    left = sorted(name for name in report["unexpected_keys"] if not OTHER_SENSES.search(name))
    for what, names in (("lacks", missing), ("has of another size", wrong), ("has, with no place in the model,", left)):
        if names:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            raise InputError(
                f"model_name_or_path {path} {what} the weight {shown(names[0], 120)}{more}; its config.json and its "
                "safetensors files are not of one model: download or save it anew."
            )


def _without_contradictions(settings):
    """A GenerationConfig that can be saved.

    transformers loads one that contradicts itself with a warning, and refuses to save it once anything in it has
    changed, as the padding does: after all of the training.
    """
    sampled = deepcopy(settings)
    sampled.do_sample = True  # what a temperature is for
    for mended in (settings, sampled, GenerationConfig(**{key: getattr(settings, key) for key in TOKENS})):
        with suppress(ValueError):
            mended.validate(strict=True)
            return mended
    return settings


def _require_modules(loaded, model):
    """Refuse names of modules that the model has none of: PEFT passes over them without a word."""
    names = {name for name, _ in loaded.named_modules()}
    several = model.lora_target_modules if isinstance(model.lora_target_modules, list) else []  # else PEFT's to check
    for key, wanted in (("lora_target_modules", several), ("lora_modules_to_save", model.lora_modules_to_save or [])):
        for part in wanted:
            if not any(name == part or name.endswith(f".{part}") for name in names):
                own = sorted({name.rsplit(".", 1)[-1] for name in names} - {""})
                raise InputError(f"{key} names {shown(part)}, which the model has not; use any of {', '.join(own)}.")


def is_out_of_memory(error):
    """Whether an error says that memory ran out, on any device and in any package."""
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or any(words in str(error) for words in FULL)


def _load(cls, path, revision, **kwargs):
    if not Path(path).is_dir():
        look_for_hub()
    try:
        return cls.from_pretrained(path, revision=revision, trust_remote_code=False, **kwargs)
    except Exception as error:  # what stands in a file of others decides which
        if is_out_of_memory(error):
            raise
        reason = squeeze(str(error))[:600] or type(error).__name__
        raise InputError(f"model_name_or_path {path} cannot be loaded: {reason}") from error
