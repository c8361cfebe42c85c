"""The schedule of growing, and real images that fade with it."""

import pytest
import torch
from torch.nn import functional

from lightning_genmodels.models.growing import Growth, faded, grown_size, rate_factor

GROWTH = Growth(start_size=8, size=32, fade_images=100, stable_images=50)


@pytest.mark.parametrize(
    ("images", "detail"),
    [
        (0, 1), (49, 1), (50, 1 + 1 / 101), (99, 1 + 50 / 101), (149, 1 + 100 / 101), (150, 2), (199, 2),
        (200, 2 + 1 / 101), (299, 2 + 100 / 101), (300, 3), (10**9, 3),
    ],
)  # fmt: skip
def test_sizes_fade_in_one_after_the_other(images, detail):
    assert GROWTH.detail(images) == pytest.approx(detail)


def test_growth_never_goes_back_and_without_fading_it_jumps():
    steps = [GROWTH.detail(images) for images in range(400)]
    assert steps == sorted(steps)
    jumping = Growth(4, 16, 0, 10)
    assert [jumping.detail(n) for n in (0, 9, 10, 19, 20)] == [0, 0, 1, 1, 2]
    assert Growth(16, 16, 5, 5).detail(0) == 2


def test_sizes_and_rates_of_the_paper():
    assert [grown_size(d) for d in (0, 1, 1.01, 2, 8)] == [4, 8, 16, 16, 1024]
    assert [rate_factor(d) for d in (4, 4.1, 5, 6, 7, 8)] == [1, 1.5, 1.5, 2, 3, 3]


def test_real_images_are_as_blurred_as_the_size_that_is_reached():
    images = torch.randn(2, 3, 32, 32)
    assert faded(images, 3, 32) is images
    by_2, by_4 = (
        functional.interpolate(functional.avg_pool2d(images, k), scale_factor=k, mode="nearest") for k in (2, 4)
    )
    torch.testing.assert_close(faded(images, 2, 32), by_2)
    torch.testing.assert_close(faded(images, 1.25, 32), 0.75 * by_4 + 0.25 * by_2)
    torch.testing.assert_close(faded(images, 2.5, 32), (by_2 + images) / 2)
