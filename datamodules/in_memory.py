"""Image sets that fit in memory: uint8 tensors, split by a seed, batched by index."""

from abc import abstractmethod
from functools import partial
from typing import Literal, get_args

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor
from torchvision.transforms.v2 import functional as transforms

from datamodules.augmentation import batch_generator, distort, draw_binary
from datamodules.batches import ImageBatch
from datamodules.errors import DataError
from datamodules.loader import EpochSampler, ResumableLoader

BinarizeName = Literal["none", "threshold", "static", "dynamic"]


def _pick(data: ImageBatch, index: Tensor) -> ImageBatch:
    """One batch; a function of the module, so that spawned workers can receive it."""
    # index_select copies whole images; data.image[index] would go byte by byte, nine times slower.
    return ImageBatch(data.image.index_select(0, index), data.label.index_select(0, index))


class InMemoryDataModule(LightningDataModule):
    """Splits, batches and converts what a subclass's `load` reads; not used by itself.

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
        super().__init__()
        name = type(self).__name__
        for option, value, least in (
            ("batch_size", batch_size, 1),
            ("num_workers", num_workers, 0),
            ("image_size", image_size, 1),
            ("seed", seed, 0),
        ):
            if value < least:
                raise DataError(f"{name}: {option} is {value}; expected {least} or more.")
        if not 0 <= val_fraction < 1:
            raise DataError(f"{name}: val_fraction is {val_fraction}; expected at least 0 and below 1.")
        if binarize not in get_args(BinarizeName):
            raise DataError(f"{name}: binarize is {binarize!r}; expected one of {', '.join(get_args(BinarizeName))}.")
        if not 0 <= augment <= 1:
            raise DataError(f"{name}: augment is {augment}; expected 0 to 1, a share of the images.")
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.image_size = image_size
        self.val_fraction = val_fraction
        self.seed = seed
        self.binarize = binarize
        self.augment = augment
        self._splits: dict[str, ImageBatch] = {}

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

    def setup(self, stage: str | None = None) -> None:
        """Reads what `stage` needs ("fit", "validate", "test", "predict"; None is all) and splits it."""
        if stage in ("fit", "validate", None) and "train" not in self._splits:
            images, labels = self._load_resized(train=True)
            order = torch.randperm(len(images), generator=torch.Generator().manual_seed(self.seed))
            held_out = self.held_out(len(images))
            val, train = order[:held_out].sort().values, order[held_out:].sort().values
            fixed = self._binarized_once(images, train=True) if self.binarize == "dynamic" else images
            self._splits["val"] = ImageBatch(fixed[val], labels[val])
            self._splits["train"] = ImageBatch(images[train], labels[train])
        if stage in ("test", "predict", None) and "test" not in self._splits:
            self._splits["test"] = ImageBatch(*self._load_resized(train=False))

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

    def _split(self, split: str) -> ImageBatch:
        if split not in self._splits:
            raise DataError(f"{type(self).__name__}: the {split} split is not read yet; expected setup() first.")
        return self._splits[split]

    def _loader(self, split: str, shuffle: bool = False) -> ResumableLoader:
        data = self._split(split)
        rank, world_size = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        needed = self.batch_size * world_size
        if shuffle and len(data.image) < needed:
            raise DataError(
                f"{type(self).__name__}: batch_size is {self.batch_size} on {world_size} process(es), "
                f"but the training split has {len(data.image)} images; expected at most that many in a batch."
            )
        sampler = EpochSampler(
            len(data.image), self.batch_size, shuffle=shuffle, seed=self.seed, rank=rank, world_size=world_size
        )
        return ResumableLoader(partial(_pick, data), sampler, self.num_workers)

    def train_dataloader(self) -> ResumableLoader:
        """Shuffled batches of the training split; the incomplete last one is dropped."""
        return self._loader("train", shuffle=True)

    def val_dataloader(self) -> ResumableLoader | list[ResumableLoader]:
        """The validation split in its own order; no loader where `val_fraction` is 0."""
        return self._loader("val") if len(self._split("val").image) else []

    def test_dataloader(self) -> ResumableLoader:
        """The test split in its own order; it is never trained on."""
        return self._loader("test")

    def predict_dataloader(self) -> ResumableLoader:
        """The test split, for predictions."""
        return self._loader("test")

    def to_float(self, batch: ImageBatch) -> ImageBatch:
        """Converts a loader's uint8 batch to the float32 batch in [0, 1] that models take, where it lies.

        With binarize "dynamic" it draws the pixels of a training batch as well, for the same images the same each time.
        """
        images = batch.image.float().div_(255)
        if self.binarize == "dynamic":  # which leaves those of the other splits, drawn once, as they are
            images = draw_binary(images, batch_generator(self.seed, int(batch.image.sum()), 0))
        return batch._replace(image=images)

    def on_after_batch_transfer(self, batch: ImageBatch, dataloader_idx: int) -> ImageBatch:
        """Lightning's hook: converts on the device, where training images are also augmented and drawn anew."""
        trainer = self.trainer
        if trainer is None or not trainer.training or not (self.augment or self.binarize == "dynamic"):
            return self.to_float(batch)
        # It runs before every callback's hook, and so before ExactResume seeds: the draws have a source of their own.
        generator = batch_generator(self.seed, trainer.fit_loop.total_batch_idx, trainer.global_rank)
        images = batch.image.float().div_(255)
        if self.augment:
            images = distort(images, self.augment, generator, binary=self.binarize in ("threshold", "static"))
        if self.binarize == "dynamic":
            images = draw_binary(images, generator)
        return batch._replace(image=images)
