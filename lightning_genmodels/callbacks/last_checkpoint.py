"""The checkpoint to resume from."""

from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

from lightning_genmodels.errors import GenmodelsError


class LastCheckpoint(Checkpoint):
    """Writes one file, over and over: after every validation, and at the end of training.

    Lightning's `ModelCheckpoint` writes none at the end, and in manual optimisation ignores a time interval and
    warns about step intervals. Writing is atomic: a run killed meanwhile keeps the file before.

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

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Lightning's hook."""
        if self.every_n_steps is not None and trainer.global_step % self.every_n_steps == 0:
            self._save(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Lightning's hook."""
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self._save(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Lightning's hook."""
        if self._saved_step != trainer.global_step:
            self._save(trainer)

    def _save(self, trainer: Trainer) -> None:
        trainer.save_checkpoint(self.path, weights_only=False)  # False: everything
        self.last_model_path = self.path
        self._saved_step = trainer.global_step
