"""Pictures of what a model does, in every logger and as files."""

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor

from lightning_genmodels.errors import GenmodelsError
from lightning_genmodels.pictures import image_grid, save_png


class PictureGrid(Callback):
    """Draws a grid after every validation, and at the end of training.

    A model with `sample(n, generator=…)` gives "samples", from latents that stay the same over the run and after a
    resume. One with `reconstruct(images)` gives "reconstructions": the first validation images, each with its
    reconstruction to the right. The same uint8 picture goes to Weights & Biases, TensorBoard and a PNG file, at
    the step of the scalars logged meanwhile.

    Args:
        count: images drawn.
        dirpath: folder of the files `<name>-<step>.png`; None is `pictures` in the run's folder.
        seed: of the latents.

    Raises:
        GenmodelsError: for a count below 1.
    """

    def __init__(self, count: int = 64, dirpath: str | None = None, seed: int = 0) -> None:
        if count < 1:
            raise GenmodelsError(f"PictureGrid: count is {count}; expected 1 or more.")
        self.count = count
        self.dirpath = dirpath
        self.seed = seed
        self._images: Tensor | None = None
        self._drawn_step = -1

    def folder(self, trainer: Trainer) -> Path:
        """Where the files lie."""
        return Path(self.dirpath or Path(trainer.log_dir or trainer.default_root_dir, "pictures"))

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Lightning's hook: keeps the first images, for `reconstruct`."""
        if batch_idx == dataloader_idx == 0 and hasattr(pl_module, "reconstruct"):
            self._images = batch[0][: self.count]

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Lightning's hook."""
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self._draw(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Lightning's hook."""
        self._draw(trainer, pl_module)

    def _draw(self, trainer: Trainer, model: LightningModule) -> None:
        folder = self.folder(trainer)  # every process takes part in finding it
        if trainer.global_step != self._drawn_step:
            self._drawn_step = trainer.global_step
            self._draw_on_first(trainer, model, folder)

    @rank_zero_only
    def _draw_on_first(self, trainer: Trainer, model: Any, folder: Path) -> None:
        pictures = {}
        if hasattr(model, "sample"):
            generator = torch.Generator().manual_seed(self.seed)
            pictures["samples"] = image_grid(model.sample(self.count, generator=generator))
        if hasattr(model, "reconstruct") and self._images is not None:
            pairs = torch.stack([self._images, model.reconstruct(self._images)], 1).flatten(0, 1)
            columns = 2 * max(1, round((len(pairs) / 4) ** 0.5))
            pictures["reconstructions"] = image_grid(pairs, columns)
        # Lightning numbers the scalars of the n-th batch n - 1.
        step = max(trainer.global_step - 1, 0)
        for name, picture in pictures.items():
            save_png(picture, folder / f"{name}-{step:08d}.png")
            logger: Any
            for logger in trainer.loggers:
                if hasattr(logger, "log_image"):  # WandbLogger
                    logger.log_image(key=name, images=[picture], step=step)
                elif hasattr(logger.experiment, "add_image"):  # TensorBoardLogger
                    logger.experiment.add_image(name, picture, step, dataformats="HWC")
