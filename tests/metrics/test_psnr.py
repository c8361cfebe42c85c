import math

import pytest
import torch
from forked import two_processes

from lightning_genmodels.metrics import ImagePSNR


def psnr(*pairs):
    metric = ImagePSNR()
    for images, target in pairs:
        metric.update(images, target)
    return metric.compute().item()


def test_it_is_the_mean_of_each_images_own():
    target = torch.zeros(2, 3, 4, 5)
    images = torch.stack([torch.full((3, 4, 5), 0.1), torch.full((3, 4, 5), 0.01)])
    assert psnr((images, target)) == pytest.approx((20 + 40) / 2, rel=1e-5)
    assert psnr((images[:1], target[:1]), (images[1:], target[1:])) == pytest.approx(30, rel=1e-5)


def test_an_image_without_error_counts_as_100_decibels():
    target = torch.zeros(2, 1, 2, 2)
    assert psnr((target, target)) == pytest.approx(100)
    assert psnr((torch.stack([target[0], target[0] + 0.1]), target)) == pytest.approx(60, rel=1e-5)


def test_no_image_is_nan():
    assert math.isnan(psnr((torch.zeros(0, 1, 2, 2), torch.zeros(0, 1, 2, 2))))


def test_processes_add_up(tmp_path):
    draw = torch.Generator().manual_seed(0)
    images, target = (torch.rand(5, 1, 3, 3, generator=draw) for _ in range(2))
    together = psnr((images, target))

    def share(rank, world_size):
        part = slice(0, 2) if rank == 0 else slice(2, 5)
        return psnr((images[part], target[part]))

    assert two_processes(share, tmp_path) == [pytest.approx(together, rel=1e-5)] * 2
