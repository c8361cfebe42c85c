"""KSparseAutoencoder: of the code's units, only the k largest speak."""

import math
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from lightning_genmodels.errors import GenmodelsError
from lightning_genmodels.losses.reconstruction import mse
from lightning_genmodels.metrics import UnitActivity
from lightning_genmodels.models.autoencoder import Autoencoder
from lightning_genmodels.models.checks import checked_images, row_is_due
from lightning_genmodels.models.interpolation import linear_path
from lightning_genmodels.models.schedules import CosineScheduleName, OptimizerName, linear_count, training_steps
from lightning_genmodels.modes import in_eval_mode
from lightning_genmodels.networks.autoencoder import ActivationName, MLPDecoder, MLPEncoder, TiedDecoder

FIRST_WEIGHTS = 0.01  # standard deviation in a linear model of one layer, as in the paper


class KSparseAutoencoder(Autoencoder):
    """k-sparse autoencoder (Makhzani and Frey 2013): z = W'x + b, its k largest entries kept, x' = Wz + b'.

    By default it is the paper's: linear, tied, one layer. The loss is half the squared error, summed over the pixels,
    in the mean over images. The k largest are taken for each image by themselves, with their sign; the gradient passes
    through these only.

    Units die: never among the k, they get no gradient and stay so. Against it, k comes down from `k_start`, and a
    linear model of one layer begins with small weights, N(0, 0.01^2), and centred: from the first batch's mean image,
    b' is set to it and b to -W' times it. Else a few units, which take up the mean, are among the k at every image, and
    half of the others die.

    `encode` keeps k in training mode and alpha * k in eval mode, where the codes serve as features; `reconstruct`
    and the validation keep k, `interpolate` of each code on the way.

    Training logs `train/k` while k comes down. Validation logs, besides what `Autoencoder` logs, `val/dead_units`: how
    many units were kept for no image.

    Args:
        image_shape: (C, H, W).
        latent_dim: length of the code; it may exceed the number of pixels.
        k: units kept.
        alpha: how many times k are kept by `encode` in eval mode, 1 or more; the paper's 3 to 4 serve a classifier.
        k_start: units kept when the training begins; None takes 2 k, or latent_dim if that is less.
        k_decay: share of the training over which k_start comes down to k, in [0, 1].
        network: "mlp", or "conv": 3x3 convolutions of stride 2 and one linear layer.
        hidden_sizes: widths (mlp) or channels (conv) between image and code; None takes () or (32, 64).
        activation: of the hidden layers: "linear", "relu", "leaky_relu", "sigmoid", "silu" or "tanh".
        code_activation: of the code, before its largest entries are taken.
        output_activation: "linear" or "sigmoid".
        tied: the decoder's weights are the encoder's, transposed; None ties an mlp.
        optimizer: "adam", or "sgd" with momentum .9, as in the paper.
        learning_rate: its step size.
        schedule: of the learning rate: "none", or "cosine": up over the first 5 % of the training, then along a
            cosine to zero.

    Raises:
        GenmodelsError: as `Autoencoder` does, and for a k or k_start above the code's length; in training, where k
            has to come down and the training has no end.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        latent_dim: int = 256,
        k: int = 25,
        alpha: float = 3.0,
        k_start: int | None = None,
        k_decay: float = 0.5,
        network: Literal["mlp", "conv"] = "mlp",
        hidden_sizes: tuple[int, ...] | None = None,
        activation: ActivationName = "relu",
        code_activation: ActivationName = "linear",
        output_activation: Literal["sigmoid", "linear"] = "linear",
        tied: bool | None = None,
        optimizer: OptimizerName = "adam",
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
            tied=network == "mlp" if tied is None else tied,
            learning_rate=learning_rate,
            schedule=schedule,
        )
        k_start = min(2 * k, latent_dim) if k_start is None else k_start
        for option, value in (("k", k), ("k_start", k_start)):
            if not 1 <= value <= latent_dim:
                raise GenmodelsError(
                    f"KSparseAutoencoder: {option} is {value}; expected 1 to latent_dim, which is {latent_dim}."
                )
        if optimizer not in get_args(OptimizerName):
            raise GenmodelsError(f"KSparseAutoencoder: optimizer is {optimizer!r}; expected one of adam, sgd.")
        if not 1 <= alpha < math.inf:
            raise GenmodelsError(f"KSparseAutoencoder: alpha is {alpha}; expected 1 or more, and finite.")
        if not 0 <= k_decay <= 1:
            raise GenmodelsError(f"KSparseAutoencoder: k_decay is {k_decay}; expected 0 to 1.")
        self.k = k
        self.alpha = alpha
        self.k_start = k_start
        self.k_decay = k_decay
        self.optimizer = optimizer
        self.k_now = k  # of the training batch at hand
        if (layer := self._only_layer()) is not None:
            nn.init.normal_(layer.weight, std=FIRST_WEIGHTS)
            nn.init.zeros_(self._output_bias())
        self.activity = UnitActivity(latent_dim)

    def encode(self, images: Tensor, k: int | None = None) -> Tensor:
        """(N, C, H, W) in [0, 1] -> (N, latent_dim) codes, all but the k largest entries of each row 0.

        Args:
            images: the images.
            k: None takes the training's present k in training mode, alpha * k in eval mode.
        """
        if k is None:
            k = self.k_now if self.training else round(self.alpha * self.k)
        return self._keep(super().encode(images), k)

    def _keep(self, codes: Tensor, k: int, ranks: Tensor | None = None) -> Tensor:
        """Of each row the k entries of the highest rank, which is by default their value; 0 for the others."""
        kept = (codes if ranks is None else ranks).topk(min(k, self.latent_dim), dim=-1, sorted=False).indices
        return codes * torch.zeros_like(codes).scatter_(-1, kept, 1.0)

    @torch.no_grad()
    def reconstruct(self, images: Tensor) -> Tensor:
        """(N, C, H, W) in [0, 1] -> the same shape from k units, clamped to [0, 1], in eval mode."""
        with in_eval_mode(self):
            return self.decode(self.encode(images, self.k)).clamp(0, 1)

    def _path(self, z0: Tensor, z1: Tensor, steps: int) -> Tensor:
        """Along the straight line, each code with its k largest entries: the ends are as `reconstruct` has them."""
        path = linear_path(z0, z1, steps)
        # An end's dropped entries are 0, and come after those kept, even where these are negative.
        return self._keep(path, self.k, ranks=path.masked_fill(path == 0, -torch.inf))

    def loss_terms(self, images: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Half the squared error from k units; see the class."""
        return self._terms_of(self.encode(images, self.k_now if self.training else self.k), images)

    def _terms_of(self, codes: Tensor, images: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        output = self.decode(codes)
        return {"reconstruction": mse(output, images) / 2}, output

    def validation_step(self, batch: Any, batch_idx: int, stage: str = "val") -> None:
        """Logs the loss and counts the units in use; see the class."""
        images = checked_images(batch, self.image_shape)
        codes = self.encode(images, self.k)
        self.activity.update(codes)
        self._log_evaluation(stage, images, *self._terms_of(codes, images))

    # Around training

    def on_train_start(self) -> None:
        """Lightning's hook."""
        super().on_train_start()
        if self.k_start != self.k:
            self._total_steps = training_steps(self, f"k goes from {self.k_start} to {self.k}")

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Lightning's hook: centres a new model; k as a function of the step alone."""
        if self.trainer.global_step == 0:
            self._centre(checked_images(batch, self.image_shape))
        if self.k_start != self.k:
            done = self.trainer.global_step / self._total_steps
            self.k_now = linear_count(self.k_start, self.k, self.k_decay, done)
            if row_is_due(self):
                self.log("train/k", float(self.k_now))

    @torch.no_grad()
    def _centre(self, images: Tensor) -> None:
        layer = self._only_layer()
        if layer is None or self._output_bias().any():  # one that is set was trained, or is centred already
            return
        mean = self.trainer.strategy.reduce(images.float().mean(0).flatten(), reduce_op="mean")
        assert isinstance(mean, Tensor)
        self._output_bias().copy_(mean)
        layer.bias.copy_(-layer.weight.to(mean) @ mean)

    def _only_layer(self) -> nn.Linear | None:
        """The encoder's layer in a linear model of one layer, whose networks are ours."""
        ours = isinstance(self.encoder, MLPEncoder) and isinstance(self.decoder, MLPDecoder | TiedDecoder)
        if not ours or self.hidden_sizes or (self.code_activation, self.output_activation) != ("linear", "linear"):
            return None
        layer = self.encoder.get_submodule("layer1")
        assert isinstance(layer, nn.Linear)
        return layer

    def _output_bias(self) -> Tensor:
        return self.decoder.get_parameter("biases.layer1" if self.tied else "layer1.bias")

    def on_validation_epoch_end(self) -> None:
        """Logs `val/dead_units`."""
        self._log_activity("val")

    def on_test_epoch_end(self) -> None:
        """Logs `test/dead_units`."""
        self._log_activity("test")

    def _log_activity(self, stage: str) -> None:
        used = self.activity.compute()["used"]
        self.activity.reset()
        self.log(f"{stage}/dead_units", (used == 0).sum().float(), sync_dist=True)
