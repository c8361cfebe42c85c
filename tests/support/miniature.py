"""Miniature data sets in the formats of the real ones."""

from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from torchvision.transforms.v2 import functional as transforms


def write_mnist(root: str | Path, name: str = "MNIST", train: int = 200, test: int = 60) -> None:
    digits = load_digits()
    images = torch.from_numpy(digits.images[: train + test] * (255 / 16)).to(torch.uint8)
    images = transforms.resize(images.unsqueeze(1), [28, 28], antialias=True).squeeze(1).numpy()
    labels = digits.target[: train + test].astype(np.uint8)
    raw = Path(root, name, "raw")
    raw.mkdir(parents=True, exist_ok=True)
    for split, part in (("train", slice(train)), ("t10k", slice(train, train + test))):
        write_idx(raw / f"{split}-images-idx3-ubyte", images[part])
        write_idx(raw / f"{split}-labels-idx1-ubyte", labels[part])


def write_idx(path: str | Path, array: np.ndarray) -> None:
    # Two zero bytes, 8 for uint8, the number of dimensions; then the dimensions, big-endian.
    header = np.array([0x0800 + array.ndim, *array.shape], ">u4")
    Path(path).write_bytes(header.tobytes() + array.astype(np.uint8).tobytes())
