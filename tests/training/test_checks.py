"""What rows and a recipe must fulfil before they train together."""

from types import SimpleNamespace

import pytest
from datasets import Dataset

from midalign.data.given import as_rows
from midalign.errors import InputError
from midalign.training.checks import check_pairs, check_task_tokens, longest_row, longest_sentence


def test_a_row_longer_than_a_pass_is_refused():
    check_task_tokens(17, 17)
    with pytest.raises(InputError, match="task_tokens_per_batch is 16, but a row has 17 tokens"):
        check_task_tokens(16, 17)


def test_the_longest_row_and_sentence_of_all_sets_count():
    rows = [Dataset.from_dict({"input_ids": ids}) for ids in ([[1], [1, 2]], [[1, 2, 3]])]
    assert longest_row(rows[0], None, rows[1]) == 3
    assert longest_row(None) == longest_sentence(as_rows([])) == 0
    pairs = [{"source": [1], "target": [1, 2]}, {"source": [1, 2, 3], "target": []}]
    assert longest_sentence(as_rows(pairs)) == longest_sentence(as_rows(pairs[:1]), as_rows(pairs[1:])) == 3


@pytest.mark.parametrize("metric", ["align", "retrieval_at_1", "eval_align", "retrieval_at_1_de"])
def test_a_metric_of_pairs_needs_held_out_pairs(metric):
    args = SimpleNamespace(align_schedule="sft", align_pooling="mean", metric_for_best_model=metric)
    with pytest.raises(InputError, match="held-out pairs"):
        check_pairs(args, as_rows([]), as_rows([]))
    check_pairs(args, as_rows([]), as_rows([{"language": "de", "source": [1], "target": [2]}]))
