"""Predictions as files that other programs open."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from lightning_genmodels.errors import GenmodelsError
from lightning_genmodels.pictures import save_result


class PredictionWriter(Callback):
    """Writes what `predict_step` returns.

    A dict of tensors (an autoencoder's codes and labels) becomes one `codes.npz` with the same names and `index`,
    the item's place in the data; of images (N, C, H, W) in [0, 1] each becomes `<index>.png`, and of maps of classes,
    int64 (N, H, W), each an indexed one, whose pixels are the numbers. Depth of a model with `depth_cap`, (N, 1, H, W)
    in metres, becomes a PNG of 16 bits in millimetres, and `<index>_color.png`.

    Args:
        dirpath: the folder.

    Raises:
        GenmodelsError: under more than one process, which would each hold a share.
    """

    def __init__(self, dirpath: str | Path) -> None:
        self.dirpath = Path(dirpath)
        self._codes: list[dict[str, Tensor]] = []
        self._written = 0

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Lightning's hook."""
        if trainer.world_size > 1:
            raise GenmodelsError(
                f"predict: devices make {trainer.world_size} processes; expected one: add --trainer.devices 1."
            )
        self._codes, self._written = [], 0

    def on_predict_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Lightning's hook."""
        if isinstance(outputs, dict):
            self._codes.append({name: value.cpu() for name, value in outputs.items()})
        elif isinstance(outputs, Tensor):
            for result in outputs:
                place = self.dirpath / f"{self._written:06d}.png"
                save_result(result, place, depth=hasattr(pl_module, "depth_cap"))
                self._written += 1

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Lightning's hook."""
        if self._codes:
            arrays = {name: torch.cat([c[name] for c in self._codes]).numpy() for name in self._codes[0]}
            arrays["index"] = np.arange(len(next(iter(arrays.values()))))
            self.dirpath.mkdir(parents=True, exist_ok=True)
            np.savez(self.dirpath / "codes.npz", **arrays)  # type: ignore[arg-type]  # its stub takes a name for an option
