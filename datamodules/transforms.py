"""Changes of whole batches, on the device; what is drawn at random, is drawn for each item by itself."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as transforms

from datamodules.seeding import draw


def crop_and_flip(
    tensors: Sequence[Tensor], size: tuple[int, int], flip: bool, generator: torch.Generator | None
) -> list[Tensor]:
    """Cuts the same window out of each item's tensors, and mirrors the same half of the items.

    Args:
        tensors: (N, C, H, W) each, with the same N, H and W.
        size: height and width of the window, at most H and W.
        flip: mirror half of the items, left to right.
        generator: on the CPU; None takes the window in the middle and mirrors none.

    Returns:
        (N, C, *size) each.
    """
    n, _, height, width = tensors[0].shape
    spare = torch.tensor([height - size[0], width - size[1]])
    if generator is None:
        corner, mirrored = (spare // 2).expand(n, 2), torch.zeros(n, dtype=torch.bool)
    else:
        # Always drawn, so that neither option changes what the other draws.
        draws = draw(torch.rand, generator, n, 3)
        corner, mirrored = (draws[:, :2] * (spare + 1)).long(), (draws[:, 2] < 0.5) & flip
    if spare.any():
        places = corner.tolist()  # slices copy whole rows; an index for each pixel would be many times slower
        tensors = [
            torch.stack([t[:, y : y + size[0], x : x + size[1]] for t, (y, x) in zip(ts, places, strict=True)])
            for ts in tensors
        ]
    return [mirror(tensor, mirrored) for tensor in tensors]


def mirror(tensor: Tensor, chosen: Tensor) -> Tensor:
    """(N, C, H, W) -> the same with the chosen items, (N,) bool on the CPU, mirrored left to right."""
    if not chosen.any():
        return tensor
    # Item by item: `where` over the whole batch takes five times as long.
    return torch.stack([item.flip(-1) if new else item for item, new in zip(tensor, chosen.tolist(), strict=True)])


def resize_image(image: Tensor, size: tuple[int, int]) -> Tensor:
    """uint8 (C, H, W) -> (C, *size), bicubic, antialiased."""
    if tuple(image.shape[-2:]) == size:
        return image
    resized: Tensor = transforms.resize(image, list(size), InterpolationMode.BICUBIC, antialias=True)
    return resized


def resize_nearest(values: Tensor, size: tuple[int, int]) -> Tensor:
    """(C, H, W) of any type -> (C, *size); every value is one that was there, of the pixel around the new centre."""
    rows, columns = (
        ((torch.arange(new) + 0.5) * (old / new)).long().clamp(max=old - 1)
        for new, old in zip(size, values.shape[-2:], strict=True)
    )
    return values[..., rows[:, None], columns]


def square_crop(image: Tensor, share: float = 1.0) -> Tensor:
    """(C, H, W) -> the central square whose side is `share` of the shorter side."""
    side = max(1, round(min(image.shape[-2:]) * share))
    top, left = ((old - side) // 2 for old in image.shape[-2:])
    return image[..., top : top + side, left : left + side]
