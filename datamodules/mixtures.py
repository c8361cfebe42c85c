"""Mixtures of Gaussians in the plane: embedded."""

import math

import torch
from torch import Tensor

from datamodules.base import Split, SplitDataModule
from datamodules.batches import ImageBatch
from datamodules.errors import DataError
from datamodules.in_memory import MemorySplit

HELD_OUT = 2500  # points of validation and test: as many as published counts of modes take from a generator
MARGIN = 10  # standard deviations beside the outermost centre; no draw comes near that


class MixtureDataModule(SplitDataModule):
    """Points of equally likely Gaussians, as images of one pixel and two channels; not used by itself.

    The points are the same for everyone and every seed. They are float32 in [0, 1] on the host already.

    Attributes:
        centres: (modes, 2) float32, in the points' own coordinates.
        extent: half a side of the square around the origin that becomes the unit square: -extent is 0, extent is 1.
        sigma: standard deviation of each Gaussian, along each axis, in the points' own coordinates.

    Args:
        centres: (modes, 2).
        margin: what the square around the centres leaves beside the outermost of them.
        sigma: standard deviation of each Gaussian, along each axis.
        train_count: training points.
        batch_size: points per batch and process.
        num_workers: worker processes of the loaders; 0 is the fastest for a set in memory.
        seed: draws the order of the training batches.

    Raises:
        DataError: for an option out of its range.
    """

    image_shape = (2, 1, 1)

    def __init__(
        self,
        *,
        centres: Tensor,
        margin: float,
        sigma: float,
        train_count: int,
        batch_size: int,
        num_workers: int,
        seed: int,
    ) -> None:
        super().__init__(batch_size=batch_size, num_workers=num_workers, seed=seed)
        self.check_least(("train_count", train_count, 1))
        if not 0 < sigma * MARGIN <= margin:
            raise DataError(
                f"{type(self).__name__}: sigma is {sigma}; expected above 0 and at most {margin / MARGIN:g}, so that "
                "every point lies in the square."
            )
        self.centres = centres.float()
        self.extent = centres.abs().max().item() + margin
        self.sigma = sigma
        self.train_count = train_count

    def check_finite(self, option: str, value: float) -> None:
        """Raises DataError unless the value is a finite number above 0."""
        if not 0 < value < math.inf:
            raise DataError(f"{type(self).__name__}: {option} is {value}; expected a finite number above 0.")

    @property
    def num_classes(self) -> int:
        """Number of modes."""
        return len(self.centres)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The modes' numbers."""
        return tuple(str(mode) for mode in range(self.num_classes))

    def to_images(self, points: Tensor) -> Tensor:
        """Points (N, 2) in their own coordinates -> images (N, 2, 1, 1), in [0, 1] within the square."""
        return (points / (2 * self.extent) + 0.5)[:, :, None, None]

    def to_points(self, images: Tensor) -> Tensor:
        """Images (N, 2, 1, 1) -> points (N, 2) in their own coordinates, of the data or of a generator."""
        return (images.flatten(1) - 0.5) * (2 * self.extent)

    def read_splits(self, names: tuple[str, ...]) -> dict[str, Split]:
        """Draws the splits."""
        return {name: MemorySplit(self._draw(name)) for name in names}

    def _draw(self, split: str) -> ImageBatch:
        count = self.train_count if split == "train" else HELD_OUT
        generator = torch.Generator().manual_seed(("train", "val", "test").index(split))
        modes = torch.arange(count) % self.num_classes
        points = self.centres[modes] + self.sigma * torch.randn(count, 2, generator=generator)
        return ImageBatch(self.to_images(points), modes)

    def to_float(self, batch: ImageBatch) -> ImageBatch:
        """Gives a loader's batch back: it is what models take."""
        return batch


class RingDataModule(MixtureDataModule):
    """Points of Gaussians on a circle (Metz et al. 2016; with these numbers Srivastava et al. 2017 and Lin et al.
    2018); nothing to download. Batches are `ImageBatch`.

    Mode k lies at radius (cos 2 pi k / modes, sin 2 pi k / modes); its number is the label. Each mode has as many
    points, give or take one; validation and test have 2,500 points each. Images are (2, 1, 1): the square from
    -1.5 radius to 1.5 radius, the `extent`, is mapped to [0, 1] along both axes, and `to_points` maps back. The points
    are float32 on the host already, and the same for everyone and every seed.

    Args:
        modes: Gaussians on the circle.
        radius: of the circle.
        sigma: standard deviation of each Gaussian, along each axis; at most radius / 20, so that every point lies in
            the square.
        train_count: training points.
        batch_size: points per batch and process.
        num_workers: worker processes of the loaders; 0 is the fastest for a set in memory.
        seed: draws the order of the training batches.

    Raises:
        DataError: for an option out of its range.
    """

    def __init__(
        self,
        modes: int = 8,
        radius: float = 1.0,
        sigma: float = 0.01,
        train_count: int = 100_000,
        batch_size: int = 100,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        self.check_least(("modes", modes, 1))
        self.check_finite("radius", radius)
        angles = torch.arange(modes, dtype=torch.float64) * (2 * math.pi / modes)
        super().__init__(
            centres=radius * torch.stack([angles.cos(), angles.sin()], 1),
            margin=radius / 2,
            sigma=sigma,
            train_count=train_count,
            batch_size=batch_size,
            num_workers=num_workers,
            seed=seed,
        )
        self.modes = modes
        self.radius = radius


class GridDataModule(MixtureDataModule):
    """Points of Gaussians on a square grid (with these numbers Srivastava et al. 2017 and Lin et al. 2018); nothing to
    download. Batches are `ImageBatch`.

    The centres lie `spacing` apart around the origin; the label of the one in column i from the left and row j from
    below is side i + j. Each mode has as many points, give or take one; validation and test have 2,500 points each.
    Images are (2, 1, 1): the square that ends half a spacing beyond the outermost centres (`extent`) is mapped to
    [0, 1] along both axes, and `to_points` maps back. The points are float32 on the host already, and the same for
    everyone and every seed. `centres`, (side side, 2), and `sigma` are in the points' own coordinates.

    Args:
        side: Gaussians in a row, and rows.
        spacing: between neighbouring centres.
        sigma: standard deviation of each Gaussian, along each axis; at most spacing / 20, so that every point lies in
            the square.
        train_count: training points.
        batch_size: points per batch and process.
        num_workers: worker processes of the loaders; 0 is the fastest for a set in memory.
        seed: draws the order of the training batches.

    Raises:
        DataError: for an option out of its range.
    """

    def __init__(
        self,
        side: int = 5,
        spacing: float = 2.0,
        sigma: float = 0.05,
        train_count: int = 100_000,
        batch_size: int = 100,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        self.check_least(("side", side, 1))
        self.check_finite("spacing", spacing)
        line = (torch.arange(side, dtype=torch.float64) - (side - 1) / 2) * spacing
        super().__init__(
            centres=torch.cartesian_prod(line, line),
            margin=spacing / 2,
            sigma=sigma,
            train_count=train_count,
            batch_size=batch_size,
            num_workers=num_workers,
            seed=seed,
        )
        self.side = side
        self.spacing = spacing
