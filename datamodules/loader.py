"""A loader that batches by index in one step and can say, and go back to, where it is in an epoch."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from datamodules.errors import DataError


class EpochSampler:
    """Yields one index tensor a batch; the order is a function of (seed, epoch) alone.

    Args:
        length: number of items.
        batch_size: items per batch and process.
        shuffle: a new order every epoch; the incomplete last batch is dropped. Without it the order is
            the set's own and every item comes exactly once, so that no score counts one twice.
        seed: seed of the order.
        rank: this process's number.
        world_size: number of processes. Shuffled, the processes' batches of one step are slices of the batch
            that one process of `world_size * batch_size` would see.
    """

    def __init__(
        self, length: int, batch_size: int, *, shuffle: bool, seed: int = 0, rank: int = 0, world_size: int = 1
    ) -> None:
        self.length = length
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Sets the epoch whose order comes next; Lightning calls this at the start of each."""
        self.epoch = epoch

    def __len__(self) -> int:
        if self.shuffle:
            return self.length // (self.batch_size * self.world_size)
        shortest = self.length // self.world_size
        return max(1, -(-shortest // self.batch_size))

    def __iter__(self) -> Iterator[Tensor]:
        if not self.shuffle:
            own = torch.arange(self.length)[self.rank :: self.world_size]
            batches = own.split(self.batch_size)
            # Every process has as many batches, none of them empty: in each, DDP waits for the others.
            yield from batches if len(batches) == len(self) else own.tensor_split(len(self))
            return
        # Another seed for each (seed, epoch); neighbouring pairs must not share one.
        generator = torch.Generator().manual_seed((self.seed * 1_000_003 + self.epoch) % 2**63)
        order = torch.randperm(self.length, generator=generator)
        step = self.batch_size * self.world_size
        for start in range(self.rank * self.batch_size, len(self) * step, step):
            yield order[start : start + self.batch_size]


class _Batches(Dataset[Any]):
    """Gives `fetch` to the workers of a DataLoader: its items are whole batches."""

    def __init__(self, fetch: Callable[[Tensor], Any], indices: list[Tensor]) -> None:
        self.fetch = fetch
        self.indices = indices

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, number: int) -> Any:
        try:
            return self.fetch(self.indices[number])
        except DataError as error:  # a DataLoader would make a page of a sentence
            return error


class ResumableLoader:
    """Iterates over batches; its `state_dict` lets Lightning continue in the middle of an epoch.

    It is no `DataLoader`: a batch is one indexing of a tensor, which needs no workers, and Lightning would
    otherwise advise some, wrap its sampler and rebuild it for prediction. Workers, where asked for, are torch's.

    Args:
        fetch: (B,) int64 indices -> batch.
        sampler: the order.
        num_workers: worker processes; 0 fetches in this one.
    """

    batch_sampler = None  # Lightning looks for it beside a `sampler`

    def __init__(self, fetch: Callable[[Tensor], Any], sampler: EpochSampler, num_workers: int = 0) -> None:
        self.fetch = fetch
        self.sampler = sampler
        self.num_workers = num_workers
        self._position = {"epoch": 0, "delivered": 0}
        self._resume_at: dict[str, int] | None = None

    def __len__(self) -> int:
        return len(self.sampler)

    def __iter__(self) -> Iterator[Any]:
        # A generator function on purpose: Lightning calls iter() before set_epoch(), and this body runs
        # only when the first batch is asked for, after both.
        epoch = self.sampler.epoch
        resume_at, self._resume_at = self._resume_at, None
        start = resume_at["delivered"] if resume_at is not None and resume_at["epoch"] == epoch else 0
        indices = list(self.sampler)[start:]
        self._position = {"epoch": epoch, "delivered": start}
        for batch in self._fetch_all(indices):
            if isinstance(batch, DataError):
                raise batch
            self._position["delivered"] += 1
            yield batch
        # A plain loop over the loader sees a new order each time, as a Trainer does by set_epoch().
        self.sampler.set_epoch(epoch + 1)

    def _fetch_all(self, indices: list[Tensor]) -> Iterator[Any]:
        if self.num_workers == 0:
            return map(self.fetch, indices)
        # Its own generator: by default a DataLoader draws its workers' seed from the global one.
        return iter(
            DataLoader(
                _Batches(self.fetch, indices),
                batch_size=None,
                num_workers=self.num_workers,
                generator=torch.Generator().manual_seed(self.sampler.seed),
            )
        )

    def state_dict(self) -> dict[str, int]:
        """The epoch and the number of its batches that were delivered."""
        return dict(self._position)

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Makes the next pass over the saved epoch start behind the batches already delivered."""
        self._resume_at = self._position = dict(state_dict)
