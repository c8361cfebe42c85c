"""How far patches of generated images lie from those of real ones, scale by scale. S is the size of an image."""

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from lightning_genmodels.errors import GenmodelsError
from lightning_genmodels.metrics.collection import RealAgainstFake
from lightning_genmodels.metrics.features import to_bytes

PATCH = 7  # pixels in a row
SMALLEST = 16  # pixels in a row of the coarsest level
IMAGES = 1024  # images whose levels and patches are made at a time
DIRECTIONS = 8  # directions in which patches are sorted at a time


def _smoothed(images: Tensor) -> Tensor:
    """(N, C, H, W) under the binomial window of 5 pixels, mirrored at the borders."""
    line = images.new_tensor([1, 4, 6, 4, 1]) / 16
    n, channels, height, width = images.shape
    padded = functional.pad(images.reshape(n * channels, 1, height, width), (2, 2, 2, 2), mode="reflect")
    return functional.conv2d(padded, line.outer(line)[None, None]).reshape(images.shape)


def _enlarged(images: Tensor) -> Tensor:
    """(N, C, H, W) -> (N, C, 2 H, 2 W): zeros between the pixels, smoothed."""
    n, channels, height, width = images.shape
    spread = images.new_zeros(n, channels, 2 * height, 2 * width)
    spread[..., ::2, ::2] = 4 * images
    return _smoothed(spread)


def level_sizes(height: int, width: int) -> list[int]:
    """The smaller side of each level, the image's own first: halved while it is even and 16 pixels or more remain."""
    sizes = [min(height, width)] if min(height, width) >= SMALLEST else []
    while sizes and sizes[-1] >= 2 * SMALLEST and height % 2 == 0 and width % 2 == 0:
        height, width = height // 2, width // 2
        sizes.append(min(height, width))
    return sizes


def laplacian_pyramid(images: Tensor, levels: int) -> list[Tensor]:
    """(N, C, H, W) -> as many tensors, each half the size of the one before (Burt and Adelson 1983).

    Each but the last is what the next one, enlarged, leaves of the image at its size; the last is the image itself,
    smoothed and halved.
    """
    pyramid = [images]
    for _ in range(levels - 1):
        pyramid.append(_smoothed(pyramid[-1])[..., ::2, ::2])
    finer = [fine - _enlarged(coarse) for fine, coarse in pairwise(pyramid)]
    return [*finer, pyramid[-1]]


def _sorted(rows: Tensor) -> Tensor:
    # NumPy's takes a third of the time of torch's on a CPU.
    if rows.is_cpu:
        array = rows.numpy()
        array.sort(-1)
        return rows
    return rows.sort(-1).values


def sliced_wasserstein(x: Tensor, y: Tensor, directions: Tensor) -> Tensor:
    """The Wasserstein-1 distance of the projections on each direction, in the mean over them, a scalar.

    Args:
        x: (N, D) points.
        y: (N, D), as many.
        directions: (K, D), of length 1.
    """
    total = x.new_zeros((), dtype=torch.float64)
    for part in directions.split(DIRECTIONS):
        near = (_sorted(part @ points.T) for points in (x, y))
        total += (next(near) - next(near)).abs().mean(1).double().sum()
    return total / len(directions)


class SlicedWasserstein(RealAgainstFake):
    """Sliced Wasserstein distance between patches of real and of generated images (Karras et al. 2018), times 1000.

    The patches are of 7x7 pixels, of each level of the images' Laplacian pyramid from their own size down to 16 pixels,
    and normalised channel by channel, real and generated ones each by themselves. Images are taken as bytes, as
    pictures are stored. Small at the finest level is a likeness of detail, at the coarsest one of large structure.

    Args:
        patches: of an image, at each level.
        directions: on which they are projected; the paper has 4 times 128.
        seed: draws the patches and the directions, from a generator of its own.
        kwargs: those of `torchmetrics.Metric`.

    `compute` gives {"swd_64", "swd_32", "swd_16", "swd"} for images of 64 pixels, scalars of 0 or more, the last the
    mean of the others. Images whose size is odd are not halved. Raises GenmodelsError for an option out of its range;
    in `update`, for images of fewer than 16 pixels; in `compute`, for fewer than 2 images, and for another number of
    generated than of real ones.
    """

    higher_is_better = False

    def __init__(self, patches: int = 128, directions: int = 512, seed: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        for name, value in (("patches", patches), ("directions", directions)):
            if value < 1:
                raise GenmodelsError(f"{type(self).__name__}: {name} is {value}; expected 1 or more.")
        self.patches = patches
        self.directions = directions
        self.seed = seed

    def keep(self, images: Tensor) -> Tensor:
        """(N, C, H, W) -> the same as bytes, which take a quarter of the memory."""
        images = to_bytes(images)
        if not level_sizes(*images.shape[-2:]):
            raise GenmodelsError(
                f"{type(self).__name__}: images are {tuple(images.shape[1:])}; expected {SMALLEST} pixels or more."
            )
        return images

    def compute(self) -> dict[str, Tensor]:
        """The distance of each level over all images collected, and their mean."""
        real, fake = self.collected(2, "2 or more")
        if real.shape != fake.shape:
            raise GenmodelsError(
                f"{type(self).__name__}: real images are {tuple(real.shape)} and generated ones {tuple(fake.shape)}; "
                "expected as many, of the same shape."
            )
        sizes = level_sizes(*real.shape[-2:])
        generator = torch.Generator().manual_seed(self.seed)
        scores = {}
        for level, size in enumerate(sizes):
            x, y = (self._descriptors(images, level, len(sizes), generator) for images in (real, fake))
            directions = functional.normalize(torch.randn(self.directions, x.shape[1], generator=generator))
            scores[f"swd_{size}"] = 1000 * sliced_wasserstein(x, y, directions.to(x)).float()
        return scores | {"swd": torch.stack(list(scores.values())).mean()}

    def _descriptors(self, images: Tensor, level: int, levels: int, generator: torch.Generator) -> Tensor:
        """(N, C, H, W) bytes -> (N patches, C 7 7), normalised."""
        parts = []
        for part in images.split(IMAGES):
            pictures = laplacian_pyramid(part.float(), levels)[level]
            windows = pictures.unfold(2, PATCH, 1).unfold(3, PATCH, 1)  # (n, C, rows, columns, 7, 7), a view
            row, column = (
                torch.randint(windows.shape[side], (len(part), self.patches), generator=generator).to(images.device)
                for side in (2, 3)
            )
            image = torch.arange(len(part), device=images.device)[:, None]
            parts.append(windows[image, :, row, column].flatten(0, 1))  # (n patches, C, 7, 7)
        patches = torch.cat(parts)
        patches -= patches.mean((0, 2, 3), keepdim=True)
        # One channel may be all alike.
        patches /= patches.std((0, 2, 3), keepdim=True, correction=0).clamp_min(1e-8)
        return patches.flatten(1)
