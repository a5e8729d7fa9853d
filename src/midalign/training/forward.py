"""The pair half's way through a model, and the mask that lets packed sequences through it."""

import torch
from torch.utils.checkpoint import checkpoint

from midalign.alignment import losses
from midalign.alignment.hidden import decoder_of, middle_states
from midalign.data import packing


def block_mask(model, segments, prefixes):
    """The attention mask of packed sequences as this model takes it.   segments, prefixes: (R, N)."""
    decoder = decoder_of(model)
    mask = packing.block_mask(segments, prefixes, decoder.dtype)
    layer_types = getattr(decoder.config, "layer_types", None) or ["full_attention"]
    # Rows fit the window (checked at the start): the same mask for all layers.
    return dict.fromkeys(layer_types, mask) if "sliding_attention" in layer_types else mask


def pooled_pairs(model, chunks, layer, pooling, skip_first):
    """Both sides of all chunks of `collate_pairs`, pooled at `layer`: two (B, H) float32, of a list (B, layers, H).

    model: bare where there are several chunks; a wrapper's forward must not run again inside the backward pass.
    pooling, skip_first: as align_pooling and align_pool_skip_first.
    Of several chunks only inputs and pooled states are kept; the backward pass computes each again, with the same
    dropout, and lets it go (GradCache, arXiv 2101.06983, by way of activation checkpointing).
    """

    def pool(chunk):
        return _pool_chunk(model, chunk, layer, pooling, skip_first)

    if len(chunks) == 1:
        pooled = [pool(chunks[0])]
    else:
        pooled = [checkpoint(pool, chunk, use_reentrant=False) for chunk in chunks]
    sides = zip(*(both.chunk(2) for both in pooled), strict=True)
    source, target = (torch.cat(side) for side in sides)
    return source, target


def _pool_chunk(model, chunk, layer, pooling, skip_first):
    """(2b, H) or (2b, layers, H) float32, the sources above the targets."""
    if "pooled" in chunk:  # the attention sink is the first token of the prompt, which is none of theirs
        mask = chunk["pooled"]  # (2b, T)
    else:
        mask = chunk["attention_mask"]
        mask = losses.without_first_token(mask) if skip_first else mask
    states, pool = states_of(model, chunk, layer), losses.POOLINGS[pooling]
    return torch.stack([pool(own, mask) for own in states], dim=1) if isinstance(layer, list) else pool(states, mask)


def states_of(model, chunk, layer):
    """(sentences, T, H) at `layer`, of a list one each; behind a shared prefix of pooled tokens alone.

    chunk: of `collate_pairs`.
    """
    if "segments" not in chunk:
        return middle_states(model, chunk["input_ids"], chunk["attention_mask"], layer)
    blocks = block_mask(model, chunk["segments"], chunk["prefixes"])
    states = middle_states(model, chunk["input_ids"], blocks, layer, chunk["position_ids"])
    if isinstance(layer, list):
        return [packing.unpack(own, chunk["places"]) for own in states]
    return packing.unpack(states, chunk["places"])
