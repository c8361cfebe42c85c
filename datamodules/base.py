"""What every data module does: loaders over splits, and the conversion of batches on the device."""

from abc import abstractmethod
from collections.abc import Iterator
from typing import Any, Protocol

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor

from datamodules.errors import DataError
from datamodules.loader import EpochSampler, ResumableLoader
from datamodules.seeding import batch_generator

SPLITS_OF_STAGE = {
    "fit": ("train", "val"),
    "validate": ("val",),
    "test": ("test",),
    "predict": ("test",),
    None: ("train", "val", "test"),
}


class Split(Protocol):
    """A part of a set whose items are fetched by their numbers; it is picklable, so that workers can have it."""

    def __len__(self) -> int:
        """The number of items."""
        ...

    def fetch(self, index: Tensor) -> Any:
        """(B,) int64 numbers -> a batch on the host."""
        ...


class SplitDataModule(LightningDataModule):
    """Loaders over the splits that a subclass reads; not used by itself.

    Batches are uint8 on the host and are converted on the device, after the transfer; there, training batches are also
    changed at random, by draws that are a function of the seed and the number of the batch, whatever the number of
    processes that share it.

    A subclass has `image_shape` and `read_splits`, and either `to_float` alone or `change` as well.

    Args:
        batch_size: items per batch and process.
        num_workers: worker processes of the loaders.
        seed: of the order of the training batches and of what changes in them.

    Raises:
        DataError: for an option out of its range, or a training split smaller than one batch.
    """

    def __init__(self, *, batch_size: int, num_workers: int, seed: int) -> None:
        super().__init__()
        self.check_least(("batch_size", batch_size, 1), ("num_workers", num_workers, 0), ("seed", seed, 0))
        if seed >= 2**63:
            raise DataError(f"{type(self).__name__}: seed is {seed}; expected below 2^63.")
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.seed = seed
        self._splits: dict[str, Split] = {}

    def check_least(self, *options: tuple[str, float, float]) -> None:
        """Raises DataError where the value of an option (name, value, least) is below the least."""
        for option, value, least in options:
            if not value >= least:
                raise DataError(f"{type(self).__name__}: {option} is {value}; expected {least} or more.")

    def check_fraction(self, option: str, value: float) -> None:
        """Raises DataError unless the value is a share that leaves something."""
        if not 0 <= value < 1:
            raise DataError(f"{type(self).__name__}: {option} is {value}; expected at least 0 and below 1.")

    def check_fractions(self, val_fraction: float, test_fraction: float) -> None:
        """Raises DataError unless both are shares that leave something to train on."""
        self.check_fraction("val_fraction", val_fraction)
        self.check_fraction("test_fraction", test_fraction)
        if val_fraction + test_fraction >= 1:
            raise DataError(
                f"{type(self).__name__}: val_fraction is {val_fraction} and test_fraction {test_fraction}; expected a "
                "sum below 1."
            )

    @property
    @abstractmethod
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of the images that a model takes, known before any is read."""

    @abstractmethod
    def read_splits(self, names: tuple[str, ...]) -> dict[str, Split]:
        """Reads the splits named, of "train", "val" and "test", and others along with them where that is cheaper.

        A validation split may be empty.
        """

    def setup(self, stage: str | None = None) -> None:
        """Reads what `stage` needs: "fit", "validate", "test", "predict"; None is all."""
        missing = tuple(name for name in SPLITS_OF_STAGE[stage] if name not in self._splits)
        if missing:
            self._splits |= self.read_splits(missing)

    def faults(self) -> Iterator[str]:
        """Looks at the whole set and says, one sentence each, what is wrong with it."""
        try:
            self.setup()
        except DataError as error:
            yield str(error)

    def lengths(self) -> dict[str, int]:
        """The number of items in each split."""
        self.setup()
        return {name: len(split) for name, split in self._splits.items()}

    def split(self, split: str) -> Split:
        """A split that was read.

        Raises:
            DataError: where it was not.
        """
        if split not in self._splits:
            raise DataError(f"{type(self).__name__}: the {split} split is not read yet; expected setup() first.")
        return self._splits[split]

    def _loader(self, name: str, shuffle: bool = False) -> ResumableLoader:
        split = self.split(name)
        rank, world_size = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        needed = self.batch_size * world_size
        if shuffle and len(split) < needed:
            raise DataError(
                f"{type(self).__name__}: batch_size is {self.batch_size} on {world_size} process(es), "
                f"but the training split has {len(split)} images; expected at most that many in a batch."
            )
        if not len(split):
            raise DataError(f"{type(self).__name__}: the {name} split is empty; expected 1 item or more.")
        if len(split) < world_size:  # each has to take part in every batch
            raise DataError(
                f"{type(self).__name__}: the {name} split has {len(split)} item(s) for {world_size} processes; "
                "expected one for each at least."
            )
        sampler = EpochSampler(
            len(split), self.batch_size, shuffle=shuffle, seed=self.seed, rank=rank, world_size=world_size
        )
        return ResumableLoader(split.fetch, sampler, self.num_workers)

    def train_dataloader(self) -> ResumableLoader:
        """Shuffled batches of the training split; the incomplete last one is dropped."""
        return self._loader("train", shuffle=True)

    def val_dataloader(self) -> ResumableLoader | list[ResumableLoader]:
        """The validation split in its own order; no loader where it is empty."""
        return self._loader("val") if len(self.split("val")) else []

    def test_dataloader(self) -> ResumableLoader:
        """The test split in its own order; it is never trained on."""
        return self._loader("test")

    def predict_dataloader(self) -> ResumableLoader:
        """The test split, for predictions."""
        return self._loader("test")

    @abstractmethod
    def to_float(self, batch: Any) -> Any:
        """Converts a loader's batch to the one that models take, where it lies; nothing is drawn at random."""

    def change(self, batch: Any, generator: torch.Generator) -> Any:
        """Converts a training batch and changes it at random; `generator` is on the CPU."""
        return self.to_float(batch)

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Lightning's hook: converts on the device, where training batches are also changed at random."""
        trainer = self.trainer
        if trainer is None or not trainer.training:
            return self.to_float(batch)
        # It runs before every callback's hook, and so before ExactResume seeds: the draws have a source of their own.
        step, place = trainer.fit_loop.total_batch_idx, (trainer.global_rank, trainer.world_size)
        return self.change(batch, batch_generator(self.seed, step, *place))


def seeded_split(length: int, held_out: int, seed: int) -> tuple[Tensor, Tensor]:
    """(length,) numbers in two parts: those that stay, and `held_out` drawn ones; both in ascending order."""
    order = torch.randperm(length, generator=torch.Generator().manual_seed(seed))
    return order[held_out:].sort().values, order[:held_out].sort().values


def draw_splits(length: int, val_fraction: float, test_fraction: float, seed: int) -> dict[str, Tensor]:
    """The numbers below `length` in "train", "val" and "test", each ascending; the fractions are of all of them."""
    rest, test = seeded_split(length, round(length * test_fraction), seed)
    train, val = seeded_split(len(rest), round(length * val_fraction), seed)
    return {"train": rest[train], "val": rest[val], "test": test}
