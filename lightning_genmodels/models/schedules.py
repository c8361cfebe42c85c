"""Schedules over a training, as functions of the share of it that is done: no state that could drift on resume."""

import math
from typing import Literal

from lightning.pytorch import LightningModule

from lightning_genmodels.errors import GenmodelsError

CosineScheduleName = Literal["none", "cosine"]
OptimizerName = Literal["adam", "sgd"]
WARM_UP = 0.05


def training_steps(module: LightningModule, reason: str) -> float:
    """The number of global steps of the training; ask in `on_train_start`.

    Not before: in `on_fit_start` the question would set up the loader, which then stays where it is on resume.

    Args:
        module: in a Trainer.
        reason: what needs the number, for the message.

    Raises:
        GenmodelsError: where the training has no end.
    """
    steps = module.trainer.estimated_stepping_batches
    if steps in (-1, float("inf")):
        raise GenmodelsError(
            f"{type(module).__name__}: {reason}, but the training has no end; expected max_epochs or max_steps."
        )
    return float(steps)


def set_learning_rate(module: LightningModule, rate: float) -> None:
    """Sets that of a model's only optimizer, which a checkpoint may have brought another."""
    for group in module.trainer.optimizers[0].param_groups:
        group["lr"] = rate


def cosine_factor(done: float) -> float:
    """What the learning rate is multiplied by: up to 1 over the first 5 %, then down to 0 along a cosine.

    Args:
        done: share of the training, in [0, 1].
    """
    if done < WARM_UP:
        return max(done / WARM_UP, 0.01)  # a step at a rate of 0 would be none
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (done - WARM_UP) / (1 - WARM_UP))))


def linear_count(start: int, end: int, share: float, done: float) -> int:
    """A whole number that goes from `start` to `end` over the first `share` of the training, and stays."""
    return end if done >= share else round(start + (end - start) * done / share)
