"""A score of the representation that a model learns."""

import math
from collections.abc import Generator
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.model_helpers import is_overridden
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset
from torchmetrics.utilities.distributed import gather_all_tensors

from lightning_genmodels.errors import GenmodelsError
from lightning_genmodels.metrics import probe_codes


class FeatureProbe(Callback):
    """Logs the errors of simple classifiers on the codes (Alain and Bengio 2016).

    `val/probe_logistic` and `val/probe_knn` are the shares of validation images that a logistic regression and nearest
    neighbours, trained on the codes of training images, put into a wrong class.

    The model has `encode(images)` and is not trained by it; a batch has the images first and the classes, whole
    numbers, second. Random augmentation of the data module does not apply.

    Args:
        train_count: training images whose codes the classifiers are trained on, in all processes together.
        every_n_validations: probe at every n-th validation; a logistic regression takes its time.
        inverse_penalty: C of the logistic regression; less is smoother.
        neighbours: k of the k-nearest-neighbours classifier.

    Raises:
        GenmodelsError: for an option out of its range; in training, for a model without `encode`, or batches
            without classes.
    """

    def __init__(
        self,
        train_count: int = 5000,
        every_n_validations: int = 1,
        inverse_penalty: float = 0.1,
        neighbours: int = 5,
    ) -> None:
        for option, value in (
            ("every_n_validations", every_n_validations),
            ("neighbours", neighbours),
        ):
            if value < 1:
                raise GenmodelsError(f"FeatureProbe: {option} is {value}; expected 1 or more.")
        if train_count < neighbours:
            raise GenmodelsError(
                f"FeatureProbe: train_count is {train_count}; expected {neighbours} or more, the number of neighbours."
            )
        if not 0 < inverse_penalty < math.inf:
            raise GenmodelsError(f"FeatureProbe: inverse_penalty is {inverse_penalty}; expected above 0, and finite.")
        self.train_count = train_count
        self.every_n_validations = every_n_validations
        self.inverse_penalty = inverse_penalty
        self.neighbours = neighbours
        self._validations = 0
        self._collected: list[tuple[Tensor, Tensor]] = []

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Lightning's hook."""
        if not hasattr(pl_module, "encode"):
            raise GenmodelsError(
                f"FeatureProbe: {type(pl_module).__name__} has no encode(images); expected an autoencoder."
            )

    def _is_due(self, trainer: Trainer) -> bool:
        return (
            trainer.state.fn == "fit"
            and not trainer.sanity_checking
            and (self._validations + 1) % self.every_n_validations == 0
        )

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Lightning's hook: keeps the codes; the batches of the sanity check have to have classes as well."""
        if self._is_due(trainer):
            self._collected.append(_encode(pl_module, batch))
        elif trainer.sanity_checking:
            _classes(batch)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Lightning's hook: trains the classifiers and logs their errors."""
        if trainer.state.fn != "fit" or trainer.sanity_checking:
            return
        if self._is_due(trainer):
            collected, self._collected = self._collected, []
            train_codes = _gather(_first(self._training_codes(trainer, pl_module), self._share(trainer)))
            val_codes = _gather(collected)
            errors: dict[str, float] | GenmodelsError = {}
            if trainer.is_global_zero:
                try:
                    errors = probe_codes(
                        *train_codes, *val_codes, inverse_penalty=self.inverse_penalty, neighbours=self.neighbours
                    )
                except GenmodelsError as error:
                    errors = error
            errors = trainer.strategy.broadcast(errors)
            if isinstance(errors, GenmodelsError):  # in every process, or the others would wait
                raise errors
            pl_module.log_dict({f"val/probe_{name}": error for name, error in errors.items()}, sync_dist=True)
        self._validations += 1

    def _share(self, trainer: Trainer) -> int:
        return -(-self.train_count // trainer.world_size)

    def _training_codes(self, trainer: Trainer, model: LightningModule) -> Generator[tuple[Tensor, Tensor], None, None]:
        """A pass of its own over the training data, which leaves the training's where it is."""
        datamodule: Any = getattr(trainer, "datamodule", None)
        loader = trainer.train_dataloader
        if isinstance(loader, DataLoader):  # which Lightning has shared out between the processes
            loader = _without_workers(loader)
        elif datamodule is not None:
            loader = datamodule.train_dataloader()
        own = datamodule is not None and is_overridden("on_after_batch_transfer", datamodule)
        hooks = datamodule if own else model
        # A loader that shuffles would draw from the training's numbers, the global ones or its own.
        generator = getattr(loader, "generator", None)
        state = generator.get_state() if isinstance(generator, torch.Generator) else None
        try:
            with torch.random.fork_rng(devices=[]):
                for batch in () if loader is None else loader:
                    moved = model.transfer_batch_to_device(batch, model.device, 0)
                    yield _encode(model, hooks.on_after_batch_transfer(moved, 0))
        finally:
            if isinstance(generator, torch.Generator) and state is not None:
                generator.set_state(state)

    def state_dict(self) -> dict[str, Any]:
        """How many validations there were."""
        return {"validations": self._validations}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on counting."""
        self._validations = state_dict["validations"]


def _without_workers(loader: DataLoader[Any]) -> DataLoader[Any]:
    """The same batches; persistent workers can serve but one pass at a time, and theirs is the training's."""
    if not loader.persistent_workers:
        return loader
    kind: dict[str, Any] = {"batch_sampler": loader.batch_sampler}
    if isinstance(loader.dataset, IterableDataset):
        kind = {"batch_size": loader.batch_size, "drop_last": loader.drop_last}
    elif loader.batch_sampler is None:  # of ready batches
        kind = {"batch_size": None, "sampler": loader.sampler}
    return DataLoader(loader.dataset, collate_fn=loader.collate_fn, generator=loader.generator, **kind)


@torch.no_grad()
def _encode(model: Any, batch: Any) -> tuple[Tensor, Tensor]:
    return model.encode(batch[0]), _classes(batch)


def _classes(batch: Any) -> Tensor:
    labels = batch[1] if isinstance(batch, tuple | list) and len(batch) > 1 else None
    if not isinstance(labels, Tensor) or labels.ndim != 1 or labels.is_floating_point():
        raise GenmodelsError("FeatureProbe: the batches hold no classes; expected (images, labels), labels int64 (N,).")
    return labels


def _first(batches: Generator[tuple[Tensor, Tensor], None, None], count: int) -> list[tuple[Tensor, Tensor]]:
    kept: list[tuple[Tensor, Tensor]] = []
    missing = count
    for codes, labels in batches:
        kept.append((codes[:missing], labels[:missing]))
        missing -= len(kept[-1][0])
        if missing == 0:
            break
    batches.close()  # now, so that it puts the random numbers back
    return kept


def _gather(batches: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """One tensor of codes and one of labels, of all processes."""
    codes, labels = (torch.cat(parts) for parts in zip(*batches, strict=True))
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        codes, labels = (torch.cat(gather_all_tensors(tensor)) for tensor in (codes, labels))
    return codes, labels
