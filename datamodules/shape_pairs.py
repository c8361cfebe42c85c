"""Drawn façades with their label maps: embedded pairs."""

import torch

from datamodules.base import Split, SplitDataModule
from datamodules.batches import PairBatch
from datamodules.in_memory import MemorySplit
from datamodules.made_facades import CLASSES, colours_of, draw_label_map, render
from datamodules.paired_images import DirectionName, LabelsName, check_direction
from datamodules.seeding import item_generators
from datamodules.transforms import crop_and_flip


class ShapePairsDataModule(SplitDataModule):
    """Façades that are drawn, with their label maps; nothing to download. Batches are `PairBatch`.

    Six classes: sky, wall, window, door, roof, ledge. From map to façade it is one to many: the colour of the bricks
    and which windows are lit are drawn, so that the best a squared or absolute error can do is an average, while
    from façade to map there is one answer. The set is the same for everyone and every seed.

    Args:
        direction: "BtoA": label map to façade, or "AtoB".
        labels: of a target: "colours", an image, or "classes", for segmentation, with direction "AtoB".
        image_size: height and width in pixels, 16 or more.
        train_count: training pairs; validation and test have a fifth of that, 1 at least.
        flip: mirror half of the training pairs.
        batch_size: pairs per batch and process.
        num_workers: worker processes of the loaders; 0 is the fastest for a set in memory.
        seed: of the order of the training batches and of what changes in them.

    Raises:
        DataError: for an option out of its range.
    """

    def __init__(
        self,
        direction: DirectionName = "BtoA",
        labels: LabelsName = "colours",
        image_size: int = 64,
        train_count: int = 500,
        flip: bool = True,
        batch_size: int = 16,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__(batch_size=batch_size, num_workers=num_workers, seed=seed)
        self.check_least(("image_size", image_size, 16), ("train_count", train_count, 1))
        check_direction("ShapePairsDataModule", direction, labels)
        self.direction = direction
        self.labels = labels
        self.image_size = image_size
        self.train_count = train_count
        self.flip = flip
        self.target_classes = len(CLASSES) if labels == "classes" else 0

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(3, H, W) of the source."""
        return (3, self.image_size, self.image_size)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes, where the target is one of them."""
        return CLASSES if self.target_classes else ()

    @property
    def target_channels(self) -> int:
        """Channels of the target, 3 or the number of classes."""
        return self.target_classes or 3

    def read_splits(self, names: tuple[str, ...]) -> dict[str, Split]:
        """Draws the splits."""
        return {name: MemorySplit(self._draw(name)) for name in names}

    def _draw(self, split: str) -> PairBatch:
        generators = item_generators(split, self.train_count)
        maps = [draw_label_map(self.image_size, generator) for generator in generators]
        facades = torch.stack([render(labels, g) for labels, g in zip(maps, generators, strict=True)])
        if self.labels == "classes":
            return PairBatch(facades, torch.stack(maps)[:, None])
        coloured = torch.stack([colours_of(labels) for labels in maps])
        return PairBatch(facades, coloured) if self.direction == "AtoB" else PairBatch(coloured, facades)

    def to_float(self, batch: PairBatch) -> PairBatch:
        """Converts a loader's batch to the one that models take, where it lies."""
        target = batch.target[:, 0].long() if self.target_classes else batch.target.float().div_(255)
        return PairBatch(batch.source.float().div_(255), target)

    def change(self, batch: PairBatch, generator: torch.Generator) -> PairBatch:
        """Converts a training batch; each pair is mirrored at random."""
        return self.to_float(PairBatch(*crop_and_flip(batch, (self.image_size, self.image_size), self.flip, generator)))
