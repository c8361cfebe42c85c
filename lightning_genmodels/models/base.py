"""AdversarialModel: two networks against each other in one Lightning training step."""

from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import Any, Literal

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.core.optimizer import LightningOptimizer
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from lightning_genmodels._lightning import allow_unused_parameters
from lightning_genmodels.checkpoints import note_class
from lightning_genmodels.errors import GenmodelsError, check_options
from lightning_genmodels.models.checks import finite_sum, row_is_due
from lightning_genmodels.models.schedules import training_steps
from lightning_genmodels.models.splitting import split_batch
from lightning_genmodels.seeding import derive_seed

ScheduleName = Literal["none", "linear"]
Batch = Any


class AdversarialModel(LightningModule):
    """A generator and a discriminator, trained in turn; one batch is one global step.

    A model subclasses it, calls `super().__init__(...)`, `save_hyperparameters()` and, last, `build_networks()`, and
    writes five methods:

    - `build_generator()` and `build_discriminator()` return the networks; without a parameter in the latter, as in
      `nn.Identity()`, the generator is trained alone, on every batch;
    - `generate(batch) -> fake` runs the generator; its draws come from `self.noise`, a `torch.Generator` on the CPU,
      as in `torch.randn(n, latent_dim, generator=self.noise).to(self.device)`;
    - `discriminator_loss(batch, fake)`, with `fake` detached, and `generator_loss(batch, fake)` return a dict of
      weighted loss terms, float32 scalars. Their sum is minimised, each is logged as `train/<term>`.

    With `sample(n, *, generator=None)` it gets pictures, with a `validation_step` that logs a metric, and
    `best_metric = (name, "min" or "max")`, a best checkpoint.

    Args:
        learning_rate: Adam's step size for both networks.
        generator_learning_rate: the generator's own; None takes `learning_rate`.
        discriminator_learning_rate: the discriminator's own; None takes `learning_rate`.
        betas: Adam's two decay rates.
        schedule: "none", or "linear": down to zero from `decay_start` on. It needs a known end of training.
        decay_start: share of the training after which "linear" begins, in [0, 1).
        gradient_clip: largest norm of each network's gradient; 0 does not clip.
        accumulate: parts into which a batch is split, one after the other through the networks, to save memory.
        discriminator_steps: the generator is trained on every n-th batch only, the discriminator on every one.
        generator_steps: generator steps on such a batch, with fresh latents after the first.
        ema_decay: decay per generator step of the averaged generator, kept in `generator_ema`; 0 keeps none.

    Raises:
        GenmodelsError: for an option out of its range; in training, for a loss that is not finite.
    """

    generator: nn.Module
    discriminator: nn.Module
    generator_ema: nn.Module | None

    def __init__(
        self,
        *,
        learning_rate: float = 2e-4,
        generator_learning_rate: float | None = None,
        discriminator_learning_rate: float | None = None,
        betas: tuple[float, float] = (0.5, 0.999),
        schedule: ScheduleName = "none",
        decay_start: float = 0.5,
        gradient_clip: float = 0.0,
        accumulate: int = 1,
        discriminator_steps: int = 1,
        generator_steps: int = 1,
        ema_decay: float = 0.0,
    ) -> None:
        super().__init__()
        generator_learning_rate = learning_rate if generator_learning_rate is None else generator_learning_rate
        discriminator_learning_rate = (
            learning_rate if discriminator_learning_rate is None else discriminator_learning_rate
        )
        rates = (generator_learning_rate, discriminator_learning_rate)
        check_options(
            self,
            ("learning_rate", rates, min(rates) > 0, "above 0"),
            ("betas", betas, len(betas) == 2 and all(0 <= b < 1 for b in betas), "two numbers in [0, 1)"),
            ("schedule", schedule, schedule in ("none", "linear"), "'none' or 'linear'"),
            ("decay_start", decay_start, 0 <= decay_start < 1, "at least 0 and below 1"),
            ("gradient_clip", gradient_clip, gradient_clip >= 0, "0 or more"),
            ("accumulate", accumulate, accumulate >= 1, "1 or more"),
            ("discriminator_steps", discriminator_steps, discriminator_steps >= 1, "1 or more"),
            ("generator_steps", generator_steps, generator_steps >= 1, "1 or more"),
            ("ema_decay", ema_decay, 0 <= ema_decay < 1, "at least 0 and below 1"),
        )
        self.automatic_optimization = False
        self.learning_rates = rates
        self.betas = ((float(betas[0]), float(betas[1])),) * 2  # of each network; Adam takes no whole numbers
        self.schedule = schedule
        self.decay_start = decay_start
        self.gradient_clip = gradient_clip
        self.accumulate = accumulate
        self.discriminator_steps = discriminator_steps
        self.generator_steps = generator_steps
        self.ema_decay = ema_decay
        self.noise = torch.Generator()  # reseeded for every batch; on the CPU: the same draws on every device
        self._noise_seed: int | None = None
        self._total_steps = 0.0
        self._last_terms: dict[str, Tensor] = {}

    # What a model writes

    @abstractmethod
    def build_generator(self) -> nn.Module:
        """Returns the generator."""

    @abstractmethod
    def build_discriminator(self) -> nn.Module:
        """Returns the discriminator."""

    @abstractmethod
    def generate(self, batch: Batch) -> Tensor:
        """Runs the generator for one batch, its random draws from `self.noise`."""

    @abstractmethod
    def discriminator_loss(self, batch: Batch, fake: Tensor) -> dict[str, Tensor]:
        """Weighted terms of the discriminator's loss; `fake` carries no graph."""

    @abstractmethod
    def generator_loss(self, batch: Batch, fake: Tensor) -> dict[str, Tensor]:
        """Weighted terms of the generator's loss; the discriminator's parameters are frozen meanwhile."""

    def after_discriminator_step(self) -> None:
        """Called after each step of the discriminator, whose weights a model may bound here."""

    # One batch

    def build_networks(self) -> None:
        """Builds both networks and the average; a model calls it at the end of its `__init__`."""
        self.generator = self.build_generator()
        self.discriminator = self.build_discriminator()
        for name in ("generator", "discriminator"):
            if not isinstance(getattr(self, name), nn.Module):
                raise GenmodelsError(f"{type(self).__name__}.build_{name}() returned no nn.Module; expected one.")
        self.generator_ema = deepcopy(self.generator).requires_grad_(False) if self.ema_decay else None

    @property
    def averaged_generator(self) -> nn.Module:
        """The generator to draw samples with, which is the average where there is one."""
        return self.generator if self.generator_ema is None else self.generator_ema

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        """One discriminator step and, on every n-th batch, the generator's."""
        generator_optimizer, *others = self._optimizers()
        step = self.trainer.global_step
        self._seed_noise()
        self._set_learning_rates(step)
        train_generator = not others or (step + 1) % self.discriminator_steps == 0
        parts = split_batch(batch, self.accumulate)
        # One forward of the generator serves both steps. Split batches run it twice: keeping every part's graph
        # until the generator's turn would take back the memory that splitting saves.
        shared = bool(others) and train_generator and len(parts) == 1
        fake = None

        def discriminator_terms(part: Batch) -> dict[str, Tensor]:
            nonlocal fake
            with torch.set_grad_enabled(shared):
                fake = self.generate(part)
            return self.discriminator_loss(part, fake.detach())

        for discriminator_optimizer in others:  # one, or none where the generator is trained alone
            self._optimize(discriminator_optimizer, discriminator_terms, parts, counts=not train_generator)
            self.after_discriminator_step()
        for number in range(self.generator_steps if train_generator else 0):
            served = fake if shared and number == 0 else None

            def generator_terms(part: Batch, served: Tensor | None = served) -> dict[str, Tensor]:
                return self.generator_loss(part, self.generate(part) if served is None else served)

            with self._frozen_discriminator():
                self._optimize(generator_optimizer, generator_terms, parts, counts=number == self.generator_steps - 1)
            self._update_average()
        self._log_terms()

    def _optimizers(self) -> list[LightningOptimizer]:
        optimizers = self.optimizers(use_pl_optimizer=True)
        return optimizers if isinstance(optimizers, list) else [optimizers]

    def _optimize(
        self,
        optimizer: LightningOptimizer,
        loss_terms: Callable[[Batch], dict[str, Tensor]],
        parts: list[tuple[Batch, float]],
        counts: bool,
    ) -> None:
        """Backward over all parts, then one step; `counts` makes it the one that moves the global step on."""
        optimizer.zero_grad()
        sums: dict[str, Tensor] = {}
        for part, weight in parts:
            terms = loss_terms(part)
            total = finite_sum(self, terms)
            self.manual_backward(total if weight == 1 else weight * total)
            for name, value in terms.items():
                sums[name] = sums.get(name, 0) + weight * value.detach()
        self._last_terms.update(sums)
        if counts:
            optimizer.step()
        else:
            # Lightning counts every LightningOptimizer.step() as a global step. This is what that method calls
            # in turn, gradient scaler, hooks and DDP included.
            self.trainer.strategy.optimizer_step(optimizer.optimizer, lambda: None)

    @contextmanager
    def _frozen_discriminator(self) -> Iterator[None]:
        """Keeps the generator's step from leaving gradients in the discriminator."""
        for parameter in self._discriminator_parameters:
            parameter.requires_grad_(False)
        try:
            yield
        finally:
            for parameter in self._discriminator_parameters:
                parameter.requires_grad_(True)

    def backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        """Lightning's hook. Outside autocast, which would differentiate a penalty's float32 graph in half precision."""
        if not torch.is_autocast_enabled(self.device.type):
            loss.backward(*args, **kwargs)
            return
        with torch.autocast(self.device.type, enabled=False):
            loss.backward(*args, **kwargs)

    def _averaging(self) -> Callable[[], None]:
        """The update of the average; it collects the tensors once, which takes longer than the update itself."""
        if self.generator_ema is None:
            return lambda: None
        average, current = list(self.generator_ema.parameters()), list(self.generator.parameters())
        buffers = list(zip(self.generator_ema.buffers(), self.generator.buffers(), strict=True))

        def update() -> None:
            get_ema_multi_avg_fn(self.ema_decay)(average, current, 0)
            for kept, value in buffers:
                kept.copy_(value)

        return update

    def _log_terms(self) -> None:
        if row_is_due(self):
            # A lazy term is logged with the value that it had last.
            self.log_dict(
                {f"train/{name}": value for name, value in self._last_terms.items()}, prog_bar=True, sync_dist=True
            )

    # Draws, learning rates, clipping

    def _seed_noise(self) -> None:
        """Makes the batch's draws a function of (seed, batch, rank), so that a resumed run draws the same."""
        assert self._noise_seed is not None
        batch = self.trainer.fit_loop.total_batch_idx
        self.noise.manual_seed(derive_seed(self._noise_seed, batch, self.global_rank))

    def _set_learning_rates(self, step: int) -> None:
        if self.schedule != "none":
            self._scale_learning_rates(self._schedule_factor(step))

    def _schedule_factor(self, step: int) -> float:
        """A function of the step alone: no scheduler state that could drift on resume."""
        if self.schedule == "none":
            return 1.0
        return max(0.0, min(1.0, (1 - step / self._total_steps) / (1 - self.decay_start)))

    def _scale_learning_rates(self, factor: float) -> None:
        for optimizer, rate in zip(self._optimizers(), self.learning_rates, strict=False):
            for group in optimizer.param_groups:
                group["lr"] = rate * factor

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """Adam for the generator and, where there is one, for the discriminator, in this order."""
        # Fused Adam saves 80 us a step; with a gradient scaler it would unscale too late for clipping.
        fused = self.trainer.scaler is None
        networks = (self.generator, self.discriminator)
        return [
            torch.optim.Adam(network.parameters(), lr=rate, betas=betas, fused=fused)
            for network, rate, betas in zip(networks, self.learning_rates, self.betas, strict=True)
            if any(True for _ in network.parameters())
        ]

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Lightning's hook, called once the gradients are unscaled: clips this network's."""
        if self.gradient_clip:
            parameters = [p for group in optimizer.param_groups for p in group["params"]]
            nn.utils.clip_grad_norm_(parameters, self.gradient_clip)

    # Around training

    def setup(self, stage: str) -> None:
        """Lightning's hook."""
        if not hasattr(self, "discriminator"):
            raise GenmodelsError(f"{type(self).__name__} has no networks; expected build_networks() in its __init__.")
        if any(True for _ in self.discriminator.parameters()):
            allow_unused_parameters(self.trainer.strategy)  # those of the network whose turn it is not

    def on_fit_start(self) -> None:
        """Lightning's hook: fixes the seed of the draws, and collects what each step needs."""
        if self._noise_seed is None:
            self._noise_seed = self.trainer.strategy.broadcast(torch.initial_seed())
        self._update_average = self._averaging()
        self._discriminator_parameters = [p for p in self.discriminator.parameters() if p.requires_grad]

    def on_train_start(self) -> None:
        """Lightning's hook, called once a checkpoint is restored: this model's options win over the optimizers'."""
        self._last_terms = {name: value.to(self.device) for name, value in self._last_terms.items()}
        for optimizer, rate, betas in zip(self._optimizers(), self.learning_rates, self.betas, strict=False):
            for group in optimizer.param_groups:
                group["lr"], group["betas"] = rate, betas
        if self.schedule == "linear":
            self._total_steps = training_steps(self, "schedule is 'linear'")

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Lightning's hook."""
        note_class(self, checkpoint)
        checkpoint["noise_seed"] = self._noise_seed
        checkpoint["last_terms"] = dict(self._last_terms)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Lightning's hook."""
        self._noise_seed = checkpoint.get("noise_seed")
        self._last_terms = checkpoint.get("last_terms", {})
