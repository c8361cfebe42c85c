"""Random changes of images with depth, which stay registered."""

import math

import torch
from torch import Tensor
from torch.nn import functional

from datamodules.seeding import draw
from datamodules.transforms import mirror


def move_pairs(
    images: Tensor, depths: Tensor, flip: bool, rotation: float, zoom: float, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Mirrors, turns and enlarges each image and its depth alike, and divides the depth by the enlargement.

    Images are interpolated, depths taken from the nearest pixel; what comes from outside is 0 in both, which is no
    measurement.

    Args:
        images: float (N, C, H, W).
        depths: float32 (N, 1, H, W) in metres.
        flip: mirror half of the pairs.
        rotation: degrees, at most this many either way.
        zoom: at most this factor, 1 or more: what is twice as large in the image is half as far.
        generator: on the CPU.
    """
    n, _, height, width = images.shape
    draws = draw(torch.rand, generator, n, 3)
    mirrored = (draws[:, 0] < 0.5) & flip
    if not rotation and zoom == 1:
        return mirror(images, mirrored), mirror(depths, mirrored)
    side = torch.where(mirrored, -1.0, 1.0)
    angle = (2 * draws[:, 1] - 1) * math.radians(rotation)
    scale = 1 + draws[:, 2] * (zoom - 1)
    # Where each new pixel comes from; in coordinates of -1 to 1 a turn of an oblong image shears.
    cosine, sine = angle.cos() / scale, angle.sin() / scale
    zero = torch.zeros(n)
    theta = torch.stack([torch.stack([side * cosine, -side * sine * (height / width), zero], -1),
                         torch.stack([sine * (width / height), cosine, zero], -1)], 1)  # fmt: skip
    places = functional.affine_grid(theta.to(images.device), [n, 1, height, width], align_corners=False)
    # Not grid_sample's zeros outside: interpolation would mix them into the pixels at the border.
    inside = (places.abs() <= 1).all(-1)[:, None]
    moved = inside * functional.grid_sample(images, places, "bilinear", "border", align_corners=False)
    depth = inside * functional.grid_sample(depths, places, "nearest", "border", align_corners=False)
    return moved, depth / scale.to(depths.device).view(n, 1, 1, 1)


def vary_colours(images: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Changes contrast, brightness and each channel of each image by factors of 1 - share to 1 + share.

    Args:
        images: float (N, C, H, W) in [0, 1].
        share: 0 leaves them as they are.
        generator: on the CPU.
    """
    n, channels = images.shape[:2]
    factors = (1 + share * (2 * draw(torch.rand, generator, n, 2 + channels) - 1)).to(images.device)
    contrast, brightness, colours = factors[:, :1], factors[:, 1:2], factors[:, 2:]
    if not share:
        return images
    mean = images.mean((1, 2, 3), keepdim=True)
    varied = (images - mean) * contrast.view(n, 1, 1, 1) + mean
    return (varied * (brightness * colours).view(n, channels, 1, 1)).clamp(0, 1)
