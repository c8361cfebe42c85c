from typing import get_args

import pytest
import torch
from torch.nn import functional

from lightning_genmodels.losses.regression import HUBER, IMAGE_LOSSES, ImageLossName, huber, l1, l2, ssim

DRAW = torch.Generator().manual_seed(0)
OUTPUT, TARGET = (torch.rand(2, 3, 16, 20, generator=DRAW) for _ in range(2))


def test_table_has_exactly_the_names_of_the_literal():
    assert set(IMAGE_LOSSES) == set(get_args(ImageLossName))


def test_l1_and_l2_are_means_over_all_pixels():
    error = (OUTPUT - TARGET).flatten().tolist()
    assert l1(OUTPUT, TARGET).item() == pytest.approx(sum(map(abs, error)) / len(error), rel=1e-5)
    assert l2(OUTPUT, TARGET).item() == pytest.approx(sum(e * e for e in error) / len(error), rel=1e-5)


@pytest.mark.parametrize(("error", "value", "slope"), [(0.06, 0.0018, 0.06), (-0.1, 0.005, -0.1), (0.5, 0.045, 0.1)])
def test_huber_is_a_square_near_zero_and_a_line_beyond(error, value, slope):
    assert HUBER == 0.1
    output = torch.tensor([error], requires_grad=True)
    loss = huber(output, torch.zeros(1))
    loss.backward()
    assert loss.item() == pytest.approx(value, rel=1e-5)
    assert output.grad.item() == pytest.approx(slope, rel=1e-5)


def test_ssim_is_wangs_formula():
    line = torch.exp(-(torch.arange(-5, 6.0) ** 2) / (2 * 1.5**2))
    window = (line / line.sum()).outer(line / line.sum()).expand(3, 1, 11, 11)

    def blurred(images):
        return functional.conv2d(functional.pad(images, (5, 5, 5, 5), mode="reflect"), window, groups=3)

    x, y = OUTPUT, TARGET
    mx, my = blurred(x), blurred(y)
    vx, vy, cxy = blurred(x * x) - mx**2, blurred(y * y) - my**2, blurred(x * y) - mx * my
    c1, c2 = 0.01**2, 0.03**2
    similarity = (2 * mx * my + c1) * (2 * cxy + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))
    assert ssim(OUTPUT, TARGET).item() == pytest.approx(1 - similarity.mean().item(), abs=1e-5)


def test_ssim_is_zero_and_least_for_the_target_itself():
    assert ssim(TARGET, TARGET).item() == pytest.approx(0, abs=1e-6)
    assert ssim(TARGET + 0.1, TARGET) > 0.001
    assert ssim(1 - TARGET, TARGET) > 1  # negatively correlated


@pytest.mark.parametrize("name", IMAGE_LOSSES)
def test_half_precision_is_taken_in_float32(name):
    loss = IMAGE_LOSSES[name]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = loss(OUTPUT.bfloat16(), TARGET)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, loss(OUTPUT.bfloat16().float(), TARGET))
