"""The ranges of images."""

from torch import Tensor


def to_signed(images: Tensor) -> Tensor:
    """[0, 1] -> [-1, 1], the range of the networks."""
    return images * 2 - 1


def to_unit(images: Tensor) -> Tensor:
    """[-1, 1] -> [0, 1], the range of everything outside."""
    return (images + 1) / 2
