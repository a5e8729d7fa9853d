"""What is logged is a mean over all steps of all processes, also of a run that went on with another number of them."""

import torch

from midalign.training.means import Means


def means(*values, count=1):
    found = Means()
    for value in values:
        found.add("loss", torch.tensor(value), count=count)
    return found


def take(*processes):
    """What several processes log together."""
    others = [
        torch.tensor([[sum(float(v) for v in one.values["loss"])], [float(one.counts["loss"])]])
        for one in processes[1:]
    ]
    return processes[0].take(["loss"], lambda own: own + sum(others), "cpu")


def test_a_process_with_more_steps_weighs_more():
    assert take(means(1.0, 2.0, 3.0), means(6.0)) == {"loss": 3.0}


def test_what_is_taken_is_forgotten_and_what_was_never_counted_is_not_there():
    one = means(4.0)
    assert take(one) == {"loss": 4.0} and take(one) == {}


def test_micro_losses_of_a_step_add_up_to_one_value():
    one = means(0.25, 0.5, count=0)
    one.add("loss", count=1)
    assert take(one) == {"loss": 0.75}


def test_one_process_goes_on_where_two_stopped():
    # Two steps with the means 2 and 4 over both processes, then a third of 9.
    alone = Means()
    for window in (means(1.0, 3.0), means(3.0, 5.0)):
        alone.merge(window.state(), 1 / 2, "cpu")
    alone.add("loss", torch.tensor(9.0))
    assert take(alone) == {"loss": 5.0}


def test_two_processes_go_on_where_one_stopped():
    both = [Means(), Means()]
    for one, value in zip(both, (8.0, 10.0), strict=True):
        one.merge(means(2.0, 4.0).state(), 1, "cpu")
        one.add("loss", torch.tensor(value))
    assert take(*both) == {"loss": 5.0}
