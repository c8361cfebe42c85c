"""Batches in parts."""

from typing import Any

import torch
from lightning_utilities.core.apply_func import apply_to_collection
from torch import Tensor


def parts_of_groups(length: int, least: int, group: int) -> int:
    """How many equal parts are of whole groups of images: `least`, up to twice as many, or where none is, `least`."""
    return next((parts for parts in range(least, 2 * least + 1) if length % (parts * group) == 0), least)


def split_batch(batch: Any, parts: int) -> list[tuple[Any, float]]:
    """Splits every tensor of a batch along its first dimension.

    Args:
        batch: a tensor, or a tuple, list or dict of them, all of one length.
        parts: how many parts; at most the batch's length.

    Returns:
        The parts, of the batch's own type, each with its share of the batch's length.
    """
    if parts == 1:
        return [(batch, 1.0)]
    lengths: list[int] = []
    apply_to_collection(batch, Tensor, lambda t: lengths.append(len(t)))
    length = lengths[0]
    parts = min(parts, length)
    chunks = [apply_to_collection(batch, Tensor, lambda t, i=i: t.tensor_split(parts)[i]) for i in range(parts)]
    sizes = [len(share) for share in torch.arange(length).tensor_split(parts)]
    return [(chunk, size / length) for chunk, size in zip(chunks, sizes, strict=True)]
