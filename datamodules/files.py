"""Sets of files: decoded once into a cache, or anew for each batch."""

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm

from datamodules.base import Split, SplitDataModule
from datamodules.cache import GIB, Field, MappedField, build, cache_key, default_cache_dir
from datamodules.errors import DataError
from datamodules.folders import SPLITS
from datamodules.in_memory import MemorySplit
from datamodules.loader import ResumableLoader

Item = tuple[str, ...]
PASSING = 2**26  # bytes of a cache that are mapped at a time while it is read whole


class Source(NamedTuple):
    """What a split is made of.

    Attributes:
        items: the files of each item, of this split and of others that share its cache.
        rows: (N,) int64, which of the items are the split's.
        labels: (items, ...), the last part of a batch, or None.
        decode: an item's files -> its tensors; picklable, and safe in threads.
        fields: shape and dtype of these tensors.
        batch: the NamedTuple of a batch: the fields, then the labels.
        options: what `decode` depends on besides the files.
        container: the file that all items lie in, where they are no files themselves.
    """

    items: Sequence[Item]
    rows: Tensor
    labels: Tensor | None
    decode: Callable[[Item], tuple[Tensor, ...]]
    fields: Sequence[Field]
    batch: Any
    options: Any
    container: str | None = None

    def make(self, tensors: Sequence[Tensor], rows: Tensor) -> Any:
        """A batch of these tensors and the labels of these items."""
        return self.batch(*tensors, *(() if self.labels is None else (self.labels[rows],)))


class DecodedSplit:
    """A split whose files are decoded for each batch."""

    def __init__(self, source: Source) -> None:
        self.source = source

    def __len__(self) -> int:
        return len(self.source.rows)

    def fetch(self, index: Tensor) -> Any:
        """(B,) int64 numbers -> a batch."""
        rows = self.source.rows[index]
        decoded = [self.source.decode(self.source.items[row]) for row in rows.tolist()]
        return self.source.make([torch.stack(parts) for parts in zip(*decoded, strict=True)], rows)


class MappedSplit:
    """A split in a cache that is larger than the memory it may take."""

    def __init__(self, source: Source, folder: Path, budget: float) -> None:
        total = sum(field.nbytes for field in source.fields)
        self.fields = [
            MappedField(folder / f"{number}.bin", field, budget * (field.nbytes / total))
            for number, field in enumerate(source.fields)
        ]
        self.source = source._replace(items=())  # no longer needed

    def __len__(self) -> int:
        return len(self.source.rows)

    def fetch(self, index: Tensor) -> Any:
        """(B,) int64 numbers -> a batch."""
        rows = self.source.rows[index]
        return self.source.make([field[rows] for field in self.fields], rows)


class FileDataModule(SplitDataModule):
    """Reads sets of files; not used by itself.

    A subclass has `find` and, as every data module, `image_shape` and `to_float`.

    Args:
        batch_size: items per batch and process.
        num_workers: processes that decode, where there is no cache; a cached split needs none and starts none.
        seed: of the order of the training batches and of what changes in them.
        cache: decode and resize every file once, before the first epoch, into a folder of `cache_dir`; False decodes
            in each batch.
        cache_dir: folder of all caches; None is the environment variable GENMODELS_CACHE, else `genmodels` in the
            user's folder of caches. It may be deleted at any time between runs.
        memory_budget: GiB of memory that a split may take in a process, above 0: a cached one that fits is read whole,
            a larger one stays on disk and is mapped.

    Raises:
        DataError: for an option out of its range; for files that are missing or damaged.
    """

    def __init__(
        self,
        *,
        batch_size: int,
        num_workers: int,
        seed: int,
        cache: bool,
        cache_dir: str | None,
        memory_budget: float,
    ) -> None:
        super().__init__(batch_size=batch_size, num_workers=num_workers, seed=seed)
        if not memory_budget > 0:
            raise DataError(f"{type(self).__name__}: memory_budget is {memory_budget}; expected above 0.")
        self.cache = cache
        self.cache_dir = Path(default_cache_dir() if cache_dir is None else cache_dir).expanduser()
        self.memory_budget = memory_budget
        self._noted: list[str] | None = None

    @abstractmethod
    def find(self, split: str) -> Source:
        """What "train", "val" or "test" is made of; no file is decoded for it.

        Raises:
            DataError: where the files are not there.
        """

    def split_names(self) -> tuple[str, ...]:
        """The splits that there are."""
        return SPLITS

    def report(self, fault: str) -> None:
        """Raises DataError of what is wrong with a file; while the whole set is looked at, takes note of it instead."""
        if self._noted is None:
            raise DataError(fault)
        self._noted.append(fault)

    def faults(self) -> Iterator[str]:
        """Decodes every file, with a progress bar, and says, one sentence each, what is wrong with them."""
        seen: set[Item] = set()
        said: set[str] = set()  # one fault may be every split's
        for split in self.split_names():
            items: list[Item] = []
            self._noted = []
            try:
                source = self.find(split)
                items = [item for item in source.items if item not in seen]
            except DataError as error:
                self.report(str(error))
            noted, self._noted = self._noted, None
            yield from (fault for fault in dict.fromkeys(noted) if fault not in said)
            said.update(noted)
            seen.update(items)
            for item in tqdm(items, desc=f"Checking {split}", disable=not items, unit=" items"):
                try:
                    source.decode(item)
                except DataError as error:
                    yield str(error)

    def lengths(self) -> dict[str, int]:
        """The number of items in each split that there is; no file is decoded for it."""
        return {split: len(self.find(split).rows) for split in self.split_names()}

    def read_splits(self, names: tuple[str, ...]) -> dict[str, Split]:
        """Finds the splits' files and, with a cache, decodes them."""
        sources = {name: self.find(name) for name in names}
        looked: list[tuple[Source, str]] = []  # files that splits share are looked at once
        splits: dict[str, Split] = {}
        for name, source in sources.items():
            same = (key for other, key in looked if (other.items, other.fields) == (source.items, source.fields))
            key = next(same, None) or self._key(source)
            looked.append((source, key))
            splits[name] = self._read(source, key)
        return splits

    def _loader(self, name: str, shuffle: bool = False) -> ResumableLoader:
        loader = super()._loader(name, shuffle)
        if not isinstance(self.split(name), DecodedSplit):
            loader.num_workers = 0  # sending a batch from another process takes longer than reading it here
        return loader

    def _key(self, source: Source) -> str:
        # Asked for without a cache too: a file that is missing is noticed now, not in some epoch.
        paths = [source.container] if source.container else [path for item in source.items for path in item]
        return cache_key(paths, (type(self).__name__, source.options, list(source.fields), len(source.items)))

    def _read(self, source: Source, key: str) -> Split:
        if not self.cache or not len(source.rows):
            return DecodedSplit(source)
        folder = self.cache_dir / f"{type(self).__name__}-{key}"
        build(folder, source.items, source.fields, source.decode)
        budget = self.memory_budget * GIB
        fits = len(source.rows) * sum(field.nbytes for field in source.fields) <= budget
        split = MappedSplit(source, folder, PASSING if fits else budget)
        return MemorySplit(split.fetch(torch.arange(len(split)))) if fits else split
