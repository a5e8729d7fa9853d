"""Early exit: run a decoder up to its middle layer and no further. And what every layer writes, in one pass.

Legend: B sentences, T tokens, H hidden width, L decoder layers.
"""

from accelerate.utils import extract_model_from_parallel
from peft import PeftModel
from torch import nn

# Decoders whose final norm does not read what the layer below it wrote, by `model_type` of their configuration.
STREAMS = "it keeps several states of each token and merges them after its last layer"
LOOPS = "it runs some of its layers several times"
NO_EXIT = {
    "deepseek_v4": STREAMS,
    "dory": LOOPS,
    "gemma3n_text": STREAMS,
    "hy_v4": STREAMS,
    "inkling2_loop_text": LOOPS,
    "inkling2_text": "it mixes the states of several layers after its last one",
}
RECORDS = ("output_hidden_states", "output_attentions", "output_router_logits")  # the last is of experts only


def decoder_of(model):
    """The module that owns the embeddings, `layers` and final `norm`, below PEFT, DDP or DeepSpeed wrappers.

    Raises ValueError for an architecture that does not have them (GPT-2 and older designs).
    """
    model = extract_model_from_parallel(model, keep_torch_compile=False)
    if isinstance(model, PeftModel):
        model = model.get_base_model()
    decoder = model.get_decoder()
    if not (hasattr(decoder, "layers") and hasattr(decoder, "norm")):
        raise ValueError(
            f"{type(decoder).__name__} has no `layers` and `norm`; use a decoder built like Llama, "
            "Qwen2, Qwen3, Gemma 3 or Mistral."
        )
    return decoder


def require_early_exit(decoder):
    """Raises ValueError for an architecture whose middle states the early exit cannot give."""
    reason = NO_EXIT.get(decoder.config.model_type)
    if reason:
        raise ValueError(
            f"{type(decoder).__name__} has no early exit: {reason}; use a decoder built like Llama, Qwen3, Gemma 3 "
            "or Mistral."
        )


def middle_states(model, input_ids, attention_mask, layer, position_ids=None):
    """States after the first `layer` decoder layers, never normed; no upper layer and no LM head runs.

    model: a causal LM or its decoder, plain or wrapped by PEFT, DDP or DeepSpeed. The wrapped model itself
        is called, so that the hooks of its wrappers fire; only inside of its decoder the list of layers is shorter.
    input_ids, attention_mask: (B, T) int64; 1 = token, 0 = padding.   layer: 0 (embeddings) .. L, or a list of them.
    With packed sequences attention_mask is what the model takes as a full mask, and position_ids is given.
    Returns (B, T, H) in the model's dtype, for a list one each, in its order. Equal to `hidden_states[layer]` of
    transformers for layer < L; at L transformers applies the final norm, this does not (as in the authors' code).
    Raises ValueError when `layer` is out of range or the architecture has no early exit.
    """
    decoder = decoder_of(model)
    require_early_exit(decoder)
    layers, depth = decoder.layers, len(decoder.layers)
    wanted = layer if isinstance(layer, list) else [layer]
    top = max(wanted)
    if not (min(wanted) >= 0 and top <= depth):
        raise ValueError(f"layer={layer}, but {type(decoder).__name__} has {depth} layers; use 0..{depth}.")

    states = {}

    def shorten(*_):
        # Not before the call: a wrapper looks for all of its layers when it is called for the first time.
        decoder.layers = nn.ModuleList(list(layers)[:top])

    def keep(number):
        def hook(_, args, kwargs):
            # Of the last call: NanoChat norms its embeddings with the same module.
            states[number] = args[0] if args else kwargs["hidden_states"]

        return hook

    def kept(*_):
        return [states.get(number) for number in wanted] if isinstance(layer, list) else states.get(layer)

    called = extract_model_from_parallel(model, keep_torch_compile=False)
    hooks = [
        decoder.register_forward_pre_hook(shorten),
        decoder.norm.register_forward_pre_hook(keep(top), with_kwargs=True),
        *(layers[n].register_forward_pre_hook(keep(n), with_kwargs=True) for n in wanted if n < top),
        # The states are what the forward pass returns: the wrappers look at that to see which parameters took part.
        called.register_forward_hook(kept, prepend=True),
    ]
    if top < depth:
        hooks.append(layers[top].register_forward_pre_hook(_refuse_upper_layer))
    try:
        output = _run(model, decoder, input_ids, attention_mask, position_ids)
    finally:
        decoder.layers = layers
        for hook in hooks:
            hook.remove()
    if top not in states:
        raise ValueError(
            f"{type(decoder).__name__} did not run its `norm`, so it has no early exit; use another model."
        )
    return output


def every_layer(model, input_ids, attention_mask, take, position_ids=None):
    """One pass through all layers: calls take(layer, states) for 0 (embeddings) .. L, in this order.

    states: (B, T, H), what `middle_states` gives at that layer, so the last ones are not normed either. No LM head
    runs, and no state is kept here. Arguments and errors: see `middle_states`.
    """
    decoder = decoder_of(model)
    require_early_exit(decoder)
    depth, order, last = len(decoder.layers), [], None

    def entered(layer):
        def hook(_, args, kwargs):
            order.append(layer)
            take(layer, args[0] if args else kwargs["hidden_states"])

        return hook

    def keep(_, args):
        nonlocal last
        last = args[0]

    hooks = [decoder.norm.register_forward_pre_hook(keep)]
    hooks += [own.register_forward_pre_hook(entered(i), with_kwargs=True) for i, own in enumerate(decoder.layers)]
    try:
        _run(model, decoder, input_ids, attention_mask, position_ids)
    finally:
        for hook in hooks:
            hook.remove()
    if order != list(range(depth)) or last is None:
        raise ValueError(
            f"{type(decoder).__name__} does not run its `layers` once and in order, and then its `norm`, so no state "
            "belongs to one layer; use a decoder built like Llama, Qwen3, Gemma 3 or Mistral."
        )
    take(depth, last)


def _run(model, decoder, input_ids, attention_mask, position_ids):
    """A forward pass without cache, LM head or records of its own.   decoder: of the model."""
    # transformers hooks what its configuration asks for when it is first asked, and would find the lower layers alone.
    off = {name: False for name in RECORDS if getattr(decoder.config, name, False)}
    # A causal LM projects only the positions in `logits_to_keep`: none. A bare decoder has no head to spare.
    bare = extract_model_from_parallel(model, keep_torch_compile=False) is decoder
    no_logits = {} if bare else {"logits_to_keep": input_ids.new_empty(0)}
    return model(
        input_ids=input_ids,
        attention_mask=attention_mask,
        position_ids=position_ids,
        use_cache=False,
        **no_logits,
        **off,
    )


def _refuse_upper_layer(module, args):
    raise ValueError(
        f"{type(module).__name__} ran above the alignment layer: this architecture does not take its layers from "
        "`layers`, so it has no early exit; use a Llama, Qwen, Gemma 3 or Mistral model."
    )
