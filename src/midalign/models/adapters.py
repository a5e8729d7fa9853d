"""LoRA adapters as tensors: read what PEFT writes, write what PEFT, vLLM and transformers read.

An adapter adds to the weight W of a module, (out, in), the update `scale * B @ A` with A (r, in) and B (out, r). For an
embedding it is the same product, transposed.   Legend: r rank.
"""

import json
import math
import os
import re
from dataclasses import dataclass
from pathlib import Path

import torch
from peft import LoraConfig
from peft.utils.other import get_pattern_key
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from midalign.errors import InputError
from midalign.texts import quoted

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
PREFIX = "base_model.model."
# What wrappers leave in the names of tensors that were saved without PEFT's own `save_pretrained`.
WRAPPERS = re.compile(r"(?:^|(?<=\.))(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module|module)\.")
FACTOR = re.compile(r"(?P<module>.+)\.lora_(?P<embedding>embedding_)?(?P<side>[AB])(?:\.(?!weight$)\w+)?(?:\.weight)?")
COPY = re.compile(r"(?P<module>(?:.+\.)?(?:embed_tokens|lm_head|wte|embed_in|embed_out))(?:\.base_layer)?\.weight")
# Keys of adapter_config.json that say nothing about the update, or that the update below takes into account.
UNDERSTOOD = frozenset(
    """
    peft_type peft_version auto_mapping base_model_name_or_path revision task_type inference_mode r lora_alpha
    use_rslora rank_pattern alpha_pattern fan_in_fan_out lora_dropout target_modules exclude_modules
    layers_to_transform layers_pattern megatron_core eva_config runtime_config init_lora_weights qalora_group_size
    """.split()
)
REFUSED = {
    "use_dora": "DoRA's update is no sum: it rescales the whole weight",
    "modules_to_save": "it holds whole weights beside LoRA",
    "bias": "it holds trained biases",
    "lora_bias": "it holds trained biases",
    "layer_replication": "its layers are not those of the base model",
    "alora_invocation_tokens": "it is active for some tokens only",
    "trainable_token_indices": "it holds whole embeddings of some tokens",
    "target_parameters": "it changes parameters of experts, not modules",
}
TYPES = {
    "base_model_name_or_path": (str, type(None)),
    "r": (int,),
    "lora_alpha": (int, float),
    "rank_pattern": (dict, type(None)),
    "alpha_pattern": (dict, type(None)),
    "use_rslora": (bool, type(None)),
}
# These inits take a part out of the base weights, and the adapter belongs to what is left of them.
CHANGES_BASE = ("pissa", "olora", "loftq", "corda", "lora_ga")
VLLM_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
VLLM_DEFAULT_RANK = 16


@dataclass(frozen=True)
class Adapter:
    """The updates of one LoRA adapter.

    updates: {module path in the base model: (A, B, scale)}.   embeddings: the paths that are embeddings.
    copies: {module path: weight}, the base model's own, which PEFT saves along where an adapter touches embeddings.
    base: name or folder of the model it was trained on.   revision: of it, or None.
    """

    folder: Path
    base: str
    revision: str | None
    fan_in_fan_out: bool
    updates: dict
    embeddings: frozenset
    copies: dict


def read_adapter(folder):
    """The LoRA adapter of a PEFT folder, whoever trained it.   Safetensors only.

    Raises InputError for one that cannot be read, is not LoRA, or whose update is not `scale * B @ A` alone.
    """
    folder = Path(folder)
    config = _config(folder)
    try:
        tensors = load_file(folder / WEIGHTS)
    except (OSError, SafetensorError) as error:
        raise InputError(
            f"{folder / WEIGHTS} cannot be read ({error}); only safetensors are loaded: save the adapter as such."
        ) from error
    factors, embeddings, copies = {}, set(), {}
    for key, tensor in tensors.items():
        name = WRAPPERS.sub("", key).removeprefix(PREFIX)
        copy, found = COPY.fullmatch(name), FACTOR.fullmatch(name)
        if copy:
            copies[copy["module"]] = tensor
            continue
        if not found or tensor.dim() != 2 or not tensor.is_floating_point():
            raise InputError(f"{folder} holds {key}, which is no factor of a LoRA update; only LoRA can be merged.")
        if found["side"] in factors.setdefault(found["module"], {}):
            raise InputError(f"{folder} holds two updates for {found['module']}; keep one adapter in a folder.")
        factors[found["module"]][found["side"]] = tensor.float() if tensor.itemsize < 2 else tensor
        if found["embedding"]:
            embeddings.add(found["module"])
    if not factors:
        raise InputError(f"{folder / WEIGHTS} holds no LoRA tensors; name a trained adapter.")
    updates = {module: _update(folder, config, module, sides) for module, sides in sorted(factors.items())}
    return Adapter(
        folder,
        config["base_model_name_or_path"],
        config.get("revision"),
        bool(config.get("fan_in_fan_out")),
        updates,
        frozenset(embeddings),
        copies,
    )


def base_of(named, folder):
    """The model below the adapter of a folder, from the path or hub name that PEFT wrote down.

    A relative path began where training did: here, or at the adapter's folder or one above it. Raises InputError.
    """
    starts = (Path(), folder.resolve(), *folder.resolve().parents)
    found = next((start / named for start in starts if os.path.isdir(start / named)), None)
    if found is None and (named.startswith(".") or Path(named).is_absolute() or named.count("/") > 1):  # no hub name
        raise InputError(
            f"{folder / CONFIG} has base_model_name_or_path {named}, which is no folder, neither from here nor from "
            f"{folder} or above it; write there where the base model is."
        )
    return named if found is None else str(found)


def _config(folder):
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        kind, base = config["peft_type"], config["base_model_name_or_path"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(f"{folder / CONFIG} is not what PEFT writes; name the folder of an adapter.") from error
    for key, kinds in TYPES.items():
        value = config.get(key)
        if not (value is None and type(None) in kinds) and type(value) not in kinds:
            raise InputError(f"{folder / CONFIG} has {key} {quoted(value)}, which PEFT does not write; mend it.")
    if kind != "LORA":
        raise InputError(f"{folder} is a {kind} adapter; only LoRA can be merged.")
    if not base:
        raise InputError(f"{folder / CONFIG} has no base_model_name_or_path; write the base model there.")
    if str(config.get("init_lora_weights", "")).startswith(CHANGES_BASE):
        raise InputError(
            f"{folder} was started by {config['init_lora_weights']}, which changes the base weights; save it with "
            "PEFT's path_initial_model_for_weight_conversion first."
        )
    usual = LoraConfig().to_dict()
    for key, value in config.items():
        if key in UNDERSTOOD or not value or value == usual.get(key):
            continue
        reason = REFUSED.get(key, "we do not know what that does to the update")
        raise InputError(f"{folder} cannot be merged, {key} is {value!r}: {reason}.")
    return config


def _update(folder, config, module, sides):
    """(A, B, scale) of one module, scale as PEFT computes it."""
    if len(sides) < 2:
        raise InputError(f"{folder} holds half an update for {module}; save the adapter anew.")
    down, up = sides["A"], sides["B"]
    rank = _of_module(folder, config, "rank_pattern", "r", module)
    if not (down.shape[0] == up.shape[1] == rank):
        raise InputError(
            f"{folder}: {module} has rank {down.shape[0]} and {up.shape[1]}, but {CONFIG} says {rank}; save it anew."
        )
    if not (torch.isfinite(down).all() and torch.isfinite(up).all()):
        raise InputError(f"{folder}: {module} has weights that are not finite; train it anew.")
    alpha = _of_module(folder, config, "alpha_pattern", "lora_alpha", module)
    return down, up, alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)


def _of_module(folder, config, pattern, key, module):
    """A module's rank or alpha: of the pattern that fits its name, else of the configuration."""
    values = config.get(pattern) or {}
    try:
        value = values.get(get_pattern_key(values.keys(), module), config[key])
    except re.error as error:
        raise InputError(f"{folder / CONFIG} has a {pattern} that is no regular expression: {error}.") from error
    if type(value) not in (int, float) or not math.isfinite(value):
        raise InputError(f"{folder / CONFIG} has {quoted(value)} in {pattern}; it must be a number.")
    return value


def write_adapter(folder, factors, task, align, base, revision, depth):
    """A plain PEFT folder of one rank whose scale is 1.   Returns the rank.

    factors: {module: (A, B)}; those of a lower rank are filled up with zeros, since servers take one rank for all.
    task, align: the Adapters that the modules are from.   base, revision: name or folder of the base model.
    depth: its layers, None where it has others that see or hear.
    """
    rank = max(down.shape[0] for down, _ in factors.values())
    tensors = {}
    for module, (down, up) in factors.items():
        more = rank - down.shape[0]
        kind, end = ("embedding_", "") if module in task.embeddings | align.embeddings else ("", ".weight")
        for side, tensor, rows in (("A", down, (0, 0, 0, more)), ("B", up, (0, more))):
            tensors[f"{PREFIX}{module}.lora_{kind}{side}{end}"] = torch.nn.functional.pad(tensor, rows).contiguous()
    config = LoraConfig(
        r=rank,
        lora_alpha=rank,
        target_modules=_targets(factors, depth),
        fan_in_fan_out=task.fan_in_fan_out,
        task_type="CAUSAL_LM",
        base_model_name_or_path=base,
        revision=revision,
        inference_mode=True,
    )
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    config.save_pretrained(folder)
    return rank


def _targets(modules, depth):
    """Names of the modules as short as they may be: `q_proj` where every layer has it, else whole paths."""
    layers = {}
    for module in modules:
        layers.setdefault(module.rpartition(".")[2], set()).add(layer_of(module))
    everywhere = depth and all(of_one == set(range(depth)) for of_one in layers.values())
    return sorted(layers) if everywhere else sorted(modules)


def layer_of(module):
    """The number of the decoder layer that a module path is in, None outside of the layers."""
    found = re.search(r"(?:^|\.)(?:layers|h)\.(\d+)\.", module)
    return int(found[1]) if found else None


def server_notes(folder):
    """Sentences about what servers (vLLM's documentation of LoRA adapters) refuse in the adapter of a folder."""
    config = json.loads((Path(folder) / CONFIG).read_text(encoding="utf-8"))
    names = list(load_file(Path(folder) / WEIGHTS))
    if config["peft_type"] != "LORA":
        return [f"{config['peft_type']}: servers take LoRA alone; export instead"]
    rank = max([config["r"], *(config.get("rank_pattern") or {}).values()])
    notes = []
    if rank > max(VLLM_RANKS):
        notes.append(f"rank {rank}: vLLM serves at most {max(VLLM_RANKS)}; merge with --rank, or export")
    elif rank > VLLM_DEFAULT_RANK:
        least = next(allowed for allowed in VLLM_RANKS if allowed >= rank)
        notes.append(f"rank {rank}: start vLLM with --max-lora-rank {least}")
    if config.get("rank_pattern") or config.get("alpha_pattern"):
        notes.append("rank_pattern or alpha_pattern: vLLM takes one rank and one alpha for all modules; export instead")
    if config.get("use_dora"):
        notes.append("DoRA: vLLM does not serve it; export instead")
    if config.get("modules_to_save") or any("lora_" not in name for name in names):
        notes.append("whole weights beside LoRA: vLLM does not serve them; export instead")
    if any("lm_head" in name or "embed_tokens" in name for name in names):
        notes.append("lm_head or embed_tokens: not every server takes LoRA there; export instead")
    touched = {layer_of(name) for name in names} - {None}
    if touched and touched != set(range(max(touched) + 1)):
        notes.append("layers without an update between others: fine for PEFT and vLLM, not for every converter")
    return notes
