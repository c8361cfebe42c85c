"""Makes a `genmodels fit` of any configuration quick."""

from itertools import pairwise
from pathlib import Path

import yaml
from command import QUIET

from lightning_genmodels.configs import packaged_configs

CONFIGS = packaged_configs()
FIT = ("--trainer.max_epochs", 1, "--trainer.max_steps", 2, "--trainer.limit_train_batches", 2,
       "--trainer.check_val_every_n_epoch", 1, "--trainer.val_check_interval", 1.0,
       "--trainer.limit_val_batches", 1)  # fmt: skip
RESUME = ("--trainer.max_epochs", 2, "--trainer.max_steps", 4)
# What makes it quick, by its data and its model.
OF_DATA = {
    "CelebADataModule": ("--data.batch_size", 16, "--data.download", "false"),
    "DepthPairsDataModule": ("--data.batch_size", 2, "--data.image_size", "[64, 80]"),
    "DepthScenesDataModule": ("--data.train_count", 40),
    "DFDIndoorDataModule": ("--data.batch_size", 2, "--data.image_size", "[64, 80]"),
    "FacadesDataModule": ("--data.image_size", 32, "--data.download", "false"),
    "MNISTDataModule": ("--data.batch_size", 32, "--data.download", "false"),
    "NYUDepthDataModule": ("--data.batch_size", 2, "--data.image_size", "[64, 80]", "--data.download", "false"),
    "PaintedDigitsDataModule": ("--data.copies", 1),
    "PairedImagesDataModule": ("--data.image_size", 32),
    "SamplePhotosDataModule": ("--data.train_count", 40),
    "ShapePairsDataModule": ("--data.train_count", 40),
}
OF_MODEL = {
    "DepthEstimation": ("--model.width", 4),
    "ImageRegression": ("--model.network_depth", 4, "--model.width", 4),
    "Pix2Pix": ("--model.network_depth", 4, "--model.width", 4),
    "StyleGAN": ("--model.width", 4),
    "SuperResolution": ("--model.blocks", 1, "--model.width", 8),
}


def value_of(words, option):
    """The last value of an option; None without."""
    values = [after for word, after in pairwise(words) if word == option]
    return values[-1] if values else None


def described(words):
    """Names of the classes of the model and of the data that a `fit` trains."""
    name = value_of(words, "--config")
    if name is None and "--model" not in words and "--data" not in words:
        name = "gan_digits"
    config = yaml.safe_load(Path(CONFIGS.get(name, name)).read_text()) if name else {}
    classes = []
    for group in ("model", "data"):
        chosen = value_of(words, f"--{group}") or config.get(group, {}).get("class_path", "")
        classes.append(chosen.rpartition(".")[2])
    return classes


def shorter_fit(words):
    """The options that make `genmodels fit words` quick: few batches, little data, a small model."""
    if "--resume" in words:
        return (*FIT, *RESUME, *QUIET)
    model, data = described(words)
    return (*FIT, *OF_DATA.get(data, ()), *OF_MODEL.get(model, ()), *QUIET)
