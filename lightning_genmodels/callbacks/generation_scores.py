"""Scores of what a model generates, by the features that one chooses."""

from typing import Any, get_args

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torchmetrics import Metric, MetricCollection

from lightning_genmodels.errors import GenmodelsError
from lightning_genmodels.metrics import (
    DensityCoverage,
    FrechetDistance,
    KernelDistance,
    ModeCoverage,
    PairSimilarity,
    PrecisionRecall,
    SlicedWasserstein,
)
from lightning_genmodels.metrics.collection import process_share
from lightning_genmodels.metrics.features import FeaturesName, check_features, features_of
from lightning_genmodels.metrics.modes import ModesName
from lightning_genmodels.seeding import derive_seed

PLACES = ("centres", "sigma", "extent")  # of a data module whose modes lie in the plane


class GenerationScores(Callback):
    """Logs scores of as many samples as there are validation (or test) images.

    By features, whose name is in that of every score, here "digits": `val/fid_digits` (Heusel et al. 2017),
    `val/kid_digits` (Bińkowski et al. 2018), `val/precision_digits` and `val/recall_digits` (Kynkäänniemi et al. 2019),
    `val/density_digits` and `val/coverage_digits` (Naeem et al. 2020). By modes: `val/modes_digits`,
    `val/mode_kl_digits` and `val/high_quality_digits`; of points `val/modes`, `val/mode_kl`, `val/high_quality` and
    `val/mode_spread`. So the best checkpoint can be chosen by one of them: on the command line by
    `--checkpoint.monitor val/fid_digits --checkpoint.mode min`.

    The model has `sample(n, *, generator=None)` and, where it is conditional, `label_names`; its samples are then of
    the labels of the images compared. A batch has the images first, (N, C, H, W) in [0, 1], and the labels second.

    Args:
        features: "digits", what the packaged classifier of MNIST's digits sees; "inception", which needs the package
            torch-fidelity and a download; "pixels", of small images: memory is the square of their pixels; None leaves
            these scores out.
        modes: "digits", MNIST's 10 classes by the same classifier, which mistakes half of scikit-learn's digits;
            "stacked_digits", the 1,000 of Stacked MNIST; "centres", those of the data module, which has `centres`,
            `sigma` and `extent` and whose images are points, so that `features` is then "pixels" or None; None leaves
            these out.
        sliced_wasserstein: also `val/swd` and its parts by resolution (Karras et al. 2018).
        similarity: also `val/ms_ssim`, how alike samples are to one another, and `val/ms_ssim_real`, the images; the
            former is above the latter where diversity is lacking (Odena et al. 2017).
        count: images compared with as many samples, at most, the first ones, in all processes together.
        every_n_validations: score at every n-th validation of a training; 1 where a score chooses the checkpoint.
        seed: of the samples, the same at every validation.

    Raises:
        GenmodelsError: for an option out of its range, or options that do not fit; before the first step, for a model
            without `sample`, or data without `centres`; while scoring, as the metrics do.
    """

    def __init__(
        self,
        features: FeaturesName | None = "digits",
        modes: ModesName | None = None,
        sliced_wasserstein: bool = False,
        similarity: bool = False,
        count: int = 10_000,
        every_n_validations: int = 1,
        seed: int = 0,
    ) -> None:
        if features is not None:
            check_features(self, features)
        if modes is not None and modes not in get_args(ModesName):
            raise GenmodelsError(
                f"GenerationScores: modes is {modes!r}; expected one of {list(get_args(ModesName))}, or None."
            )
        # As few as the metrics take; coverage asks for a fifth neighbour.
        fewest = 6 if features is not None else 2 if sliced_wasserstein or similarity else 1
        for option, value, least in (
            ("count", count, fewest),
            ("every_n_validations", every_n_validations, 1),
            ("seed", seed, 0),
        ):
            if value < least:
                raise GenmodelsError(f"GenerationScores: {option} is {value}; expected {least} or more.")
        if features is None and modes is None and not sliced_wasserstein and not similarity:
            raise GenmodelsError(
                "GenerationScores: features and modes are None, sliced_wasserstein and similarity are False; expected "
                "one of the four."
            )
        if modes == "centres" and features not in ("pixels", None):
            raise GenmodelsError(
                f"GenerationScores: modes is 'centres', of points, and features is {features!r}; expected 'pixels' or "
                "None."
            )
        self.features = features
        self.modes = modes
        self.sliced_wasserstein = sliced_wasserstein
        self.similarity = similarity
        self.count = count
        self.every_n_validations = every_n_validations
        self.seed = seed
        self._validations = 0
        self._missing = 0
        self._collected = False
        self._metrics: dict[str, MetricCollection | Metric] = {}

    @property
    def state_key(self) -> str:
        """Lightning's property; a run may have several of these, as of other features."""
        return f"{type(self).__name__}{(self.features, self.modes, self.sliced_wasserstein, self.similarity)}"

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Lightning's hook."""
        if stage == "predict":
            return
        if not hasattr(pl_module, "sample"):
            raise GenmodelsError(
                f"GenerationScores: {type(pl_module).__name__} has no sample(n); expected a generative model."
            )
        self._metrics = {}
        if self.features is not None:
            # Of features that are found once for all, see `_add`, and kept once.
            near = [KernelDistance("pixels"), PrecisionRecall("pixels"), DensityCoverage("pixels")]
            groups = [[type(metric).__name__ for metric in near], ["FrechetDistance"]]
            self._metrics["features"] = MetricCollection([*near, FrechetDistance("pixels")], compute_groups=groups)
        if self.sliced_wasserstein:
            self._metrics["patches"] = SlicedWasserstein()
        if self.similarity:
            self._metrics |= {"similarity": PairSimilarity(), "real_similarity": PairSimilarity()}
        if self.modes is not None:
            self._metrics["modes"] = ModeCoverage(self.modes, **self._places(trainer))

    def _places(self, trainer: Trainer) -> dict[str, Any]:
        if self.modes != "centres":
            return {}
        data: Any = getattr(trainer, "datamodule", None)
        if not all(hasattr(data, name) for name in PLACES):
            given = "there is no data module" if data is None else f"{type(data).__name__} has none"
            raise GenmodelsError(
                f"GenerationScores: modes is 'centres', but {given}; expected one with {', '.join(PLACES)}, as "
                "RingDataModule."
            )
        return {name: getattr(data, name) for name in PLACES}

    def _start(self, trainer: Trainer, module: LightningModule) -> None:
        # Distances are summed in float64, which Apple's devices do not have.
        self._device = torch.device("cpu") if module.device.type == "mps" else module.device
        for metric in self._metrics.values():
            metric.to(self._device)
            metric.reset()
        # In the sanity check one image in each process: what does not fit is found before the first step.
        count = trainer.world_size if trainer.sanity_checking else self.count
        self._missing = process_share(count, trainer.global_rank, trainer.world_size)
        self._collected = False
        self._noise = torch.Generator().manual_seed(derive_seed(self.seed, trainer.global_rank))

    def _collect(self, model: Any, batch: Any) -> None:
        images = batch[0][: self._missing]
        if not len(images):
            return
        self._missing -= len(images)
        labels = {"labels": batch[1][: len(images)]} if hasattr(model, "label_names") else {}
        self._add(images, model.sample(len(images), generator=self._noise, **labels))

    def _add(self, images: Tensor, samples: Tensor) -> None:
        self._collected = True
        for kind, real in ((images.to(self._device), True), (samples.to(self._device), False)):
            if self.features is not None:
                features = features_of(kind, self.features)
                self._metrics["features"].update(features[:, :, None, None], real=real)
            if "patches" in self._metrics:
                self._metrics["patches"].update(kind, real=real)
            if self.similarity:
                self._metrics["real_similarity" if real else "similarity"].update(kind)
            if "modes" in self._metrics and not real:
                self._metrics["modes"].update(kind)

    def _log(self, model: Any, stage: str) -> None:
        if not self._collected:
            # Processes can put together only what is of one shape, also where one had no images.
            nothing = model.sample(0)
            self._add(nothing, nothing)
        scores = {name: metric.compute() for name, metric in self._metrics.items()}
        if "features" in scores:
            values = scores["features"].items()
            scores["features"] = {f"{name.removesuffix('_pixels')}_{self.features}": value for name, value in values}
        if self.similarity:
            scores["real_similarity"] = {"ms_ssim_real": scores["real_similarity"]["ms_ssim"]}
        for found in scores.values():
            model.log_dict({f"{stage}/{name}": value for name, value in found.items()}, sync_dist=True)
        self._forget()

    def _forget(self) -> None:
        for metric in self._metrics.values():
            metric.reset()

    def _is_due(self, trainer: Trainer) -> bool:
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
        if trainer.sanity_checking or self._is_due(trainer):
            self._collect(pl_module, batch)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Lightning's hook: logs the scores."""
        if trainer.sanity_checking:
            self._forget()
            return
        if self._is_due(trainer):
            self._log(pl_module, "val")
        if trainer.state.fn == "fit":
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
