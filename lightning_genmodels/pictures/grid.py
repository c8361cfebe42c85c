"""Image grids."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn.functional import pad
from torchvision.utils import make_grid

Picture = NDArray[np.uint8]


def to_uint8(images: Tensor) -> Tensor:
    """Floats in [0, 1] -> bytes in [0, 255], rounded; what lies outside is clamped. Any shape."""
    return images.detach().float().clamp(0, 1).mul(255).round().to(torch.uint8).cpu()


def in_colours(images: Tensor) -> Tensor:
    """(N, C, H, W) -> the same, or its first three channels of more, or its first of two, as pictures have them."""
    return images[:, :3] if images.shape[1] >= 3 else images[:, :1]


def image_grid(images: Tensor, columns: int | None = None, smallest: int = 32, margin: int = 2) -> Picture:
    """Lays images out in rows.

    Args:
        images: (N, C, H, W) in [0, 1], C of 1 or 3, N of 1 or more.
        columns: images in a row; None makes the grid about square.
        smallest: images of less pixels a side are enlarged to it by a whole factor, each pixel a square.
        margin: pixels around each image.

    Returns:
        uint8 (H', W', 3), which every logger and file format shows alike.
    """
    scale = max(1, -(-smallest // max(images.shape[-2:])))
    enlarged = to_uint8(images).repeat_interleave(scale, -2).repeat_interleave(scale, -1)
    columns = columns or math.ceil(math.sqrt(len(images)))
    grid: Any = make_grid(enlarged, nrow=columns, padding=margin, pad_value=128)
    if len(images) == 1:  # make_grid leaves a single image without a margin
        grid = pad(grid, [margin] * 4, value=128)
    return np.ascontiguousarray(grid.permute(1, 2, 0).numpy())


def save_png(picture: Picture, path: str | Path) -> None:
    """Writes uint8 (H, W, 3) as a PNG, with the folders that lead to it."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path, format="PNG")
