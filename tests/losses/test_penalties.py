import math
from typing import get_args

import pytest
import torch
from torch import nn

from lightning_genmodels.losses import penalties
from lightning_genmodels.losses.penalties import PENALTIES, PenaltyName, clip_weights

SHAPES = [(6, 5), (6, 2, 4, 3)]
NAMES = sorted(PENALTIES)
ON_REAL, ON_FAKE = ("r1", "dragan"), ("r2",)


def draw(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def linear(weight):
    """A critic whose gradient is `weight` everywhere."""
    return lambda x: (x * weight).flatten(1).sum(1)


def test_table_has_exactly_the_names_of_the_literal_but_none_and_clipping():
    assert set(PENALTIES) == set(get_args(PenaltyName)) - {"none", "weight_clipping"}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", NAMES)
def test_penalty_of_a_linear_critic_is_that_of_the_norm_of_its_weights_and_so_is_its_gradient(name, shape):
    real, fake = draw(*shape), draw(*shape, seed=1)
    weight = draw(*shape[1:], seed=2).add(1).requires_grad_()
    penalty = PENALTIES[name](linear(weight), real, fake, seeded())
    norm = weight.detach().norm()
    value, slope = {
        "r1": (norm**2 / 2, norm),
        "r2": (norm**2 / 2, norm),
        "r1_r2": (norm**2, 2 * norm),
        "gradient_penalty": ((norm - 1) ** 2, 2 * (norm - 1)),
        "dragan": ((norm - 1) ** 2, 2 * (norm - 1)),
    }[name]
    assert penalty.item() == pytest.approx(value.item(), rel=1e-5)
    (gradient,) = torch.autograd.grad(penalty, weight)
    torch.testing.assert_close(gradient, slope * weight.detach() / norm, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shape", SHAPES)
def test_squared_penalties_are_the_mean_over_the_batch_of_each_images_own_norm(shape):
    real, fake = draw(*shape), draw(*shape, seed=1)
    real[0] *= 10

    def critic(x):  # its gradient is 2x
        return x.square().flatten(1).sum(1)

    r1, r2 = (2 * images.square().sum().item() / len(images) for images in (real, fake))
    assert PENALTIES["r1"](critic, real, fake, None).item() == pytest.approx(r1, rel=1e-5)
    assert PENALTIES["r2"](critic, real, fake, None).item() == pytest.approx(r2, rel=1e-5)
    assert PENALTIES["r1_r2"](critic, real, fake, None).item() == pytest.approx(r1 + r2, rel=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_gradient_penalty_is_taken_between_each_pair_by_a_share_of_its_own(shape):
    """Where D(x) is |x|^2 / 2, the slope is |x|: it tells where it was taken."""
    real = torch.zeros(shape)
    fake = torch.zeros(shape)
    fake.flatten(1)[:, 0] = 1  # each place between is (share, 0, ...)
    seen = []

    def critic(x):
        seen.append(x.detach().clone())
        return x.square().flatten(1).sum(1) / 2

    penalty = PENALTIES["gradient_penalty"](critic, real, fake, seeded())
    shares = seen[0].flatten(1)[:, 0]
    assert torch.equal(seen[0].flatten(1)[:, 1:], torch.zeros(shape).flatten(1)[:, 1:])
    assert ((shares > 0) & (shares < 1)).all()
    assert len(set(shares.tolist())) == len(shares)
    assert penalty.item() == pytest.approx((shares - 1).square().mean().item(), rel=1e-4)


@pytest.mark.parametrize("shape", [(2000, 4), (2000, 1, 2, 2)])
def test_gradient_penaltys_shares_are_uniform(shape):
    seen = []
    PENALTIES["gradient_penalty"](
        lambda x: seen.append(x.detach()) or x.flatten(1).sum(1), torch.zeros(shape), torch.ones(shape), seeded()
    )
    assert (seen[0].flatten(1).std(1) == 0).all()  # one share for all of an image
    assert seen[0].mean().item() == pytest.approx(0.5, abs=0.03)
    assert seen[0].std().item() == pytest.approx(1 / math.sqrt(12), abs=0.02)


def test_dragan_stays_within_half_a_deviation_above_the_real_images():
    real = draw(500, 1, 4, 4) * 3
    seen = []
    PENALTIES["dragan"](lambda x: seen.append(x.detach()) or x.flatten(1).sum(1), real, real, seeded())
    moved = (seen[0] - real) / (0.5 * real.std())
    assert moved.min() >= -1e-6
    assert moved.max() <= 1
    assert moved.mean().item() == pytest.approx(0.25, abs=0.02)  # a mean share of 1/2 of a mean noise of 1/2


def test_dragan_moves_each_image_by_one_share_of_its_noise(monkeypatch):
    """Of a noise of 1 in every pixel, an image moves by its share in every pixel."""
    real, seen = draw(50, 1, 4, 4), []

    def drawn(shape, like, generator):
        return torch.ones(shape) if shape == real.shape else torch.rand(shape, generator=generator)

    monkeypatch.setattr(penalties, "_uniform", drawn)
    PENALTIES["dragan"](lambda x: seen.append(x.detach()) or x.flatten(1).sum(1), real, real, seeded())
    shares = ((seen[0] - real) / (0.5 * real.std())).flatten(1)
    torch.testing.assert_close(shares, shares[:, :1].expand_as(shares))
    assert len(shares[:, 0].round(decimals=4).unique()) > 40


@pytest.mark.parametrize("name", ["gradient_penalty", "dragan"])
def test_what_is_drawn_comes_from_the_generator_given(name):
    real, fake = draw(6, 5), draw(6, 5, seed=1)

    def critic(x):
        return x.square().sum(1)

    torch.manual_seed(0)
    first = PENALTIES[name](critic, real, fake, seeded(0)).item()
    torch.manual_seed(1)
    assert PENALTIES[name](critic, real, fake, seeded(0)).item() == first
    assert PENALTIES[name](critic, real, fake, seeded(1)).item() != first


@pytest.mark.parametrize("name", NAMES)
def test_penalty_reads_the_images_it_is_about(name):
    real, fake = draw(6, 5), draw(6, 5, seed=1)
    torch.manual_seed(0)
    critic = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 1), nn.Flatten(0))
    penalty = PENALTIES[name]
    base = penalty(critic, real, fake, seeded()).item()
    assert (penalty(critic, real + 1, fake, seeded()).item() == base) == (name in ON_FAKE)
    assert (penalty(critic, real, fake + 1, seeded()).item() == base) == (name in ON_REAL)


@pytest.mark.parametrize("name", ["gradient_penalty", "dragan"])
def test_flat_critic_has_a_finite_gradient(name):
    weight = torch.zeros(5, requires_grad=True)
    penalty = PENALTIES[name](linear(weight), draw(6, 5), draw(6, 5), seeded())
    assert penalty.item() == pytest.approx(1, abs=1e-5)
    assert torch.autograd.grad(penalty, weight)[0].isfinite().all()


@pytest.mark.parametrize("name", NAMES)
def test_penalty_runs_in_float32_under_autocast(name):
    torch.manual_seed(0)
    critic = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(4 * 36, 1), nn.Flatten(0))
    real, fake = draw(4, 1, 8, 8), draw(4, 1, 8, 8, seed=1)
    outside = PENALTIES[name](critic, real, fake, seeded())
    with torch.autocast("cpu", torch.bfloat16):
        inside = PENALTIES[name](critic, real, fake, seeded())
        assert critic(real).dtype == torch.bfloat16  # autocast was on
    assert inside.dtype == torch.float32
    assert inside.item() == pytest.approx(outside.item(), rel=1e-6)
    weights = list(critic.parameters())[:3]  # a critic's gradient does not depend on its last bias
    pairs = zip(torch.autograd.grad(inside, weights), torch.autograd.grad(outside, weights), strict=True)
    for one, other in pairs:
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_penalty_of_half_precision_images_is_float32(name, dtype):
    weight = torch.full((5,), 3.0)
    penalty = PENALTIES[name](lambda x: x @ weight, draw(6, 5).to(dtype), draw(6, 5).to(dtype), seeded())
    assert penalty.dtype == torch.float32
    slope = math.sqrt(45)
    expected = {"r1": 22.5, "r2": 22.5, "r1_r2": 45.0}.get(name, (slope - 1) ** 2)
    assert penalty.item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("requires_grad", [False, True])
def test_penalty_leaves_the_callers_images_as_they_were(name, requires_grad):
    real, fake = (draw(6, 5, seed=seed).requires_grad_(requires_grad) for seed in (0, 1))
    weight = draw(5).requires_grad_()
    PENALTIES[name](lambda x: (x.square() * weight).sum(1), real, fake, seeded()).backward()
    assert real.requires_grad == fake.requires_grad == requires_grad
    assert real.grad is None
    assert fake.grad is None
    assert weight.grad is not None


def test_clipped_weights_are_within_the_bound_and_small_ones_as_they_were():
    weights = [nn.Parameter(torch.tensor([-3.0, -0.005, 0.0, 0.01, 2.0])), nn.Parameter(torch.ones(2, 2))]
    clip_weights(weights, 0.01)
    torch.testing.assert_close(weights[0].detach(), torch.tensor([-0.01, -0.005, 0.0, 0.01, 0.01]))
    torch.testing.assert_close(weights[1].detach(), torch.full((2, 2), 0.01))
    assert all(weight.requires_grad for weight in weights)
