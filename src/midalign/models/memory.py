"""What a training step needs of a GPU's memory, estimated before any weight is read."""

import torch
from peft import get_peft_model
from transformers import AutoModelForCausalLM
from trl import get_peft_config

GIB = 2**30
MARGIN = 1.3  # what kernels hold for a moment, from those peaks
OPTIMIZER_BYTES = {"8bit": 2, "adafactor": 4}  # of state for a trained weight; else AdamW's two moments


SHARED = {  # over the processes of an engine; DDP shares nothing
    "zero2": ("gradients and optimizer",),
    "zero3": ("weights", "gradients and optimizer"),
    "fsdp2": ("weights", "gradients and optimizer"),
}


def estimate(config, model, training, tokens, engine="single", processes=1):
    """GiB of a step on one GPU by what needs it: weights, trained (gradients and optimizer), activations, head.

    config: the model's.   model: ModelConfig.   tokens: that the larger half of a micro-batch computes.
    engine, processes: who shares out what; the layer that ZeRO-3 and FSDP2 gather for its turn is left out.
    Activations are counted from the decoder's widths: what attention and feed-forward keep for the backward pass, and
    LoRA's copies of its inputs under dropout. Rough: 0.9 and 1.0 of the two peaks of task rows in recipes/README.md.
    """
    with torch.device("meta"):
        empty = AutoModelForCausalLM.from_config(config)
        if model.use_peft:
            empty = get_peft_model(empty, get_peft_config(model))
    total = sum(parameter.numel() for parameter in empty.parameters())
    trained = sum(parameter.numel() for parameter in empty.parameters() if parameter.requires_grad)
    text = config.get_text_config()
    number = 2 if training.bf16 or training.fp16 or model.dtype in ("bfloat16", "float16") else 4
    stored = {True: 0.55}.get(model.load_in_4bit, 1 if model.load_in_8bit else _bytes(model.dtype))
    own = 4 if model.use_peft else _bytes(model.dtype)  # PEFT keeps adapters in float32
    state = next((size for name, size in OPTIMIZER_BYTES.items() if name in str(training.optim)), 2 * own)
    if engine in SHARED and own < 4:
        state = max(state, 8) + 4  # they keep moments and a copy of the weights in float32
    embeddings = text.vocab_size * text.hidden_size * (1 if config.tie_word_embeddings else 2)
    not_quantised = embeddings * (4 - stored) if model.load_in_4bit or model.load_in_8bit else 0

    layer = 8 * text.hidden_size + 4 * text.intermediate_size
    if model.use_peft and model.lora_dropout:
        layer += 2 * (6 * text.hidden_size + text.intermediate_size)
    layers = text.num_hidden_layers
    kept = layer + layers * text.hidden_size if training.activation_checkpointing else layers * layer
    parts = {
        "weights": ((total - trained) * stored + not_quantised + trained * own) / GIB,
        "gradients and optimizer": trained * (own + state) / GIB,
        "activations": MARGIN * tokens * kept * number / GIB,
        "LM head": min(tokens, 4096) * text.vocab_size * 4 * 2 / GIB,
    }
    return {part: size / (processes if part in SHARED.get(engine, ()) else 1) for part, size in parts.items()}


def _bytes(dtype):
    """Of a weight; unset means as in the checkpoint, for which two is the usual."""
    return torch.finfo(getattr(torch, dtype)).bits // 8 if dtype not in (None, "auto") else 2
