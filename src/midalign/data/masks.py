"""Which token of packed sequences sees which: as a matrix for sdpa and eager attention, as blocks for flex attention.

Legend: R packed sequences, N tokens of each. Three columns of a packed batch, (R, N) int64, say it all: segments,
the piece that a token belongs to; prefixes, the piece that it sees beside its own; positions, which restart with every
row and which a sliding window counts.
"""

import torch
from torch.nn.attention.flex_attention import BlockMask

SIDE = 128  # tokens of a block, as flex attention has it


def visible(segments, prefixes, positions, window=None):
    """The rule: f(sequence, head, query, key) -> whether the query sees the key, for numbers or tensors of them.

    window: tokens that a sliding-window layer sees, None for all.
    """

    def sees(sequence, _, query, key):
        piece = segments[sequence, key]
        own = (piece == segments[sequence, query]) | (piece == prefixes[sequence, query])
        if window is not None:
            own = own & (positions[sequence, query] - positions[sequence, key] < window)
        return (query >= key) & own

    return sees


def dense_mask(segments, prefixes, positions, dtype, window=None):
    """Additive mask for sdpa and eager attention: (R, 1, N, N) of `dtype`, 0 where query (row) may see key (column)."""
    device, (sequences, length) = segments.device, segments.shape
    places = torch.arange(length, device=device)
    sequence = torch.arange(sequences, device=device)[:, None, None]
    seen = visible(segments, prefixes, positions, window)(sequence, None, places[:, None], places)  # (R, N, N)
    mask = torch.zeros(seen.shape, dtype=dtype, device=device)
    return mask.masked_fill_(~seen, torch.finfo(dtype).min)[:, None]


def sparse_mask(segments, prefixes, positions, window=None):
    """The same for flex attention: which blocks of SIDE x SIDE are computed, and the rule for those seen in part.

    A block is judged by the least and the largest number that stands in it: some may be computed for nothing, none is
    left out. So nothing of N x N is made, not even on the way.
    """
    length = segments.size(1)
    (low, high), (first, last), (near, far) = (_ends(column) for column in (segments, prefixes, positions))
    # (R, blocks of queries, blocks of keys)
    keys_low, keys_high = low[:, None], high[:, None]
    own = (low[..., None] <= keys_high) & (keys_low <= high[..., None])
    shared = (first[..., None] <= keys_high) & (keys_low <= last[..., None])
    one = (low == high)[:, None]  # piece in a block of keys
    whole = one & ((low == high)[..., None] & (low[..., None] == keys_low))
    whole |= one & ((first == last)[..., None] & (first[..., None] == keys_low))
    some = (own | shared).tril()
    if window is not None:
        some &= near[..., None] - far[:, None] < window
        whole &= far[..., None] - near[:, None] < window
    whole = (whole & some).tril(-1)
    if length % SIDE:
        whole[:, -1] = False  # has places past the end
    return BlockMask.from_kv_blocks(
        *_listed(some & ~whole),
        *_listed(whole),
        BLOCK_SIZE=SIDE,
        mask_mod=visible(segments, prefixes, positions, window),
        seq_lengths=(length, length),
    )


def _ends(column):
    """Least and largest number in each block: two (R, blocks)."""
    missing = -column.size(1) % SIDE
    filled = torch.cat([column, column[:, -1:].expand(-1, missing)], dim=1).unflatten(1, (-1, SIDE))
    return filled.amin(-1), filled.amax(-1)


def _listed(blocks):
    """(how many blocks of keys each block of queries has, their numbers first): (R, 1, blocks), (R, 1, blocks, blocks).

    blocks: (R, blocks, blocks) bool.
    """
    blocks = blocks[:, None].to(torch.int32)
    return blocks.sum(-1, dtype=torch.int32), blocks.argsort(dim=-1, descending=True, stable=True).to(torch.int32)
