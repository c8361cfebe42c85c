from typing import get_args

import pytest
import torch

from lightning_genmodels.losses.reconstruction import RECONSTRUCTION_LOSSES, ReconstructionLossName, bce, mse

OUTPUT = torch.linspace(-4, 4, 24, dtype=torch.float64).reshape(2, 1, 3, 4)
TARGET = torch.linspace(1, 0, 24, dtype=torch.float64).reshape(2, 1, 3, 4)


def test_table_has_exactly_the_names_of_the_literal():
    assert set(RECONSTRUCTION_LOSSES) == set(get_args(ReconstructionLossName))


def test_mse_is_summed_over_pixels_and_averaged_over_images():
    expected = sum((o - t) ** 2 for o, t in zip(OUTPUT.flatten(), TARGET.flatten(), strict=True)) / 2
    assert mse(OUTPUT, TARGET).item() == pytest.approx(expected.item(), rel=1e-5)


def test_bce_is_the_cross_entropy_of_the_outputs_sigmoid_summed_over_pixels():
    p = OUTPUT.sigmoid()
    expected = -(TARGET * p.log() + (1 - TARGET) * (1 - p).log()).sum() / 2
    assert bce(OUTPUT, TARGET).item() == pytest.approx(expected.item(), rel=1e-5)


def test_bce_is_least_where_the_sigmoid_is_the_target():
    target = torch.tensor([[0.2, 0.5, 0.9]])
    output = target.logit().requires_grad_()
    (gradient,) = torch.autograd.grad(bce(output, target), output)
    assert gradient[0].tolist() == pytest.approx([0, 0, 0], abs=1e-6)


def test_bce_is_finite_with_the_right_gradient_at_extreme_logits():
    output = torch.tensor([[100.0, -100.0, 100.0, -100.0]], requires_grad=True)
    target = torch.tensor([[0.0, 1.0, 1.0, 0.0]])
    loss = bce(output, target)
    (gradient,) = torch.autograd.grad(loss, output)
    assert loss.item() == pytest.approx(200, rel=1e-6)
    assert gradient[0].tolist() == pytest.approx([1, -1, 0, 0], abs=1e-6)


@pytest.mark.parametrize("name", ["mse", "bce"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_taken_in_float32(name, dtype):
    loss = RECONSTRUCTION_LOSSES[name]
    output, target = (OUTPUT * 100).to(dtype), TARGET.to(dtype)
    half = loss(output, target)
    assert half.dtype == torch.float32
    assert half.item() == pytest.approx(loss(output.float(), target.float()).item(), rel=1e-6)
