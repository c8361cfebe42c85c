"""Scenes of spheres, boxes and planes, ray-cast: images with exact depth."""

import math

import torch
from torch import Tensor

FIELD_OF_VIEW = 60.0  # degrees, horizontally
NEAR, FAR = 1.5, 9.0  # metres between which objects lie
LIGHT = (-0.5, -0.8, -0.6)  # where it comes from: from the left, above, behind the camera


def rays(height: int, width: int) -> Tensor:
    """(height, width, 3): each pixel's direction, z forward and 1, y downward; depth is measured along z."""
    half = math.tan(math.radians(FIELD_OF_VIEW) / 2)
    x = ((torch.arange(width) + 0.5) / width * 2 - 1) * half
    y = ((torch.arange(height) + 0.5) / height * 2 - 1) * half * height / width
    rows, columns = torch.meshgrid(y, x, indexing="ij")
    return torch.stack([columns, rows, torch.ones_like(rows)], -1)


def hit_plane(directions: Tensor, normal: Tensor, distance: float) -> Tensor:
    """Depth at which each ray meets the plane normal . p = distance; infinite where it never does."""
    along = directions @ normal
    depth = distance / along
    return torch.where((along != 0) & (depth > 0), depth, torch.inf)


def hit_sphere(directions: Tensor, centre: Tensor, radius: float) -> Tensor:
    """Depth at which each ray first meets the sphere."""
    a = directions.square().sum(-1)
    b = directions @ centre
    discriminant = b.square() - a * (centre.square().sum() - radius**2)
    depth = (b - discriminant.clamp_min(0).sqrt()) / a
    return torch.where((discriminant >= 0) & (depth > 0), depth, torch.inf)


def hit_box(directions: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """Depth at which each ray enters the box, and the axis of the side that it enters by."""
    first, second = low / directions, high / directions
    enter, axis = torch.minimum(first, second).max(-1)
    leave = torch.maximum(first, second).amin(-1)
    return torch.where((enter <= leave) & (enter > 0), enter, torch.inf), axis


def make_scene(height: int, width: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """A room with objects: uint8 (3, H, W) and its exact depth, float32 (1, H, W) in metres.

    Args:
        height: pixels.
        width: pixels.
        generator: on the CPU; it draws the room, the objects, their places, sizes, colours and textures.
    """

    def draw(low: float, high: float) -> float:
        return low + (high - low) * float(torch.rand((), generator=generator))

    directions = rays(height, width)
    floor, back = draw(0.9, 1.5), draw(FAR - 2, FAR)
    candidates = []
    for x, y, z, distance in ((0, 1, 0, floor), (0, 0, 1, back), (0, -1, 0, draw(1.2, 2.0))):  # the last is the ceiling
        normal = torch.tensor((x, y, z), dtype=torch.float)
        candidates.append((hit_plane(directions, normal, distance), -normal.expand_as(directions)))
    for number in range(int(draw(3, 7))):
        away = draw(NEAR, back - 0.5)
        side = draw(-0.5, 0.5) * away
        if number % 2:
            radius = draw(0.2, 0.6)
            centre = torch.tensor((side, floor - radius, away))
            depth = hit_sphere(directions, centre, radius)
            points = directions * torch.where(depth.isinf(), 0, depth)[..., None]
            candidates.append((depth, (points - centre) / radius))
        else:
            size = torch.tensor((draw(0.3, 0.9), draw(0.3, 1.2), draw(0.3, 0.9)))
            low = torch.tensor((side - float(size[0]) / 2, floor - float(size[1]), away))
            depth, axis = hit_box(directions, low, low + size)
            sign = -directions.gather(-1, axis[..., None]).sign()
            candidates.append((depth, torch.zeros_like(directions).scatter(-1, axis[..., None], sign)))
    nearest = torch.stack([depth for depth, _ in candidates]).min(0)
    depth, which = nearest.values, nearest.indices
    normals = torch.stack([normal for _, normal in candidates]).gather(
        0, which[None, ..., None].expand(1, *which.shape, 3)
    )[0]
    points = directions * depth[..., None]
    colours = 0.25 + 0.7 * torch.rand(len(candidates), 3, generator=generator)
    spacing = 0.15 + 0.35 * torch.rand(len(candidates), 1, generator=generator)
    # A chequered texture fixed to the surfaces: squares shrink with the distance, as they do for an eye.
    squares = ((points + 20) / spacing[which]).floor().sum(-1) % 2
    light = torch.nn.functional.normalize(torch.tensor(LIGHT), dim=0)
    shade = 0.35 + 0.65 * (normals @ light).clamp_min(0)
    picture = colours[which] * (0.7 + 0.3 * squares)[..., None] * shade[..., None]
    return (picture.clamp(0, 1) * 255).round().to(torch.uint8).permute(2, 0, 1), depth[None]
