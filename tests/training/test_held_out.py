"""The evaluation gives one figure, whatever the number of processes."""

import pytest
from accelerate.data_loader import BatchSamplerShard
from datasets import Dataset
from torch.utils.data import BatchSampler, SequentialSampler

from midalign.training.held_out import filled_up


@pytest.mark.parametrize("count", [1, 3, 4, 5, 7, 8, 13])
@pytest.mark.parametrize(("processes", "batch"), [(2, 2), (3, 2), (4, 1)])
def test_every_row_is_seen_once_and_every_process_has_as_many_batches(count, processes, batch):
    rows = Dataset.from_dict({"input_ids": [[7, i] for i in range(count)], "labels": [[-100, i] for i in range(count)]})
    filled = filled_up(rows, processes * batch)
    sampler = BatchSampler(SequentialSampler(filled), batch, drop_last=False)
    shares = [list(BatchSamplerShard(sampler, processes, rank)) for rank in range(processes)]
    trained = [
        label
        for share in shares
        for indices in share
        for index in indices
        for label in filled[index]["labels"]
        if label != -100
    ]
    assert sorted(trained) == list(range(count))
    assert len({len(share) for share in shares}) == 1


def test_rows_that_fill_their_batches_stay_what_they_are():
    rows = Dataset.from_dict({"input_ids": [[1]] * 4, "labels": [[1]] * 4})
    assert filled_up(rows, 4) is rows
