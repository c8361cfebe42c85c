"""Scores of what a model generates, by the features that one chooses."""

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torchmetrics import Metric, MetricCollection

from lightning_genmodels.errors import GenmodelsError
from lightning_genmodels.metrics import (
    DensityCoverage,
    FrechetDistance,
    KernelDistance,
    ModeCoverage,
    PrecisionRecall,
    SlicedWasserstein,
)
from lightning_genmodels.metrics.features import FeaturesName
from lightning_genmodels.metrics.modes import ModesName


class GenerationScores(Callback):
    """Logs scores of as many samples as there are validation (or test) images.

    By features, whose name is in that of every score, here "digits": `val/fid_digits` (Heusel et al. 2017),
    `val/kid_digits` (Bińkowski et al. 2018), `val/precision_digits` and `val/recall_digits` (Kynkäänniemi et al. 2019),
    `val/density_digits` and `val/coverage_digits` (Naeem et al. 2020). By modes: `val/modes`, `val/mode_kl`,
    `val/high_quality` and, of points, `val/mode_spread`. So the best checkpoint can be chosen by one of them: on the
    command line by `--checkpoint.monitor val/fid_digits --checkpoint.mode min`.

    The model has `sample(n, *, generator=None)` and, where it is conditional, `label_names`; its samples are then of
    the labels of the images compared.

    Args:
        features: "digits", what the packaged classifier of MNIST's digits sees; "inception", which needs the package
            torch-fidelity and a download; "pixels"; None leaves these scores out.
        modes: "digits", the 10 classes by the same classifier; "stacked_digits", the 1,000 of Stacked MNIST; "centres",
            those of the data module, which has `centres`, `sigma` and `extent`; None leaves these out.
        sliced_wasserstein: also `val/swd` and its parts by resolution (Karras et al. 2018).
        count: images compared with as many samples, at most, the first ones, in all processes together.
        every_n_validations: score at every n-th validation.
        seed: of the samples, the same at every validation.

    Raises:
        GenmodelsError: for an option out of its range; in training, for a model without `sample`, or data without
            `centres`.
    """

    def __init__(
        self,
        features: FeaturesName | None = "digits",
        modes: ModesName | None = None,
        sliced_wasserstein: bool = False,
        count: int = 10_000,
        every_n_validations: int = 1,
        seed: int = 0,
    ) -> None:
        for option, value in (("count", count), ("every_n_validations", every_n_validations), ("seed", seed + 1)):
            if value < 1:
                raise GenmodelsError(f"GenerationScores: {option} is {value}; expected 1 or more.")
        if features is None and modes is None and not sliced_wasserstein:
            raise GenmodelsError("GenerationScores: features and modes are both None; expected one of them at least.")
        self.features = features
        self.modes = modes
        self.sliced_wasserstein = sliced_wasserstein
        self.count = count
        self.every_n_validations = every_n_validations
        self.seed = seed
        self._validations = 0
        self._missing = 0
        self._compared: MetricCollection | None = None
        self._counted: Metric | None = None
        if modes != "centres":  # whose places are the data's
            self._build({})

    def _build(self, places: dict[str, Any]) -> None:
        compared: list[Metric | MetricCollection] = []
        if self.features is not None:
            near = [KernelDistance(self.features), PrecisionRecall(self.features), DensityCoverage(self.features)]
            compared += [FrechetDistance(self.features), *near]
        if self.sliced_wasserstein:
            compared.append(SlicedWasserstein())
        if compared:
            self._compared = MetricCollection(compared)
        if self.modes is not None:
            self._counted = ModeCoverage(self.modes, **places)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Lightning's hook."""
        if not hasattr(pl_module, "sample"):
            raise GenmodelsError(
                f"GenerationScores: {type(pl_module).__name__} has no sample(n); expected a generative model."
            )
        if self.modes == "centres" and self._counted is None:
            data: Any = getattr(trainer, "datamodule", None)
            names = ("centres", "sigma", "extent")
            if not all(hasattr(data, name) for name in names):
                raise GenmodelsError(
                    f"GenerationScores: modes is 'centres', which {type(data).__name__} has not; expected a "
                    f"data module with {', '.join(names)}, as RingDataModule."
                )
            self._build({name: getattr(data, name) for name in names})

    def _start(self, trainer: Trainer, module: LightningModule) -> None:
        for metric in (self._compared, self._counted):
            if metric is not None:
                metric.to(module.device)
                metric.reset()
        self._missing = -(-self.count // trainer.world_size)
        self._noise = torch.Generator().manual_seed(self.seed * trainer.world_size + trainer.global_rank)

    def _collect(self, model: Any, batch: Any) -> None:
        images = batch[0][: self._missing]
        if not len(images):
            return
        self._missing -= len(images)
        labels = {"labels": batch[1][: len(images)]} if hasattr(model, "label_names") else {}
        samples = model.sample(len(images), generator=self._noise, **labels)
        if self._compared is not None:
            self._compared.update(images, real=True)
            self._compared.update(samples, real=False)
        if self._counted is not None:
            self._counted.update(samples)

    def _log(self, module: LightningModule, stage: str) -> None:
        for metric in (self._compared, self._counted):
            if metric is not None:
                module.log_dict({f"{stage}/{name}": value for name, value in metric.compute().items()})
                metric.reset()

    def _is_due(self, trainer: Trainer) -> bool:
        if trainer.sanity_checking:
            return False
        return trainer.state.fn != "fit" or (self._validations + 1) % self.every_n_validations == 0

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Lightning's hook."""
        self._start(trainer, pl_module)

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Lightning's hook: takes note of the images and of as many samples."""
        if self._is_due(trainer):
            self._collect(pl_module, batch)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Lightning's hook: logs the scores."""
        if self._is_due(trainer):
            self._log(pl_module, "val")
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self._validations += 1

    def on_test_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Lightning's hook."""
        self._start(trainer, pl_module)

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Lightning's hook: takes note of the images and of as many samples."""
        self._collect(pl_module, batch)

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Lightning's hook: logs the scores under `test/`."""
        self._log(pl_module, "test")

    def state_dict(self) -> dict[str, Any]:
        """How many validations there were."""
        return {"validations": self._validations}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on counting."""
        self._validations = state_dict["validations"]
