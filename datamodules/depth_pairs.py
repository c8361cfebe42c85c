"""Images with the depth of what they show."""

import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Literal, get_args

import torch
from torch import Tensor

from datamodules.base import draw_splits
from datamodules.batches import PairBatch
from datamodules.cache import Field
from datamodules.decoding import check_same_size, read_image, read_numbers
from datamodules.depth_augmentation import move_pairs, vary_colours
from datamodules.errors import DataError
from datamodules.files import FileDataModule, Item, Source
from datamodules.folders import SPLITS, natural_order, partners, pictures_in
from datamodules.transforms import resize_image, resize_nearest

CropName = Literal["none", "eigen", "garg"]


def crop_window(crop: str, height: int, width: int) -> tuple[slice, slice]:
    """The rows and columns that a crop keeps.

    Args:
        crop: "none"; "eigen": rows 45 to 471 and columns 41 to 601 of 480x640 (NYU; Eigen et al. 2014), in other sizes
            the same shares; "garg": rows .408 to .992 and columns .036 to .964 (KITTI; Garg et al. 2016).
        height: of the image.
        width: of the image.
    """
    top, bottom, left, right = {
        "none": (0.0, 1.0, 0.0, 1.0),
        "eigen": (45 / 480, 471 / 480, 41 / 640, 601 / 640),
        "garg": (0.40810811, 0.99189189, 0.03594771, 0.96405229),
    }[crop]
    return slice(int(top * height), int(bottom * height)), slice(int(left * width), int(right * width))


def metres(numbers: Tensor, scale: float, offset: float, invalid: float | None, name: str) -> Tensor:
    """Stored numbers -> float32 metres, 0 where there is no measurement.

    Raises:
        DataError: for numbers that are not finite or negative depths, and where nothing was measured; it begins with
            `name`.
    """
    values = numbers.double()
    if invalid is None:
        missing = torch.zeros_like(values, dtype=torch.bool)
    else:
        missing = values == invalid if math.isfinite(invalid) else ~values.isfinite()
    if not (values.isfinite() | missing).all():
        raise DataError(f"{name} holds {int((~values.isfinite()).sum())} values that are not finite; expected numbers.")
    depth = (values + offset) * scale
    if (low := depth[~missing].min().item() if not missing.all() else 1) < 0:
        raise DataError(f"{name} holds a depth of {low:.4g} m; expected 0 or more.")
    depth[missing] = 0
    if not depth.any():
        expected = "some number above 0" if invalid is None else f"some number other than {invalid:g}"
        raise DataError(f"{name} holds no measurement at all; expected {expected}.")
    return depth.float()


def read_depth_pair(
    item: Item, size: tuple[int, int], crop: str, bits: int, scale: float, offset: float, invalid: float | None
) -> tuple[Tensor, Tensor]:
    """uint8 (3, H, W) image and float32 (1, H, W) metres, cropped and resized, the depth to the nearest pixel."""
    image_path, depth_path = map(Path, item)
    image, numbers = read_image(image_path), read_numbers(depth_path, bits)
    check_same_size(depth_path, numbers, image_path, image)
    depth = metres(numbers, scale, offset, invalid, str(depth_path))
    return crop_and_resize(image, depth, crop, size, str(depth_path))


def crop_and_resize(image: Tensor, depth: Tensor, crop: str, size: tuple[int, int], name: str) -> tuple[Tensor, Tensor]:
    """What a crop keeps of an image and its depth, resized, the depth to the nearest pixel.

    Raises:
        DataError: where the crop leaves no pixel, or no measurement; it begins with `name`.
    """
    rows, columns = crop_window(crop, *image.shape[1:])
    kept = depth[:, rows, columns]
    if not kept.any():
        raise DataError(f"{name} holds no measurement in what crop {crop!r} keeps; expected some number.")
    return resize_image(image[:, rows, columns], size), resize_nearest(kept, size)


class DepthPairsDataModule(FileDataModule):
    """Images with depth maps of one's own. Batches are `PairBatch`: float32 metres, 0 where nothing was measured.

    The images lie in one folder and the depth maps in another, paired by their names without suffix, or, with
    `pairing` "order", in natural order; or the two folders hold `train`, `val` and `test` each. Else `train.txt`,
    `val.txt` and `test.txt` in `data_dir`, where there are such, name the pairs of each split: the first word of a
    line, without suffix. What of the splits is missing is drawn from the training pairs.

    Sparse depth, as KITTI's (16 bits, 256 a metre, 0 where there is none: `scale` .00390625), is resized to the nearest
    pixel, never interpolated.

    Args:
        data_dir: the folder.
        images: folder of the images in it.
        depths: folder of the depth maps in it.
        pairing: "name": the same name without suffix, or "order": the first with the first.
        bits: of a depth map: 8, 16, or 32 for floating point.
        scale: metres of a stored unit; .001 for millimetres.
        offset: added to a stored number before scaling.
        invalid: stored number that stands for no measurement, nan or inf for all that are not finite; None if there is
            none.
        image_size: height and width in pixels that a model sees.
        crop: what is used of an image: "none" is all; "eigen": rows 45 to 471 and columns 41 to 601 of 480x640 (NYU);
            "garg": rows .408 to .992 and columns .036 to .964 (KITTI).
        flip: mirror half of the training pairs.
        rotation: turn training pairs by up to this many degrees either way.
        zoom: enlarge training pairs by up to this factor, 1 or more; depth is divided by it.
        jitter: change brightness, contrast and each colour of training images by up to this share, in [0, 1).
        batch_size: pairs per batch and process.
        num_workers: processes that decode, where there is no cache; a cached split needs none and starts none.
        val_fraction: share of the training pairs held out for validation where the set has no such split.
        test_fraction: likewise for test.
        seed: draws these splits, the order of the training batches and what changes in them.
        cache: decode and resize every file once, before the first epoch, into a folder of `cache_dir`; False decodes
            in each batch.
        cache_dir: folder of all caches; None is the environment variable GENMODELS_CACHE, else `genmodels` in the
            user's folder of caches. It may be deleted at any time between runs.
        memory_budget: GiB of memory that a split may take in a process, above 0: a cached one that fits is read whole,
            a larger one stays on disk and is mapped.

    Raises:
        DataError: for an option out of its range; for files that are missing or damaged, or pairs that do not fit.
    """

    def __init__(
        self,
        data_dir: str,
        images: str = "images",
        depths: str = "depths",
        pairing: Literal["name", "order"] = "name",
        bits: Literal[8, 16, 32] = 16,
        scale: float = 0.001,
        offset: float = 0.0,
        invalid: float | None = 0.0,
        image_size: tuple[int, int] = (240, 320),
        crop: CropName = "none",
        flip: bool = True,
        rotation: float = 5.0,
        zoom: float = 1.0,
        jitter: float = 0.0,
        batch_size: int = 8,
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
        name = type(self).__name__
        self.check_fractions(val_fraction, test_fraction)
        if len(image_size) != 2 or min(image_size) < 1:
            raise DataError(f"{name}: image_size is {tuple(image_size)}; expected height and width, 1 or more each.")
        for option, value, valid, expected in (
            ("pairing", pairing, pairing in ("name", "order"), "one of name, order"),
            ("bits", bits, bits in (8, 16, 32), "8, 16 or 32"),
            ("crop", crop, crop in get_args(CropName), f"one of {', '.join(get_args(CropName))}"),
            ("scale", scale, 0 < scale < float("inf"), "above 0, and finite"),
            ("offset", offset, math.isfinite(offset), "a finite number"),
            ("rotation", rotation, 0 <= rotation <= 180, "0 to 180 degrees"),
            ("zoom", zoom, 1 <= zoom < float("inf"), "1 or more, and finite"),
            ("jitter", jitter, 0 <= jitter < 1, "at least 0 and below 1"),
        ):
            if not valid:
                raise DataError(f"{name}: {option} is {value!r}; expected {expected}.")
        self.data_dir = Path(data_dir).expanduser()
        self.images = images
        self.depths = depths
        self.pairing = pairing
        self.bits = bits
        self.scale = scale
        self.offset = offset
        self.invalid = invalid
        self.image_size = (image_size[0], image_size[1])
        self.crop = crop
        self.flip = flip
        self.rotation = rotation
        self.zoom = zoom
        self.jitter = jitter
        self.val_fraction = val_fraction
        self.test_fraction = test_fraction

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(3, H, W) of the image, known before any is read."""
        return (3, *self.image_size)

    target_channels = 1

    def find(self, split: str) -> Source:
        """The pairs' files; see the base class."""
        items, rows = self._items(split)
        encoding = (self.bits, self.scale, self.offset, self.invalid)
        return Source(
            items=items,
            rows=rows,
            labels=None,
            decode=partial(read_depth_pair, size=self.image_size, crop=self.crop, bits=self.bits, scale=self.scale,
                           offset=self.offset, invalid=self.invalid),
            fields=[Field(self.image_shape, torch.uint8), Field((1, *self.image_size), torch.float32)],
            batch=PairBatch,
            options=(self.crop, *encoding),
        )  # fmt: skip

    def _items(self, split: str) -> tuple[list[Item], Tensor]:
        """Pairs of files, and which of them are the split's."""
        in_folders = (self.data_dir / self.images / "train").is_dir()
        if in_folders:
            there = [name for name in SPLITS if (self.data_dir / self.images / name).is_dir()]
            own = split if split in there else "train"
            items = self._pairs(self.data_dir / self.images / own, self.data_dir / self.depths / own)
            listed = {own: torch.arange(len(items))}
        else:
            items = self._pairs(self.data_dir / self.images, self.data_dir / self.depths)
            listed = self._read_lists(items)
            there = list(listed)
            own = split if split in there else "train"
        if split != "train" and own == split:
            return items, listed[split]
        val_fraction = 0.0 if "val" in there else self.val_fraction
        test_fraction = 0.0 if "test" in there else self.test_fraction
        return items, listed[own][draw_splits(len(listed[own]), val_fraction, test_fraction, self.seed)[split]]

    def _pairs(self, images: Path, depths: Path) -> list[Item]:
        if self.pairing == "order":
            found, maps = pictures_in(images), pictures_in(depths)
            if len(found) != len(maps):
                raise DataError(f"{depths} holds {len(maps)} depth maps; expected {len(found)}, one for each image.")
            return [(str(image), str(depth)) for image, depth in zip(found, maps, strict=True)]
        return [*partners(images, depths, self.report)]

    def _read_lists(self, items: Sequence[Item]) -> dict[str, Tensor]:
        """The rows of each split that a list names; all of them as "train" where there is no list."""
        place = {Path(item[0]).stem: number for number, item in enumerate(items)}
        listed = {}
        for split in SPLITS:
            path = self.data_dir / f"{split}.txt"
            if path.is_file():
                names = self._read_names(path)
                stems = [name if name in place else Path(name).stem for name in names]
                if missing := [name for name, stem in zip(names, stems, strict=True) if stem not in place]:
                    raise DataError(f"{path} names {missing[0]}, which the set does not hold.")
                listed[split] = torch.tensor([place[stem] for stem in sorted(stems, key=natural_order)])
        split_of: dict[int, str] = {}
        for split, rows in listed.items():
            for row in rows.tolist():
                if row in split_of:
                    raise DataError(
                        f"{self.data_dir / split}.txt names {Path(items[row][0]).stem}, as {split_of[row]}.txt does; "
                        "expected each pair once in one split."
                    )
                split_of[row] = split
        if "train" not in listed:
            rest = [number for number in range(len(items)) if number not in split_of]
            listed["train"] = torch.tensor(rest, dtype=torch.int64)
        return listed

    def _read_names(self, path: Path) -> list[str]:
        try:
            names = [Path(line.split()[0]).name for line in path.read_text().splitlines() if line.strip()]
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "no text"
            raise DataError(f"{path} cannot be read ({reason}); expected the name of a pair in each line.") from error
        if not names:
            raise DataError(f"{path} is empty; expected the name of a pair in each line.")
        return names

    def to_float(self, batch: PairBatch) -> PairBatch:
        """Converts a loader's batch to the one that models take, where it lies."""
        return PairBatch(batch.source.float().div_(255), batch.target)

    def change(self, batch: PairBatch, generator: torch.Generator) -> PairBatch:
        """Converts a training batch; image and depth are moved alike, colours change in the image alone."""
        source, target = move_pairs(*self.to_float(batch), self.flip, self.rotation, self.zoom, generator)
        return PairBatch(vary_colours(source, self.jitter, generator), target)
