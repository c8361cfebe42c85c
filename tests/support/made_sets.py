"""Small data modules of every kind, over files that are made where they need some."""

import numpy as np
import torch
from made_files import save
from miniature import write_mnist

import datamodules
from datamodules.celeba import ATTRIBUTES

SIDE = 20
COUNT = 12


def picture(number, height=SIDE, width=SIDE):
    generator = torch.Generator().manual_seed(number)
    return torch.randint(0, 256, (3, height, width), generator=generator, dtype=torch.uint8)


def depth(number):
    return np.random.default_rng(number).integers(1, 5000, (SIDE, SIDE)).astype(np.uint16)


def small_module(name, root, **options):
    """The data module of that name with a training split of some batches of 2."""
    chosen = {"batch_size": 2, **OPTIONS[name], **options}
    if name in MAKERS:
        MAKERS[name](root)
        chosen |= {"data_dir": str(root)}
    return getattr(datamodules, name)(**chosen)


def _pairs(folder, kind="png"):
    for split, count in (("train", COUNT), ("val", 2), ("test", 3)):
        for number in range(count):
            save(folder / split / f"{number}.{kind}", picture(number, SIDE, 2 * SIDE))


def _celeba(root, count=COUNT):
    lines = [str(count), " ".join(ATTRIBUTES)]
    for number in range(count):
        save(root / f"celeba/img_align_celeba/{number}.jpg", picture(number, 24))
        lines.append(f"{number}.jpg " + " ".join("1" if (number + a) % 3 else "-1" for a in range(40)))
    (root / "celeba/list_attr_celeba.txt").write_text("\n".join(lines))
    (root / "celeba/list_eval_partition.txt").write_text("\n".join(f"{number}.jpg 0" for number in range(count)))


def _folder(root):
    for number in range(COUNT):
        save(root / f"{'ab'[number % 2]}/{number}.png", picture(number))


def _depth_pairs(root, images="images", depths="depths", kind=np.uint16, count=COUNT):
    for number in range(count):
        save(root / images / f"{number}.png", picture(number))
        save(root / depths / f"{number}.png", depth(number).astype(kind))


def _nyu(root):
    _depth_pairs(root / "nyu", kind=np.uint8, count=COUNT + 2)
    for split, numbers in (("train", range(COUNT - 2)), ("test", range(COUNT - 2, COUNT + 2))):
        (root / "nyu" / f"{split}.txt").write_text("".join(f"{number}\n" for number in numbers))


def _dfd(root):
    for split in ("train", "test"):
        _depth_pairs(root / "dfd_indoor", f"rgb/{split}", f"depth/{split}")


def write_sets(root):
    """Small ones of all that packaged configurations train on."""
    write_mnist(root)
    _celeba(root, 120)
    _pairs(root / "facades", "jpg")
    _nyu(root)
    _dfd(root)


FILES = {"image_size": SIDE, "download": False}
DEPTH = {"image_size": (SIDE, SIDE), "zoom": 1.5, "jitter": 0.2}
OPTIONS = {
    "CelebADataModule": {**FILES, "flip": True},
    "DFDIndoorDataModule": DEPTH,
    "DepthPairsDataModule": DEPTH,
    "DepthScenesDataModule": {"image_size": (16, 20), "train_count": 10},
    "DigitsDataModule": {"augment": 0.5, "val_fraction": 0.8, "batch_size": 20},
    "FacadesDataModule": {**FILES, "load_size": 24},
    "FashionMNISTDataModule": {"download": False, "batch_size": 20},
    "GridDataModule": {"train_count": 10},
    "ImageFolderDataModule": {"image_size": SIDE, "flip": True},
    "MNISTDataModule": {"download": False, "binarize": "dynamic", "batch_size": 20},
    "NYUDepthDataModule": {**DEPTH, "download": False, "crop": "none"},
    "PaintedDigitsDataModule": {"copies": 1, "val_fraction": 0.9, "batch_size": 16},
    "PairedImagesDataModule": {"image_size": SIDE, "load_size": 24},
    "RingDataModule": {"train_count": 10},
    "SamplePhotosDataModule": {"image_size": 16, "train_count": 10},
    "ShapePairsDataModule": {"image_size": 16, "train_count": 10},
    "StackedMNISTDataModule": {"stacking": "on_the_fly", "train_count": 8, "download": False},
}
MAKERS = {
    "CelebADataModule": _celeba,
    "DFDIndoorDataModule": _dfd,
    "DepthPairsDataModule": _depth_pairs,
    "FacadesDataModule": lambda root: _pairs(root / "facades"),
    "FashionMNISTDataModule": lambda root: write_mnist(root, "FashionMNIST"),
    "ImageFolderDataModule": _folder,
    "MNISTDataModule": write_mnist,
    "NYUDepthDataModule": _nyu,
    "PairedImagesDataModule": _pairs,
    "StackedMNISTDataModule": write_mnist,
}
