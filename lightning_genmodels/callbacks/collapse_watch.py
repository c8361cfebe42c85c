"""An early and cheap sign that a GAN collapses."""

import math
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from lightning_genmodels.errors import GenmodelsError, check_options


class CollapseWatch(Callback):
    """Warns when generated images are too much alike, and if asked when the discriminator is never wrong; logs both.

    It looks at every n-th batch of two images or more, at what was drawn for it anyway. `train/diversity` is the mean
    distance of two generated images, divided by that of two real ones: near 1 for a model that has learned, 0 for one
    image over and over. `train/separation` is how often the discriminator has a real image above a generated one, of
    all pairs: .5 where it is at a loss, 1 where it is never wrong, whatever the loss. A DCGAN's, which normalises each
    batch by itself, is never wrong in a healthy training either: give it a ceiling only where yours is wrong at times.

    Low diversity is the collapse to nearly one image. A generator that keeps a few modes of many makes images that
    differ about as much as real ones do: modes are what `GenerationScores(modes=...)` counts.

    The model has `judged`, with `real_logits`, `fake_logits` and `fake`, the generated images in [0, 1]; a batch has
    the real ones first.

    Args:
        every_n_steps: look at every n-th batch.
        warm_up: batches in which nothing is said: an untrained generator begins with images that are all alike.
        diversity_floor: below it, samples are too much alike.
        separation_ceiling: above it, the discriminator is as good as never wrong; 1 never says so.
        patience: say so when it was found at as many looks one after the other.
        stop: end the training then.

    Raises:
        GenmodelsError: for an option out of its range; in training, for a model without `judged`.
    """

    def __init__(
        self,
        every_n_steps: int = 100,
        warm_up: int = 500,
        diversity_floor: float = 0.25,
        separation_ceiling: float = 1.0,
        patience: int = 5,
        stop: bool = False,
    ) -> None:
        check_options(
            self,
            ("every_n_steps", every_n_steps, every_n_steps >= 1, "1 or more"),
            ("warm_up", warm_up, warm_up >= 0, "0 or more"),
            ("diversity_floor", diversity_floor, diversity_floor >= 0, "0 or more"),
            ("separation_ceiling", separation_ceiling, 0 < separation_ceiling <= 1, "above 0, and 1 at most"),
            ("patience", patience, patience >= 1, "1 or more"),
        )
        self.every_n_steps = every_n_steps
        self.warm_up = warm_up
        self.diversity_floor = diversity_floor
        self.separation_ceiling = separation_ceiling
        self.patience = patience
        self.stop = stop
        self.found = {"diversity": 0, "separation": 0}  # looks one after the other

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Lightning's hook."""
        if not hasattr(pl_module, "judged"):
            raise GenmodelsError(f"CollapseWatch: {type(pl_module).__name__} is not adversarial; expected a GAN.")

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Lightning's hook."""
        batches = trainer.fit_loop.total_batch_idx + 1
        if batches % self.every_n_steps == 0:
            self._look(trainer, pl_module, batch[0], batches)

    def _look(self, trainer: Trainer, model: Any, images: Tensor, batches: int) -> None:
        judged = model.judged
        found = {
            "diversity": spread(judged.fake) / spread(images),
            "separation": separation(judged.real_logits, judged.fake_logits),
        }
        # The processes have different batches, and must stop together.
        values = {name: float(trainer.strategy.reduce(value, reduce_op="mean")) for name, value in found.items()}
        if not all(map(math.isfinite, values.values())):
            return
        for logger in trainer.loggers:
            logger.log_metrics({f"train/{name}": value for name, value in values.items()}, step=batches - 1)
        if batches <= self.warm_up:
            return
        bad = {
            "diversity": values["diversity"] < self.diversity_floor,
            "separation": values["separation"] > self.separation_ceiling,
        }
        for name, is_bad in bad.items():
            self.found[name] = self.found[name] + 1 if is_bad else 0
            if self.found[name] == self.patience:
                self._say(trainer, name, values[name], batches)

    def _say(self, trainer: Trainer, name: str, value: float, batches: int) -> None:
        what = {
            "diversity": f"generated images differ by {value:.2g} of what real ones do (train/diversity; expected "
            f"{self.diversity_floor:g} or more): the generator collapses",
            "separation": f"the discriminator is right about {value:.4g} of all pairs (train/separation; expected "
            f"{self.separation_ceiling:g} at most): from most losses the generator then learns nothing",
        }[name]
        rank_zero_warn(
            f"CollapseWatch: at batch {batches}, {what}." + (" The training is stopped." if self.stop else "")
        )
        if self.stop:
            self.found[name] = 0  # for a training that is resumed nevertheless
            trainer.should_stop = True

    def state_dict(self) -> dict[str, Any]:
        """At how many looks one after the other something was found."""
        return {"found": dict(self.found)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on counting."""
        self.found = dict(state_dict["found"])


def spread(images: Tensor) -> Tensor:
    """Mean Euclidean distance of two of N images, of the first 64 if there are more, a scalar."""
    return torch.pdist(images[:64].detach().float().flatten(1)).mean()


def separation(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Share of the pairs in which the real logit is above the generated one, ties as half, a scalar."""
    difference = real_logits[:, None] - fake_logits
    return ((difference > 0).float() + 0.5 * (difference == 0).float()).mean()
