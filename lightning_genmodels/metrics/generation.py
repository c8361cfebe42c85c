"""How near generated images come to real ones, and how many of the real ones they reach, by nearest neighbours."""

from collections.abc import Callable, Iterator
from typing import Any, Literal

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from lightning_genmodels.errors import GenmodelsError

FeaturesName = Literal["pixels"]

# Images (N, C, H, W) -> features (N, F).
FEATURES: dict[str, Callable[[Tensor], Tensor]] = {"pixels": lambda images: images.float().flatten(1)}

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
        radii[block] = distance.kthvalue(k, dim=1).values
    return radii


class _RealAgainstFake(Metric):
    """Collects the features of real and of generated images, over all processes."""

    is_differentiable = False
    full_state_update = False
    real: list[Tensor]
    fake: list[Tensor]

    def __init__(self, features: FeaturesName = "pixels", k: int = 5, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if features not in FEATURES:
            raise GenmodelsError(f"{type(self).__name__}: features is {features!r}; expected one of {list(FEATURES)}.")
        if k < 1:
            raise GenmodelsError(f"{type(self).__name__}: k is {k}; expected 1 or more.")
        self.features = features
        self.k = k
        self.add_state("real", [], dist_reduce_fx="cat")
        self.add_state("fake", [], dist_reduce_fx="cat")

    def update(self, images: Tensor, real: bool) -> None:
        """Adds images (N, C, H, W), float in [0, 1], to the real or to the generated ones."""
        (self.real if real else self.fake).append(FEATURES[self.features](images))

    def _collected(self) -> tuple[Tensor, Tensor]:
        sets = []
        for name, parts in (("real", self.real), ("generated", self.fake)):
            points = dim_zero_cat(parts) if len(parts) else torch.empty(0, 1)
            if len(points) <= self.k:
                raise GenmodelsError(
                    f"{type(self).__name__}: {len(points)} {name} images; expected more than k = {self.k}."
                )
            sets.append(points)
        # Centred, distances lose less to cancellation.
        centre = sets[0].mean(0)
        return sets[0] - centre, sets[1] - centre


class PrecisionRecall(_RealAgainstFake):
    """Improved precision and recall (Kynkäänniemi et al. 2019).

    Precision is the share of generated images within the k-nearest-neighbour radius of some real one; recall the
    same with the roles exchanged. A point on the radius is within; a point is no neighbour of its own.

    Args:
        features: "pixels" compares the images as they are.
        k: the neighbour that gives the radius.
        kwargs: those of `torchmetrics.Metric`.

    `compute` gives {"precision", "recall"}, scalars in [0, 1]. Raises GenmodelsError for k or fewer images.
    """

    def __init__(self, features: FeaturesName = "pixels", k: int = 3, **kwargs: Any) -> None:
        super().__init__(features, k, **kwargs)

    def compute(self) -> dict[str, Tensor]:
        """The two shares over all images collected."""
        real, fake = self._collected()
        real_radii, fake_radii = _radii(real, self.k), _radii(fake, self.k)
        recalled = torch.zeros(len(real), dtype=torch.bool, device=real.device)
        precise = torch.zeros(len(fake), dtype=torch.bool, device=real.device)
        for block, distance in _distances(real, fake):
            recalled[block] = (distance <= fake_radii).any(1)
            precise |= (distance <= real_radii[block, None]).any(0)
        return {"precision": precise.float().mean(), "recall": recalled.float().mean()}


class DensityCoverage(_RealAgainstFake):
    """Density and coverage (Naeem et al. 2020).

    Coverage is the share of real images with a generated one nearer than their k-th real neighbour; density is the
    mean number of such real images around a generated one, divided by k (it may exceed 1). A point on the radius is
    outside; a point is no neighbour of its own.

    Args:
        features: "pixels" compares the images as they are.
        k: the neighbour that gives the radius.
        kwargs: those of `torchmetrics.Metric`.

    `compute` gives {"density", "coverage"}, scalars. Raises GenmodelsError for k or fewer images.
    """

    def compute(self) -> dict[str, Tensor]:
        """The two figures over all images collected."""
        real, fake = self._collected()
        radii = _radii(real, self.k)
        within, covered = real.new_zeros(()), real.new_zeros(())
        for block, distance in _distances(real, fake):
            inside = distance < radii[block, None]
            within += inside.sum()
            covered += inside.any(1).sum()
        return {"density": within / (self.k * len(fake)), "coverage": covered / len(real)}
