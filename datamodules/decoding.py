"""Picture files as tensors: what a person would see, or what a sensor measured."""

import io
import re
import struct
import zlib
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from datamodules.errors import DataError

IMAGE_SUFFIXES = frozenset((".jpg", ".jpeg", ".jfif", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".ppm", ".pgm"))
PNG, PNG_BITS = b"\x89PNG\r\n\x1a\n", 24  # how it begins, and where its header has the number of bits
# Decoders raise these for a file that is not whole; Pillow in particular has no class of its own for it.
DAMAGED = (UnidentifiedImageError, OSError, ValueError, TypeError, SyntaxError, EOFError, IndexError, KeyError,
           ArithmeticError, RuntimeError, MemoryError, struct.error, zlib.error,
           Image.DecompressionBombError)  # fmt: skip


def read_bytes(path: Path) -> bytes:
    """A file's contents.

    Raises:
        DataError: where it cannot be read, or is empty.
    """
    try:
        data = path.read_bytes()
    except (OSError, ValueError) as error:  # a name with a zero byte is a ValueError
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{path} cannot be read ({reason}); expected a picture.") from error
    if not data:
        raise DataError(f"{path} is empty; expected a picture.")
    return data


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
    try:
        # By Pillow: torchvision has deprecated its decoders, and that of PNGs ends the process at a damaged file.
        with Image.open(io.BytesIO(data)) as opened:
            return as_seen(opened, channels)
    except DAMAGED as error:
        raise DataError(f"{path} is damaged or no picture ({_reason(error)}).") from error


def as_seen(opened: Image.Image, channels: int) -> Tensor:
    """What `read_image` gives, of a picture that Pillow has opened, or of the present frame of several."""
    opened.load()
    picture: Image.Image = ImageOps.exif_transpose(opened)
    if picture.mode == "F":
        raise ValueError("floating-point values have no colour")
    if picture.mode.startswith("I"):  # 16 bits, which Pillow would clip to 8
        values = np.asarray(picture).astype(np.int64)
        if "transparency" in picture.info:  # the one value that is
            values[values == picture.info["transparency"]] = 65535
        picture = Image.fromarray((values / 257).round().clip(0, 255).astype(np.uint8))
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
    data = read_bytes(path)
    try:
        with Image.open(io.BytesIO(data)) as opened:
            opened.load()
            found = {"L": 8, "P": 8, "1": 1, "I": 16, "F": 32}.get(opened.mode.split(";")[0])
            if opened.mode == "L" and data.startswith(PNG):
                found = data[PNG_BITS]  # fewer than 8 have been scaled
            if found != bits:
                kind = (
                    f"{found} bit{'s' * (found > 1)}" if found else f"{len(opened.getbands())} channels ({opened.mode})"
                )
                raise DataError(f"{path} has {kind}; expected one channel of {bits} bits.")
            numbers = np.array(opened)
            if data[:2] in (b"P2", b"P5") and (top := _largest(data)) != 2**bits - 1:  # Pillow has scaled them
                raise DataError(f"{path} has values up to {top}; expected up to {2**bits - 1}.")
            if bits == 16 and not 0 <= numbers.min() <= numbers.max() < 2**16:  # of a TIFF of 32 bits
                raise DataError(f"{path} holds {numbers.min()} to {numbers.max()}; expected 16 bits, 0 to 65535.")
    except DAMAGED as error:
        raise DataError(f"{path} is damaged or no picture ({_reason(error)}).") from error
    kinds = {8: np.uint8, 16: np.int32, 32: np.float32}
    return torch.from_numpy(numbers.astype(kinds[bits]))[None]


def check_same_size(path: Path, picture: Tensor, other_path: Path, other: Tensor) -> None:
    """Raises DataError unless two pictures (C, H, W), read from these files, have the same height and width."""
    if picture.shape[1:] != other.shape[1:]:
        raise DataError(
            f"{path} has {picture.shape[2]}x{picture.shape[1]} pixels and {other_path} "
            f"{other.shape[2]}x{other.shape[1]}; expected the same size."
        )


def _largest(data: bytes) -> int:
    """The fourth word of a PGM's header: the number that stands for white."""
    return int(re.sub(rb"#[^\n]*", b"", data[:4096]).split()[3])


def _reason(error: BaseException) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "of no known format"
    lines = str(error).splitlines()
    return lines[0].split(". ")[0].rstrip(".") if lines else type(error).__name__
