"""What a training step needs of a device's memory, estimated before any weight is read."""

from typing import NamedTuple

import torch
from peft import get_peft_model
from transformers import AutoModelForCausalLM

from midalign.alignment.hidden import decoder_of
from midalign.errors import InputError
from midalign.layers import layers_of
from midalign.models.loading import adapter_of

GIB = 2**30
TILE = 4096, 32768  # tokens and vocabulary that TRL's fused head looks at together
TILES = 7  # more of them that it makes where there is no Triton, of all tokens of a padded batch
OPTIMIZER_BYTES = {"8bit": 2, "adafactor": 4}  # of state for a trained weight; else AdamW's two moments
SHARED = {  # over the processes of an engine; DDP shares nothing
    "zero2": ("gradients and optimizer",),
    "zero3": ("weights", "gradients and optimizer"),
    "fsdp2": ("weights", "gradients and optimizer"),
}


class Load(NamedTuple):
    """The most tokens that one pass of a task half and one chunk of a pair half compute, 0 without one."""

    task: int
    learned: int  # of those of the task half, such as are trained
    pairs: int
    packed: bool  # the task half: its head is given what is trained alone, on a CPU too
    masks: int = 0  # entries of the matrices that say what a token sees, of both


def estimate(config, model, training, load, engine="single", processes=1, device="cuda", diagnosed=False):
    """GiB of a step on one device by what needs it, at the moment when that is most.

    config: the model's.   model: ModelConfig.   training: MidAlignConfig, align_layer and lora_layers being numbers.
    load: Load.   device: its type.   diagnosed: whether the gradient of a pair half is kept beside that of the step.
    engine, processes: who shares out what; the layer that ZeRO-3 and FSDP2 gather for its turn is left out.
    Returns {weights, gradients and optimizer (of what is trained), activations, 16-bit copies (under autocast, of
    float32 weights), LM head}. A joint micro-batch keeps the graphs of both halves until its backward pass, which takes
    the pair half first, the LM head second and the layers below it last.
    Of tensors: what the kernels of attention and of experts take, and what an allocator keeps of what was freed, is
    left out.
    """
    with torch.device("meta"):
        empty = AutoModelForCausalLM.from_config(config)
        if model.use_peft:
            empty = get_peft_model(empty, adapter_of(model, config))
    try:
        decoder = decoder_of(empty)
    except ValueError as error:  # the architecture
        raise InputError(str(error)) from error
    text, highest = config.get_text_config(), max(layers_of(training.align_layer))
    total, trained = _count(empty), _count(empty, trained=True)
    quantised = model.load_in_4bit or model.load_in_8bit
    stored = {True: 0.55}.get(model.load_in_4bit, 1 if model.load_in_8bit else _bytes(model.dtype))
    own = 4 if model.use_peft else _bytes(model.dtype)  # PEFT keeps adapters in float32
    state = state_bytes(training.optim, [(1, own)])
    if engine in SHARED and own < 4:
        state = max(state, 8) + 4  # they keep moments and a copy of the weights in float32
    head = text.vocab_size * text.hidden_size
    embeddings = head * (1 if config.tie_word_embeddings else 2)
    not_quantised = embeddings * (4 - stored) if quantised else 0

    halves = [(load.task, len(decoder.layers)), (load.pairs, highest)]
    joint = training.align_schedule == "joint"
    copied = total - embeddings if stored == 4 and (training.bf16 or training.fp16) else 0
    per_layer = copied // len(decoder.layers)
    if training.activation_checkpointing:  # a layer's copies go with it; autocast keeps those of trained weights
        copies = 2 * (per_layer if model.use_peft else copied)
    else:
        together = [halves] if joint else [[half] for half in halves]
        copies = max(2 * per_layer * sum(depth for tokens, depth in live if tokens) for live in together)

    layers = [_kept_by(layer, text, model, training) for layer in decoder.layers]
    task, pairs = (_kept(tokens, layers[:depth], text, model, training) for tokens, depth in halves)
    gradients, of_head = trained * own, head * 4 if _count(empty.get_output_embeddings(), trained=True) else 0
    lower = own * sum(_count(layer, trained=True) for layer in decoder.layers[:highest]) + of_head
    apart = (lower if joint else gradients) if diagnosed else 0
    # What there is at each moment: gradients, of all trained weights where micro-batches before have left them;
    # activations; what the LM head takes.
    before = gradients if training.gradient_accumulation_steps > 1 else 0
    of_pairs = (of_head if before else lower) if joint and load.pairs else 0
    moments = [
        (before + of_pairs, task[0], _head(load, text, training, device) + of_head),
        (before + of_pairs, sum(task), of_head),
        (gradients, 0, of_head),  # the embeddings' gradient beside that of the head with the same weights
    ]
    if load.pairs:  # a step without a task half starts from gradients of zero
        moments.append((before if joint else gradients, sum(pairs) + (task[0] if joint else 0), 0))
    most, activations, of_head = max(moments, key=sum)
    parts = {
        "weights": (total - trained) * stored + not_quantised + trained * own,
        "gradients and optimizer": most + apart + trained * state,
        "activations": activations + load.masks * _bytes(model.dtype),
        "16-bit copies": copies + (2 * head if copied else 0),
        "LM head": of_head,
    }
    shared = SHARED.get(engine, ())
    return {part: size / GIB / (processes if part in shared else 1) for part, size in parts.items()}


def state_bytes(optimizer, sizes):
    """Bytes that an optimizer keeps.   optimizer: optim.   sizes: of what it trains (numbers, bytes of one)."""
    each = next((size for name, size in OPTIMIZER_BYTES.items() if name in optimizer.value), None)
    return sum(count * (each or 2 * size) for count, size in sizes)


def _count(module, trained=False):
    return sum(weight.numel() for weight in module.parameters() if weight.requires_grad or not trained)


def _head(load, text, training, device):
    """Bytes of the fused LM head's tiles in its backward pass."""
    if device == "cpu":  # in float32, but for the first
        tokens = min(load.learned if load.packed else load.task, TILE[0])
        return 4 * tokens * (TILE[1] + TILES * min(text.vocab_size, TILE[1]))
    return min(load.learned, TILE[0]) * TILE[1] * (2 if training.bf16 or training.fp16 else 4)


def _kept(tokens, layers, text, model, training):
    """Bytes of a half that are kept for its backward pass, and beside them in it.   layers: of `_kept_by`, each."""
    narrow, wide = _widths(model, training)
    at_work = tokens * 2 * (text.hidden_size + text.intermediate_size) * narrow  # gradients inside of a layer
    if not training.activation_checkpointing:
        return tokens * sum(layers), at_work
    # One layer at a time is computed again.
    return tokens * len(layers) * text.hidden_size * wide, tokens * max(layers) + at_work


def _kept_by(layer, text, model, training):
    """Bytes a token that a decoder layer keeps for its backward pass.

    Norms keep what they are given, where they are trained also what they make of it; attention queries, keys, values
    and what comes out; feed-forward what it multiplies. Linear layers that are trained or have an adapter keep what
    they are given, once for those that are given the same, or with dropout, which makes it another, each that and what
    was dropped. Under autocast what norms are given stays as wide as the weights.
    """
    narrow, wide = _widths(model, training)
    heads, groups = text.num_attention_heads, text.num_key_value_heads
    size = text.head_dim if hasattr(text, "head_dim") and text.head_dim else text.hidden_size // heads
    norms, inputs = 0, {}
    for name, module in layer.named_modules():
        parent, _, leaf = name.rpartition(".")
        if type(module).__name__.endswith("Norm"):
            given = {"q_norm": heads, "k_norm": groups}.get(leaf)  # all heads, where it is as wide as one
            width = given * size if given and _count(module) == size else text.hidden_size
            norms += width * (1 + bool(_count(module, trained=True)))
        elif hasattr(module, "lora_A") or (type(module) is torch.nn.Linear and _count(module, trained=True)):
            if ".lora_" in name:  # counted with the layer that it adapts
                continue
            last = leaf in ("o_proj", "down_proj")  # given what the others have made
            key = name if model.use_peft and model.lora_dropout else (parent, last)
            inputs[key] = module.in_features * (2 if model.use_peft and model.lora_dropout else 1)
    keys = groups if groups == 1 else heads  # repeated for the queries of their group, for free where there is one
    attention, feed_forward = 2 * size * (heads + keys), 3 * text.intermediate_size
    return norms * wide + (attention + feed_forward + sum(inputs.values())) * narrow


def _widths(model, training):
    """Bytes of a number inside of a layer, and of a state between layers."""
    half = training.bf16 or training.fp16 or model.dtype in ("bfloat16", "float16")
    narrow = 2 if half else 4
    wide = 4 if model.load_in_4bit or model.load_in_8bit else max(narrow, _bytes(model.dtype))
    return narrow, wide


def _bytes(dtype):
    """Of a weight; unset means as in the checkpoint, for which two is the usual."""
    return torch.finfo(getattr(torch, dtype)).bits // 8 if dtype not in (None, "auto") else 2
