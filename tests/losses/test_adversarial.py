from typing import get_args

import pytest
import torch

from lightning_genmodels.losses.adversarial import ADVERSARIAL_LOSSES, AdversarialLossName

REAL = torch.tensor([-3.0, -0.5, 0.0, 1.5, 4.0], dtype=torch.float64)
FAKE = torch.tensor([2.5, -1.0, 0.5, -4.0, 3.0], dtype=torch.float64)


def log_discriminator(real, fake):
    return -real.sigmoid().log().mean() - (1 - fake.sigmoid()).log().mean()


# As the papers write them.
DISCRIMINATORS = {
    "minimax": log_discriminator,
    "non_saturating": log_discriminator,
    "least_squares": lambda real, fake: ((real - 1) ** 2).mean() / 2 + (fake**2).mean() / 2,
    "wasserstein": lambda real, fake: fake.mean() - real.mean(),
    "hinge": lambda real, fake: (1 - real).clamp(min=0).mean() + (1 + fake).clamp(min=0).mean(),
    "relativistic": lambda real, fake: -(real - fake).sigmoid().log().mean(),
}
GENERATORS = {
    "minimax": lambda fake: (1 - fake.sigmoid()).log().mean(),
    "non_saturating": lambda fake: -fake.sigmoid().log().mean(),
    "least_squares": lambda fake: ((fake - 1) ** 2).mean() / 2,
    "wasserstein": lambda fake: -fake.mean(),
    "hinge": lambda fake: -fake.mean(),
}
SEPARATE = [name for name in DISCRIMINATORS if name != "relativistic"]  # a relativistic loss is of pairs


def generator_gradient(name, logit, n=4):
    logits = torch.full((n,), logit, requires_grad=True)
    loss = ADVERSARIAL_LOSSES[name].generator(logits, None)
    assert loss.isfinite()
    return torch.autograd.grad(loss, logits)[0].tolist()


def test_table_has_exactly_the_names_of_the_literal():
    assert set(ADVERSARIAL_LOSSES) == set(get_args(AdversarialLossName))


@pytest.mark.parametrize("name", DISCRIMINATORS)
def test_discriminator_loss_is_the_papers(name):
    loss = ADVERSARIAL_LOSSES[name].discriminator(REAL, FAKE)
    assert loss.item() == pytest.approx(DISCRIMINATORS[name](REAL, FAKE).item(), rel=1e-5)


@pytest.mark.parametrize("name", GENERATORS)
@pytest.mark.parametrize("real", [None, REAL])
def test_generator_loss_is_the_papers(name, real):
    loss = ADVERSARIAL_LOSSES[name].generator(FAKE, real)
    assert loss.item() == pytest.approx(GENERATORS[name](FAKE).item(), rel=1e-5)


def test_non_saturating_generator_keeps_its_gradient_where_the_discriminator_is_sure():
    assert generator_gradient("non_saturating", -100.0) == pytest.approx([-1 / 4] * 4, abs=1e-6)
    assert generator_gradient("non_saturating", 100.0) == pytest.approx([0] * 4, abs=1e-6)


def test_minimax_generator_loses_its_gradient_where_the_discriminator_is_sure():
    assert generator_gradient("minimax", -100.0) == pytest.approx([0] * 4, abs=1e-6)
    assert generator_gradient("minimax", 100.0) == pytest.approx([-1 / 4] * 4, abs=1e-6)


@pytest.mark.parametrize(("sign", "slope"), [(1, 0), (-1, 1)])
def test_log_discriminator_is_finite_with_the_right_gradient_at_extreme_logits(sign, slope):
    real = torch.full((5,), 100.0 * sign, requires_grad=True)
    fake = torch.full((2,), -100.0 * sign, requires_grad=True)
    loss = ADVERSARIAL_LOSSES["non_saturating"].discriminator(real, fake)
    real_gradient, fake_gradient = torch.autograd.grad(loss, (real, fake))
    assert loss.item() == pytest.approx(200.0 * slope, abs=1e-4)
    assert real_gradient.tolist() == pytest.approx([-slope / 5] * 5, abs=1e-6)
    assert fake_gradient.tolist() == pytest.approx([slope / 2] * 2, abs=1e-6)


def test_relativistic_generator_loss_is_the_papers_and_needs_the_real_logits():
    loss = ADVERSARIAL_LOSSES["relativistic"]
    expected = -(FAKE - REAL).sigmoid().log().mean()
    assert loss.generator(FAKE, REAL).item() == pytest.approx(expected.item(), rel=1e-5)
    assert [name for name, other in ADVERSARIAL_LOSSES.items() if other.relative] == ["relativistic"]


def test_relativistic_loss_is_of_differences_and_its_sides_are_each_others_mirror():
    loss = ADVERSARIAL_LOSSES["relativistic"]
    assert loss.discriminator(REAL + 7, FAKE + 7).item() == pytest.approx(loss.discriminator(REAL, FAKE).item())
    assert loss.generator(FAKE, REAL).item() == pytest.approx(loss.discriminator(FAKE, REAL).item())


@pytest.mark.parametrize(
    ("name", "real", "fake", "value", "real_slope", "fake_slope"),
    [
        ("wasserstein", 1e4, -1e4, -2e4, -1, 1),  # whatever the logits
        ("wasserstein", -1e4, 1e4, 2e4, -1, 1),
        ("hinge", 1e4, -1e4, 0, 0, 0),  # beyond the margin nothing is to be won
        ("hinge", -1e4, 1e4, 2e4 + 2, -1, 1),
        ("hinge", 0.5, -0.5, 1, -1, 1),
        ("relativistic", 1e4, -1e4, 0, 0, 0),
        ("relativistic", -1e4, 1e4, 2e4, -1, 1),
        ("relativistic", 5e3, 5e3, 0.6931472, -0.5, 0.5),
        ("least_squares", 1e3, -1e3, 999_000.5, 999, -1000),
    ],
)
def test_discriminator_has_its_gradient_at_extreme_logits(name, real, fake, value, real_slope, fake_slope):
    real_logits, fake_logits = (torch.full((4,), logit, requires_grad=True) for logit in (real, fake))
    loss = ADVERSARIAL_LOSSES[name].discriminator(real_logits, fake_logits)
    gradients = torch.autograd.grad(loss, (real_logits, fake_logits))
    assert loss.item() == pytest.approx(value, rel=1e-6, abs=1e-6)
    assert gradients[0].tolist() == pytest.approx([real_slope / 4] * 4, abs=1e-6)
    assert gradients[1].tolist() == pytest.approx([fake_slope / 4] * 4, abs=1e-6)


@pytest.mark.parametrize(
    ("name", "fake", "real", "slope"),
    [
        ("least_squares", -1e3, 0, -1001),
        ("wasserstein", -1e4, 0, -1),
        ("hinge", -1e4, 0, -1),
        ("hinge", 1e4, 0, -1),
        ("relativistic", -1e4, 1e4, -1),
        ("relativistic", 1e4, -1e4, 0),
    ],
)
def test_generator_has_its_gradient_at_extreme_logits(name, fake, real, slope):
    logits = torch.full((4,), fake, requires_grad=True)
    loss = ADVERSARIAL_LOSSES[name].generator(logits, torch.full((4,), float(real)))
    assert loss.isfinite()
    assert torch.autograd.grad(loss, logits)[0].tolist() == pytest.approx([slope / 4] * 4, abs=1e-6)


@pytest.mark.parametrize("name", SEPARATE)
def test_batches_of_unequal_size_weigh_the_same(name):
    discriminator = ADVERSARIAL_LOSSES[name].discriminator
    assert discriminator(REAL, FAKE.repeat(3)).item() == pytest.approx(discriminator(REAL, FAKE).item(), rel=1e-5)


@pytest.mark.parametrize("name", DISCRIMINATORS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_logits_are_taken_in_float32(name, dtype):
    loss = ADVERSARIAL_LOSSES[name]
    real, fake = (REAL * 100).to(dtype), (FAKE * 100).to(dtype)  # float16 ends at 65,504: the squares leave it
    for half, full in (
        (loss.discriminator(real, fake), loss.discriminator(real.float(), fake.float())),
        (loss.generator(fake, real), loss.generator(fake.float(), real.float())),
    ):
        assert half.dtype == torch.float32
        assert half.isfinite()
        assert half.item() == pytest.approx(full.item(), rel=1e-6)
