"""Ray-cast scenes with exact depth: embedded."""

import torch

from datamodules.base import Split, SplitDataModule
from datamodules.batches import PairBatch
from datamodules.depth_augmentation import move_pairs
from datamodules.errors import DataError
from datamodules.in_memory import MemorySplit
from datamodules.made_scenes import make_scene
from datamodules.seeding import item_generators


class DepthScenesDataModule(SplitDataModule):
    """Rooms with spheres and boxes, ray-cast, textured and lit, with exact depth; nothing to download.

    Batches are `PairBatch`: float32 metres along the camera's axis, from about 1 to 9. The camera sees 60 degrees from
    left to right. The set is the same for everyone and every seed.

    Args:
        image_size: height and width in pixels, 16 or more each.
        train_count: training pairs; validation and test have a fifth of that, 1 at least.
        flip: mirror half of the training pairs.
        batch_size: pairs per batch and process.
        num_workers: worker processes of the loaders; 0 is the fastest for a set in memory.
        seed: of the order of the training batches and of what changes in them.

    Raises:
        DataError: for an option out of its range.
    """

    target_channels = 1

    def __init__(
        self,
        image_size: tuple[int, int] = (64, 80),
        train_count: int = 500,
        flip: bool = True,
        batch_size: int = 16,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__(batch_size=batch_size, num_workers=num_workers, seed=seed)
        self.check_least(("train_count", train_count, 1))
        if len(image_size) != 2 or min(image_size) < 16:
            raise DataError(
                f"DepthScenesDataModule: image_size is {tuple(image_size)}; expected height and width, 16 or more each."
            )
        self.image_size = (image_size[0], image_size[1])
        self.train_count = train_count
        self.flip = flip

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(3, H, W) of the image."""
        return (3, *self.image_size)

    def read_splits(self, names: tuple[str, ...]) -> dict[str, Split]:
        """Makes the splits."""
        return {name: MemorySplit(self._make(name)) for name in names}

    def _make(self, split: str) -> PairBatch:
        generators = item_generators(split, self.train_count)
        images, depths = zip(*(make_scene(*self.image_size, generator) for generator in generators), strict=True)
        return PairBatch(torch.stack(images), torch.stack(depths))

    def to_float(self, batch: PairBatch) -> PairBatch:
        """Converts a loader's batch to the one that models take, where it lies."""
        return PairBatch(batch.source.float().div_(255), batch.target)

    def change(self, batch: PairBatch, generator: torch.Generator) -> PairBatch:
        """Converts a training batch; each pair is mirrored at random."""
        return PairBatch(*move_pairs(*self.to_float(batch), self.flip, 0.0, 1.0, generator))
