"""Patches of two photographs: embedded."""

import torch
from torch import Tensor

from datamodules.base import Split, SplitDataModule
from datamodules.batches import ImageBatch
from datamodules.errors import DataError
from datamodules.in_memory import MemorySplit
from datamodules.seeding import batch_generator
from datamodules.transforms import crop_and_flip

VAL_WIDTH = 160  # columns at the right border of the first photograph


class SamplePhotosDataModule(SplitDataModule):
    """Patches of scikit-learn's two sample photographs; nothing to download. Batches are `ImageBatch`.

    Training patches come from the photograph of a Chinese temple, but for 160 columns at its right border, where
    the validation patches lie; test patches come from the other photograph, of a flower. It is meant for denoising and
    super-resolution: one photograph teaches how edges and textures look. Labels are 0. The patches are the same for
    everyone and every seed.

    Args:
        image_size: height and width of a patch in pixels, 8 to 128.
        train_count: training patches; validation and test have a tenth of that, 1 at least.
        flip: mirror half of the training patches, left to right.
        batch_size: patches per batch and process.
        num_workers: worker processes of the loaders; 0 is the fastest for a set in memory.
        seed: of the order of the training batches and of what changes in them.

    Raises:
        DataError: for an option out of its range.
    """

    def __init__(
        self,
        image_size: int = 64,
        train_count: int = 1000,
        flip: bool = True,
        batch_size: int = 32,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__(batch_size=batch_size, num_workers=num_workers, seed=seed)
        self.check_least(("train_count", train_count, 1))
        if not 8 <= image_size <= 128:
            raise DataError(f"SamplePhotosDataModule: image_size is {image_size}; expected 8 to 128.")
        self.image_size = image_size
        self.train_count = train_count
        self.flip = flip

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(3, H, W)."""
        return (3, self.image_size, self.image_size)

    def read_splits(self, names: tuple[str, ...]) -> dict[str, Split]:
        """Cuts the patches."""
        from sklearn.datasets import load_sample_images  # slow to import, and only this set needs it

        temple, flower = (torch.from_numpy(photo.copy()).permute(2, 0, 1) for photo in load_sample_images().images)
        parts = {"train": temple[..., :-VAL_WIDTH], "val": temple[..., -VAL_WIDTH:], "test": flower}
        return {name: MemorySplit(self._cut(parts[name], name)) for name in names}

    def _cut(self, photo: Tensor, split: str) -> ImageBatch:
        count = self.train_count if split == "train" else max(1, self.train_count // 10)
        draws = torch.rand(count, 2, generator=batch_generator(0, 0, 0))
        spare = torch.tensor(photo.shape[1:]) - self.image_size + 1
        patches = [
            photo[:, top : top + self.image_size, left : left + self.image_size]
            for top, left in (draws * spare).long().tolist()
        ]
        return ImageBatch(torch.stack(patches), torch.zeros(count, dtype=torch.int64))

    def to_float(self, batch: ImageBatch) -> ImageBatch:
        """Converts a loader's batch to the one that models take, where it lies."""
        return batch._replace(image=batch.image.float().div_(255))

    def change(self, batch: ImageBatch, generator: torch.Generator) -> ImageBatch:
        """Converts a training batch, and with `flip` mirrors half of it."""
        (images,) = crop_and_flip([batch.image], (self.image_size, self.image_size), self.flip, generator)
        return self.to_float(batch._replace(image=images))
