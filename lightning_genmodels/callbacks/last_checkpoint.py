"""The checkpoint to resume from."""

import os
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.loggers import WandbLogger

from lightning_genmodels.errors import GenmodelsError


class LastCheckpoint(Checkpoint):
    """Writes one file, over and over: after every validation, and after the last batch of the training.

    Lightning's `ModelCheckpoint` writes none at the end, and in manual optimisation warns about step intervals.
    Writing is atomic: a run killed meanwhile keeps the file before. A `WandbLogger` with `log_model` keeps it as an
    artifact, the latest.

    Args:
        path: the file.
        every_n_steps: also after every n-th batch; None adds none.

    Raises:
        GenmodelsError: for every_n_steps below 1.
    """

    def __init__(self, path: str | Path, every_n_steps: int | None = None) -> None:
        if every_n_steps is not None and every_n_steps < 1:
            raise GenmodelsError(f"LastCheckpoint: every_n_steps is {every_n_steps}; expected 1 or more.")
        self.path = str(path)
        self.every_n_steps = every_n_steps
        self.last_model_path = ""
        self._saved_step = -1
        self._told: Any = WrittenCheckpoint(self.path)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Lightning's hook: until the first is written, the one resumed from is the last."""
        self.last_model_path = str(trainer.ckpt_path or "")

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Lightning's hook: that one stays where no batch follows; written again, it would count one batch less."""
        if trainer.ckpt_path:
            self._saved_step = trainer.global_step

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Lightning's hook."""
        step = trainer.global_step
        # The end is caught here: a checkpoint from on_train_end is, under max_steps, not resumed exactly.
        ends = trainer.should_stop or (trainer.max_steps != -1 and step >= trainer.max_steps)
        ends |= trainer.is_last_batch and trainer.current_epoch + 1 == trainer.max_epochs
        if ends or (self.every_n_steps is not None and step % self.every_n_steps == 0):
            self._save(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Lightning's hook."""
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self._save(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Lightning's hook: for a training that another callback stopped at the end of an epoch."""
        if self._saved_step != trainer.global_step:
            self._save(trainer)

    def _save(self, trainer: Trainer) -> None:
        # By way of a neighbour: Lightning's own temporary file may lie on another disk, from which no move is atomic.
        partial = f"{self.path}.part"
        trainer.save_checkpoint(partial, weights_only=False)  # False: everything
        if trainer.is_global_zero:
            os.replace(partial, self.path)
            for logger in trainer.loggers:
                if isinstance(logger, WandbLogger):
                    logger.after_save_checkpoint(self._told)
        self.last_model_path = self.path
        self._saved_step = trainer.global_step


class WrittenCheckpoint:
    """What a WandbLogger asks a ModelCheckpoint for; this one knows no best."""

    best_model_path = ""
    current_score = None
    save_top_k = 1

    def __init__(self, path: str) -> None:
        self.last_model_path = path
