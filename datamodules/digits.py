"""The handwritten digits that scikit-learn ships: no download."""

import torch
from torch import Tensor

from datamodules.errors import DataError
from datamodules.in_memory import BinarizeName, InMemoryDataModule

TEST_FRACTION = 0.1


def load_digit_images(train: bool) -> tuple[Tensor, Tensor]:
    """scikit-learn's digits without, or only, the fixed tenth for tests: uint8 (N, 1, 8, 8) and (N,) int64 classes."""
    from sklearn.datasets import load_digits  # slow to import, and only these sets need it

    digits = load_digits()
    order = torch.randperm(len(digits.target), generator=torch.Generator().manual_seed(0))
    test = round(len(order) * TEST_FRACTION)
    chosen = order[test:] if train else order[:test]
    # Ink comes in 17 levels, 0 to 16.
    images = torch.from_numpy(digits.images).mul(255 / 16).round().to(torch.uint8).unsqueeze(1)
    return images[chosen], torch.from_numpy(digits.target).long()[chosen]


class DigitsDataModule(InMemoryDataModule):
    """1,797 real handwritten digits of 8x8 pixels, embedded in scikit-learn (UCI "Optical Recognition of
    Handwritten Digits", Alpaydin and Kaynak 1998). Batches are `ImageBatch`.

    The set has no official training split: a fixed tenth, the same whatever the seed, is the test split.

    Args:
        batch_size: images per batch and process.
        num_workers: worker processes of the loaders; 0 is the fastest for a set in memory.
        image_size: 8 (as shipped), 16, 28 or 32 pixels (resized, bilinear).
        val_fraction: share of all digits held out for validation, at most 0.8. The default leaves 70 % to train
            on; on much less than its 359 digits, nearest-neighbour scores cannot tell a good model from a fair one.
        seed: draws the validation split, the order of the training batches and what changes in them.
        binarize: pixels become 0 or 1: "threshold" at the middle; "static", drawn once with its value as the
            probability, the same draw for everyone; "dynamic", drawn anew for each training batch (validation and test
            as in "static"); "none" leaves the greys.
        augment: share of the training images that are turned, scaled, sheared and shifted a little, anew in each
            batch, on the device; binary images stay binary.

    Raises:
        DataError: for an option out of its range.
    """

    def __init__(
        self,
        batch_size: int = 64,
        num_workers: int = 0,
        image_size: int = 8,
        val_fraction: float = 0.2,
        seed: int = 0,
        binarize: BinarizeName = "none",
        augment: float = 0.0,
    ) -> None:
        if image_size not in (8, 16, 28, 32):
            raise DataError(f"DigitsDataModule: image_size is {image_size}; expected 8, 16, 28 or 32.")
        if not 0 <= val_fraction <= 0.8:
            raise DataError(f"DigitsDataModule: val_fraction is {val_fraction}; expected 0 to 0.8.")
        super().__init__(
            batch_size=batch_size,
            num_workers=num_workers,
            image_size=image_size,
            val_fraction=val_fraction,
            seed=seed,
            binarize=binarize,
            augment=augment,
        )

    def held_out(self, training_images: int) -> int:
        """How many are for validation: a share of all digits, the test split's included."""
        return round(training_images / (1 - TEST_FRACTION) * self.val_fraction)

    def load(self, train: bool) -> tuple[Tensor, Tensor]:
        """Reads one split; see the base class."""
        return load_digit_images(train)
