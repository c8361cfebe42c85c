import math

import pytest
import torch
from torch.distributions import Bernoulli, Independent, Normal, kl_divergence

from lightning_genmodels.losses.divergence import bernoulli_divergence, gaussian_divergence

MEANS = torch.tensor([[0.001, 0.05, 0.2], [0.5, 0.9, 0.999]])


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("rho", [0.01, 0.2, 0.7])
def test_bernoulli_divergence_is_that_of_the_wanted_from_the_found(rho):
    wanted, found = Bernoulli(torch.tensor(rho).double()), Bernoulli(MEANS.double())
    expected = kl_divergence(wanted, found)
    torch.testing.assert_close(bernoulli_divergence(rho, MEANS), expected.float(), rtol=1e-4, atol=1e-6)
    assert not torch.allclose(expected, kl_divergence(found, wanted), rtol=1e-2)  # the other direction is another


@pytest.mark.parametrize("rho", [0.01, 0.2, 0.7])
def test_bernoulli_divergence_is_0_at_rho_and_rises_on_either_side(rho):
    means = torch.tensor([0.5 * rho, 0.9 * rho, rho, 1.1 * rho, 1.4 * rho])
    values = bernoulli_divergence(rho, means).tolist()
    assert values[2] == pytest.approx(0, abs=1e-6)
    assert values[0] > values[1] > values[2] < values[3] < values[4]


@pytest.mark.parametrize("rho", [0.01, 0.2, 0.7])
def test_bernoulli_divergence_has_the_gradient_of_the_lecture_notes(rho):
    means = MEANS.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(bernoulli_divergence(rho, means).sum(), means)
    torch.testing.assert_close(gradient, -rho / MEANS + (1 - rho) / (1 - MEANS), rtol=1e-3, atol=1e-4)


def test_bernoulli_divergence_and_its_gradient_are_finite_at_0_and_1():
    means = torch.tensor([0.0, 1.0], requires_grad=True)
    values = bernoulli_divergence(0.1, means)
    (gradient,) = torch.autograd.grad(values.sum(), means)
    assert values.isfinite().all()
    assert gradient.isfinite().all()
    assert (values > bernoulli_divergence(0.1, torch.tensor([1e-5, 1 - 1e-5]))).all()


def test_gaussian_divergence_is_that_from_the_standard_normal():
    mean, log_variance = 2 * draw(7, 5), 2 * draw(7, 5, seed=1)
    q = Independent(Normal(mean.double(), (log_variance.double() / 2).exp()), 1)
    p = Independent(Normal(torch.zeros(7, 5).double(), 1.0), 1)
    torch.testing.assert_close(
        gaussian_divergence(mean, log_variance), kl_divergence(q, p).float(), rtol=1e-5, atol=1e-5
    )


def test_gaussian_divergence_is_0_at_the_prior_with_no_gradient():
    mean, log_variance = torch.zeros(3, 4, requires_grad=True), torch.zeros(3, 4, requires_grad=True)
    values = gaussian_divergence(mean, log_variance)
    assert values.tolist() == [0, 0, 0]
    assert not any(g.any() for g in torch.autograd.grad(values.sum(), (mean, log_variance)))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_taken_in_float32(dtype):
    mean = torch.full((1, 4), 300.0, dtype=dtype)  # its square is above float16's largest
    assert gaussian_divergence(mean, torch.zeros_like(mean)).item() == pytest.approx(4 * 300**2 / 2, rel=1e-6)
    means = torch.tensor([0.25], dtype=dtype)
    assert bernoulli_divergence(0.5, means).dtype == torch.float32
    assert bernoulli_divergence(0.5, means).item() == pytest.approx(0.5 * math.log(2) + 0.5 * math.log(2 / 3), rel=1e-5)
