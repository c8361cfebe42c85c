"""The checkpoint that did best."""

from pathlib import Path
from typing import Any

from lightning.pytorch.callbacks import ModelCheckpoint


class BestCheckpoint(ModelCheckpoint):
    """Lightning's `ModelCheckpoint`, set to write one `best.ckpt` after validations, that survives a moved folder.

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

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Lightning's hook: it would forget the best score of a run whose folder is elsewhere now."""
        moved = {name: self._moved(state_dict[name]) for name in ("best_model_path", "kth_best_model_path")}
        models = {self._moved(path): score for path, score in state_dict["best_k_models"].items()}
        super().load_state_dict({**state_dict, **moved, "dirpath": self.dirpath, "best_k_models": models})

    def _moved(self, path: str) -> str:
        return str(Path(self.dirpath or "", Path(path).name)) if path else path
