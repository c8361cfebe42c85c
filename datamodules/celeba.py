"""CelebA: faces with forty attributes."""

import os
from functools import cached_property, partial
from http.client import HTTPException
from pathlib import Path

import numpy as np
import torch
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor

from datamodules.base import Split, draw_splits
from datamodules.batches import ImageBatch
from datamodules.cache import Field
from datamodules.decoding import read_image
from datamodules.errors import DataError
from datamodules.files import FileDataModule, Item, Source
from datamodules.folders import default_data_dir
from datamodules.transforms import crop_and_flip, resize_image, square_crop

ATTRIBUTES = (
    "5_o_Clock_Shadow", "Arched_Eyebrows", "Attractive", "Bags_Under_Eyes", "Bald", "Bangs", "Big_Lips", "Big_Nose",
    "Black_Hair", "Blond_Hair", "Blurry", "Brown_Hair", "Bushy_Eyebrows", "Chubby", "Double_Chin", "Eyeglasses",
    "Goatee", "Gray_Hair", "Heavy_Makeup", "High_Cheekbones", "Male", "Mouth_Slightly_Open", "Mustache", "Narrow_Eyes",
    "No_Beard", "Oval_Face", "Pale_Skin", "Pointy_Nose", "Receding_Hairline", "Rosy_Cheeks", "Sideburns", "Smiling",
    "Straight_Hair", "Wavy_Hair", "Wearing_Earrings", "Wearing_Hat", "Wearing_Lipstick", "Wearing_Necklace",
    "Wearing_Necktie", "Young",
)  # fmt: skip
WIDTH = 178  # of the published images, 218 pixels high
PARTITIONS = {"train": 0, "val": 1, "test": 2}


def read_face(item: Item, size: int, share: float) -> tuple[Tensor]:
    """uint8 (3, size, size): the central square, `share` of the shorter side, resized."""
    return (resize_image(square_crop(read_image(Path(item[0])), share), (size, size)),)


class CelebADataModule(FileDataModule):
    """202,599 aligned faces with 40 binary attributes (Liu et al. 2015). Batches are `ImageBatch`.

    Labels are float32 (N, attributes), 1 where the attribute is there. The partitions are the official ones. Where
    one has no images, as in a part of the set, images are drawn from the training partition by `seed` instead, and
    a line says so.

    Only the images, `list_attr_celeba.txt` and `list_eval_partition.txt` are read; identities, boxes and landmarks
    may be missing. An image named in a list but not there is an error.

    Args:
        data_dir: folder of all data sets; the files lie in `celeba` under it, as torchvision puts them. None is the
            environment variable GENMODELS_DATA, else `data`.
        image_size: height and width in pixels.
        crop: side of the central square that is used, in pixels of the published images (178 wide, 218 high), 1 to 178;
            in images of another size the same share. 178 as PyTorch's DCGAN; 108 shows little but the face.
        attributes: names of the attributes to give, in this order; None gives all forty.
        flip: mirror half of the training images, left to right.
        batch_size: images per batch and process.
        num_workers: processes that decode, where there is no cache; a cached split needs none and starts none.
        val_fraction: share of the images held out for validation where the official partition is empty.
        test_fraction: likewise for test.
        seed: draws these splits, the order of the training batches and what changes in them.
        download: fetch the set where its folder is missing; this needs the package gdown.
        cache: decode and resize every file once, before the first epoch, into a folder of `cache_dir`; False decodes
            in each batch.
        cache_dir: folder of all caches; None is the environment variable GENMODELS_CACHE, else `genmodels` in the
            user's folder of caches. It may be deleted at any time between runs.
        memory_budget: GiB of memory that a split may take in a process, above 0: a cached one that fits is read whole,
            a larger one stays on disk and is mapped.

    Raises:
        DataError: for an option out of its range; for files that are missing and cannot be fetched, or damaged.
    """

    def __init__(
        self,
        data_dir: str | None = None,
        image_size: int = 64,
        crop: int = WIDTH,
        attributes: tuple[str, ...] | None = None,
        flip: bool = False,
        batch_size: int = 64,
        num_workers: int = 0,
        val_fraction: float = 0.1,
        test_fraction: float = 0.1,
        seed: int = 0,
        download: bool = True,
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
        if not 1 <= crop <= WIDTH:
            raise DataError(f"CelebADataModule: crop is {crop}; expected 1 to {WIDTH}.")
        chosen = ATTRIBUTES if attributes is None else tuple(attributes)
        if unknown := [name for name in chosen if name not in ATTRIBUTES]:
            raise DataError(
                f"CelebADataModule: attributes has {unknown[0]}; expected names among {', '.join(ATTRIBUTES)}."
            )
        self.data_dir = Path(default_data_dir() if data_dir is None else data_dir).expanduser()
        self.image_size = image_size
        self.crop = crop
        self.attribute_names = chosen
        self.flip = flip
        self.val_fraction = val_fraction
        self.test_fraction = test_fraction
        self.download = download

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(3, H, W), known before any image is read."""
        return (3, self.image_size, self.image_size)

    @property
    def folder(self) -> Path:
        """Where the lists and the folder of the images lie."""
        return self.data_dir / "celeba"

    def prepare_data(self) -> None:
        """Downloads what is missing, where `download` allows it; torchvision verifies the checksums."""
        needed = ("img_align_celeba", "list_attr_celeba.txt", "list_eval_partition.txt")
        missing = [name for name in needed if not (self.folder / name).exists()]
        if not self.download or not missing:
            return
        from torchvision.datasets import CelebA

        try:
            from gdown.exceptions import DownloadError
        except ImportError:  # torchvision says that it is needed
            DownloadError = RuntimeError
        try:
            CelebA(str(self.data_dir), download=True)
        except (DownloadError, HTTPException, RuntimeError, OSError) as error:
            raise DataError(
                f"{self.folder} does not hold {missing[0]}, and the download of CelebA failed "
                f"({' '.join(str(error).split())}); expected {', '.join(needed)} there (give the folder above celeba "
                "as data_dir), or a working network."
            ) from error

    def find(self, split: str) -> Source:
        """The images' files; see the base class."""
        items, attributes, partitions = self._lists
        columns = torch.tensor([ATTRIBUTES.index(name) for name in self.attribute_names], dtype=torch.int64)
        return Source(
            items=items,
            rows=self._rows(partitions, split),
            labels=attributes[:, columns],
            decode=partial(read_face, size=self.image_size, share=self.crop / WIDTH),
            fields=[Field(self.image_shape, torch.uint8)],
            batch=ImageBatch,
            options=self.crop,
        )

    @cached_property
    def _lists(self) -> tuple[list[Item], Tensor, Tensor]:
        """The files, their attributes and their partitions."""
        names, attributes = self._read_attributes()
        partitions = self._read_partitions(names)
        images = self.folder / "img_align_celeba"
        return [(str(images / name),) for name in names], attributes, partitions

    def _rows(self, partitions: Tensor, split: str) -> Tensor:
        official = {name: (partitions == number).nonzero().flatten() for name, number in PARTITIONS.items()}
        if split != "train" and not len(official[split]):
            rank_zero_info(
                f"CelebADataModule: the official {split} partition has no images in {self.folder}; drawn ones of the "
                "training partition take its place."
            )
        drawn = draw_splits(
            len(official["train"]),
            0 if len(official["val"]) else self.val_fraction,
            0 if len(official["test"]) else self.test_fraction,
            self.seed,
        )
        if split == "train" or not len(official[split]):
            return official["train"][drawn[split]]
        return official[split]

    def read_splits(self, names: tuple[str, ...]) -> dict[str, Split]:
        """Finds the images and, with a cache, decodes them."""
        images = self.folder / "img_align_celeba"
        named = [os.path.basename(path) for (path,) in self._lists[0]]
        try:
            there = set(os.listdir(images))
        except OSError as error:
            raise DataError(f"{images} cannot be read ({error.strerror}); expected {len(named)} images.") from error
        if missing := [name for name in named if name not in there]:
            raise DataError(
                f"{images} lacks {len(missing)} of the {len(named)} images that list_attr_celeba.txt names, as "
                f"{missing[0]}; expected all: where unpacking was interrupted, remove the folder, and it begins anew."
            )
        return super().read_splits(names)

    def _read_attributes(self) -> tuple[list[str], Tensor]:
        path = self.folder / "list_attr_celeba.txt"
        lines = self._read_lines(path)
        if len(lines) < 2 or tuple(lines[1].split()) != ATTRIBUTES:
            raise DataError(f"{path} is damaged: line 2 is not the names of the 40 attributes.")
        if lines[0].strip() != str(len(lines) - 2):
            raise DataError(
                f"{path} is damaged: line 1 is {lines[0].strip()[:20]!r}; expected {len(lines) - 2}, the number of "
                "images that follow."
            )
        names, values = [], np.zeros((len(lines) - 2, len(ATTRIBUTES)), np.uint8)
        for number, line in enumerate(lines[2:]):
            name, *words = line.split() or [""]
            if len(words) != len(ATTRIBUTES) or not set(words) <= {"1", "-1"}:
                raise DataError(f"{path} is damaged: line {number + 3} is not a file's name and 40 times 1 or -1.")
            names.append(name)
            values[number] = [word == "1" for word in words]
        return names, torch.from_numpy(values)

    def _read_partitions(self, names: list[str]) -> Tensor:
        path = self.folder / "list_eval_partition.txt"
        found = {}
        for number, line in enumerate(self._read_lines(path), start=1):
            words = line.split()
            if len(words) != 2 or words[1] not in ("0", "1", "2"):
                raise DataError(f"{path} is damaged: line {number} is not a file's name and 0, 1 or 2.")
            found[words[0]] = int(words[1])
        if missing := [name for name in names if name not in found]:
            raise DataError(f"{path} does not name {missing[0]}; expected the files of list_attr_celeba.txt.")
        return torch.tensor([found[name] for name in names])

    def _read_lines(self, path: Path) -> list[str]:
        try:
            return path.read_text().splitlines()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "no text"
            raise DataError(
                f"{path} cannot be read ({reason}); expected the list as published: give the folder above celeba as "
                "data_dir, or set download to true."
            ) from error

    def to_float(self, batch: ImageBatch) -> ImageBatch:
        """Converts a loader's batch to the one that models take, where it lies."""
        return ImageBatch(batch.image.float().div_(255), batch.label.float())

    def change(self, batch: ImageBatch, generator: torch.Generator) -> ImageBatch:
        """Converts a training batch, and with `flip` mirrors half of it."""
        (images,) = crop_and_flip([batch.image], (self.image_size, self.image_size), self.flip, generator)
        return self.to_float(batch._replace(image=images))
