"""Digits painted with drawn factors, which are known: embedded."""

import torch
from torch import Tensor
from torch.nn import functional
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as transforms

from datamodules.base import Split, SplitDataModule, seeded_split
from datamodules.batches import ImageBatch
from datamodules.digits import load_digit_images
from datamodules.in_memory import MemorySplit
from datamodules.seeding import batch_generator

SIZE = 32
ATTRIBUTES = ("digit", "slant", "thickness", "ink_red", "ink_green", "ink_blue",
              "ground_red", "ground_green", "ground_blue")  # fmt: skip
SLANT = 0.5  # at most, either way: pixels to the right for each one up
THRESHOLDS = (0.65, 0.25)  # of the ink, for the thinnest and the thickest strokes
SHARPNESS = 12.0


def paint(digits: Tensor, factors: Tensor) -> Tensor:
    """Paints digits.

    Args:
        digits: uint8 (N, 1, 8, 8).
        factors: (N, 8): slant in [-1, 1], thickness in [0, 1], and the colours of ink and ground in [0, 1].

    Returns:
        uint8 (N, 3, 32, 32).
    """
    ink = transforms.resize(digits, [SIZE, SIZE], InterpolationMode.BICUBIC, antialias=True).float() / 255
    slant, thickness = factors[:, 0] * SLANT, factors[:, 1]
    theta = torch.eye(2, 3).repeat(len(digits), 1, 1)
    theta[:, 0, 1] = slant  # y points down: the upper half goes to the right
    ink = functional.grid_sample(ink, functional.affine_grid(theta, list(ink.shape), False), align_corners=False)
    threshold = THRESHOLDS[0] + (THRESHOLDS[1] - THRESHOLDS[0]) * thickness
    cover = ((ink - threshold.view(-1, 1, 1, 1)) * SHARPNESS).sigmoid()
    ink_colour, ground = factors[:, 2:5, None, None], factors[:, 5:8, None, None]
    return ((cover * ink_colour + (1 - cover) * ground) * 255).round().to(torch.uint8)


class PaintedDigitsDataModule(SplitDataModule):
    """scikit-learn's digits at 32x32 pixels, painted with drawn factors; nothing to download. Batches are `ImageBatch`.

    Labels are the truth, float32 (N, 9): the digit, 0 to 9; its slant, -1 (to the left) to 1; the thickness of the
    strokes, 0 to 1; red, green and blue of the ink and of the ground, 0 to 1, which differ in brightness by .3 or more.
    So what a latent direction changes can be measured. The set is the same for everyone and every seed; the splits
    share no digit.

    Args:
        copies: how many times each digit is painted.
        batch_size: images per batch and process.
        num_workers: worker processes of the loaders; 0 is the fastest for a set in memory.
        val_fraction: share of the training digits held out for validation.
        seed: draws the validation split and the order of the training batches.

    Raises:
        DataError: for an option out of its range.
    """

    image_size = SIZE
    attribute_names = ATTRIBUTES
    image_shape = (3, SIZE, SIZE)

    def __init__(
        self,
        copies: int = 4,
        batch_size: int = 64,
        num_workers: int = 0,
        val_fraction: float = 0.1,
        seed: int = 0,
    ) -> None:
        super().__init__(batch_size=batch_size, num_workers=num_workers, seed=seed)
        self.check_least(("copies", copies, 1))
        self.check_fraction("val_fraction", val_fraction)
        self.copies = copies
        self.val_fraction = val_fraction

    def read_splits(self, names: tuple[str, ...]) -> dict[str, Split]:
        """Paints the splits."""
        splits: dict[str, Split] = {}
        if "train" in names or "val" in names:
            painted, labels = self._paint(train=True)
            count = len(labels) // self.copies
            train, val = seeded_split(count, round(count * self.val_fraction), self.seed)
            for name, rows in (("train", train), ("val", val)):
                rows = (torch.arange(self.copies)[:, None] * count + rows).flatten()
                splits[name] = MemorySplit(ImageBatch(painted[rows], labels[rows]))
        if "test" in names:
            splits["test"] = MemorySplit(ImageBatch(*self._paint(train=False)))
        return splits

    def _paint(self, train: bool) -> tuple[Tensor, Tensor]:
        digits, classes = load_digit_images(train)
        generator = batch_generator(0 if train else 1, 0, 0)
        count = len(digits) * self.copies
        factors = torch.rand(count, 8, generator=generator)
        factors[:, 0] = 2 * factors[:, 0] - 1
        # Ink is dark on light ground or light on dark: its brightness is moved away from the ground's.
        light = torch.rand(count, 1, generator=generator) < 0.5
        bright, dark = factors[:, 2:5] * 0.35 + 0.65, factors[:, 5:8] * 0.35
        factors[:, 2:5], factors[:, 5:8] = torch.where(light, bright, dark), torch.where(light, dark, bright)
        labels = torch.cat([classes.repeat(self.copies)[:, None].float(), factors], 1)
        return paint(digits.repeat(self.copies, 1, 1, 1), factors), labels

    def to_float(self, batch: ImageBatch) -> ImageBatch:
        """Converts a loader's batch to the one that models take, where it lies."""
        return ImageBatch(batch.image.float().div_(255), batch.label)
