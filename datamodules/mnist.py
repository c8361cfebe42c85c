"""MNIST and Fashion-MNIST, whole in memory."""

import tempfile
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path
from urllib.error import URLError

from torch import Tensor
from torchvision.datasets import MNIST, FashionMNIST
from torchvision.datasets.mnist import read_image_file, read_label_file
from torchvision.datasets.utils import check_md5, extract_archive

from datamodules.download import leaving_no_empty_folders
from datamodules.errors import DataError
from datamodules.folders import default_data_dir
from datamodules.in_memory import BinarizeName, InMemoryDataModule

SPLIT_FILES = {True: ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
               False: ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")}  # fmt: skip


class MNISTDataModule(InMemoryDataModule):
    """70,000 handwritten digits of 28x28 pixels (LeCun et al. 1998), whole in memory. Batches are `ImageBatch`.

    torchvision downloads and verifies. A folder that cannot be written to and holds only the original `.gz`
    files is read as it is.

    Args:
        data_dir: folder of all data sets; the files lie in `MNIST/raw` under it. None is the environment
            variable GENMODELS_DATA, else `data`.
        batch_size: images per batch and process.
        num_workers: worker processes of the loaders; 0 is the fastest for a set in memory.
        image_size: height and width in pixels; 28 as published, else resized (bilinear, antialiased).
        val_fraction: share of the 60,000 training images held out for validation.
        seed: draws the validation split, the order of the training batches and what changes in them.
        download: fetch the files where they are missing.
        binarize: pixels become 0 or 1: "threshold" at the middle; "static", drawn once with its value as the
            probability, the same draw for everyone; "dynamic", drawn anew for each training batch (validation and test
            as in "static"); "none" leaves the greys.
        augment: share of the training images that are turned, scaled, sheared and shifted a little, anew in each
            batch, on the device; binary images stay binary.

    Raises:
        DataError: for an option out of its range; files that are missing and cannot be fetched; a file that is
            damaged.
    """

    dataset_class: type[MNIST] = MNIST

    def __init__(
        self,
        data_dir: str | None = None,
        batch_size: int = 64,
        num_workers: int = 0,
        image_size: int = 28,
        val_fraction: float = 0.1,
        seed: int = 0,
        download: bool = True,
        binarize: BinarizeName = "none",
        augment: float = 0.0,
    ) -> None:
        super().__init__(
            batch_size=batch_size,
            num_workers=num_workers,
            image_size=image_size,
            val_fraction=val_fraction,
            seed=seed,
            binarize=binarize,
            augment=augment,
        )
        self.data_dir = Path(default_data_dir() if data_dir is None else data_dir).expanduser()
        self.download = download

    @property
    def raw_folder(self) -> Path:
        """Where the four files lie."""
        return self.data_dir / self.dataset_class.__name__ / "raw"

    def _is_there(self, name: str) -> bool:
        archive = self.raw_folder / f"{name}.gz"
        return self._is_intact(archive) if archive.is_file() else (self.raw_folder / name).is_file()

    def _is_intact(self, archive: Path) -> bool:
        return bool(check_md5(str(archive), dict(self.dataset_class.resources)[archive.name]))

    def prepare_data(self) -> None:
        """Downloads what is missing or damaged, where `download` allows it; torchvision verifies the checksums."""
        names = [name for split in SPLIT_FILES.values() for name in split]
        missing = [name for name in names if not self._is_there(name)]
        if not self.download or not missing:
            return
        try:
            for name in names:
                archive = self.raw_folder / f"{name}.gz"
                if archive.is_file() and not self._is_intact(archive):
                    # torchvision takes what was unpacked from a damaged archive for whole.
                    archive.unlink()
                    archive.with_suffix("").unlink(missing_ok=True)
            with leaving_no_empty_folders(self.raw_folder):
                self.dataset_class(str(self.data_dir), download=True)
        except (URLError, HTTPException, RuntimeError, OSError) as error:
            name = self.dataset_class.__name__
            raise DataError(
                f"{self.raw_folder} does not hold {missing[0]}, and the download of {name} failed "
                f"({' '.join(str(error).split())}); expected the four original files there (give the folder above "
                f"{name} as data_dir), or a working network."
            ) from error

    def load(self, train: bool) -> tuple[Tensor, Tensor]:
        """Reads one official split; see the base class."""
        image_name, label_name = SPLIT_FILES[train]
        images = self._read(image_name, read_image_file)
        labels = self._read(label_name, read_label_file)
        if len(images) != len(labels):
            raise DataError(
                f"{self.raw_folder / label_name} has {len(labels)} labels; expected {len(images)}, one for each image."
            )
        return images.unsqueeze(1), labels

    def _read(self, name: str, read: Callable[[str], Tensor]) -> Tensor:
        """Reads one idx file: from its archive, which a checksum vouches for, else as it lies."""
        archive, path = self.raw_folder / f"{name}.gz", self.raw_folder / name
        with tempfile.TemporaryDirectory() as folder:
            if archive.is_file():
                if not self._is_intact(archive):
                    raise DataError(f"{archive} is damaged: its MD5 is not the published one; delete it and try again.")
                path = Path(folder, name)
                extract_archive(str(archive), folder)
            elif not path.is_file():
                raise DataError(
                    f"{path} (or its .gz) does not exist; expected the four original files of "
                    f"{self.dataset_class.__name__} there: give the folder above {self.dataset_class.__name__} as "
                    "data_dir, or set download to true."
                )
            try:
                return read(str(path))
            except (AssertionError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
                raise DataError(f"{path} is damaged; expected an idx file as published.") from error


class FashionMNISTDataModule(MNISTDataModule):
    """70,000 pictures of clothes, 28x28 pixels, in 10 classes (Xiao et al. 2017), in MNIST's format.

    Arguments and errors are those of `MNISTDataModule`; the files lie in `FashionMNIST/raw`.
    """

    dataset_class = FashionMNIST
    class_names = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
                   "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")  # fmt: skip
