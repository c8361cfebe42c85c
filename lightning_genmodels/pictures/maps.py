"""Maps of classes as pictures that programs read numbers from and people see colours in."""

from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from lightning_genmodels.pictures.colours import class_colours
from lightning_genmodels.pictures.grid import image_grid, save_png, to_uint8


def save_classes(classes: Tensor, path: str | Path) -> None:
    """Writes (H, W) classes from 0 to 255 as an indexed PNG, with the folders that lead to it.

    Its pixels are the numbers, and its palette `class_colours`.
    """
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    palette = to_uint8(class_colours(torch.arange(256).view(1, 1, 256)))[0, :, 0].T
    picture = Image.fromarray(classes.to(torch.uint8).cpu().numpy())
    picture.putpalette(palette.flatten().tolist())
    picture.save(path, format="PNG")


def save_result(result: Tensor, path: str | Path) -> None:
    """Writes one of the results of `translate` as a PNG: an image (C, H, W) in [0, 1], or int64 (H, W) classes."""
    if result.ndim == 2:
        save_classes(result, path)
    else:
        save_png(image_grid(result[None], smallest=1, margin=0), path)
