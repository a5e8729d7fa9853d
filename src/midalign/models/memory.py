"""What a training step needs of a GPU's memory, estimated before any weight is read."""

import torch
from peft import get_peft_model
from transformers import AutoModelForCausalLM

from midalign.layers import layers_of
from midalign.models.loading import adapter_of

GIB = 2**30
MARGIN = 0.3  # what kernels hold for a moment, of the larger half: from the peaks of task rows in recipes/speed.md
TILE = 4096, 32768  # tokens and vocabulary that TRL's fused head looks at together
OPTIMIZER_BYTES = {"8bit": 2, "adafactor": 4}  # of state for a trained weight; else AdamW's two moments


SHARED = {  # over the processes of an engine; DDP shares nothing
    "zero2": ("gradients and optimizer",),
    "zero3": ("weights", "gradients and optimizer"),
    "fsdp2": ("weights", "gradients and optimizer"),
}


def estimate(config, model, training, task, pairs, engine="single", processes=1):
    """GiB of a step on one GPU by what needs it.

    config: the model's.   model: ModelConfig.   training: MidAlignConfig, align_layer and lora_layers being numbers.
    task, pairs: tokens that one pass of a task half and one chunk of a pair half compute, 0 without one.
    engine, processes: who shares out what; the layer that ZeRO-3 and FSDP2 gather for its turn is left out.
    Returns {weights, gradients and optimizer (of what is trained), activations, 16-bit copies (under autocast, of
    float32 weights), LM head}. A joint micro-batch keeps the graphs of both halves until its backward pass.
    Rough: 0.8 and 1.0 of the two peaks of task rows in recipes/speed.md; 1.2 to 1.5 of joint steps of a random model
    of 12 layers, but 0.5 with activation checkpointing, all on a CPU, where the LM head takes more.
    """
    with torch.device("meta"):
        empty = AutoModelForCausalLM.from_config(config)
        if model.use_peft:
            empty = get_peft_model(empty, adapter_of(model, config))
    total = sum(parameter.numel() for parameter in empty.parameters())
    trained = sum(parameter.numel() for parameter in empty.parameters() if parameter.requires_grad)
    text = config.get_text_config()
    quantised = model.load_in_4bit or model.load_in_8bit
    stored = {True: 0.55}.get(model.load_in_4bit, 1 if model.load_in_8bit else _bytes(model.dtype))
    own = 4 if model.use_peft else _bytes(model.dtype)  # PEFT keeps adapters in float32
    optimizer = training.optim.value
    state = next((size for name, size in OPTIMIZER_BYTES.items() if name in optimizer), 2 * own)
    if engine in SHARED and own < 4:
        state = max(state, 8) + 4  # they keep moments and a copy of the weights in float32
    head = text.vocab_size * text.hidden_size
    embeddings = head * (1 if config.tie_word_embeddings else 2)
    not_quantised = embeddings * (4 - stored) if quantised else 0

    halves = [(task, text.num_hidden_layers), (pairs, max(layers_of(training.align_layer)))]
    together = [halves] if training.align_schedule == "joint" else [[half] for half in halves]
    copied = total - embeddings if stored == 4 and (training.bf16 or training.fp16) else 0
    per_layer = copied // text.num_hidden_layers
    if training.activation_checkpointing:  # a layer's copies go with it; autocast keeps those of trained weights
        copies = 2 * (per_layer if model.use_peft else copied)
    else:
        copies = max(2 * per_layer * sum(depth for tokens, depth in live if tokens) for live in together)
    parts = {
        "weights": (total - trained) * stored + not_quantised + trained * own,
        "gradients and optimizer": trained * (own + state),
        "activations": max(_kept(live, text, model, training) for live in together)
        + MARGIN * max(_kept([half], text, model, training) for half in halves),
        "16-bit copies": copies + (2 * head if copied else 0),
        "LM head": min(task, TILE[0]) * min(text.vocab_size, TILE[1]) * 4 * 2,
    }
    shared = SHARED.get(engine, ())
    return {part: size / GIB / (processes if part in shared else 1) for part, size in parts.items()}


def _kept(halves, text, model, training):
    """Bytes that are kept for the backward pass of halves, (tokens, layers) each, whose graphs live at the same time.

    Counted from the decoder's widths: what attention and feed-forward keep, and LoRA's copies of its inputs under
    dropout. Under autocast the states between layers and their norms stay as wide as the weights.
    """
    half = training.bf16 or training.fp16 or model.dtype in ("bfloat16", "float16")
    narrow = 2 if half else 4
    wide = 4 if model.load_in_4bit or model.load_in_8bit else max(narrow, _bytes(model.dtype))
    layer = 8 * text.hidden_size * wide + 4 * text.intermediate_size * narrow
    if model.use_peft and model.lora_dropout:
        layer += 2 * (6 * text.hidden_size + text.intermediate_size) * narrow
    if not training.activation_checkpointing:
        return sum(tokens * depth * layer for tokens, depth in halves)
    states = sum(tokens * depth * text.hidden_size * wide for tokens, depth in halves)
    return states + max(tokens for tokens, _ in halves) * layer  # one layer at a time is computed again


def _bytes(dtype):
    """Of a weight; unset means as in the checkpoint, for which two is the usual."""
    return torch.finfo(getattr(torch, dtype)).bits // 8 if dtype not in (None, "auto") else 2
