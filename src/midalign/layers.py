"""Which layers `align_layer` means: one or several, by number or as a part of the model's depth."""

import math

from midalign.errors import InputError


def layers_of(layer):
    """A layer, or a list of them, as a list."""
    return layer if isinstance(layer, list) else [layer]


def resolve_layer(align_layer, depth=None):
    """The layer number that `align_layer` means in a model of `depth` layers; of a list the numbers, in order.

    A number from 1 counts layers, one below 1 is a fraction of the depth: 0.5 of 32 layers is 16.
    Without a depth only the form is checked. Raises InputError outside 1..depth-1: state 0 is the bare
    embeddings, and the last state is what the LM head reads; and for a list that names a layer twice.
    """
    if isinstance(align_layer, list):
        if not align_layer:
            raise InputError("align_layer is an empty list; name a layer.")
        layers = [resolve_layer(one, depth) for one in align_layer]
        if len(set(align_layer if depth is None else layers)) < len(layers):
            found = ", ".join(f"{one:g}" for one in align_layer)
            raise InputError(f"align_layer={found} names a layer twice; name each once.")
        return None if depth is None else sorted(layers)
    if not (math.isfinite(align_layer) and align_layer > 0) or (align_layer >= 1 and align_layer != int(align_layer)):
        raise InputError(f"align_layer={align_layer:g}; set it to a layer number or a fraction below 1.")
    if depth is None:
        return None
    layer = int(align_layer) if align_layer >= 1 else round(align_layer * depth)
    if not 1 <= layer <= depth - 1:
        raise InputError(
            f"align_layer={align_layer:g} is layer {layer}, but the model has {depth} layers; "
            f"set it to 1..{depth - 1} or a fraction below 1."
        )
    return layer


def resolve_lora_layers(lora_layers, align_layer, depth):
    """How many decoder layers, from the first, get an adapter; None for all.

    lora_layers: a number, `align` for all up to the highest layer in align_layer, or None.   align_layer: resolved.
    Raises InputError outside 1..depth-1.
    """
    if lora_layers is None:
        return None
    layers = max(layers_of(align_layer)) if lora_layers == "align" else int(lora_layers)
    if not 1 <= layers <= depth - 1:
        raise InputError(
            f"lora_layers={layers}, but the model has {depth} layers; set it to 1..{depth - 1} or align, or delete it."
        )
    return layers
