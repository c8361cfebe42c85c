"""The façades of pix2pix."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from datamodules.decoding import read_image
from datamodules.download import downloading, fetch_archive
from datamodules.errors import DataError
from datamodules.files import Source
from datamodules.folders import SPLITS, default_data_dir, holds_pictures, pictures_in
from datamodules.paired_images import DirectionName, LabelsName, PairedImagesDataModule, check_direction

URL = "http://efrosgans.eecs.berkeley.edu/pix2pix/datasets/facades.tar.gz"
COUNTS = {"train": 400, "val": 100, "test": 106}


class FacadesDataModule(PairedImagesDataModule):
    """606 façades with their label maps (Tyleček and Šára 2013; as pairs, Isola et al. 2017). Batches are `PairBatch`.

    A is the photograph and B the label map, twelve classes in as many colours; pix2pix goes from B to A. The official
    splits (400, 100 and 106) stay as they are. JPEG has blurred the label maps: as classes, each pixel has the
    class whose colour is nearest.

    The archive has no published checksum: after a download the number of files in each split is verified, and that
    each can be decoded.

    Args:
        data_dir: folder of all data sets; the splits lie in `facades` under it. None is the environment variable
            GENMODELS_DATA, else `data`.
        direction: "BtoA": label map to photograph, or "AtoB".
        labels: of a target: "colours", an image, or "classes", for segmentation, with direction "AtoB".
        image_size: height and width in pixels that a model sees.
        load_size: height and width before the window is cut; None takes image_size * 286 / 256.
        flip: mirror half of the training pairs.
        batch_size: pairs per batch and process.
        num_workers: processes that decode, where there is no cache; a cached split needs none and starts none.
        seed: of the order of the training batches and of what changes in them.
        download: fetch the archive where the folder is missing.
        cache: decode and resize every file once, before the first epoch, into a folder of `cache_dir`; False decodes
            in each batch.
        cache_dir: folder of all caches; None is the environment variable GENMODELS_CACHE, else `genmodels` in the
            user's folder of caches. It may be deleted at any time between runs.
        memory_budget: GiB of memory that a split may take in a process, above 0: a cached one that fits is read whole,
            a larger one stays on disk and is mapped.

    Raises:
        DataError: for an option out of its range; for files that are missing and cannot be fetched, or damaged.
    """

    # Estimated from the label maps; the middle of each class's colours.
    PALETTE = ((0, 0, 222), (0, 48, 255), (0, 128, 255), (0, 207, 255), (32, 255, 224), (112, 255, 143),
               (192, 255, 63), (255, 240, 0), (255, 159, 0), (255, 80, 0), (255, 0, 0), (174, 0, 0))  # fmt: skip

    def __init__(
        self,
        data_dir: str | None = None,
        direction: DirectionName = "BtoA",
        labels: LabelsName = "colours",
        image_size: int = 256,
        load_size: int | None = None,
        flip: bool = True,
        batch_size: int = 1,
        num_workers: int = 0,
        seed: int = 0,
        download: bool = True,
        cache: bool = True,
        cache_dir: str | None = None,
        memory_budget: float = 2.0,
    ) -> None:
        super().__init__(
            data_dir=default_data_dir() if data_dir is None else data_dir,
            direction=direction,
            image_size=image_size,
            load_size=load_size,
            flip=flip,
            target_classes=len(self.PALETTE) if labels == "classes" else 0,
            batch_size=batch_size,
            num_workers=num_workers,
            seed=seed,
            cache=cache,
            cache_dir=cache_dir,
            memory_budget=memory_budget,
        )
        check_direction("FacadesDataModule", direction, labels)
        self.labels = labels
        self.palette = self.PALETTE if labels == "classes" else ()
        self.download = download

    @property
    def folder(self) -> Path:
        """Where `train`, `val` and `test` lie."""
        return self.data_dir / "facades"

    def prepare_data(self) -> None:
        """Downloads and verifies the set where its folder is missing and `download` allows it."""
        if self.folder.exists() or not self.download:
            return
        with downloading(self.data_dir, (f"{self.folder.name}.partial", ".download-*")):
            if not self.folder.exists():  # else another process was faster
                self._fetch()

    def _fetch(self) -> None:
        # It gets its name when it is verified, so that half a set is never taken for a whole one.
        partial = self.folder.with_name(f"{self.folder.name}.partial")
        fetch_archive(URL, partial, "facades", place=self.folder)
        print(f"{self.folder}: the archive has no published checksum; verifying that its files are whole.")
        try:
            self._verify(partial)
            os.replace(partial, self.folder)
        except DataError as error:
            raise DataError(f"{URL}: {str(error).replace(f'{partial}/', '')}") from error
        finally:
            shutil.rmtree(partial, ignore_errors=True)

    def _verify(self, folder: Path) -> None:
        for split, count in COUNTS.items():
            found = pictures_in(folder / split)
            if len(found) != count:
                raise DataError(f"{folder / split} holds {len(found)} pictures; expected {count}.")
            for path in found:
                read_image(path)

    def split_names(self) -> tuple[str, ...]:
        """All three."""
        return SPLITS

    def faults(self) -> Iterator[str]:
        """As every set of files; and whether as many pairs are there as were published."""
        yield from super().faults()
        for split, count in COUNTS.items():
            if holds_pictures(self.folder / split) and (found := len(pictures_in(self.folder / split))) != count:
                yield f"{self.folder / split} holds {found} pairs; expected {count} as published."

    def find(self, split: str) -> Source:
        """The pairs' files; see the base class."""
        if not holds_pictures(self.folder / split):
            raise DataError(
                f"{self.folder / split} holds no pictures; expected {COUNTS[split]} pairs as published: give the "
                "folder above facades as data_dir; or remove it, and set download to true."
            )
        return super().find(split)
