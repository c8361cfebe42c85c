"""Plots drawn pixel by pixel: no plotting library for two of them."""

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from lightning_genmodels.pictures.colours import INK, with_caption
from lightning_genmodels.pictures.grid import Picture, image_grid

# Ten hues that differ in brightness too; further labels begin again.
COLOURS = ((31, 119, 180), (255, 127, 14), (44, 160, 44), (214, 39, 40), (148, 103, 189),
           (140, 86, 75), (227, 119, 194), (90, 90, 90), (188, 189, 34), (23, 190, 207))  # fmt: skip
FRAME = (200, 200, 200)
POINT = (2, 1, 1)  # the shape of an "image" that is a point in the plane
POINTS = 2500  # that show what a distribution looks like


def picture_of(images: Tensor, labels: Tensor | None = None, columns: int | None = None) -> Picture:
    """Lays images out in rows; "images" that are points are drawn where they lie in the unit square.

    Args:
        images: (N, C, H, W) in [0, 1], C of 1 or 3; or (N, 2, 1, 1).
        labels: (N,) whole numbers, colours of points.
        columns: images in a row; None makes the grid about square.

    Returns:
        uint8 (H', W', 3).
    """
    if tuple(images.shape[1:]) == POINT:
        return scatter(images.flatten(1), labels, square=(0, 1), named=False)
    return image_grid(images, columns)


def scatter(
    points: Tensor,
    labels: Tensor | None = None,
    size: int = 512,
    square: tuple[float, float] | None = None,
    named: bool = True,
) -> Picture:
    """Draws points in the plane, each in its label's colour, and each label at the median of its points.

    Args:
        points: (N, 2), N of 1 or more; the axes are scaled alike, so that distances show as they are.
        labels: (N,) whole numbers; None draws all in one colour.
        size: pixels a side.
        square: the ends, on both axes, of a square that is drawn and fills the picture; None fills it with the points.
        named: write the labels, which hides a few points.

    Returns:
        uint8 (size, size, 3).
    """
    places = points.detach().cpu().double().numpy()
    low, high = (places.min(0), places.max(0)) if square is None else np.array(square)[:, None]
    scale = 0.9 * size / max(float((high - low).max()), 1e-12)
    places = (places - (low + high) / 2) * scale * (1, -1) + size / 2
    image = Image.new("RGB", (size, size), "white")
    draw = ImageDraw.Draw(image)
    if square is not None:
        draw.rectangle((0.05 * size, 0.05 * size, 0.95 * size, 0.95 * size), outline=FRAME)
    names = torch.zeros(len(points), dtype=torch.int64) if labels is None else labels.detach().cpu()
    for (x, y), name in zip(places.tolist(), names.tolist(), strict=True):
        draw.ellipse((x - 2, y - 2, x + 2, y + 2), fill=COLOURS[int(name) % len(COLOURS)])
    if labels is not None and named:
        font = ImageFont.load_default(size=18)
        for name in names.unique().tolist():
            middle = np.median(places[(names == name).numpy()], axis=0)
            draw.text(tuple(middle), str(name), INK, font, anchor="mm", stroke_width=3, stroke_fill="white")
    return np.asarray(image)


def bars(values: Tensor, line: float, height: int = 256) -> Picture:
    """Draws one bar for each value, in their order, and a horizontal line; says the line's height and the range.

    Args:
        values: (N,), 0 or more each.
        line: height of the line, above 0.
        height: pixels of the bars; the caption comes below.

    Returns:
        uint8 (height + 20, W, 3), W of about 600 or, for many values, as many pixels as there are.
    """
    heights = values.detach().cpu().double().numpy()
    scale = 0.95 * height / max(float(heights.max(initial=0.0)), line)
    width = max(1, 600 // max(1, len(heights)))
    picture = np.full((height, width * max(1, len(heights)), 3), 255, dtype=np.uint8)
    for number, value in enumerate(heights):
        top = height - round(value * scale)
        picture[top:, number * width : (number + 1) * width] = COLOURS[0]
    row = height - round(line * scale)
    picture[max(0, row - 1) : row + 1] = COLOURS[3]
    text = f"line {line:.3g}, bars {min(heights, default=0):.3g} to {max(heights, default=0):.3g}"
    return with_caption(picture, text)
