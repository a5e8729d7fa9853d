"""Which rows and pairs meet in which micro-batch."""

from collections import Counter
from itertools import chain

import numpy as np
import pytest

from midalign.data.schedule import MicroBatchSampler, is_align_step, pair_order, together
from midalign.errors import InputError


def sampler(schedule="joint", task_rows=10, pairs=12, **changes):
    settings = {"task_batch_size": 2, "pair_batch_size": 3} | changes
    return MicroBatchSampler(schedule, task_rows, ["de"] * pairs, **settings)


def epochs(one, count):
    batches = []
    for epoch in range(count):
        one.set_epoch(epoch)
        batches.append(list(one))
    return batches


def test_joint_reads_every_task_row_once_in_an_epoch_and_has_pairs_in_every_micro_batch():
    for epoch in epochs(sampler(), 2):
        assert sorted(i for batch in epoch for i in batch.task) == list(range(10))
        assert all(len(batch.pairs) == 3 for batch in epoch)


def test_the_pair_stream_runs_in_passes_of_its_own():
    # 12 pairs in batches of 3 are a pass of 4 batches; an epoch of 5 micro-batches does not cut it.
    batches = [batch.pairs for epoch in epochs(sampler(), 4) for batch in epoch]
    for start in range(0, 20, 4):
        assert sorted(chain(*batches[start : start + 4])) == list(range(12))


def test_another_epoch_and_another_seed_give_another_order():
    first, second = epochs(sampler(), 2)
    assert [b.task for b in first] != [b.task for b in second]
    assert list(sampler(seed=1)) != first


def test_a_position_gives_the_same_micro_batch_whoever_asks():
    assert epochs(sampler(seed=5), 3) == epochs(sampler(seed=5), 3)


def test_align_every_3_has_pairs_in_every_third_micro_batch_across_epochs_without_gaps():
    plain = [b.pairs for epoch in epochs(sampler(), 3) for b in epoch]
    third = [b.pairs for epoch in epochs(sampler(align_every=3), 3) for b in epoch]
    assert [bool(pairs) for pairs in third] == [i % 3 == 0 for i in range(15)]
    assert [pairs for pairs in third if pairs] == plain[:5]


def test_alternate_fills_whole_steps_in_turn_task_first():
    epoch = list(sampler("alternate", task_rows=8, accumulation=2))
    assert len(epoch) == 8  # 4 task micro-batches in 2 steps, and as many alignment steps
    assert [bool(batch.task) for batch in epoch] == [True, True, False, False] * 2
    assert all(bool(batch.task) != bool(batch.pairs) for batch in epoch)
    assert sorted(i for batch in epoch for i in batch.task) == list(range(8))


def test_alternate_completes_the_last_task_step_with_the_epochs_first_rows():
    epoch = list(sampler("alternate", task_rows=10, accumulation=2))  # 5 task micro-batches, 6 places
    rows = [i for batch in epoch for i in batch.task]
    assert sorted(rows[:10]) == list(range(10)) and rows[10:] == rows[:2]


def test_alternate_goes_on_with_the_pairs_over_epochs():
    pairs = [b.pairs for e in epochs(sampler("alternate", task_rows=8, accumulation=2), 2) for b in e if b.pairs]
    assert sorted(chain(*pairs[:4])) == sorted(chain(*pairs[4:])) == list(range(12))


def test_align_only_makes_an_epoch_of_one_pass_over_the_pairs():
    epoch = list(sampler("align_only", pairs=13))  # the thirteenth pair does not fill a batch
    assert len(epoch) == 4 and not any(batch.task for batch in epoch)
    assert len({i for batch in epoch for i in batch.pairs}) == 12


@pytest.mark.parametrize("schedule", ["joint", "alternate", "align_only"])
def test_two_processes_read_together_what_one_reads_with_twice_the_batch(schedule):
    one = list(sampler(schedule, task_rows=16, pairs=24, task_batch_size=4, pair_batch_size=6))
    ranks = [list(sampler(schedule, task_rows=16, pairs=24, processes=2, rank=rank)) for rank in (0, 1)]
    for whole, left, right in zip(one, *ranks, strict=True):
        assert left.task + right.task == whole.task
        assert left.pairs + right.pairs == whole.pairs


def test_processes_have_batches_of_equal_size_also_at_the_end_of_an_epoch():
    ranks = [list(sampler(task_rows=9, processes=2, rank=rank)) for rank in (0, 1)]
    assert {len(batch.task) for batches in ranks for batch in batches} == {2}
    assert {i for batches in ranks for batch in batches for i in batch.task} == set(range(9))


def test_too_few_pairs_for_one_batch_are_refused():
    with pytest.raises(InputError, match="2 pairs do not fill a batch of align_batch_size=3 on 1 process"):
        sampler(pairs=2)


LANGUAGES = ["de"] * 90 + ["sw"] * 10


def drawn(temperature):
    return Counter(LANGUAGES[i] for i in pair_order(LANGUAGES, 0, 0, temperature))


def test_temperature_1_keeps_the_natural_shares():
    assert drawn(1.0) == {"de": 90, "sw": 10}


def test_temperature_2_draws_in_proportion_to_the_square_root():
    assert drawn(2.0) == {"de": 75, "sw": 25}  # 9.49 : 3.16 = 3 : 1


def test_a_high_temperature_is_uniform():
    assert drawn(1e6) == {"de": 50, "sw": 50}


def test_a_language_whose_share_rounds_to_nothing_is_left_out():
    assert drawn(0.1) == {"de": 100}


def test_an_oversampled_language_repeats_all_its_pairs_before_any_third_time():
    counts = Counter(i for i in pair_order(LANGUAGES, 0, 0, 2.0) if i >= 90)
    assert sorted(counts.values()) == [2] * 5 + [3] * 5


def test_steps_alternate_from_task():
    assert [is_align_step("alternate", step) for step in range(4)] == [False, True, False, True]
    assert is_align_step("align_only", 0) and not is_align_step("joint", 1)


def test_the_micro_batches_of_a_step_can_be_found_again():
    drawn = sampler(task_rows=10, accumulation=2)
    seen = [batch for epoch in epochs(drawn, 2) for batch in epoch]  # 5 micro-batches an epoch, 3 steps: 2, 2, 1
    assert drawn.of_step(0) == seen[:2] and drawn.of_step(2) == seen[4:5] and drawn.of_step(3) == seen[5:7]
    assert drawn.of_step(4, 1) == [seen[8]]


def test_pairs_of_one_sentence_follow_each_other_and_all_pairs_of_a_pass_are_there():
    languages, sentences = ["de"] * 6 + ["sw"] * 6, [*range(6), *range(6)]
    plain, together = (pair_order(languages, 0, 1, 10.0, given) for given in (None, sentences))
    assert sorted(together) == sorted(plain) and [sentences[i] for i in plain] != [sentences[i] for i in together]
    assert [sentences[i] for i in together[::2]] == [sentences[i] for i in together[1::2]]
    assert {(sentences[i], languages[i]) for i in together} == {(n, tag) for n in range(6) for tag in ("de", "sw")}


def test_a_pair_drawn_again_stands_with_a_later_turn_of_its_sentence():
    # Pairs 0 and 3 translate sentence 7, pair 1 translates sentence 8; pair 3 is drawn three times.
    assert together(np.array([3, 1, 3, 0, 3]), [7, 8, 9, 7]).tolist() == [3, 0, 1, 3, 3]


def test_pair_halves_end_at_an_optimizer_step_whatever_the_epoch():
    # 10 rows in batches of 2 are 5 micro-batches, 3 steps of an epoch, the last of one micro-batch.
    plain = [batch for epoch in epochs(sampler(accumulation=2), 3) for batch in epoch]
    until = [batch for epoch in epochs(sampler(accumulation=2, align_until=4), 3) for batch in epoch]
    assert [bool(batch.pairs) for batch in until] == [True] * 7 + [False] * 8
    assert until[:7] == plain[:7] and [b.task for b in until] == [b.task for b in plain]
    assert [b.pairs for b in sampler(accumulation=2, align_until=4).of_step(3)] == [b.pairs for b in plain[5:7]]
