"""A folder of pictures of one's own."""

from functools import partial
from pathlib import Path

import torch

from datamodules.base import draw_splits
from datamodules.batches import ImageBatch
from datamodules.cache import Field
from datamodules.decoding import read_image
from datamodules.errors import DataError
from datamodules.files import FileDataModule, Item, Source
from datamodules.folders import SPLITS, folders_of_pictures, holds_pictures, pictures_in, subfolders
from datamodules.transforms import crop_and_flip, resize_image, square_crop


def read_square(item: Item, channels: int, size: int) -> tuple[torch.Tensor]:
    """uint8 (channels, size, size): the central square, resized."""
    return (resize_image(square_crop(read_image(Path(item[0]), channels)), (size, size)),)


class ImageFolderDataModule(FileDataModule):
    """Pictures of one's own, in one folder or in a folder for each class. Batches are `ImageBatch`.

    The folder holds pictures, or folders of pictures, one for each class; or it holds `train` and, where there are
    such, `val` and `test`, which do. What is missing is drawn from the training pictures. Classes are numbered in
    natural order of their names; without classes every label is 0 and `num_classes` is 0.

    A picture is what a person sees: turned as its EXIF data say, transparency on white, 16 bits as 8. Its central
    square is used.

    Args:
        data_dir: the folder.
        image_size: height and width in pixels.
        channels: 3 for colour, 1 for grey.
        flip: mirror half of the training pictures, left to right.
        batch_size: pictures per batch and process.
        num_workers: processes that decode, where there is no cache; a cached split needs none and starts none.
        val_fraction: share of the pictures held out for validation where there is no `val`.
        test_fraction: likewise for test.
        seed: draws these splits, the order of the training batches and what changes in them.
        cache: decode and resize every file once, before the first epoch, into a folder of `cache_dir`; False decodes
            in each batch.
        cache_dir: folder of all caches; None is the environment variable GENMODELS_CACHE, else `genmodels` in the
            user's folder of caches. It may be deleted at any time between runs.
        memory_budget: GiB of memory that a split may take in a process, above 0: a cached one that fits is read whole,
            a larger one stays on disk and is mapped.

    Raises:
        DataError: for an option out of its range; for a folder without pictures, or a damaged one.
    """

    def __init__(
        self,
        data_dir: str,
        image_size: int = 64,
        channels: int = 3,
        flip: bool = False,
        batch_size: int = 64,
        num_workers: int = 0,
        val_fraction: float = 0.1,
        test_fraction: float = 0.1,
        seed: int = 0,
        cache: bool = True,
        cache_dir: str | None = None,
        memory_budget: float = 2.0,
    ) -> None:
        super().__init__(
            batch_size=batch_size,
            num_workers=num_workers,
            seed=seed,
            cache=cache,
            cache_dir=cache_dir,
            memory_budget=memory_budget,
        )
        self.check_least(("image_size", image_size, 1))
        self.check_fractions(val_fraction, test_fraction)
        if channels not in (1, 3):
            raise DataError(f"ImageFolderDataModule: channels is {channels}; expected 1 or 3.")
        self.data_dir = Path(data_dir).expanduser()
        self.image_size = image_size
        self.channels = channels
        self.flip = flip
        self.val_fraction = val_fraction
        self.test_fraction = test_fraction

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W), known before any image is read."""
        return (self.channels, self.image_size, self.image_size)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes, of the training split's folders; empty where there are none."""
        folder = self._split_folder("train")
        return () if holds_pictures(folder) else folders_of_pictures(folder)

    @property
    def num_classes(self) -> int:
        """Number of classes; 0 without."""
        return len(self.class_names)

    def _split_folder(self, split: str) -> Path:
        return self.data_dir / split if (self.data_dir / "train").is_dir() else self.data_dir

    def find(self, split: str) -> Source:
        """The pictures' files; see the base class."""
        self._check_splits()
        drawn = split == "train" or not self._has(split)
        items, labels = self._files(self._split_folder("train" if drawn else split))
        val_fraction = 0.0 if self._has("val") else self.val_fraction
        test_fraction = 0.0 if self._has("test") else self.test_fraction
        rows = torch.arange(len(items))
        if drawn:
            rows = draw_splits(len(items), val_fraction, test_fraction, self.seed)[split]
        return Source(
            items=items,
            rows=rows,
            labels=torch.tensor(labels),
            decode=partial(read_square, channels=self.channels, size=self.image_size),
            fields=[Field(self.image_shape, torch.uint8)],
            batch=ImageBatch,
            options=None,
        )

    def _check_splits(self) -> None:
        if not (self.data_dir / "train").is_dir():
            return
        for path in sorted(self.data_dir.iterdir()):
            if path.name not in SPLITS and (holds_pictures(path) or folders_of_pictures(path)):
                self.report(
                    f"{path} holds pictures beside {self.data_dir / 'train'}; expected {', '.join(SPLITS)} alone."
                )

    def _files(self, folder: Path) -> tuple[list[Item], list[int]]:
        names, found = self.class_names, folders_of_pictures(folder)
        for path in subfolders(folder):
            for deeper in folders_of_pictures(path):
                self.report(f"{path / deeper} holds pictures; expected them in {path} itself.")
        if found and holds_pictures(folder):
            raise DataError(
                f"{folder} holds both pictures and a folder of them, {found[0]}; expected pictures, or a folder for "
                "each class."
            )
        if not names:
            items: list[Item] = [(str(path),) for path in pictures_in(folder)]
            return items, [0] * len(items)
        if not found:
            raise DataError(f"{folder} holds no folder of pictures; expected one for each class: {', '.join(names)}.")
        # A held-out split may lack a class.
        files = {name: pictures_in(folder / name) if name in found else [] for name in names}
        if more := [name for name in found if name not in names]:
            raise DataError(
                f"{folder / more[0]} is a class that the training split has not; expected {', '.join(names)}."
            )
        items = [(str(path),) for paths in files.values() for path in paths]
        return items, [number for number, paths in enumerate(files.values()) for _ in paths]

    def _has(self, split: str) -> bool:
        folder = self._split_folder(split)
        return folder.is_dir() and folder != self.data_dir

    def to_float(self, batch: ImageBatch) -> ImageBatch:
        """Converts a loader's batch to the one that models take, where it lies."""
        return batch._replace(image=batch.image.float().div_(255))

    def change(self, batch: ImageBatch, generator: torch.Generator) -> ImageBatch:
        """Converts a training batch, and with `flip` mirrors half of it."""
        (images,) = crop_and_flip([batch.image], (self.image_size, self.image_size), self.flip, generator)
        return self.to_float(batch._replace(image=images))
