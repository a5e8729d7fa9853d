"""Norms and angles of gradients, by hand."""

import math

import pytest
import torch

from midalign.analysis.gradients import norms_and_cosine


def test_gradients_of_several_parameters_are_one_vector_each():
    # (3, 4, 0) and (3, 4, 12): products 25, norms 5 and 13
    parts = [(torch.tensor([3.0, 4.0]), torch.tensor([3.0, 4.0])), (torch.tensor([[0.0]]), torch.tensor([[12.0]]))]
    assert norms_and_cosine(parts) == pytest.approx((5, 13, 25 / 65))


@pytest.mark.parametrize("degrees", [0, 60, 90, 120, 180])
def test_the_cosine_is_that_of_the_angle_whatever_the_norms(degrees):
    angle = math.radians(degrees)
    turned = 7 * torch.tensor([math.cos(angle), math.sin(angle)])
    _, norm, cosine = norms_and_cosine([(torch.tensor([1e-3, 0.0]), turned)])
    assert norm == pytest.approx(7) and cosine == pytest.approx(math.cos(angle), abs=1e-6)


def test_a_gradient_of_zero_has_no_direction():
    first, second, cosine = norms_and_cosine([(torch.tensor([3.0, 4.0]), torch.zeros(()))])
    assert (first, second) == (5, 0) and math.isnan(cosine)
