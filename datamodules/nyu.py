"""NYU Depth v2: indoor scenes with depth."""

import os
import zlib
from collections.abc import Sequence
from functools import partial
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import URLError

import torch
from torch import Tensor
from torch.hub import download_url_to_file

from datamodules.base import draw_splits
from datamodules.batches import PairBatch
from datamodules.cache import Field
from datamodules.depth_pairs import CropName, DepthPairsDataModule, crop_and_resize, metres
from datamodules.download import downloading
from datamodules.errors import DataError
from datamodules.files import Item, Source
from datamodules.folders import default_data_dir

LABELLED, SPLITS_FILE = "nyu_depth_v2_labeled.mat", "splits.mat"
URLS = {
    LABELLED: "http://horatio.cs.nyu.edu/mit/silberman/nyu_depth_v2/nyu_depth_v2_labeled.mat",
    SPLITS_FILE: "http://horatio.cs.nyu.edu/mit/silberman/indoor_seg_sup/splits.mat",
}
COUNT = 1449
# What the readers of these formats raise for a file that is not whole.
DAMAGED = (OSError, ValueError, KeyError, TypeError, IndexError, EOFError, RuntimeError, OverflowError, MemoryError)
TOP_METRES = 9.99547  # what 255 stands for in the folder form


def read_labelled(item: Item, path: str, size: tuple[int, int], crop: str) -> tuple[Tensor, Tensor]:
    """The pair of a number of the labelled file: uint8 (3, H, W) and float32 (1, H, W) metres."""
    import h5py  # slow to import, and only this form needs it

    number = int(item[0])
    try:
        with h5py.File(path, "r") as opened:
            # MATLAB writes columns first.
            image = torch.from_numpy(opened["images"][number]).transpose(1, 2)
            depth = torch.from_numpy(opened["depths"][number]).t()[None]
    except DAMAGED as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{path} is damaged: pair {number} cannot be read ({reason}).") from error
    name = f"{path}, pair {number}"
    if image.dtype != torch.uint8 or image.ndim != 3 or len(image) != 3 or image.shape[1:] != depth.shape[1:]:
        raise DataError(
            f"{name} is an image of {tuple(image.shape)} {image.dtype} with a depth of {tuple(depth.shape[1:])}; "
            "expected 3 channels of bytes and as many pixels."
        )
    depth = metres(depth, 1.0, 0.0, 0.0, name)
    return crop_and_resize(image, depth, crop, size, name)


class NYUDepthDataModule(DepthPairsDataModule):
    """1,449 indoor images of 640x480 with the depth of a Kinect (Silberman et al. 2012). Batches are `PairBatch`.

    Depth is float32 metres, up to 10; holes are filled, so every pixel has one. The official split has 795 pairs to
    train on, of which the validation pairs are drawn, and 654 to test with.

    The folder holds the labelled file as published, `nyu_depth_v2_labeled.mat`, with `splits.mat`; or `images` and
    `depths`, files named by the pair's number from 0 on, the depth in 8 bits, (v + .5) * 9.99547 / 255 metres. In both,
    `train.txt` and `test.txt`, where there are such, name the pairs of a split by the first word of each line.

    The labelled file has no published checksum: after a download it is verified that it can be read and holds all
    pairs.

    Args:
        data_dir: folder of all data sets; the files lie in `nyu` under it. None is the environment variable
            GENMODELS_DATA, else `data`.
        image_size: height and width in pixels that a model sees.
        crop: what is used of an image: "eigen", rows 45 to 471 and columns 41 to 601, which leaves the white border
            out, or "none".
        flip: mirror half of the training pairs.
        rotation: turn training pairs by up to this many degrees either way.
        zoom: enlarge training pairs by up to this factor, 1 or more; depth is divided by it.
        jitter: change brightness, contrast and each colour of training images by up to this share, in [0, 1).
        batch_size: pairs per batch and process.
        num_workers: processes that decode, where there is no cache; a cached split needs none and starts none.
        val_fraction: share of the training pairs held out for validation.
        seed: draws the validation split, the order of the training batches and what changes in them.
        download: fetch the labelled file and its splits (3 GB) where the folder is missing.
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
        image_size: tuple[int, int] = (240, 320),
        crop: CropName = "eigen",
        flip: bool = True,
        rotation: float = 5.0,
        zoom: float = 1.0,
        jitter: float = 0.0,
        batch_size: int = 8,
        num_workers: int = 0,
        val_fraction: float = 0.1,
        seed: int = 0,
        download: bool = True,
        cache: bool = True,
        cache_dir: str | None = None,
        memory_budget: float = 2.0,
    ) -> None:
        super().__init__(
            data_dir=f"{default_data_dir() if data_dir is None else data_dir}/nyu",
            bits=8,
            scale=TOP_METRES / 255,
            offset=0.5,
            invalid=None,
            image_size=image_size,
            crop=crop,
            flip=flip,
            rotation=rotation,
            zoom=zoom,
            jitter=jitter,
            batch_size=batch_size,
            num_workers=num_workers,
            val_fraction=val_fraction,
            test_fraction=0.0,
            seed=seed,
            cache=cache,
            cache_dir=cache_dir,
            memory_budget=memory_budget,
        )
        self.download = download

    def prepare_data(self) -> None:
        """Downloads the labelled file and its splits where the folder is missing and `download` allows it."""
        if not self.download or (self.data_dir / "images").is_dir():
            return
        for name in (SPLITS_FILE, LABELLED):
            path = self.data_dir / name
            lists = [self.data_dir / f"{split}.txt" for split in ("train", "test")]
            if path.is_file() or (name == SPLITS_FILE and all(found.is_file() for found in lists)):
                continue
            with downloading(self.data_dir, (f"{path.stem}.partial*",)):
                if not path.is_file():  # else another process was faster
                    self._fetch(name, path)

    def _fetch(self, name: str, path: Path) -> None:
        partial_path = path.with_suffix(".partial")
        try:
            download_url_to_file(URLS[name], str(partial_path))
        except (URLError, HTTPException, OSError) as error:
            raise DataError(
                f"{self.data_dir} holds neither images nor {name}, and {URLS[name]} could not be downloaded "
                f"({' '.join(str(error).split())}); expected the set there (give the folder above nyu as data_dir), or "
                "a working network."
            ) from error
        print(f"{path}: there is no published checksum; verifying that it can be read.")
        try:
            self._verify(name, partial_path)
            os.replace(partial_path, path)
        except DataError as error:
            raise DataError(f"{URLS[name]}: {str(error).replace(str(partial_path), name)}") from error
        finally:
            partial_path.unlink(missing_ok=True)

    def _verify(self, name: str, path: Path) -> None:
        if name == SPLITS_FILE:
            self._official_split(path)
            return
        read_labelled(("0",), str(path), self.image_size, self.crop)
        read_labelled((str(COUNT - 1),), str(path), self.image_size, self.crop)

    def find(self, split: str) -> Source:
        """The pairs; see the base class."""
        path = self.data_dir / LABELLED
        if not path.is_file():
            if not (self.data_dir / "images").is_dir():
                raise DataError(
                    f"{self.data_dir} holds neither {LABELLED} nor images and depths; expected either: give the folder "
                    "above nyu as data_dir, or set download to true."
                )
            return super().find(split)
        items = [(str(number),) for number in range(COUNT)]
        listed = self._read_lists(items)
        training = listed["train"]
        drawn = draw_splits(len(training), self.val_fraction, 0.0, self.seed)
        return Source(
            items=items,
            rows=listed["test"] if split == "test" else training[drawn[split]],
            labels=None,
            decode=partial(read_labelled, path=str(path), size=self.image_size, crop=self.crop),
            fields=[Field(self.image_shape, torch.uint8), Field((1, *self.image_size), torch.float32)],
            batch=PairBatch,
            options=self.crop,
            container=str(path),
        )

    def _read_lists(self, items: Sequence[Item]) -> dict[str, Tensor]:
        """The rows of the official splits: as the two lists have them, else as the published file; none is made up."""
        there = {name: (self.data_dir / f"{name}.txt").is_file() for name in ("train", "test")}
        if all(there.values()):
            return super()._read_lists(items)
        if any(there.values()):
            raise DataError(f"{self.data_dir} holds only one of train.txt and test.txt; expected both or neither.")
        place = {Path(item[0]).stem.lstrip("0") or "0": row for row, item in enumerate(items)}
        splits = self._official_split(self.data_dir / SPLITS_FILE)
        missing = [number for rows in splits.values() for number in rows.tolist() if str(number) not in place]
        if missing:
            raise DataError(f"{self.data_dir / SPLITS_FILE} names pair {missing[0]}, which the set does not hold.")
        return {name: torch.tensor([place[str(number)] for number in rows.tolist()]) for name, rows in splits.items()}

    def _official_split(self, path: Path) -> dict[str, Tensor]:
        from scipy.io import loadmat, matlab  # slow to import, and only this form needs it

        try:
            found: dict[str, Any] = loadmat(str(path), appendmat=False)
            splits = {
                name: torch.from_numpy(found[f"{name}Ndxs"].astype("int64")).flatten() - 1 for name in ("train", "test")
            }
        except (*DAMAGED, NotImplementedError, matlab.MatReadError, zlib.error) as error:
            reason = " ".join(str(error).split())
            raise DataError(
                f"{path} cannot be read as the official split ({reason}); expected the published file, or train.txt "
                "and test.txt beside it."
            ) from error
        for name, rows in splits.items():
            if not len(rows) or int(rows.min()) < 0 or int(rows.max()) >= COUNT:
                raise DataError(f"{path} is damaged: {name}Ndxs is not numbers from 1 to {COUNT}.")
        every = torch.cat([*splits.values()])
        if len(every.unique()) < len(every):
            raise DataError(f"{path} is damaged: it names a pair twice; expected each once in one split.")
        return splits
