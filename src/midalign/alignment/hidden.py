"""Early exit: run a decoder up to its middle layer and no further.

Legend: B sentences, T tokens, H hidden width, L decoder layers.
"""

from accelerate.utils import extract_model_from_parallel
from peft import PeftModel


def decoder_of(model):
    """The module that owns the embeddings, `layers` and final `norm`, below PEFT, DDP or DeepSpeed wrappers.

    Raises ValueError for an architecture that does not have them (GPT-2 and older designs).
    """
    model = extract_model_from_parallel(model)
    if isinstance(model, PeftModel):
        model = model.get_base_model()
    decoder = model.get_decoder()
    if not (hasattr(decoder, "layers") and hasattr(decoder, "norm")):
        raise ValueError(
            f"{type(decoder).__name__} has no `layers` and `norm`; use a decoder built like Llama, "
            "Qwen2, Qwen3, Gemma 3 or Mistral."
        )
    return decoder


def middle_states(model, input_ids, attention_mask, layer, position_ids=None):
    """States after the first `layer` decoder layers, never normed; no upper layer and no LM head runs.

    model: a causal LM or its decoder, plain or wrapped by PEFT, DDP or DeepSpeed. The wrapped model itself
        is called, so that the hooks of its wrappers fire; only the depth is lowered for the call.
    input_ids, attention_mask: (B, T) int64; 1 = token, 0 = padding.   layer: 0 (embeddings) .. L.
    With packed sequences attention_mask is what the model takes as a full mask, and position_ids is given.
    Returns (B, T, H) in the model's dtype. Equal to `hidden_states[layer]` of transformers for layer < L;
    at L transformers applies the final norm, this does not (as in the authors' code).
    Raises ValueError when `layer` is out of range or the architecture ignores `config.num_hidden_layers`.
    """
    decoder = decoder_of(model)
    depth = len(decoder.layers)
    if not 0 <= layer <= depth:
        raise ValueError(f"layer={layer}, but {type(decoder).__name__} has {depth} layers; use 0..{depth}.")

    captured = []
    called = extract_model_from_parallel(model)
    # The states are what the forward pass returns: the wrappers look at that to see which parameters took part.
    hooks = [
        decoder.norm.register_forward_pre_hook(lambda _, args: captured.append(args[0])),
        called.register_forward_hook(lambda *_: captured[0], prepend=True),
    ]
    if layer < depth:
        hooks.append(decoder.layers[layer].register_forward_pre_hook(_refuse_upper_layer))
    # A causal LM projects only the positions in `logits_to_keep`: none. A bare decoder has no head to spare.
    no_logits = {} if called is decoder else {"logits_to_keep": input_ids.new_empty(0)}
    decoder.config.num_hidden_layers = layer
    try:
        return model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            use_cache=False,
            **no_logits,
        )
    finally:
        decoder.config.num_hidden_layers = depth
        for hook in hooks:
            hook.remove()


def _refuse_upper_layer(module, args):
    raise ValueError(
        f"{type(module).__name__} ran above the alignment layer: this architecture ignores "
        "config.num_hidden_layers, so it has no early exit; use a Llama, Qwen, Gemma 3 or Mistral model."
    )
