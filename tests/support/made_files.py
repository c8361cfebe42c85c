"""Picture files that tests make for themselves."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image


def coordinates(height, width, blue=0):
    """uint8 (3, H, W): red is the column and green the row, so that every pixel says where it comes from."""
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack([columns, rows, torch.full_like(rows, blue)]).to(torch.uint8)


def save(path, values):
    """Writes uint8 (3, H, W) in colour, or (H, W) in grey of 8 or 16 bits."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    array = np.asarray(values)
    Image.fromarray(np.ascontiguousarray(array.transpose(1, 2, 0) if array.ndim == 3 else array)).save(path)


def stacked(loader):
    """The batches of a loader as one."""
    return [torch.cat(parts) for parts in zip(*loader, strict=True)]
