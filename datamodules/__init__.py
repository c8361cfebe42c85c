"""Data modules for PyTorch Lightning; they know nothing of any model.

Their loaders yield uint8 images on the host; in a Trainer the data module converts them on the device to
float32 (N, C, H, W) in [0, 1], and `to_float(batch)` does the same anywhere else.
"""

from datamodules.batches import ImageBatch
from datamodules.digits import DigitsDataModule
from datamodules.errors import DataError
from datamodules.mnist import FashionMNISTDataModule, MNISTDataModule

__all__ = ["DataError", "DigitsDataModule", "FashionMNISTDataModule", "ImageBatch", "MNISTDataModule"]
