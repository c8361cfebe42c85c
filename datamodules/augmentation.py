"""Random changes of training images, drawn for each image by itself."""

import torch
from torch import Tensor
from torch.nn import functional

from datamodules.seeding import draw

# Standard deviations of the draws.
ROTATION = 0.15  # radians: 9 degrees
SCALE = 0.08  # of either side
SHEAR = 0.12
SHIFT = 0.02  # of half a side: 0.3 pixels of 28


def distort(images: Tensor, share: float, generator: torch.Generator, *, binary: bool = False) -> Tensor:
    """Turns, scales, shears and shifts a share of the images a little.

    Not all of the images: interpolation smooths, if bicubic the least, and a model that saw smoothed strokes only would
    do worse on the real ones.

    Args:
        images: (N, C, H, W) float in [0, 1].
        share: probability of an image to be changed, in [0, 1].
        generator: of the draws, on the CPU.
        binary: takes the nearest pixel instead of interpolating, so that 0 and 1 stay 0 and 1.

    Returns:
        the same shape and range; outside of the image is 0.
    """
    n = len(images)
    angle, scale_x, scale_y, shear, shift_x, shift_y = draw(torch.randn, generator, n, 6).T.to(images)
    chosen = draw(torch.rand, generator, n) < share
    cosine, sine = (ROTATION * angle).cos(), (ROTATION * angle).sin()
    rows = (
        ((1 + SCALE * scale_x) * cosine, SHEAR * shear - sine, SHIFT * shift_x),
        (sine, (1 + SCALE * scale_y) * cosine, SHIFT * shift_y),
    )
    theta = torch.stack([torch.stack(row, -1) for row in rows], 1)
    places = functional.affine_grid(theta, list(images.shape), align_corners=False)
    mode = "nearest" if binary else "bicubic"
    moved = functional.grid_sample(images, places, mode=mode, align_corners=False).clamp(0, 1)
    return torch.where(chosen.to(images.device).view(n, 1, 1, 1), moved, images)


def draw_binary(images: Tensor, generator: torch.Generator) -> Tensor:
    """Sets every pixel to 1 with its value in [0, 1] as the probability, else to 0 (Salakhutdinov and Murray 2008)."""
    return (draw(torch.rand, generator, *images.shape).to(images.device) < images).to(images)
