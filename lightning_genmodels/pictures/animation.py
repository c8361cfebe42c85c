"""Moving pictures."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from lightning_genmodels.pictures.grid import Picture


def save_animation(frames: Sequence[Picture], path: str | Path, seconds: float | Sequence[float] = 0.08) -> None:
    """Writes frames as a GIF or a WebP that repeats without end, with the folders that lead to it.

    Args:
        frames: uint8 (H, W, 3) each, of one size; 1 or more.
        path: the file; one that ends in .webp is a WebP, without loss of colours, any other a GIF.
        seconds: how long each is shown, or one number for all.
    """
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    first, *others = (Image.fromarray(frame) for frame in frames)
    shown = [seconds] * len(frames) if isinstance(seconds, int | float) else seconds
    duration = [round(1000 * each) for each in shown]
    kind: dict[str, Any] = (
        {"format": "WEBP", "lossless": True} if Path(path).suffix.lower() == ".webp" else {"format": "GIF"}
    )
    first.save(path, save_all=True, append_images=others, duration=duration, loop=0, **kind)
