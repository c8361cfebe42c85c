import itertools
import math
import typing

import pytest
import torch
from torch.distributions import Bernoulli, Independent, Normal

from lightning_genmodels.losses.likelihood import (
    DecoderDistributionName,
    bernoulli_log_likelihood,
    gaussian_log_likelihood,
)


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_there_is_a_likelihood_for_each_named_distribution():
    assert typing.get_args(DecoderDistributionName) == ("bernoulli", "gaussian")


@pytest.mark.parametrize("leading", [(), (4,), (4, 2)])
def test_bernoulli_likelihood_is_that_of_independent_pixels(leading):
    logits, images = 3 * draw(*leading, 5, 2, 3, 4), (draw(5, 2, 3, 4, seed=1) > 0).float()
    expected = Independent(Bernoulli(logits=logits.double()), 3).log_prob(images.double())
    found = bernoulli_log_likelihood(logits, images)
    assert found.shape == (*leading, 5)
    torch.testing.assert_close(found, expected.float(), rtol=1e-5, atol=1e-5)


def test_probabilities_of_all_binary_images_add_up_to_1():
    images = torch.tensor(list(itertools.product([0.0, 1.0], repeat=6))).reshape(64, 1, 2, 3)
    values = bernoulli_log_likelihood((2 * draw(1, 2, 3)).expand(64, 1, 2, 3), images)
    assert values.exp().sum().item() == pytest.approx(1, rel=1e-5)


def test_bernoulli_likelihood_of_greys_is_the_cross_entropy_formula():
    logits, images = draw(5, 1, 3, 4), torch.rand(5, 1, 3, 4, generator=torch.Generator().manual_seed(1))
    p = logits.double().sigmoid()
    expected = (images * p.log() + (1 - images) * (1 - p).log()).sum((1, 2, 3))
    torch.testing.assert_close(bernoulli_log_likelihood(logits, images), expected.float(), rtol=1e-5, atol=1e-5)


def test_bernoulli_likelihood_of_sure_logits_is_exact():
    logits, images = torch.tensor([200.0, -200.0]).reshape(1, 1, 2), torch.tensor([0.0, 0.0]).reshape(1, 1, 2)
    assert bernoulli_log_likelihood(logits, images).item() == pytest.approx(-200, rel=1e-6)


@pytest.mark.parametrize("scale", [0.05, 1.0, 3.0])
@pytest.mark.parametrize("leading", [(), (4,), (4, 2)])
def test_gaussian_likelihood_is_the_density_of_independent_pixels(leading, scale):
    mean, images = draw(*leading, 5, 2, 3, 4), draw(5, 2, 3, 4, seed=1)
    expected = Independent(Normal(mean.double(), scale), 3).log_prob(images.double())
    found = gaussian_log_likelihood(mean, images, scale)
    assert found.shape == (*leading, 5)
    torch.testing.assert_close(found, expected.float(), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_taken_in_float32(dtype):
    mean, images = torch.full((1, 1, 10, 10), 0.5, dtype=dtype), torch.zeros(1, 1, 10, 10, dtype=dtype)
    # The sum over 100 pixels and the square over the scale are both beyond float16.
    expected = -100 * (0.5 * (0.5 / 0.001) ** 2 + math.log(0.001) + 0.5 * math.log(2 * math.pi))
    assert gaussian_log_likelihood(mean, images, 0.001).item() == pytest.approx(expected, rel=1e-6)
    logits = torch.full((1, 1, 100, 100), 40.0, dtype=dtype)
    found = bernoulli_log_likelihood(logits, torch.zeros(1, 1, 100, 100, dtype=dtype))
    assert found.item() == pytest.approx(-400_000, rel=1e-6)
