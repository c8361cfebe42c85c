"""Stacked MNIST: three digits in the three colours, a thousand classes."""

from collections.abc import Iterator
from typing import Literal, get_args

import torch
from torch import Tensor

from datamodules.base import Split, seeded_split
from datamodules.batches import ImageBatch
from datamodules.errors import DataError
from datamodules.loader import EpochSampler, ResumableLoader
from datamodules.mnist import MNISTDataModule
from datamodules.seeding import batch_generator

StackingName = Literal["fixed", "on_the_fly"]
DigitsName = Literal["train", "all"]

VAL_FRACTION = 0.1  # of the training digits
VAL_COUNT = 10_000
TEST_COUNT = 26_000
PLACES = torch.tensor([100, 10, 1])  # of a label's three digits


def draw_stacks(rows: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """(R,) numbers of digits -> (count, 3) of them, each drawn by itself, every one as likely."""
    return rows[torch.randint(len(rows), (count, 3), generator=generator)]


class StackedSplit:
    """Stacks that are known by the numbers of their digits, and put together when they are fetched.

    Args:
        digits: uint8 (N, 1, H, W) with their classes, int64 (N,).
        stacks: (M, 3) int64, the numbers of the digits in red, green and blue.
    """

    def __init__(self, digits: ImageBatch, stacks: Tensor) -> None:
        self.digits = digits
        self.stacks = stacks

    def __len__(self) -> int:
        return len(self.stacks)

    def fetch(self, index: Tensor) -> ImageBatch:
        """(B,) int64 numbers -> uint8 (B, 3, H, W) and int64 (B,)."""
        rows = self.stacks[index]
        images = self.digits.image.index_select(0, rows.flatten())
        return ImageBatch(images.view(-1, 3, *images.shape[2:]), (self.digits.label[rows] * PLACES).sum(1))


class FreshSplit(StackedSplit):
    """Stacks that are drawn anew for every epoch; epoch e has the numbers from e M to (e + 1) M - 1.

    Args:
        digits: uint8 (N, 1, H, W) with their classes, int64 (N,).
        rows: (R,) int64, the numbers of the digits to draw from.
        count: M, the stacks of an epoch.
        seed: of the draws.
    """

    def __init__(self, digits: ImageBatch, rows: Tensor, count: int, seed: int) -> None:
        self.rows = rows
        self.count = count
        self.seed = seed
        self.epoch = 0
        super().__init__(digits, self._drawn(0))

    def _drawn(self, epoch: int) -> Tensor:
        return draw_stacks(self.rows, self.count, batch_generator(self.seed, epoch, 0))

    def fetch(self, index: Tensor) -> ImageBatch:
        """(B,) int64 numbers, all of one epoch -> uint8 (B, 3, H, W) and int64 (B,)."""
        # A whole epoch's draws take milliseconds, and what a number stands for depends on no other number fetched.
        epoch = int(index[0]) // self.count
        if epoch != self.epoch:
            self.epoch, self.stacks = epoch, self._drawn(epoch)
        return super().fetch(index % self.count)


class FreshSampler(EpochSampler):
    """The order of an `EpochSampler`, with the numbers that a `FreshSplit` has in the epoch."""

    def __iter__(self) -> Iterator[Tensor]:
        for index in super().__iter__():
            yield index + self.epoch * self.length


class StackedMNISTDataModule(MNISTDataModule):
    """Three of MNIST's digits in red, green and blue: 1,000 classes, to count the modes of a GAN with (Metz et al.
    2016, Srivastava et al. 2017). Batches are `ImageBatch`.

    The label is 100 red + 10 green + blue. Digits are as frequent as in MNIST, so that classes are nearly, not quite,
    uniform: .7 to 1.4 in a thousand. The test stacks hold all of them; the KL divergence of their shares from uniform
    is .022, which no generator of true digits can be expected to fall below.

    A tenth of the 60,000 training digits makes the 10,000 validation stacks; MNIST's 10,000 test digits make the 26,000
    test stacks, as many as published counts of modes take from a generator. Both, and fixed training stacks, are the
    same for everyone and every seed. In memory are the digits, and of each stack their numbers.

    Args:
        data_dir: folder of all data sets; the files lie in `MNIST/raw` under it. None is the environment variable
            GENMODELS_DATA, else `data`.
        stacking: "fixed": the training stacks are drawn once; "on_the_fly": anew for every epoch.
        digits: what training stacks are drawn from: "train", the training digits without those of validation; "all",
            all 70,000, as for the scores of PacGAN (Lin et al. 2018). Validation and test then hold digits that were
            seen in training, in other stacks: their scores say nothing of new digits.
        train_count: training stacks of an epoch; the default is PacGAN's.
        image_size: height and width in pixels; 28 as published, else resized (bilinear, antialiased).
        batch_size: images per batch and process.
        num_workers: worker processes of the loaders; 0 is the fastest for a set in memory.
        seed: draws the order of the training batches, and the stacks that are made on the fly.
        download: fetch the files where they are missing.

    Raises:
        DataError: for an option out of its range; files that are missing and cannot be fetched; a file that is
            damaged.
    """

    channels = 3
    class_names = tuple(f"{label:03}" for label in range(1000))

    def __init__(
        self,
        data_dir: str | None = None,
        stacking: StackingName = "fixed",
        digits: DigitsName = "train",
        train_count: int = 128_000,
        image_size: int = 28,
        batch_size: int = 64,
        num_workers: int = 0,
        seed: int = 0,
        download: bool = True,
    ) -> None:
        super().__init__(
            data_dir=data_dir,
            batch_size=batch_size,
            num_workers=num_workers,
            image_size=image_size,
            val_fraction=VAL_FRACTION,
            seed=seed,
            download=download,
        )
        self.check_least(("train_count", train_count, 1))
        for option, value, names in (("stacking", stacking, StackingName), ("digits", digits, DigitsName)):
            if value not in get_args(names):
                raise DataError(
                    f"StackedMNISTDataModule: {option} is {value!r}; expected one of {', '.join(get_args(names))}."
                )
        self.stacking = stacking
        self.digits = digits
        self.train_count = train_count

    def read_splits(self, names: tuple[str, ...]) -> dict[str, Split]:
        """Reads all digits, and draws the stacks of all splits."""
        parts = [self._load_resized(train) for train in (True, False)]
        digits = ImageBatch(*(torch.cat(tensors) for tensors in zip(*parts, strict=True)))
        count = len(parts[0][1])
        train, val = seeded_split(count, self.held_out(count), 0)  # not by `seed`: it is one set, whoever trains on it
        test = torch.arange(count, len(digits.label))
        if self.digits == "all":
            train = torch.arange(len(digits.label))
        drawn = {
            name: StackedSplit(digits, draw_stacks(rows, number, torch.Generator().manual_seed(place)))
            for place, (name, rows, number) in enumerate(
                [("train", train, self.train_count), ("val", val, VAL_COUNT), ("test", test, TEST_COUNT)]
            )
        }
        if self.stacking == "on_the_fly":
            drawn["train"] = FreshSplit(digits, train, self.train_count, self.seed)
        return dict(drawn)

    def _loader(self, name: str, shuffle: bool = False) -> ResumableLoader:
        loader = super()._loader(name, shuffle)
        if isinstance(self.split(name), FreshSplit):
            old = loader.sampler
            loader.sampler = FreshSampler(
                old.length, old.batch_size, shuffle=shuffle, seed=old.seed, rank=old.rank, world_size=old.world_size
            )
        return loader
