"""What a token of a packed sequence sees, as a matrix and as blocks."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from midalign.data import masks
from midalign.data.masks import dense_mask, sparse_mask
from midalign.data.packing import pack_sentences, pack_task


def seen(segments, prefixes, positions, window=None):
    return (dense_mask(segments, prefixes, positions, torch.float32, window) == 0)[:, 0].int()


def test_a_token_sees_its_row_and_the_prefix_of_its_row_only():
    segments = torch.tensor([[0, 1, 1, 2, 3, 4]])  # two prefixes, 0 and 3
    prefixes = torch.tensor([[0, 0, 0, 0, 3, 3]])
    positions = torch.tensor([[0, 1, 2, 1, 0, 1]])
    assert seen(segments, prefixes, positions)[0].tolist() == [
        [1, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0],
        [1, 1, 1, 0, 0, 0],
        [1, 0, 0, 1, 0, 0],
        [0, 0, 0, 0, 1, 0],
        [0, 0, 0, 0, 1, 1],
    ]


def test_a_window_counts_the_positions_of_a_row_wherever_its_tokens_lie():
    segments = torch.tensor([[0, 0, 1, 1, 2]])  # the last token is the third of its row
    prefixes = torch.zeros(1, 5, dtype=torch.int64)
    positions = torch.tensor([[0, 1, 2, 3, 2]])
    assert seen(segments, prefixes, positions, window=2)[0].tolist() == [
        [1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0],
        [0, 1, 1, 0, 0],
        [0, 0, 1, 1, 0],
        [0, 1, 0, 0, 1],
    ]


def matrix_of(mask):
    """What flex attention would compute with a BlockMask: (R, N, N)."""
    (length, _), side = mask.seq_lengths, mask.BLOCK_SIZE[0]
    found = torch.zeros(mask.shape[0], length, length, dtype=torch.int32)
    for kind, numbers, counts in (
        ("part", mask.kv_indices, mask.kv_num_blocks),
        ("whole", mask.full_kv_indices, mask.full_kv_num_blocks),
    ):
        for sequence in range(len(found)):
            for block, count in enumerate(counts[sequence, 0].tolist()):
                for other in numbers[sequence, 0, block, :count].tolist():
                    query = torch.arange(block * side, min(length, (block + 1) * side))[:, None]
                    key = torch.arange(other * side, min(length, (other + 1) * side))
                    assert not found[sequence, query, key].any()  # nothing is computed twice
                    found[sequence, query, key] = mask.mask_mod(sequence, 0, query, key).int() if kind == "part" else 1
    return found


IDS = st.lists(st.integers(1, 5), min_size=1, max_size=9)


@given(
    rows=st.lists(st.tuples(st.integers(0, 2), IDS), min_size=1, max_size=8),
    prefixes=st.lists(st.lists(st.integers(1, 5), max_size=9), min_size=1, max_size=3),
    window=st.one_of(st.none(), st.integers(1, 12)),
    several=st.booleans(),
)
def test_the_blocks_hold_what_the_matrix_holds(rows, prefixes, window, several):
    texts = [[*prefixes[which % len(prefixes)], *own] for which, own in rows]
    task = [{"input_ids": ids, "labels": [-100] * (len(ids) - 1) + ids[-1:]} for ids in texts]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(masks, "SIDE", 4)
        patch.setattr("midalign.data.packing.LEAST", 12)
        for packed in (pack_task(task, 1 if several else None), pack_sentences(texts)):
            columns = [packed[name] for name in ("segments", "prefixes", "position_ids")]
            assert torch.equal(matrix_of(sparse_mask(*columns, window)), seen(*columns, window))


def test_blocks_that_nobody_sees_are_left_out_and_those_seen_whole_need_no_rule():
    segments = torch.tensor([[0] * 256 + [1] * 256])  # two rows of two blocks
    mask = sparse_mask(segments, segments, torch.arange(512)[None] % 256)
    assert mask.kv_num_blocks.tolist() == [[[1, 1, 1, 1]]]  # the diagonal
    assert mask.full_kv_num_blocks.tolist() == [[[0, 1, 0, 1]]]
    assert mask.full_kv_indices[0, 0, [1, 3], 0].tolist() == [0, 2]
    short = sparse_mask(segments[:, :200], segments[:, :200], torch.arange(200)[None])
    assert short.full_kv_num_blocks.tolist() == [[[0, 0]]]  # the last block has places past the end


def test_nothing_of_n_by_n_is_made_for_flex_attention_and_no_gpu_is_waited_for():
    class Watch(TorchDispatchMode):
        largest, called = 0, set()

        def __torch_dispatch__(self, function, types, arguments=(), kwargs=None):
            result = function(*arguments, **(kwargs or {}))
            self.called.add(function.overloadpacket)
            for tensor in result if isinstance(result, (tuple, list)) else [result]:
                if isinstance(tensor, torch.Tensor):
                    self.largest = max(self.largest, tensor.numel())
            return result

    segments = torch.arange(16384)[None] // 500
    with Watch() as watch:
        sparse_mask(segments, segments, torch.arange(16384)[None] % 500, window=64)
    assert watch.largest <= 2 * 16384  # and blocks: 128 x 128
    assert not watch.called & {torch.ops.aten._local_scalar_dense, torch.ops.aten.nonzero}
