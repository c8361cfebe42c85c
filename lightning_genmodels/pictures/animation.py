"""Moving pictures."""

from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from lightning_genmodels.pictures.grid import Picture


def save_gif(frames: Sequence[Picture], path: str | Path, seconds: float = 0.08) -> None:
    """Writes frames as a GIF that repeats without end, with the folders that lead to it.

    Args:
        frames: uint8 (H, W, 3) each, of one size; 1 or more.
        path: the file.
        seconds: how long each is shown.
    """
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    first, *others = (Image.fromarray(frame) for frame in frames)
    first.save(path, format="GIF", save_all=True, append_images=others, duration=round(1000 * seconds), loop=0)
