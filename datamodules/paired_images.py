"""Pairs of images: two folders of one's own, or one of pictures that hold both side by side."""

from functools import partial
from pathlib import Path
from typing import Literal, get_args

import torch
from torch import Tensor

from datamodules.base import seeded_split
from datamodules.batches import PairBatch
from datamodules.cache import Field
from datamodules.decoding import check_same_size, read_image, read_numbers
from datamodules.errors import DataError
from datamodules.files import FileDataModule, Item, Source
from datamodules.folders import SPLITS, folders_of_pictures, holds_pictures, partners, pictures_in
from datamodules.transforms import crop_and_flip, resize_image, resize_nearest

DirectionName = Literal["AtoB", "BtoA"]
LabelsName = Literal["colours", "classes"]
LOAD_SIZE = 286 / 256  # pix2pix: resized to 286 pixels, of which 256 are cut out


def nearest_colours(image: Tensor, palette: Tensor) -> Tensor:
    """uint8 (3, H, W) -> uint8 (1, H, W): the number of the palette's colour, (classes, 3), closest to each pixel."""
    distances = torch.cdist(image.flatten(1).T.float(), palette.float())
    return distances.argmin(1).to(torch.uint8).view(1, *image.shape[1:])


def read_pair(
    item: Item,
    size: tuple[int, int],
    target_first: bool,
    class_count: int,
    palette: tuple[tuple[int, int, int], ...],
) -> tuple[Tensor, Tensor]:
    """An item's source and target, resized.

    Args:
        item: one file, with A to the left of B, or that of A and that of B.
        size: height and width.
        target_first: A is the target.
        class_count: 0: the target is a colour picture; else its pixels are numbers of classes below it.
        palette: colours of the classes in a target that is a colour picture; empty where it holds the numbers.

    Returns:
        uint8 (3, H, W) and uint8 (3, H, W), or (1, H, W) for classes.
    """
    numbers = class_count > 0 and not palette
    source: Tensor
    target: Tensor
    source_path, target_path = (Path(path) for path in ((item[-1], item[0]) if target_first else (item[0], item[-1])))
    if len(item) == 1:
        if numbers:
            raise DataError(f"{item[0]} holds A and B side by side; expected two folders where B is a map of classes.")
        both = read_image(Path(item[0]))
        if both.shape[2] % 2:
            raise DataError(f"{item[0]} is {both.shape[2]} pixels wide; expected an even number, A and B side by side.")
        source, target = both.chunk(2, dim=2)
        if target_first:
            source, target = target, source
    else:
        source = read_image(source_path)
        target = read_numbers(target_path, bits=8) if numbers else read_image(target_path)
        check_same_size(target_path, target, source_path, source)
    if not class_count:
        return resize_image(source, size), resize_image(target, size)
    if palette:
        target = nearest_colours(target, torch.tensor(palette))
    elif int(target.max()) >= class_count:
        raise DataError(f"{target_path} holds the class {int(target.max())}; expected classes below {class_count}.")
    return resize_image(source, size), resize_nearest(target, size)


def check_direction(name: str, direction: str, labels: str = "colours") -> None:
    """Raises DataError, which begins with `name`, for options that are none, or classes that would be the source."""
    for option, value, choices in (
        ("direction", direction, get_args(DirectionName)),
        ("labels", labels, get_args(LabelsName)),
    ):
        if value not in choices:
            raise DataError(f"{name}: {option} is {value!r}; expected one of {', '.join(choices)}.")
    if labels == "classes" and direction == "BtoA":
        raise DataError(
            f"{name}: labels is 'classes' with direction 'BtoA', which makes them the source; expected direction "
            "'AtoB'."
        )


class PairedImagesDataModule(FileDataModule):
    """Pairs of images of one's own. Batches are `PairBatch`.

    The folder holds `train` and, where there are such, `val` and `test`. Each of these holds pictures with A in their
    left half and B in the right, or two folders `A` and `B` whose files have the same names up to the suffix; the
    latter may also lie beside one another as `trainA` and `trainB`. Without `train` the folder itself is taken for it.
    Without `val` a drawn share of `train` takes its place; a test split is never made up.

    Training pairs are resized to `load_size`, of which a random window of `image_size` is cut and mirrored at random,
    the same for both; the others are resized to `image_size` (Isola et al. 2017).

    Args:
        data_dir: the folder.
        direction: "AtoB": A is the source and B the target, or "BtoA".
        image_size: height and width in pixels that a model sees.
        load_size: height and width before the window is cut; None takes image_size * 286 / 256.
        flip: mirror half of the training pairs.
        target_classes: 0: the target is a picture; else it is a map of as many classes, whose pixels are their
            numbers (8 bits, grey or palette, in two folders), and is never interpolated.
        batch_size: pairs per batch and process.
        num_workers: processes that decode, where there is no cache; a cached split needs none and starts none.
        val_fraction: share of the training pairs held out for validation where there is no `val`.
        seed: draws the validation split, the order of the training batches and what changes in them.
        cache: decode and resize every file once, before the first epoch, into a folder of `cache_dir`; False decodes
            in each batch.
        cache_dir: folder of all caches; None is the environment variable GENMODELS_CACHE, else `genmodels` in the
            user's folder of caches. It may be deleted at any time between runs.
        memory_budget: GiB of memory that a split may take in a process, above 0: a cached one that fits is read whole,
            a larger one stays on disk and is mapped.

    Raises:
        DataError: for an option out of its range; for files that are missing or damaged, or pairs that do not fit.
    """

    palette: tuple[tuple[int, int, int], ...] = ()

    def __init__(
        self,
        data_dir: str,
        direction: DirectionName = "AtoB",
        image_size: int = 256,
        load_size: int | None = None,
        flip: bool = True,
        target_classes: int = 0,
        batch_size: int = 1,
        num_workers: int = 0,
        val_fraction: float = 0.1,
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
        name = type(self).__name__
        check_direction(name, direction)
        load_size = round(image_size * LOAD_SIZE) if load_size is None else load_size
        self.check_least(("image_size", image_size, 1), ("load_size", load_size, image_size))
        self.check_fraction("val_fraction", val_fraction)
        if not 0 <= target_classes <= 256:
            raise DataError(f"{name}: target_classes is {target_classes}; expected 0 to 256.")
        self.data_dir = Path(data_dir).expanduser()
        self.direction = direction
        self.image_size = image_size
        self.load_size = load_size
        self.flip = flip
        self.target_classes = target_classes
        self.val_fraction = val_fraction

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(3, H, W) of the source, known before any image is read."""
        return (3, self.image_size, self.image_size)

    @property
    def target_channels(self) -> int:
        """Channels of the target, 3 or the number of classes."""
        return self.target_classes or 3

    @property
    def folder(self) -> Path:
        """Where `train`, `val` and `test` lie."""
        return self.data_dir

    def find(self, split: str) -> Source:
        """The pairs' files; see the base class."""
        items, rows = self._items(split)
        # Training pairs wait at their larger size for the window to be cut.
        side = self.load_size if split == "train" else self.image_size
        target_first = self.direction == "BtoA"
        decode = partial(read_pair, size=(side, side), target_first=target_first, class_count=self.target_classes,
                         palette=self.palette)  # fmt: skip
        fields = [
            Field((3, side, side), torch.uint8),
            Field((1 if self.target_classes else 3, side, side), torch.uint8),
        ]
        return Source(items, rows, None, decode, fields, PairBatch, (target_first, self.target_classes, self.palette))

    def _items(self, split: str) -> tuple[list[Item], Tensor]:
        """The pairs' files, and which of them are the split's."""
        if self._place(split) and (split != "train" or self._place("val")):
            items = self._pairs(split)
            return items, torch.arange(len(items))
        if not self._place(split) and split != "val":
            raise DataError(
                f"{self.folder} has no {split} split; expected pictures of pairs in {split}, or folders {split}/A "
                f"and {split}/B, or {split}A and {split}B."
            )
        items = self._pairs("train")
        train, val = seeded_split(len(items), round(len(items) * self.val_fraction), self.seed)
        if split == "train":
            return items, train
        # Only these: they are decoded at another size than the training pairs.
        return [items[row] for row in val.tolist()], torch.arange(len(val))

    def split_names(self) -> tuple[str, ...]:
        """The splits that there are; validation pairs are drawn where they have no folder."""
        return SPLITS if self._place("test") else SPLITS[:2]

    def _place(self, split: str) -> tuple[Path, ...]:
        """The folder of a split's pictures, or the two of A and B; none where there is no such split."""
        root = self.folder
        alone = [(root / "A", root / "B")] if split == "train" else []  # a set that is not split at all
        for a, b in ((root / split / "A", root / split / "B"), (root / f"{split}A", root / f"{split}B"), *alone):
            if a.is_dir() or b.is_dir():
                return a, b
        if (root / split).is_dir():
            return (root / split,)
        return (root,) if split == "train" and holds_pictures(root) else ()

    def _pairs(self, split: str) -> list[Item]:
        place = self._place(split)
        if (self.folder / "train").is_dir():
            sides = [f"{each}{side}" for each in SPLITS for side in "AB"]
            for name in folders_of_pictures(self.folder):
                if name not in (*SPLITS, *sides):
                    self.report(
                        f"{self.folder / name} holds pictures beside train; expected {', '.join(SPLITS)} alone."
                    )
        if len(place) == 1:
            return [(str(path),) for path in pictures_in(place[0])]
        if place[0].parent == self.folder / split and holds_pictures(place[0].parent):
            self.report(f"{place[0].parent} holds pictures beside A and B; expected them in these.")
        return [*partners(place[0], place[1], self.report)]

    def to_float(self, batch: PairBatch) -> PairBatch:
        """Converts a loader's batch to the one that models take, where it lies; of a larger image the middle."""
        return self._convert(batch, None)

    def change(self, batch: PairBatch, generator: torch.Generator) -> PairBatch:
        """Converts a training batch; each pair is cropped and mirrored at random."""
        return self._convert(batch, generator)

    def _convert(self, batch: PairBatch, generator: torch.Generator | None) -> PairBatch:
        size = (self.image_size, self.image_size)
        source, target = crop_and_flip(batch, size, self.flip, generator)
        return PairBatch(source.float().div_(255), target[:, 0].long() if self.target_classes else target.float() / 255)
