"""A table of labelled images, in every logger and as files."""

import csv
import math
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor

from lightning_genmodels.callbacks.picture_grid import logged_step
from lightning_genmodels.errors import GenmodelsError
from lightning_genmodels.pictures import POINT, Picture, image_grid, in_colours, save_png, with_caption

NAME = "labelled"
LONGEST = 24  # letters below an image
GAP = 8  # pixels between two rows of the table that stand beside each other


class LabelledTable(Callback):
    """Tables after every validation, and at the end of training, what a model makes for the first validation labels.

    - "label" and "sample" of a conditional model, which has `label_names` and `sample(n, labels=…, generator=…)`, and
      beside them "image", the validation image of that label;
    - "label", "image" and "reconstruction" of a model with `reconstruct(images)`.

    A label is the name of a class, or the names of the attributes that are given; the names are the model's
    `label_names`, else the data module's `class_names` or `attribute_names`, else numbers. Weights & Biases has a
    table, "labelled", with an image in each cell. TensorBoard, which has no such tables, has a picture with the labels
    below the images, and the labels as text. The same picture is a file, `labelled-<step>.png`, and the labels, in the
    same order, are another, `labelled-<step>.csv`.

    Without labels in the batches, with another model, or of points in the plane, there is no table.

    Args:
        count: rows; 0 makes no table.
        dirpath: folder of the files; None is `tables` in the run's folder.
        seed: of the latents.

    Raises:
        GenmodelsError: for a count below 0.
    """

    def __init__(self, count: int = 32, dirpath: str | None = None, seed: int = 0) -> None:
        if count < 0:
            raise GenmodelsError(f"LabelledTable: count is {count}; expected 0 or more.")
        self.count = count
        self.dirpath = dirpath
        self.seed = seed
        self._batch: tuple[Tensor, Tensor] | None = None
        self._logged_step = -1

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Lightning's hook: keeps the first images and their labels."""
        if batch_idx == dataloader_idx == 0:
            labelled = isinstance(batch, tuple | list) and len(batch) > 1 and _are_labels(batch[1])
            fits = labelled and self.count and tuple(batch[0].shape[1:]) != POINT
            self._batch = (batch[0][: self.count], batch[1][: self.count]) if fits else None

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Lightning's hook."""
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self._make(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Lightning's hook."""
        self._make(trainer, pl_module)

    def _make(self, trainer: Trainer, model: LightningModule) -> None:
        folder = Path(self.dirpath or Path(trainer.log_dir or trainer.default_root_dir, "tables"))
        if self._batch is not None and trainer.global_step != self._logged_step:
            self._logged_step = trainer.global_step
            self._make_on_first(trainer, model, folder, *self._batch)

    @rank_zero_only
    @torch.no_grad()
    def _make_on_first(self, trainer: Trainer, model: Any, folder: Path, images: Tensor, labels: Tensor) -> None:
        if hasattr(model, "sample") and hasattr(model, "label_names"):
            generator = torch.Generator().manual_seed(self.seed)
            columns = {"sample": model.sample(len(images), labels=labels, generator=generator), "image": images}
        elif hasattr(model, "reconstruct"):
            columns = {"image": images, "reconstruction": model.reconstruct(images)}
        else:
            return
        texts = label_texts(labels, _names(trainer, model))
        step = logged_step(trainer)
        picture = _picture(texts, [*columns.values()])
        save_png(picture, folder / f"{NAME}-{step:08d}.png")
        _save_csv(texts, folder / f"{NAME}-{step:08d}.csv")
        logger: Any
        for logger in trainer.loggers:
            if hasattr(logger, "log_table"):  # WandbLogger
                _log_to_wandb(logger, texts, columns, step)
            elif hasattr(logger.experiment, "add_text"):  # TensorBoardLogger
                logger.experiment.add_image(NAME, picture, step, dataformats="HWC")
                logger.experiment.add_text(NAME, _markdown(texts), step)


def _are_labels(labels: Any) -> bool:
    """Whether these are classes, whole numbers (N,), or attributes, floats (N, L)."""
    return isinstance(labels, Tensor) and labels.ndim == (2 if labels.is_floating_point() else 1)


def _names(trainer: Trainer, model: Any) -> Sequence[str]:
    data = getattr(trainer, "datamodule", None)
    for owner, name in ((model, "label_names"), (data, "class_names"), (data, "attribute_names")):
        if found := getattr(owner, name, None):
            return tuple(found)
    return ()


def label_texts(labels: Tensor, names: Sequence[str]) -> list[str]:
    """One text a label.

    Args:
        labels: classes, int64 (N,), or attributes, floating point (N, L).
        names: of the classes or attributes; one that has none is its number.

    Returns:
        N texts: the name of a class; the names of the attributes that are 1, "none" of no attribute; or, where
        attributes are other numbers than 0 and 1, all names with their values. Joined by commas.
    """

    def name(number: int) -> str:
        return names[number] if number < len(names) else str(number)

    if not labels.is_floating_point():
        return [name(number) for number in labels.tolist()]
    if ((labels == 0) | (labels == 1)).all():
        return [", ".join(name(n) for n, given in enumerate(row) if given) or "none" for row in labels.tolist()]
    return [", ".join(f"{name(n)} {value:.3g}" for n, value in enumerate(row)) for row in labels.tolist()]


def _picture(texts: list[str], columns: list[Tensor]) -> Picture:
    """The images of a row beside each other, its label below, and about as many rows across as down."""
    parts = [in_colours(images.cpu()) for images in columns]
    colours = max(part.shape[1] for part in parts)
    rows = torch.stack([part.expand(-1, colours, -1, -1) for part in parts], 1)
    cells = [with_caption(image_grid(row, len(parts)), _cut(text)) for row, text in zip(rows, texts, strict=True)]
    width = max(cell.shape[1] for cell in cells) + GAP
    cells = [np.pad(cell, ((0, 0), (0, width - cell.shape[1]), (0, 0)), constant_values=255) for cell in cells]
    across = math.ceil(math.sqrt(len(cells) * cells[0].shape[0] / width))
    cells += [np.full_like(cells[0], 255)] * (-len(cells) % across)
    return np.vstack([np.hstack(cells[start : start + across]) for start in range(0, len(cells), across)])


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - 3] + "..."


def _save_csv(texts: list[str], path: Path) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["row", "label"])
        writer.writerows(enumerate(texts))


def _markdown(texts: list[str]) -> str:
    lines = [f"| {row} | {text.replace('|', ' ')} |" for row, text in enumerate(texts)]
    return "\n".join(["| row | label |", "| --- | --- |", *lines])


def _log_to_wandb(logger: Any, texts: list[str], columns: dict[str, Tensor], step: int) -> None:
    wandb: Any = import_module("wandb")  # which its logger has imported
    pictures = [[wandb.Image(image_grid(image[None], margin=0)) for image in in_colours(c)] for c in columns.values()]
    rows = [list(row) for row in zip(texts, *pictures, strict=True)]
    logger.log_table(NAME, columns=["label", *columns], data=rows, step=step)
