"""The pair half's way through a model, and the mask that lets packed sequences through it."""

import contextlib
from functools import partial

import torch
from torch.utils.checkpoint import checkpoint

from midalign.alignment import losses
from midalign.alignment.hidden import decoder_of, middle_states
from midalign.data import masks, packing
from midalign.data.capability import ENDS, FLEX, SLIDING, Capability


def block_mask(model, segments, prefixes, positions):
    """The attention mask of packed sequences as this model takes it.   segments, prefixes, positions: (R, N)."""
    decoder = decoder_of(model)
    columns, found = (segments, prefixes, positions), Capability.of(decoder.config)
    sparse = found.attention == FLEX
    make = partial(masks.sparse_mask, *columns) if sparse else partial(masks.dense_mask, *columns, decoder.dtype)
    if found.window is None or segments.size(1) <= found.window:  # no row is longer than what holds it
        made = dict.fromkeys(found.kinds, make())
    else:
        made = {kind: make(window=found.window if kind == SLIDING else None) for kind in found.kinds}
    # A model that does not name the kinds of its layers has one, and takes its mask.
    named = SLIDING in (getattr(decoder.config, "layer_types", None) or [])
    return made if named else made[min(found.kinds)]


@contextlib.contextmanager
def only_states(decoder, places):
    """Within, the decoder gives its last states at `places` alone, so that a head scores what has a label and no more.

    decoder: of `decoder_of`.   places: (K,) int64, of the R x N tokens; the states are (1, K, H).
    TRL's fused head does so on CUDA and XPU; elsewhere it scores every position, half of a step of a large vocabulary.
    """

    def pick(_, __, output):
        output.last_hidden_state = output.last_hidden_state.flatten(0, 1)[places][None]
        return output

    hook = decoder.register_forward_hook(pick)
    try:
        yield
    finally:
        hook.remove()


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
    ids, mask, places = inputs_of(model, chunk)
    states = middle_states(model, ids, mask, layer, places)
    if "places" not in chunk:
        return states
    if isinstance(layer, list):
        return [packing.unpack(own, chunk["places"]) for own in states]
    return packing.unpack(states, chunk["places"])


def inputs_of(model, chunk):
    """(input_ids, the mask that this model takes, position_ids or None) of a chunk of `collate_pairs`."""
    if "segments" not in chunk:
        return chunk["input_ids"], chunk["attention_mask"], None
    places = chunk["position_ids"]
    if Capability.of(decoder_of(model).config).attention in ENDS:  # sees by itself where positions restart
        return chunk["input_ids"].view(1, -1), None, places.view(1, -1)
    return chunk["input_ids"], block_mask(model, chunk["segments"], chunk["prefixes"], places), places
