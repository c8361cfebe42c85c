"""Maps of classes and of depth as pictures that programs read numbers from and people see colours in."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from lightning_genmodels.pictures.colours import class_colours, depth_colours
from lightning_genmodels.pictures.grid import image_grid, in_colours, save_png, to_uint8


def save_classes(classes: Tensor, path: str | Path) -> None:
    """Writes (H, W) classes from 0 to 255 as an indexed PNG, with the folders that lead to it.

    Its pixels are the numbers, and its palette `class_colours`.
    """
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    palette = to_uint8(class_colours(torch.arange(256).view(1, 1, 256)))[0, :, 0].T
    picture = Image.fromarray(classes.to(torch.uint8).cpu().numpy())
    picture.putpalette(palette.flatten().tolist())
    picture.save(path, format="PNG")


def colour_map_beside(path: Path) -> Path:
    """Where the colours of the depth in a file lie: `name_color.png` beside `name.png`."""
    return path.with_stem(f"{path.stem}_color")


def _range_of(depth: Tensor) -> tuple[float, float]:
    """The nearest and the farthest measurement, in metres; 0 and 1 where there is none."""
    measured = depth[depth > 0]
    return (measured.min().item(), measured.max().item()) if measured.numel() else (0.0, 1.0)


def save_depth(depth: Tensor, path: str | Path) -> None:
    """Writes depth (1, H, W) in metres as a PNG of 16 bits in millimetres, 0 for none and for more than 65.535 m.

    Beside `name.png` lies `name_color.png` in the colours of `depth_colours`, from the nearest to the farthest. The
    folders that lead to them are made.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    numbers = (1000 * depth[0].float()).round()
    millimetres = torch.where((numbers >= 0) & (numbers <= 65535), numbers, 0).cpu().numpy().astype(np.uint16)
    Image.fromarray(millimetres).save(path, format="PNG")
    low, high = _range_of(depth)
    save_png(image_grid(depth_colours(depth[None], low, high), smallest=1, margin=0), colour_map_beside(path))


def save_result(result: Tensor, path: str | Path, depth: bool = False) -> None:
    """Writes one of the results of `translate` as a PNG.

    Args:
        result: an image (C, H, W) in [0, 1], int64 (H, W) classes, or depth (1, H, W).
        path: the file.
        depth: it is depth, which becomes two files.
    """
    if depth:
        save_depth(result, path)
    elif result.ndim == 2:
        save_classes(result, path)
    else:
        save_png(image_grid(in_colours(result[None]), smallest=1, margin=0), path)


def depth_panel(source: Tensor, made: Tensor, target: Tensor) -> tuple[list[Tensor], str]:
    """Images, estimated and measured depth in colours of one scale, and the error in colours of its own.

    Args:
        source: (N, 3, H, W) in [0, 1].
        made: (N, 1, H, W) in metres.
        target: the same shape, 0 where there is no measurement.

    Returns:
        The four, (N, 3, H, W) in [0, 1] each, and a line that states both scales.
    """
    source, made, target = source.cpu(), made.cpu(), target.cpu()
    low, high = _range_of(target)
    largest = (high - low) / 4
    error = torch.where(target > 0, (made - target).abs().clamp_min(1e-6), 0)
    shown = [source, depth_colours(made, low, high), depth_colours(target, low, high), depth_colours(error, 0, largest)]
    return shown, f"depth {low:.2f} to {high:.2f} m; error 0 to {largest:.2f} m"
