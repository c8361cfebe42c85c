"""Sets that are whole in memory: tensors, split by a seed, batched by index."""

from abc import abstractmethod
from typing import Any, Literal, get_args

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as transforms

from datamodules.augmentation import distort, draw_binary
from datamodules.base import Split, SplitDataModule, seeded_split
from datamodules.batches import ImageBatch
from datamodules.errors import DataError
from datamodules.seeding import batch_generator

BinarizeName = Literal["none", "threshold", "static", "dynamic"]


class MemorySplit:
    """A split that is one batch, a NamedTuple of tensors (N, ...)."""

    def __init__(self, batch: Any) -> None:
        self.batch = batch

    def __len__(self) -> int:
        return len(self.batch[0])

    def fetch(self, index: Tensor) -> Any:
        """(B,) int64 numbers -> a batch."""
        # index_select copies whole images; tensor[index] would go byte by byte, nine times slower.
        return type(self.batch)(*(tensor.index_select(0, index) for tensor in self.batch))


class InMemoryDataModule(SplitDataModule):
    """Splits, batches and converts the images that a subclass's `load` reads; not used by itself.

    The images stay on the host as uint8 and become float32 in [0, 1] on the device, after the transfer.

    Args:
        batch_size: images per batch and process.
        num_workers: worker processes of the loaders; 0 is the fastest for a set in memory.
        image_size: height and width in pixels; smaller or larger originals are resized once, while loading.
        val_fraction: share of the training images held out for validation, in [0, 1).
        seed: draws the validation split, the order of the training batches and what changes in them.
        binarize: pixels become 0 or 1: "threshold" at the middle; "static", drawn once with its value as the
            probability, the same draw for everyone; "dynamic", drawn anew for each training batch (validation and test
            as in "static"); "none" leaves the greys.
        augment: share of the training images that are turned, scaled, sheared and shifted a little, anew in each
            batch, on the device; binary images stay binary.

    Raises:
        DataError: for an option out of its range, or a training split smaller than one batch.
    """

    channels = 1
    class_names: tuple[str, ...] = tuple(str(digit) for digit in range(10))

    def __init__(
        self,
        *,
        batch_size: int,
        num_workers: int,
        image_size: int,
        val_fraction: float,
        seed: int,
        binarize: BinarizeName,
        augment: float,
    ) -> None:
        super().__init__(batch_size=batch_size, num_workers=num_workers, seed=seed)
        self.check_least(("image_size", image_size, 1))
        self.check_fraction("val_fraction", val_fraction)
        name = type(self).__name__
        if binarize not in get_args(BinarizeName):
            raise DataError(f"{name}: binarize is {binarize!r}; expected one of {', '.join(get_args(BinarizeName))}.")
        if not 0 <= augment <= 1:
            raise DataError(f"{name}: augment is {augment}; expected 0 to 1, a share of the images.")
        self.image_size = image_size
        self.val_fraction = val_fraction
        self.binarize = binarize
        self.augment = augment

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W), known before any image is read."""
        return (self.channels, self.image_size, self.image_size)

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @abstractmethod
    def load(self, train: bool) -> tuple[Tensor, Tensor]:
        """Reads one official split.

        Args:
            train: the training images (which include the validation ones), else the test images.

        Returns:
            images (N, C, H, W) uint8 of any size, and labels (N,) int64.
        """

    def held_out(self, training_images: int) -> int:
        """How many of the training images are for validation."""
        return round(training_images * self.val_fraction)

    def read_splits(self, names: tuple[str, ...]) -> dict[str, Split]:
        """Reads the training and the validation split together."""
        splits: dict[str, Split] = {}
        if "train" in names or "val" in names:
            images, labels = self._load_resized(train=True)
            train, val = seeded_split(len(images), self.held_out(len(images)), self.seed)
            fixed = self._binarized_once(images, train=True) if self.binarize == "dynamic" else images
            splits["train"] = MemorySplit(ImageBatch(images[train], labels[train]))
            splits["val"] = MemorySplit(ImageBatch(fixed[val], labels[val]))
        if "test" in names:
            splits["test"] = MemorySplit(ImageBatch(*self._load_resized(train=False)))
        return splits

    def _load_resized(self, train: bool) -> tuple[Tensor, Tensor]:
        images, labels = self.load(train)
        if images.shape[-2:] != (self.image_size, self.image_size):
            images = transforms.resize(images, [self.image_size, self.image_size], antialias=True)
        if self.binarize == "threshold":
            images = (images >= 128).to(torch.uint8) * 255
        elif self.binarize == "static" or (self.binarize == "dynamic" and not train):
            images = self._binarized_once(images, train)
        return images, labels

    def _binarized_once(self, images: Tensor, train: bool) -> Tensor:
        # Not from `seed`: it is one data set, whoever trains on it.
        generator = torch.Generator().manual_seed(0 if train else 1)
        parts = [draw_binary(part.float() / 255, generator) for part in images.split(10_000)]
        return torch.cat([part.to(torch.uint8) for part in parts]) * 255

    def to_float(self, batch: ImageBatch) -> ImageBatch:
        """Converts a loader's uint8 batch to the float32 batch in [0, 1] that models take, where it lies.

        With binarize "dynamic" it draws the pixels of a training batch as well, for the same images the same each time.
        """
        images = batch.image.float().div_(255)
        if self.binarize == "dynamic":  # which leaves those of the other splits, drawn once, as they are
            images = draw_binary(images, batch_generator(self.seed, int(batch.image.sum()), 0))
        return batch._replace(image=images)

    def change(self, batch: ImageBatch, generator: torch.Generator) -> ImageBatch:
        """Converts a training batch; its images are augmented and drawn anew."""
        images = batch.image.float().div_(255)
        if self.augment:
            images = distort(images, self.augment, generator, binary=self.binarize in ("threshold", "static"))
        if self.binarize == "dynamic":
            images = draw_binary(images, generator)
        return batch._replace(image=images)
