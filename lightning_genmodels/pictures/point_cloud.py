"""A picture and its depth as points in space: files, and a turn around them."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from lightning_genmodels.pictures.grid import Picture, to_uint8

SWAY = 12.0  # degrees to either side
FRAMES = 24


class Camera(NamedTuple):
    """A pinhole camera's intrinsics, in pixels; the middle of the upper left pixel is (0, 0).

    Attributes:
        fx: focal length to the right.
        fy: focal length down.
        cx: where its axis meets the picture, from the left.
        cy: from above.
    """

    fx: float
    fy: float
    cx: float
    cy: float


def camera_of(size: tuple[int, int], field_of_view: float) -> Camera:
    """One that looks at the middle of a picture of that height and width, and sees so many degrees across it."""
    height, width = size
    focal = width / (2 * math.tan(math.radians(field_of_view) / 2))
    return Camera(focal, focal, (width - 1) / 2, (height - 1) / 2)


def points_of(depth: Tensor, image: Tensor, camera: Camera) -> tuple[Tensor, Tensor]:
    """The pixels that have a measurement as points in space.

    Args:
        depth: (1, H, W) in metres along the camera's axis, 0 where there is no measurement.
        image: (3, H, W) in [0, 1].
        camera: that took the picture.

    Returns:
        (M, 3) metres to the right, down and away, and uint8 (M, 3) colours.
    """
    depth = depth[0].cpu().float()
    height, width = depth.shape
    down, right = torch.meshgrid(torch.arange(height) - camera.cy, torch.arange(width) - camera.cx, indexing="ij")
    measured = depth > 0
    points = torch.stack([right * depth / camera.fx, down * depth / camera.fy, depth], -1)[measured]
    return points, to_uint8(image).permute(1, 2, 0)[measured]


def save_ply(points: Tensor, colours: Tensor, path: str | Path) -> None:
    """Writes points (M, 3) and their uint8 (M, 3) colours as a binary PLY, with the folders that lead to it."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    kinds = [(axis, "<f4") for axis in "xyz"] + [(colour, "u1") for colour in ("red", "green", "blue")]
    rows = np.empty(len(points), dtype=kinds)
    for number, (name, _) in enumerate(kinds):
        rows[name] = (points if number < 3 else colours)[:, number % 3].numpy()
    names = {"<f4": "float", "u1": "uchar"}
    header = ["ply", "format binary_little_endian 1.0", f"element vertex {len(points)}"]
    header += [f"property {names[kind]} {name}" for name, kind in kinds] + ["end_header"]
    Path(path).write_bytes("\n".join(header).encode() + b"\n" + rows.tobytes())


def seen_from(
    points: Tensor, colours: Tensor, angle: float, camera: Camera, size: tuple[int, int], pivot: float
) -> Picture:
    """What a camera sees that has gone to the side, still looking at the middle of the scene.

    Args:
        points: (M, 3), as of `points_of`.
        colours: uint8 (M, 3).
        angle: degrees around the vertical axis `pivot` metres away; 0 is where the picture was taken.
        camera: as that which took the picture.
        size: height and width of the picture.
        pivot: see there.

    Returns:
        uint8 (H, W, 3), black where there is nothing; of two points in one pixel the nearer. Points also fill the empty
        pixels to their right and below, as the turn draws surfaces apart.
    """
    turn = math.radians(angle)
    x, z = points[:, 0], points[:, 2] - pivot
    x, z = math.cos(turn) * x + math.sin(turn) * z, math.cos(turn) * z - math.sin(turn) * x + pivot
    height, width = size
    column = (camera.fx * x / z + camera.cx).round().long()
    row = (camera.fy * points[:, 1] / z + camera.cy).round().long()
    inside = (z > 0) & (row >= 0) & (row < height) & (column >= 0) & (column < width)
    order = z[inside].argsort(descending=True)
    rows, columns, shown = (values[inside][order].numpy() for values in (row, column, colours))
    picture = np.zeros((height, width, 3), dtype=np.uint8)
    empty = np.ones((height, width), dtype=bool)
    # Of an assignment to one place several times, NumPy keeps the last.
    picture[rows, columns] = shown
    empty[rows, columns] = False
    for down, right in ((0, 1), (1, 0), (1, 1)):
        below, beside = np.minimum(rows + down, height - 1), np.minimum(columns + right, width - 1)
        free = empty[below, beside]
        picture[below[free], beside[free]] = shown[free]
    return picture


def turn(points: Tensor, colours: Tensor, camera: Camera, size: tuple[int, int]) -> Sequence[Picture]:
    """The frames of a camera that sways to both sides of the scene and comes back; see `seen_from`."""
    pivot = points[:, 2].median().item()
    angles = [SWAY * math.sin(2 * math.pi * number / FRAMES) for number in range(FRAMES)]
    return [seen_from(points, colours, angle, camera, size, pivot) for angle in angles]
