"""Scores over two processes are those over one."""

import pytest
import torch
from forked import two_processes
from torchmetrics import MetricCollection

from lightning_genmodels.metrics import (
    DensityCoverage,
    FrechetDistance,
    KernelDistance,
    ModeCoverage,
    PairSimilarity,
    PrecisionRecall,
    SlicedWasserstein,
)

NAMES = ("PrecisionRecall", "DensityCoverage")
COUNT = 53


def images(size=4):
    draw = torch.Generator().manual_seed(0)
    return torch.rand(61, 1, size, size, generator=draw), torch.rand(COUNT, 1, size, size, generator=draw).pow(1.2)


def scores(rank, world_size):
    metrics = MetricCollection([PrecisionRecall(), DensityCoverage()], compute_groups=[list(NAMES)])
    distances = MetricCollection([FrechetDistance("pixels"), KernelDistance("pixels")])
    for real, part in zip((True, False), images(), strict=True):
        metrics.update(part[rank::world_size], real=real)
        distances.update(part[rank::world_size], real=real)
    found = {**metrics.compute(), **distances.compute(), **drawn(rank, world_size), **modes(rank, world_size)}
    return {name: value.item() for name, value in found.items()}


def drawn(rank, world_size):
    """Scores that pair or draw: they depend on the order, which over processes is one process after the other."""
    swd, similarity = SlicedWasserstein(patches=4, directions=8), PairSimilarity()
    parts = [part[:COUNT] for part in images(16)]
    if world_size == 1:
        parts = [torch.cat([part[::2], part[1::2]]) for part in parts]
    for real, part in zip((True, False), parts, strict=True):
        swd.update(part[rank::world_size] if world_size > 1 else part, real=real)
    similarity.update(parts[1][rank::world_size])
    return {**swd.compute(), **similarity.compute()}


def modes(rank, world_size):
    digits = ModeCoverage()
    digits.update(images(28)[1][rank::world_size])
    plane = ModeCoverage("centres", centres=((0.0, 0.0), (0.5, 0.5), (9.0, 9.0)), sigma=0.2, extent=1.0)
    points = torch.rand(COUNT, 2, 1, 1, generator=torch.Generator().manual_seed(1))
    plane.update(points[rank::world_size])
    return {**{f"digits/{name}": value for name, value in digits.compute().items()}, **plane.compute()}


def test_two_processes_with_uneven_shares_score_as_one(tmp_path):
    found = two_processes(scores, tmp_path)
    assert found[0] == pytest.approx(scores(0, 1), rel=1e-5, abs=1e-6)
    assert found[0] == found[1]
    assert 0 < found[0]["precision"] < 1
    assert found[0]["modes"] == 2
    assert 0 < found[0]["mode_spread"] < 3


def without_generated_images(rank, world_size):
    metric = FrechetDistance("pixels")
    for real, part in zip((True, False), images(), strict=True):
        if rank == 0 or real:  # the other has no generated ones
            metric.update(part[rank::world_size] if real else part, real=real)
    return metric.compute()["fid_pixels"].item()


def test_a_process_without_generated_images_adds_nothing(tmp_path):
    found = two_processes(without_generated_images, tmp_path)
    assert found[0] == found[1] == pytest.approx(scores(0, 1)["fid_pixels"], rel=1e-5)
