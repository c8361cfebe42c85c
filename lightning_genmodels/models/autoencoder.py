"""Autoencoder: a code from which the image can be drawn again."""

import inspect
import math
from itertools import pairwise
from typing import Any, Literal, get_args

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn

from lightning_genmodels.checkpoints import note_class
from lightning_genmodels.errors import GenmodelsError
from lightning_genmodels.losses.reconstruction import RECONSTRUCTION_LOSSES, ReconstructionLossName
from lightning_genmodels.models.checks import checked_images, finite_sum, row_is_due
from lightning_genmodels.models.interpolation import linear_path
from lightning_genmodels.models.schedules import (
    CosineScheduleName,
    OptimizerName,
    cosine_factor,
    set_learning_rate,
    training_steps,
)
from lightning_genmodels.modes import in_eval_mode
from lightning_genmodels.networks.autoencoder import (
    ACTIVATIONS,
    ActivationName,
    ConvDecoder,
    ConvEncoder,
    MLPDecoder,
    MLPEncoder,
    TiedDecoder,
)

HIDDEN_SIZES = {"mlp": (256, 128), "conv": (32, 64)}


class Autoencoder(LightningModule):
    """Autoencoder: z = s(Wx + b), x' = s'(Vz + b') (Rumelhart et al. 1986; deep: Hinton and Salakhutdinov 2006).

    A batch is read by position: `batch[0]` is the images, float (N, C, H, W) in [0, 1]. With `hidden_sizes` empty,
    every activation "linear", `tied` and the MSE, it finds the subspace of principal component analysis. A code
    longer than the image is allowed; nothing then keeps the model from learning to copy.

    Validation logs `val/reconstruction`, the loss, and `val/squared_error`, the squared error of the output that the
    loss sees, summed over an image's pixels, in the mean over images.

    A variant overrides `loss_terms`, and `encode` or `decode` where they differ.

    Args:
        image_shape: (C, H, W).
        latent_dim: length of the code.
        network: "mlp", or "conv": 3x3 convolutions of stride 2 and one linear layer.
        hidden_sizes: widths (mlp) or channels (conv) between image and code, the decoder's being their mirror image;
            None takes (256, 128) or (32, 64).
        activation: of the hidden layers: "linear", "relu", "leaky_relu", "sigmoid", "silu" or "tanh".
        code_activation: of the code.
        output_activation: "sigmoid" or "linear".
        tied: the decoder's weights are the encoder's, transposed; biases stay its own. For "mlp".
        reconstruction_loss: "mse": squared error, or "bce": binary cross-entropy, which needs the sigmoid output; of an
            image, summed over its pixels, in the mean over images.
        learning_rate: Adam's step size.
        schedule: of the learning rate: "none", or "cosine": up over the first 5 % of the training, then along a
            cosine to zero.

    Raises:
        GenmodelsError: for an option out of its range or a combination that cannot be; in training, for images
            outside [0, 1] or of another shape, and for a loss that is not finite.
    """

    best_metric = ("val/reconstruction", "min")
    optimizer: OptimizerName = "adam"  # a variant may offer the choice

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        latent_dim: int = 32,
        network: Literal["mlp", "conv"] = "mlp",
        hidden_sizes: tuple[int, ...] | None = None,
        activation: ActivationName = "relu",
        code_activation: ActivationName = "linear",
        output_activation: Literal["sigmoid", "linear"] = "sigmoid",
        tied: bool = False,
        reconstruction_loss: ReconstructionLossName = "mse",
        learning_rate: float = 1e-3,
        schedule: CosineScheduleName = "none",
    ) -> None:
        super().__init__()
        name = type(self).__name__
        for option, value, choices in (
            ("network", network, [*HIDDEN_SIZES]),
            ("activation", activation, [*ACTIVATIONS]),
            ("code_activation", code_activation, [*ACTIVATIONS]),
            ("output_activation", output_activation, ["sigmoid", "linear"]),
            ("reconstruction_loss", reconstruction_loss, [*RECONSTRUCTION_LOSSES]),
            ("schedule", schedule, [*get_args(CosineScheduleName)]),
        ):
            if value not in choices:
                raise GenmodelsError(f"{name}: {option} is {value!r}; expected one of {', '.join(choices)}.")
        sizes = HIDDEN_SIZES[network] if hidden_sizes is None else tuple(hidden_sizes)
        if len(image_shape) != 3 or min(image_shape) < 1:
            raise GenmodelsError(f"{name}: image_shape is {tuple(image_shape)}; expected (channels, height, width).")
        if latent_dim < 1 or min(sizes, default=1) < 1:
            raise GenmodelsError(
                f"{name}: latent_dim is {latent_dim} and hidden_sizes {sizes}; expected 1 or more each."
            )
        if not 0 < learning_rate < math.inf:  # written so that NaN fails
            raise GenmodelsError(f"{name}: learning_rate is {learning_rate}; expected above 0, and finite.")
        if reconstruction_loss == "bce" and output_activation != "sigmoid":
            raise GenmodelsError(
                f"{name}: reconstruction_loss is 'bce' with output_activation {output_activation!r}; "
                "expected 'sigmoid'."
            )
        if network == "conv" and (tied or not sizes):
            raise GenmodelsError(
                f"{name}: network is 'conv' with tied {tied} and hidden_sizes {sizes}; expected tied False and "
                "at least one hidden size."
            )
        self.save_hyperparameters(ignore=not_accepted(type(self)))
        self.image_shape = (image_shape[0], image_shape[1], image_shape[2])
        self.latent_dim = latent_dim
        self.network = network
        self.hidden_sizes = sizes
        self.activation = activation
        self.code_activation = code_activation
        self.output_activation = output_activation
        self.tied = tied
        self.reconstruction_loss = reconstruction_loss
        self.learning_rate = learning_rate
        self.schedule = schedule
        self.encoder = self.build_encoder()
        self.decoder = self.build_decoder()
        if tied:
            self._check_tied_weights()

    def _check_tied_weights(self) -> None:
        widths = (math.prod(self.image_shape), *self.hidden_sizes, self.latent_dim)
        expected = [(size, width) for width, size in pairwise(widths)]
        found = [tuple(weight.shape) for weight in self._tied_weights()]
        if found != expected:
            raise GenmodelsError(
                f"{type(self).__name__}: tied is True, but the weights of the encoder's linear layers have the shapes "
                f"{found}; expected {expected}, or tied False."
            )

    def build_encoder(self) -> nn.Module:
        """(N, C, H, W) in [0, 1] -> (N, latent_dim)."""
        network = MLPEncoder if self.network == "mlp" else ConvEncoder
        return network(self.image_shape, self.hidden_sizes, self.latent_dim, self.activation, self.code_activation)

    def build_decoder(self) -> nn.Module:
        """(N, latent_dim) -> (N, C, H, W), before the output's activation; a tied one takes the weights as well."""
        if self.tied:
            return TiedDecoder(self.image_shape, self.hidden_sizes, self.activation)
        network = MLPDecoder if self.network == "mlp" else ConvDecoder
        return network(self.image_shape, self.hidden_sizes, self.latent_dim, self.activation)

    # Use

    def encode(self, images: Tensor) -> Tensor:
        """(N, C, H, W) in [0, 1] -> (N, latent_dim) codes, float32."""
        codes: Tensor = self.encoder(images.to(self.dtype))
        return codes.float()

    def decode(self, codes: Tensor) -> Tensor:
        """(N, latent_dim) codes -> (N, C, H, W), the decoder's mean, not clamped."""
        return self._activate(self._decode_raw(codes))

    @torch.no_grad()
    def reconstruct(self, images: Tensor) -> Tensor:
        """(N, C, H, W) in [0, 1] -> the same shape, clamped to [0, 1], in eval mode."""
        with in_eval_mode(self):
            return self.decode(self.encode(images)).clamp(0, 1)

    def forward(self, images: Tensor) -> Tensor:
        """`reconstruct`."""
        return self.reconstruct(images)

    @torch.no_grad()
    def interpolate(self, z0: Tensor, z1: Tensor, steps: int) -> Tensor:
        """Combines two codes: the images along the way from one to the other, in eval mode.

        Args:
            z0: (N, latent_dim) codes.
            z1: the same shape.
            steps: images along the way, 2 or more, both ends included.

        Returns:
            (N, steps, C, H, W) in [0, 1].

        Raises:
            GenmodelsError: for codes of different shapes or another length, or fewer than 2 steps.
        """
        path = self._path(z0, z1, steps)
        if path.shape[-1] != self.latent_dim:
            raise GenmodelsError(f"interpolate: the codes have {path.shape[-1]} entries; expected {self.latent_dim}.")
        with in_eval_mode(self):
            images: Tensor = self.decode(path.flatten(0, 1)).clamp(0, 1).unflatten(0, path.shape[:2])
        return images

    _path = staticmethod(linear_path)

    def filters(self) -> Tensor:
        """(units, C, h, w) in [0, 1]: what each unit of the first layer looks for, 0.5 where its weight is 0.

        It is empty where the encoder is of your own making and its first layer does not take the pixels.
        """
        layers = [m for m in self.encoder.modules() if isinstance(m, nn.Linear | nn.Conv2d)]
        weight = layers[0].weight.detach().float() if layers else torch.empty(0)
        if weight.ndim == 2 and weight.shape[1] == math.prod(self.image_shape):
            weight = weight.unflatten(1, self.image_shape)
        if weight.ndim != 4 or weight.shape[1] != self.image_shape[0]:
            return torch.empty(0, *self.image_shape)
        return weight / weight.abs().amax((1, 2, 3), keepdim=True).clamp_min(1e-12) / 2 + 0.5

    def _decode_raw(self, codes: Tensor) -> Tensor:
        codes = codes.to(self.dtype)  # half precision throughout, if that is what the Trainer made of the model
        raw: Tensor = self.decoder(codes, self._tied_weights()) if self.tied else self.decoder(codes)
        return raw

    def _tied_weights(self) -> list[Tensor]:
        return [m.weight for m in self.encoder.modules() if isinstance(m, nn.Linear)]

    def _activate(self, raw: Tensor) -> Tensor:
        return raw.float().sigmoid() if self.output_activation == "sigmoid" else raw.float()

    # Training

    def loss_terms(self, images: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """The terms whose sum is minimised, float32 scalars, and the output (N, C, H, W), not clamped."""
        return self._reconstruction_terms(self.encode(images), images)

    def _reconstruction_terms(self, codes: Tensor, target: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        raw = self._decode_raw(codes)
        output = self._activate(raw)
        loss = RECONSTRUCTION_LOSSES[self.reconstruction_loss]
        return {"reconstruction": loss(raw if self.reconstruction_loss == "bce" else output, target)}, output

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """The sum of the loss's terms over one batch; logs each as `train/<term>`."""
        images = checked_images(batch, self.image_shape)
        self._set_learning_rate()
        terms, _ = self.loss_terms(images)
        if row_is_due(self):
            self.log_dict({f"train/{name}": value for name, value in terms.items()}, prog_bar=True, sync_dist=True)
        return finite_sum(self, terms)

    def validation_step(self, batch: Any, batch_idx: int, stage: str = "val") -> None:
        """Logs `val/<term>` of each term, their sum as `val/loss` where there are several, and `val/squared_error`."""
        images = checked_images(batch, self.image_shape)
        self._log_evaluation(stage, images, *self.loss_terms(images))

    def _log_evaluation(self, stage: str, images: Tensor, terms: dict[str, Tensor], output: Tensor) -> None:
        values = {f"{stage}/{name}": value for name, value in terms.items()}
        if len(terms) > 1:
            values[f"{stage}/loss"] = torch.stack(list(terms.values())).sum()
        values[f"{stage}/squared_error"] = (output - images).square().flatten(1).sum(1).mean()
        self.log_dict(values, batch_size=len(images), sync_dist=True)

    def test_step(self, batch: Any, batch_idx: int) -> None:
        """Logs the same under `test/`."""
        self.validation_step(batch, batch_idx, stage="test")

    def predict_step(self, batch: Any, batch_idx: int) -> dict[str, Tensor]:
        """The codes, (N, latent_dim), and where the batch has a second tensor, the labels."""
        codes = {"code": self.encode(checked_images(batch, self.image_shape))}
        has_labels = len(batch) > 1 and isinstance(batch[1], Tensor)
        return codes | {"label": batch[1]} if has_labels else codes

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam, or stochastic gradient descent with momentum."""
        parameters = [p for p in self.parameters() if p.requires_grad]
        if self.optimizer == "sgd":
            return torch.optim.SGD(parameters, lr=self.learning_rate, momentum=0.9)
        # With a gradient scaler, the fused one would unscale too late for Lightning's clipping.
        return torch.optim.Adam(parameters, lr=self.learning_rate, fused=self.trainer.scaler is None)

    def _set_learning_rate(self) -> None:
        if self.schedule == "cosine":
            done = self.trainer.global_step / self._total_steps
            set_learning_rate(self, self.learning_rate * cosine_factor(done))

    def on_train_start(self) -> None:
        """Lightning's hook, once a checkpoint is restored: the model's learning rate wins over the optimizer's."""
        set_learning_rate(self, self.learning_rate)
        if self.schedule != "none":
            self._total_steps = training_steps(self, f"schedule is {self.schedule!r}")

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Lightning's hook."""
        note_class(self, checkpoint)


def not_accepted(model_class: type[Autoencoder]) -> list[str]:
    """The options of `Autoencoder` that a variant does not have; Lightning would record what it hands to its base."""
    accepted = inspect.signature(model_class).parameters
    if any(p.kind is p.VAR_KEYWORD for p in accepted.values()):
        return []
    return [name for name in inspect.signature(Autoencoder).parameters if name not in accepted]
