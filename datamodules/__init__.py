"""Data modules for PyTorch Lightning; they know nothing of any model.

Their loaders yield uint8 images on the host; in a Trainer the data module converts them on the device to
float32 (N, C, H, W) in [0, 1], and `to_float(batch)` does the same anywhere else. Depth is float32 metres
(N, 1, H, W), 0 where there is no measurement; class maps are int64 (N, H, W); points in the plane are images (2, 1, 1),
float32 in [0, 1] on the host already. A batch is an `ImageBatch(image, label)` or a `PairBatch(source, target)`, and
unpacks as a tuple.
"""

from datamodules.batches import ImageBatch, PairBatch
from datamodules.celeba import CelebADataModule
from datamodules.depth_pairs import DepthPairsDataModule
from datamodules.depth_scenes import DepthScenesDataModule
from datamodules.dfd_indoor import DFDIndoorDataModule
from datamodules.digits import DigitsDataModule
from datamodules.errors import DataError
from datamodules.facades import FacadesDataModule
from datamodules.image_folder import ImageFolderDataModule
from datamodules.mixtures import GridDataModule, RingDataModule
from datamodules.mnist import FashionMNISTDataModule, MNISTDataModule
from datamodules.nyu import NYUDepthDataModule
from datamodules.painted_digits import PaintedDigitsDataModule
from datamodules.paired_images import PairedImagesDataModule
from datamodules.sample_photos import SamplePhotosDataModule
from datamodules.shape_pairs import ShapePairsDataModule
from datamodules.stacked_mnist import StackedMNISTDataModule

__all__ = [
    "CelebADataModule",
    "DFDIndoorDataModule",
    "DataError",
    "DepthPairsDataModule",
    "DepthScenesDataModule",
    "DigitsDataModule",
    "FacadesDataModule",
    "FashionMNISTDataModule",
    "GridDataModule",
    "ImageBatch",
    "ImageFolderDataModule",
    "MNISTDataModule",
    "NYUDepthDataModule",
    "PaintedDigitsDataModule",
    "PairBatch",
    "PairedImagesDataModule",
    "RingDataModule",
    "SamplePhotosDataModule",
    "ShapePairsDataModule",
    "StackedMNISTDataModule",
]
