"""Digits to train small autoencoders on, and their scores."""

from functools import cache

import torch
from lightning.pytorch import Trainer
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset


@cache
def all_digits():
    """(1797, 1, 8, 8) in [0, 1]."""
    return torch.from_numpy(load_digits().images).float().div(16).unsqueeze(1)


def random_batches(images, steps, size=256):
    """A loader of as many batches, the same each time."""
    generator = torch.Generator().manual_seed(0)
    parts = [(images[torch.randperm(len(images), generator=generator)[:size]],) for _ in range(steps)]
    return DataLoader(parts, batch_size=None)


def evaluate(model, images, *, batch_size=2000, stage="validate", **options):
    """What validation, or test, logs of these images; the last batch may be smaller."""
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}
    trainer = Trainer(accelerator="cpu", devices=1, logger=False, **quiet, **options)
    loader = DataLoader(TensorDataset(images), batch_size=batch_size)
    return getattr(trainer, stage)(model, loader, verbose=False)[0]


def mean_image_error(images):
    """The squared error of an image where the mean is drawn each time: what a model is to beat."""
    return (images - images.mean(0)).square().flatten(1).sum(1).mean().item()
