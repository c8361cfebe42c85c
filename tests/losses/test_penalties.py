from typing import get_args

import pytest
import torch
from torch import nn

from lightning_genmodels.losses.penalties import PENALTIES, PenaltyName, r1_penalty

SHAPES = [(6, 5), (6, 2, 4, 3)]


def draw(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def test_table_has_exactly_the_names_of_the_literal_but_none():
    assert set(PENALTIES) == set(get_args(PenaltyName)) - {"none"}


@pytest.mark.parametrize("shape", SHAPES)
def test_r1_of_a_linear_critic_is_half_the_squared_norm_of_its_weights_and_its_gradient_the_weights(shape):
    real = draw(*shape)
    weight = draw(*shape[1:]).add(1).requires_grad_()
    penalty = r1_penalty(lambda x: (x * weight).flatten(1).sum(1), real, real)
    assert penalty.item() == pytest.approx(weight.square().sum().item() / 2, rel=1e-5)
    (gradient,) = torch.autograd.grad(penalty, weight)
    torch.testing.assert_close(gradient, weight.detach(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shape", SHAPES)
def test_r1_is_the_mean_over_the_batch_of_each_images_own_norm(shape):
    real = draw(*shape)
    real[0] *= 10
    penalty = r1_penalty(lambda x: x.square().flatten(1).sum(1), real, real)  # its gradient is 2x
    assert penalty.item() == pytest.approx(2 * real.square().sum().item() / len(real), rel=1e-5)


def test_r1_reads_the_real_images_alone():
    real = draw(6, 5)
    critic = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 1), nn.Flatten(0))
    assert r1_penalty(critic, real, real).item() == r1_penalty(critic, real, real + 1).item()
    assert r1_penalty(critic, real + 1, real).item() != r1_penalty(critic, real, real).item()


def test_r1_runs_in_float32_under_autocast():
    torch.manual_seed(0)
    critic = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(4 * 36, 1), nn.Flatten(0))
    real = draw(4, 1, 8, 8)
    outside = r1_penalty(critic, real, real)
    with torch.autocast("cpu", torch.bfloat16):
        inside = r1_penalty(critic, real, real)
        assert critic(real).dtype == torch.bfloat16  # autocast was on
    assert inside.dtype == torch.float32
    assert inside.item() == pytest.approx(outside.item(), rel=1e-6)
    weights = list(critic.parameters())[:3]  # a critic's gradient does not depend on its last bias
    pairs = zip(torch.autograd.grad(inside, weights), torch.autograd.grad(outside, weights), strict=True)
    for one, other in pairs:
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_r1_of_half_precision_images_is_float32(dtype):
    weight = torch.full((5,), 3.0)
    penalty = r1_penalty(lambda x: x @ weight, draw(6, 5).to(dtype), draw(6, 5))
    assert penalty.dtype == torch.float32
    assert penalty.item() == pytest.approx(22.5, rel=1e-6)


@pytest.mark.parametrize("requires_grad", [False, True])
def test_r1_leaves_the_callers_images_as_they_were(requires_grad):
    real = draw(6, 5).requires_grad_(requires_grad)
    weight = draw(5).requires_grad_()
    r1_penalty(lambda x: (x.square() * weight).sum(1), real, real).backward()
    assert real.requires_grad == requires_grad
    assert real.grad is None
    assert weight.grad is not None
