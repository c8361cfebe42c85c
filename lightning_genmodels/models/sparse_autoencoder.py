"""SparseAutoencoder: every unit of the code is seldom active."""

import math
from typing import Any, Literal

import torch
from torch import Tensor, nn

from lightning_genmodels.errors import GenmodelsError, check_options
from lightning_genmodels.losses.divergence import bernoulli_divergence
from lightning_genmodels.losses.reconstruction import mse
from lightning_genmodels.metrics import UnitActivity
from lightning_genmodels.models.autoencoder import Autoencoder
from lightning_genmodels.models.checks import checked_images
from lightning_genmodels.models.schedules import CosineScheduleName
from lightning_genmodels.networks.autoencoder import ActivationName


class SparseAutoencoder(Autoencoder):
    """Sparse autoencoder with a divergence penalty (Ng, CS294A lecture notes, 2011).

    The cost is (1/m) sum_i 1/2 |x'_i - x_i|^2 + weight_decay/2 sum |W|^2 + beta sum_j KL(rho || rho_j), over the m
    images of a batch; rho_j is the mean activation of unit j. Biases are not decayed. A batch's means are a noisy
    estimate of rho_j: the divergence is taken at their running mean (`mean_activation`, kept in the checkpoint and
    over all processes), the gradient passes through the batch's.

    Validation logs, besides what `Autoencoder` logs, `val/activation_mean`, `val/activation_min` and
    `val/activation_max` over the units, and `val/activation_near`: the share of units within 20 % of rho. The mean
    of each unit, over the images of the last validation, is in `unit_activations`.

    Args:
        image_shape: (C, H, W).
        latent_dim: length of the code; it may exceed the number of pixels.
        rho: the wanted mean activation of every unit, in (0, 1).
        beta: weight of the divergence.
        weight_decay: weight of the squared weights; the notes' 3e-3 suits 28x28 pixels, less suits smaller images.
        activation_decay: decay of the running mean per batch, in [0, 1); 0 takes the batch's own. A slow one lags
            behind, and at a high learning rate the activations swing about rho.
        network: "mlp", or "conv": 3x3 convolutions of stride 2 and one linear layer.
        hidden_sizes: widths (mlp) or channels (conv) between image and code; None takes () or (32, 64).
        activation: of the hidden layers: "linear", "relu", "leaky_relu", "sigmoid", "silu" or "tanh".
        code_activation: of the code; "sigmoid", since the divergence is one of activations in (0, 1).
        output_activation: "sigmoid" or "linear".
        tied: the decoder's weights are the encoder's, transposed; biases stay its own. For "mlp".
        learning_rate: Adam's step size.
        schedule: of the learning rate: "none", or "cosine": up over the first 5 % of the training, then along a
            cosine to zero.

    Raises:
        GenmodelsError: as `Autoencoder` does, and for a rho outside (0, 1), or codes that are not.
    """

    best_metric = ("val/loss", "min")
    mean_activation: Tensor
    batches_seen: Tensor

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        latent_dim: int = 196,
        rho: float = 0.1,
        beta: float = 3.0,
        weight_decay: float = 1e-4,
        activation_decay: float = 0.5,
        network: Literal["mlp", "conv"] = "mlp",
        hidden_sizes: tuple[int, ...] | None = None,
        activation: ActivationName = "relu",
        code_activation: ActivationName = "sigmoid",
        output_activation: Literal["sigmoid", "linear"] = "sigmoid",
        tied: bool = False,
        learning_rate: float = 1e-3,
        schedule: CosineScheduleName = "none",
    ) -> None:
        super().__init__(
            image_shape=image_shape,
            latent_dim=latent_dim,
            network=network,
            hidden_sizes=() if hidden_sizes is None and network == "mlp" else hidden_sizes,
            activation=activation,
            code_activation=code_activation,
            output_activation=output_activation,
            tied=tied,
            learning_rate=learning_rate,
            schedule=schedule,
        )
        if code_activation != "sigmoid":
            raise GenmodelsError(
                f"SparseAutoencoder: code_activation is {code_activation!r}, whose values do not lie in (0, 1) as the "
                "divergence from rho needs; expected 'sigmoid'."
            )
        check_options(
            self,
            ("rho", rho, 0 < rho < 1, "above 0 and below 1"),
            ("beta", beta, 0 <= beta < math.inf, "0 or more, and finite"),
            ("weight_decay", weight_decay, 0 <= weight_decay < math.inf, "0 or more, and finite"),
            ("activation_decay", activation_decay, 0 <= activation_decay < 1, "at least 0 and below 1"),
        )
        self.rho = rho
        self.beta = beta
        self.weight_decay = weight_decay
        self.activation_decay = activation_decay
        self.register_buffer("mean_activation", torch.full((latent_dim,), rho))
        self.register_buffer("batches_seen", torch.zeros((), dtype=torch.int64))
        self.activity = UnitActivity(latent_dim)
        self.unit_activations: Tensor | None = None

    def loss_terms(self, images: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Half the squared error, the weight decay and the divergence; see the class."""
        codes = self.encode(images)
        means = self._running_mean(codes.mean(0)) if self.training else self.mean_activation
        return self._terms_of(codes, means, images)

    def _terms_of(self, codes: Tensor, means: Tensor, images: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        output = self.decode(codes)
        weights = [m.weight for m in self.modules() if isinstance(m, nn.Linear | nn.Conv2d)]
        return {
            "reconstruction": mse(output, images) / 2,
            "weight_decay": self.weight_decay / 2 * torch.stack([w.square().sum() for w in weights]).sum(),
            "sparsity": self.beta * bernoulli_divergence(self.rho, means).sum(),
        }, output

    def _running_mean(self, means: Tensor) -> Tensor:
        """(units,) the running mean in value, the batch's in gradient."""
        with torch.no_grad():
            everywhere = self.trainer.strategy.reduce(means.detach().clone(), reduce_op="mean")
            # The plain mean of the first batches: nothing of the initial value remains in it.
            decay = (self.batches_seen / (self.batches_seen + 1)).clamp(max=self.activation_decay)
            self.mean_activation.lerp_(everywhere.to(self.mean_activation), (1 - decay).to(self.mean_activation))
            self.batches_seen += 1
        return self.mean_activation + means - means.detach()

    def validation_step(self, batch: Any, batch_idx: int, stage: str = "val") -> None:
        """Logs the terms, the divergence at the training's running mean, and takes note of the units' activations."""
        checked_images(batch, self.image_shape)
        codes = self.encode(batch[0])
        self.activity.update(codes)
        self._log_evaluation(stage, batch[0], *self._terms_of(codes, self.mean_activation, batch[0]))

    # Around training

    def on_validation_epoch_end(self) -> None:
        """Logs what the units do; see the class."""
        self._log_activity("val")

    def on_test_epoch_end(self) -> None:
        """Logs the same under `test/`."""
        self._log_activity("test")

    def _log_activity(self, stage: str) -> None:
        means = self.unit_activations = self.activity.compute()["mean"]
        self.activity.reset()
        near = ((means - self.rho).abs() <= 0.2 * self.rho).float().mean()
        values = {"mean": means.mean(), "min": means.min(), "max": means.max(), "near": near}
        self.log_dict({f"{stage}/activation_{name}": value for name, value in values.items()}, sync_dist=True)
