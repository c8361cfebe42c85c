import math
from typing import get_args

import pytest
import torch

from lightning_genmodels.losses.depth import DEPTH_LOSSES, DepthLossName, berhu, eigen, eigen_grad, huber, l1, l2

every = pytest.mark.parametrize("name", DEPTH_LOSSES)


def maps(*rows):
    return torch.tensor(rows, dtype=torch.float32)[None, None]


def draws(n=3):
    draw = torch.Generator().manual_seed(0)
    prediction, target = (0.5 + 5 * torch.rand(n, 1, 6, 7, generator=draw) for _ in range(2))
    target[torch.rand(target.shape, generator=draw) < 0.3] = 0
    return prediction, target


def test_table_has_exactly_the_names_of_the_literal():
    assert set(DEPTH_LOSSES) == set(get_args(DepthLossName))


def test_the_plain_losses_by_hand():
    prediction, target = maps([1.5, 3.0, 9.0]), maps([1.0, 5.0, 0.0])  # errors of .5 and -2; the last is not measured
    assert l1(prediction, target).item() == pytest.approx(1.25)
    assert l2(prediction, target).item() == pytest.approx((0.25 + 4) / 2)
    assert huber(prediction, target).item() == pytest.approx((0.125 + 1.5) / 2)


def test_berhu_is_a_line_up_to_a_fifth_of_the_largest_error_and_a_square_beyond():
    prediction, target = maps([1.3, 2.0, 5.0]), maps([1.0, 1.0, 1.0])  # errors .3, 1 and 4; c is .8
    assert berhu(prediction, target).item() == pytest.approx((0.3 + (1 + 0.64) / 1.6 + (16 + 0.64) / 1.6) / 3)
    assert berhu(target, target).item() == 0


def test_berhu_has_the_slopes_of_its_formula():
    prediction = maps([1.3, 2.0, 5.0]).requires_grad_()
    (slopes,) = torch.autograd.grad(berhu(prediction, maps([1.0, 1.0, 1.0])), prediction)
    assert slopes.flatten().tolist() == pytest.approx([1 / 3, 1 / 0.8 / 3, 4 / 0.8 / 3])


def plainly(prediction, target, gradient):
    """Eigen's formulas, pixel by pixel."""
    total = 0.0
    for p, y in zip(prediction[:, 0].tolist(), target[:, 0].tolist(), strict=True):
        d = {(i, j): math.log(p[i][j]) - math.log(y[i][j]) for i in range(len(p)) for j in range(len(p[0])) if y[i][j]}
        n = len(d)
        total += sum(v * v for v in d.values()) / n - sum(d.values()) ** 2 / (2 * n * n)
        if gradient:
            total += sum((d[i + 1, j] - v) ** 2 for (i, j), v in d.items() if (i + 1, j) in d) / n
            total += sum((d[i, j + 1] - v) ** 2 for (i, j), v in d.items() if (i, j + 1) in d) / n
    return total / len(prediction)


@pytest.mark.parametrize(("loss", "gradient"), [(eigen, False), (eigen_grad, True)])
def test_eigens_losses_are_the_papers(loss, gradient):
    prediction, target = draws()
    assert loss(prediction, target).item() == pytest.approx(plainly(prediction, target, gradient), rel=1e-5)


def test_eigens_losses_forgive_half_of_a_common_scale():
    target = draws()[1]
    for loss in (eigen, eigen_grad):
        assert loss(3 * target.clamp_min(1e-3), target).item() == pytest.approx(math.log(3) ** 2 / 2, rel=1e-5)
        assert loss(target, target).item() == pytest.approx(0, abs=1e-10)


@every
def test_what_has_no_measurement_counts_neither_in_the_value_nor_in_the_slope(name):
    prediction, target = draws()
    prediction.requires_grad_()
    loss = DEPTH_LOSSES[name](prediction, target)
    (slope,) = torch.autograd.grad(loss, prediction)
    assert not slope[target == 0].any()
    assert slope[target > 0].all()
    other = torch.where(target > 0, prediction.detach(), -7.0)
    assert DEPTH_LOSSES[name](other, target).item() == loss.item()


@every
def test_no_measurement_at_all_is_no_loss(name):
    prediction = torch.rand(2, 1, 4, 4, requires_grad=True)
    loss = DEPTH_LOSSES[name](prediction, torch.zeros(2, 1, 4, 4))
    loss.backward()
    assert loss.item() == 0
    assert not prediction.grad.any()


@every
def test_a_prediction_of_nothing_or_less_has_a_finite_loss_that_pulls_it_up(name):
    prediction = torch.tensor([0.0, -3.0, 1e-8]).view(1, 1, 1, 3).requires_grad_()
    loss = DEPTH_LOSSES[name](prediction, torch.full((1, 1, 1, 3), 2.0))
    loss.backward()
    assert loss.isfinite()
    assert prediction.grad.isfinite().all()
    assert prediction.grad.sum() < 0


@every
def test_half_precision_is_taken_in_float32(name):
    prediction, target = draws()
    found = DEPTH_LOSSES[name](prediction.bfloat16(), target)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, DEPTH_LOSSES[name](prediction.bfloat16().float(), target))
