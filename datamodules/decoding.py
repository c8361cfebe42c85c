"""Picture files as tensors: what a person would see, or what a sensor measured."""

import io
import re
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor
from torchvision.io import ImageReadMode, decode_jpeg, decode_png

from datamodules.errors import DataError

IMAGE_SUFFIXES = frozenset((".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".ppm", ".pgm"))
JPEG, PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
PNG_DEPTH, PNG_COLOUR = 24, 25  # where a PNG's header says how many bits, and of what
# Decoders raise these for a file that is not whole; Pillow in particular has no class of its own for it.
DAMAGED = (UnidentifiedImageError, OSError, ValueError, TypeError, SyntaxError, EOFError, IndexError, KeyError,
           OverflowError, RuntimeError, MemoryError, Image.DecompressionBombError)  # fmt: skip


def read_bytes(path: Path) -> bytes:
    """A file's contents.

    Raises:
        DataError: where it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); expected a picture.") from error


def read_image(path: Path, channels: int = 3) -> Tensor:
    """A picture as a person sees it: turned as its EXIF data say, with its palette, 16 bits as 8, on white paper.

    Args:
        path: the file.
        channels: 3 for colour, 1 for grey.

    Returns:
        uint8 (channels, H, W).

    Raises:
        DataError: for a file that cannot be read, is no picture or is damaged.
    """
    data = read_bytes(path)
    if not data:
        raise DataError(f"{path} is empty; expected a picture.")
    try:
        mode = ImageReadMode.RGB if channels == 3 else ImageReadMode.GRAY
        buffer = torch.frombuffer(bytearray(data), dtype=torch.uint8)
        if data.startswith(JPEG):
            image: Tensor = decode_jpeg(buffer, mode=mode, apply_exif_orientation=True)
        elif _is_plain_png(data):
            image = decode_png(buffer, mode=mode, apply_exif_orientation=True)
        else:
            image = _decode_any(data, channels)
    except DAMAGED as error:
        raise DataError(f"{path} is damaged or no picture ({_reason(error)}).") from error
    return image


def _is_plain_png(data: bytes) -> bool:
    """Of 8 bits, grey or colour, and nothing transparent."""
    if not data.startswith(PNG) or len(data) <= PNG_COLOUR:
        return False
    return data[PNG_DEPTH] == 8 and data[PNG_COLOUR] in (0, 2) and b"tRNS" not in data[: data.find(b"IDAT")]


def _decode_any(data: bytes, channels: int) -> Tensor:
    with Image.open(io.BytesIO(data)) as opened:
        opened.load()
        picture: Image.Image = ImageOps.exif_transpose(opened)
    if picture.mode == "F":
        raise ValueError("floating-point values have no colour")
    if picture.mode.startswith("I"):  # 16 bits, which Pillow would clip to 8
        picture = Image.fromarray((np.asarray(picture).astype(np.int64) / 257).round().clip(0, 255).astype(np.uint8))
    if picture.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in picture.info:
        paper = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(paper, picture.convert("RGBA"))
    pixels = np.array(picture.convert("RGB" if channels == 3 else "L"))
    return torch.from_numpy(pixels.reshape(*pixels.shape[:2], channels)).permute(2, 0, 1).contiguous()


def read_numbers(path: Path, bits: int) -> Tensor:
    """A grey picture's stored numbers, unscaled: a depth map or a class map.

    Args:
        path: the file.
        bits: 8 or 16, as it has to have, or 32 for floating point (TIFF).

    Returns:
        (1, H, W), uint8 for 8 bits, int32 for 16, float32 for 32.

    Raises:
        DataError: for a file that cannot be read, is damaged, or is of another kind.
    """
    try:
        with Image.open(io.BytesIO(read_bytes(path))) as opened:
            opened.load()
            found = {"L": 8, "P": 8, "1": 1, "I": 16, "F": 32}.get(opened.mode.split(";")[0])
            if found != bits:
                kind = f"{found} bits" if found else f"{len(opened.getbands())} channels ({opened.mode})"
                raise DataError(f"{path} has {kind}; expected one channel of {bits} bits.")
            numbers = np.array(opened)
    except DAMAGED as error:
        raise DataError(f"{path} is damaged or no picture ({_reason(error)}).") from error
    kinds = {8: np.uint8, 16: np.int32, 32: np.float32}
    return torch.from_numpy(numbers.astype(kinds[bits]))[None]


def _reason(error: BaseException) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "of no known format"
    lines = str(error).splitlines()
    # torchvision's begin with the place in its own source.
    return re.sub(r"^decode_\w+, \S+, ", "", lines[0]).rstrip(".") if lines else type(error).__name__
