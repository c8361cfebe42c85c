"""Numbers as colours: depth, and classes."""

import math

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from lightning_genmodels.pictures.grid import Picture

# Nine colours of viridis (van der Walt and Smith 2015), whose brightness rises evenly from one to the next.
VIRIDIS = ("440154", "472d7b", "3b528b", "2c728e", "21918c", "28ae80", "5ec962", "addc30", "fde725")
CAPTION = 20  # pixels
INK = (40, 40, 40)


def depth_colours(depth: Tensor, low: float, high: float) -> Tensor:
    """Depth in a perceptual colour map, near dark and far bright; where there is no measurement, black.

    Args:
        depth: (N, 1, H, W) in metres, 0 for no measurement.
        low: depth of the darkest colour.
        high: depth of the brightest.

    Returns:
        (N, 3, H, W) in [0, 1].
    """
    table = torch.tensor([[int(colour[i : i + 2], 16) / 255 for i in (0, 2, 4)] for colour in VIRIDIS])
    place = ((depth[:, 0].cpu() - low) / max(high - low, 1e-12)).clamp(0, 1) * (len(table) - 1)
    below = place.long().clamp(max=len(table) - 2)
    colours = torch.lerp(table[below], table[below + 1], (place - below)[..., None])
    return torch.where(depth.cpu() > 0, colours.permute(0, 3, 1, 2), torch.zeros(()))


def class_colours(classes: Tensor) -> Tensor:
    """(N, H, W) int64 classes -> (N, 3, H, W) in [0, 1], hues that are far apart for neighbouring numbers."""
    hue = (classes.cpu().double() * 0.618034) % 1 * 6  # the golden ratio: no two of few are alike
    shifts = torch.tensor((5.0, 3.0, 1.0), dtype=torch.float64).view(1, 3, 1, 1)
    turned = (hue[:, None] + shifts) % 6
    value = 0.95 - 0.25 * (classes.cpu()[:, None] % 2)
    return (value * (1 - 0.75 * torch.minimum(turned, 4 - turned).clamp(0, 1))).float()


def with_caption(picture: Picture, text: str) -> Picture:
    """uint8 (H, W, 3) -> (H + 20, W, 3), with a line of text below; where that is longer, wider, white beside it."""
    font = ImageFont.load_default(size=14)
    width = max(picture.shape[1], math.ceil(font.getlength(text)) + 8)
    captioned = Image.new("RGB", (width, picture.shape[0] + CAPTION), "white")
    captioned.paste(Image.fromarray(picture))
    ImageDraw.Draw(captioned).text((4, picture.shape[0] + 2), text, INK, font)
    return np.array(captioned)
