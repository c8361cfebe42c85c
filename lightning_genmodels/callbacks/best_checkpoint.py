"""The checkpoint that did best."""

from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint


class BestCheckpoint(ModelCheckpoint):
    """Lightning's `ModelCheckpoint`, set to write one `best.ckpt` after validations, that survives a moved folder.

    While a model says of itself that it is `still_growing` none is written: its images are not yet those asked for.

    Args:
        dirpath: the folder.
        monitor: the metric.
        mode: whether less ("min") or more ("max") of it is better.
    """

    def __init__(self, dirpath: str | Path, monitor: str, mode: str) -> None:
        # After validations, and so before `LastCheckpoint` writes, which then holds the new best score.
        super().__init__(
            dirpath,
            "best",
            monitor=monitor,
            mode=mode,
            enable_version_counter=False,
            save_on_train_epoch_end=False,
        )

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Lightning's hook."""
        growing = getattr(pl_module, "still_growing", False)
        if not (growing and self.monitor in trainer.callback_metrics):  # that it is missing is said at once
            super().on_validation_end(trainer, pl_module)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Lightning's hook: it would forget the best score of a run whose folder is elsewhere now."""
        moved = {name: self._moved(state_dict[name]) for name in ("best_model_path", "kth_best_model_path")}
        models = {self._moved(path): score for path, score in state_dict["best_k_models"].items()}
        super().load_state_dict({**state_dict, **moved, "dirpath": self.dirpath, "best_k_models": models})

    def _moved(self, path: str) -> str:
        return str(Path(self.dirpath or "", Path(path).name)) if path else path
