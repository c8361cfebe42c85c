"""How near generated images come to real ones, and how many of the real ones they reach, by nearest neighbours."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from lightning_genmodels.errors import GenmodelsError
from lightning_genmodels.metrics.collection import RealAgainstFake
from lightning_genmodels.metrics.features import FeaturesName, check_features, features_of

ROWS = 1024  # rows of a distance matrix held at a time: 40 MB against 10,000 columns


def _distances(rows: Tensor, columns: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Blocks of the (R, C) matrix of Euclidean distances, each with its rows."""
    for start in range(0, len(rows), ROWS):
        block = slice(start, min(start + ROWS, len(rows)))
        yield block, torch.cdist(rows[block], columns)


def _radii(points: Tensor, k: int) -> Tensor:
    """(N,) distance of each point to its k-th nearest other point."""
    radii = points.new_empty(len(points))
    for block, distance in _distances(points, points):
        own = torch.arange(block.start, block.stop, device=points.device)
        distance[own - block.start, own] = torch.inf
        radii[block] = distance.topk(k, dim=1, largest=False).values[:, -1]  # kthvalue takes seven times as long
    return radii


class _Neighbours(RealAgainstFake):
    """Collects the features of real and of generated images, over all processes."""

    def __init__(self, features: FeaturesName = "pixels", k: int = 5, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_features(self, features)
        if k < 1:
            raise GenmodelsError(f"{type(self).__name__}: k is {k}; expected 1 or more.")
        self.features = features
        self.k = k

    def keep(self, images: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, F)."""
        return features_of(images, self.features)

    def _centred(self) -> tuple[Tensor, Tensor]:
        real, fake = self.collected(self.k + 1, f"more than k = {self.k}")
        # Centred, distances lose less to cancellation.
        centre = real.mean(0)
        return real - centre, fake - centre

    def _named(self, scores: dict[str, Tensor]) -> dict[str, Tensor]:
        suffix = "" if self.features == "pixels" else f"_{self.features}"
        return {f"{name}{suffix}": score for name, score in scores.items()}


class PrecisionRecall(_Neighbours):
    """Improved precision and recall (Kynkäänniemi et al. 2019).

    Precision is the share of generated images within the k-nearest-neighbour radius of some real one; recall the
    same with the roles exchanged. A point on the radius is within; a point is no neighbour of its own.

    Args:
        features: "pixels" compares the images as they are; "digits" what the packaged classifier of MNIST's digits
            sees in them, "inception" what FID's network does, which needs the package torch-fidelity and a download.
        k: the neighbour that gives the radius.
        kwargs: those of `torchmetrics.Metric`.

    `compute` gives {"precision", "recall"}, scalars in [0, 1]; but of features other than pixels it names them:
    "precision_digits". Raises GenmodelsError for an option out of its range and, in `compute`, for k or fewer images.
    """

    def __init__(self, features: FeaturesName = "pixels", k: int = 3, **kwargs: Any) -> None:
        super().__init__(features, k, **kwargs)

    def compute(self) -> dict[str, Tensor]:
        """The two shares over all images collected."""
        real, fake = self._centred()
        real_radii, fake_radii = _radii(real, self.k), _radii(fake, self.k)
        recalled = torch.zeros(len(real), dtype=torch.bool, device=real.device)
        precise = torch.zeros(len(fake), dtype=torch.bool, device=real.device)
        for block, distance in _distances(real, fake):
            recalled[block] = (distance <= fake_radii).any(1)
            precise |= (distance <= real_radii[block, None]).any(0)
        return self._named({"precision": precise.float().mean(), "recall": recalled.float().mean()})


class DensityCoverage(_Neighbours):
    """Density and coverage (Naeem et al. 2020).

    Coverage is the share of real images with a generated one nearer than their k-th real neighbour; density is the
    mean number of such real images around a generated one, divided by k (it may exceed 1). A point on the radius is
    outside; a point is no neighbour of its own.

    Args:
        features: "pixels" compares the images as they are; "digits" what the packaged classifier of MNIST's digits
            sees in them, "inception" what FID's network does, which needs the package torch-fidelity and a download.
        k: the neighbour that gives the radius.
        kwargs: those of `torchmetrics.Metric`.

    `compute` gives {"density", "coverage"}, scalars; but of features other than pixels it names them:
    "coverage_digits". Raises GenmodelsError for an option out of its range and, in `compute`, for k or fewer images.
    """

    def compute(self) -> dict[str, Tensor]:
        """The two figures over all images collected."""
        real, fake = self._centred()
        radii = _radii(real, self.k)
        within, covered = real.new_zeros(()), real.new_zeros(())
        for block, distance in _distances(real, fake):
            inside = distance < radii[block, None]
            within += inside.sum()
            covered += inside.any(1).sum()
        return self._named({"density": within / (self.k * len(fake)), "coverage": covered / len(real)})
