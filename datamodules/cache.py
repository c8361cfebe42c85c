"""Decoded sets on disk: built once, then mapped into memory."""

import hashlib
import math
import mmap
import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from filelock import FileLock
from torch import Tensor
from tqdm import tqdm

from datamodules.errors import DataError

GIB = 2**30
CHUNK = 256  # items decoded before they are written
AROUND = 2**16  # bytes, aligned to as many, that Linux maps at once around a place that is read
FORMAT = 1  # of the files; another number makes older ones be built anew
NUMPY = {torch.uint8: np.uint8, torch.float32: np.float32}


class Field(NamedTuple):
    """One of the tensors that an item consists of.

    Attributes:
        shape: without the batch dimension.
        dtype: uint8 or float32.
    """

    shape: tuple[int, ...]
    dtype: torch.dtype

    @property
    def nbytes(self) -> int:
        """Bytes of one item's."""
        return math.prod(self.shape) * self.dtype.itemsize


def default_cache_dir() -> str:
    """The environment variable GENMODELS_CACHE, else `genmodels` in the user's folder of caches."""
    caches = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return os.environ.get("GENMODELS_CACHE") or f"{caches}/genmodels"


def cache_key(paths: Iterable[str], options: Any) -> str:
    """A name for the decoded form of some files: other when a file, its size, its time or an option is.

    Raises:
        DataError: for a file that cannot be looked at.
    """
    digest = hashlib.sha256(repr((FORMAT, options)).encode())
    for path in paths:
        try:
            found = os.stat(path)
        except (OSError, ValueError) as error:  # a name with a zero byte is a ValueError
            raise DataError(f"{path} cannot be read ({getattr(error, 'strerror', None) or error}).") from error
        digest.update(f"\n{path}\0{found.st_size}\0{found.st_mtime_ns}".encode())
    return digest.hexdigest()[:16]


def build(
    folder: Path,
    items: Sequence[tuple[str, ...]],
    fields: Sequence[Field],
    decode: Callable[[tuple[str, ...]], tuple[Tensor, ...]],
) -> None:
    """Decodes every item into files `0.bin`, `1.bin`, … of the folder, one for each field, with a progress bar, unless
    that was done.

    Processes that ask for the same at once take turns: one builds, the others wait and find it done. The folder gets
    its name at the end; what a killed build has left is removed by the next.

    Args:
        folder: where to; its parents are made.
        items: the files of each item.
        fields: what `decode` returns.
        decode: called in threads; what it raises ends the build.

    Raises:
        DataError: where the folder cannot be written, or has too little space.
    """
    needed = len(items) * sum(field.nbytes for field in fields)
    partial = folder.with_name(f"{folder.name}.partial")
    if _is_whole(folder, len(items), fields):  # which may lie where nothing can be written
        return
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_name(f"{folder.name}.lock")):
            if _is_whole(folder, len(items), fields):
                return
            shutil.rmtree(folder, ignore_errors=True)
            shutil.rmtree(partial, ignore_errors=True)
            if (free := shutil.disk_usage(folder.parent).free) < needed:
                raise _no_space(folder, needed, f"{free / GIB:.2f} GiB are free")
            partial.mkdir()
            try:
                _write(partial, items, fields, decode, f"Decoding into {folder}")
                os.replace(partial, folder)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
    except OSError as error:
        raise _no_space(folder, needed, error.strerror or str(error)) from error


def _is_whole(folder: Path, length: int, fields: Sequence[Field]) -> bool:
    """Whether a built set is there, and no file of it was deleted or cut short since."""
    files = [folder / f"{number}.bin" for number in range(len(fields))]
    return all(
        file.is_file() and file.stat().st_size == length * field.nbytes
        for file, field in zip(files, fields, strict=True)
    )


def _no_space(folder: Path, needed: int, reason: str) -> DataError:
    return DataError(
        f"the cache {folder} cannot be written ({reason}); expected {needed / GIB:.2f} GiB there: give another place "
        "as cache_dir, or set cache to false."
    )


def _write(
    folder: Path,
    items: Sequence[tuple[str, ...]],
    fields: Sequence[Field],
    decode: Callable[[tuple[str, ...]], tuple[Tensor, ...]],
    title: str,
) -> None:
    files = [open(folder / f"{number}.bin", "wb") for number in range(len(fields))]  # noqa: SIM115  # closed below
    try:
        with (
            ThreadPoolExecutor(os.cpu_count()) as pool,
            tqdm(total=len(items), desc=title, unit=" items") as bar,
        ):
            for start in range(0, len(items), CHUNK):
                for decoded in pool.map(decode, items[start : start + CHUNK]):
                    for file, tensor, field in zip(files, decoded, fields, strict=True):
                        assert tuple(tensor.shape) == field.shape, (tensor.shape, field)
                        assert tensor.dtype == field.dtype, (tensor.dtype, field)
                        file.write(tensor.contiguous().numpy().data)
                    bar.update()
    finally:
        for file in files:
            file.close()


class MappedField:
    """One field of a built set, (N, *shape) in a file; its rows are read by their numbers.

    The pages that were read count as the process's memory until the system needs them; here they are given back
    before they are more than `budget` bytes (but for those of a single row).

    Args:
        path: the file.
        field: what it holds.
        budget: bytes.
    """

    def __init__(self, path: Path, field: Field, budget: float) -> None:
        self.path = path
        self.field = field
        self.budget = budget
        self._map: mmap.mmap | None = None
        self._touched = 0

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_map": None, "_touched": 0}  # another process opens its own

    def __getitem__(self, index: Tensor) -> Tensor:
        if self._map is None:
            with open(self.path, "rb") as file:
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        rows = np.frombuffer(self._map, NUMPY[self.field.dtype]).reshape(-1, *self.field.shape)
        read = torch.empty(len(index), *self.field.shape, dtype=self.field.dtype)
        row = (self.field.nbytes // AROUND + 2) * AROUND  # the most that it may be mapped with
        step = max(1, int(min(self.budget // row, len(index))))
        for start in range(0, len(index), step):
            part = index[start : start + step]
            if self._touched + len(part) * row > self.budget and hasattr(self._map, "madvise"):
                self._map.madvise(mmap.MADV_DONTNEED)
                self._touched = 0
            read[start : start + step] = torch.from_numpy(rows[part.numpy()])
            self._touched += len(part) * row
        return read
