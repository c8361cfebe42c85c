"""The random state of a training step as a function of its number."""

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from lightning_genmodels.seeding import derive_seed


class ExactResume(Callback):
    """Seeds torch before every training batch from (seed, batch, process), so that a resumed run draws the same
    dropout and noise as one never interrupted.

    The seed is `torch.initial_seed()` of the first fit and is kept in the checkpoint. Saving the random state
    itself would keep that of one process only. The loader must resume exactly too; those of our data modules do.
    """

    def __init__(self) -> None:
        self._seed: int | None = None

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Lightning's hook."""
        if self._seed is None:
            self._seed = trainer.strategy.broadcast(torch.initial_seed())

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Lightning's hook."""
        assert self._seed is not None
        seed = derive_seed(self._seed, trainer.fit_loop.total_batch_idx, trainer.global_rank)
        # 100 times faster than torch.manual_seed, which visits every device type there is.
        torch.default_generator.manual_seed(seed)
        if pl_module.device.type == "cuda":
            torch.cuda.manual_seed(seed)

    def state_dict(self) -> dict[str, Any]:
        """The seed."""
        return {"seed": self._seed}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes the seed of the earlier run."""
        self._seed = state_dict["seed"]
