"""Autoencoder: a code from which the image can be drawn again."""

from typing import Any, Literal

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn

from lightning_genmodels.checkpoints import note_class
from lightning_genmodels.errors import GenmodelsError
from lightning_genmodels.losses.reconstruction import RECONSTRUCTION_LOSSES, ReconstructionLossName
from lightning_genmodels.models.checks import check_images, finite_sum, row_is_due
from lightning_genmodels.networks.autoencoder import (
    ACTIVATIONS,
    ConvDecoder,
    ConvEncoder,
    MLPDecoder,
    MLPEncoder,
    TiedDecoder,
)

ActivationName = Literal["linear", "relu", "leaky_relu", "sigmoid", "silu", "tanh"]
HIDDEN_SIZES = {"mlp": (256, 128), "conv": (32, 64)}


class Autoencoder(LightningModule):
    """Autoencoder: z = s(Wx + b), x' = s'(Vz + b') (Rumelhart et al. 1986; deep: Hinton and Salakhutdinov 2006).

    A batch is read by position: `batch[0]` is the images, float (N, C, H, W) in [0, 1]. With `hidden_sizes` empty,
    every activation "linear", `tied` and the MSE, it finds the subspace of principal component analysis.

    Validation logs `val/reconstruction`, the loss, and `val/squared_error`, the squared error of an image's
    reconstruction summed over its pixels, in the mean over images.

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
        reconstruction_loss: "mse", or "bce": binary cross-entropy, which needs the sigmoid output.
        learning_rate: Adam's step size.

    Raises:
        GenmodelsError: for an option out of its range or a combination that cannot be; in training, for images
            outside [0, 1] or of another shape, and for a loss that is not finite.
    """

    best_metric = ("val/reconstruction", "min")

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
    ) -> None:
        super().__init__()
        for option, value, choices in (
            ("network", network, [*HIDDEN_SIZES]),
            ("activation", activation, [*ACTIVATIONS]),
            ("code_activation", code_activation, [*ACTIVATIONS]),
            ("output_activation", output_activation, ["sigmoid", "linear"]),
            ("reconstruction_loss", reconstruction_loss, [*RECONSTRUCTION_LOSSES]),
        ):
            if value not in choices:
                raise GenmodelsError(f"Autoencoder: {option} is {value!r}; expected one of {', '.join(choices)}.")
        sizes = HIDDEN_SIZES[network] if hidden_sizes is None else tuple(hidden_sizes)
        if len(image_shape) != 3 or min(image_shape) < 1:
            raise GenmodelsError(
                f"Autoencoder: image_shape is {tuple(image_shape)}; expected (channels, height, width)."
            )
        if latent_dim < 1 or min(sizes, default=1) < 1:
            raise GenmodelsError(
                f"Autoencoder: latent_dim is {latent_dim} and hidden_sizes {sizes}; expected 1 or more each."
            )
        if not learning_rate > 0:  # written so that NaN fails
            raise GenmodelsError(f"Autoencoder: learning_rate is {learning_rate}; expected above 0.")
        if reconstruction_loss == "bce" and output_activation != "sigmoid":
            raise GenmodelsError(
                f"Autoencoder: reconstruction_loss is 'bce' with output_activation {output_activation!r}; "
                "expected 'sigmoid'."
            )
        if network == "conv" and (tied or not sizes):
            raise GenmodelsError(
                f"Autoencoder: network is 'conv' with tied {tied} and hidden_sizes {sizes}; expected tied False and "
                "at least one hidden size."
            )
        self.save_hyperparameters()
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
        self.encoder = self.build_encoder()
        self.decoder = self.build_decoder()

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

    def encode(self, images: Tensor) -> Tensor:
        """(N, C, H, W) in [0, 1] -> (N, latent_dim) codes."""
        codes: Tensor = self.encoder(images)
        return codes

    def decode(self, codes: Tensor) -> Tensor:
        """(N, latent_dim) codes -> (N, C, H, W), the decoder's mean, not clamped."""
        return self._activate(self._decode_raw(codes))

    @torch.no_grad()
    def reconstruct(self, images: Tensor) -> Tensor:
        """(N, C, H, W) in [0, 1] -> the same shape, clamped to [0, 1], in eval mode."""
        was_training = self.training
        self.eval()
        try:
            return self.decode(self.encode(images)).clamp(0, 1)
        finally:
            self.train(was_training)

    def forward(self, images: Tensor) -> Tensor:
        """`reconstruct`."""
        return self.reconstruct(images)

    def _decode_raw(self, codes: Tensor) -> Tensor:
        if self.tied:
            weights = [m.weight for m in self.encoder.modules() if isinstance(m, nn.Linear)]
            raw: Tensor = self.decoder(codes, weights)
        else:
            raw = self.decoder(codes)
        return raw

    def _activate(self, raw: Tensor) -> Tensor:
        return raw.sigmoid() if self.output_activation == "sigmoid" else raw

    def _loss_and_output(self, images: Tensor) -> tuple[Tensor, Tensor]:
        check_images(images, self.image_shape)
        raw = self._decode_raw(self.encode(images))
        output = self._activate(raw)
        loss = RECONSTRUCTION_LOSSES[self.reconstruction_loss]
        return loss(raw if self.reconstruction_loss == "bce" else output, images), output

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """The reconstruction loss of one batch."""
        loss, _ = self._loss_and_output(batch[0])
        if row_is_due(self):
            self.log("train/reconstruction", loss, prog_bar=True, sync_dist=True)
        return finite_sum(self, {"reconstruction": loss})

    def validation_step(self, batch: Any, batch_idx: int, stage: str = "val") -> None:
        """Logs `val/reconstruction` and `val/squared_error`."""
        images = batch[0]
        loss, output = self._loss_and_output(images)
        error = (output.float() - images).square().flatten(1).sum(1).mean()
        values = {f"{stage}/reconstruction": loss, f"{stage}/squared_error": error}
        self.log_dict(values, batch_size=len(images), sync_dist=True)

    def test_step(self, batch: Any, batch_idx: int) -> None:
        """Logs the same two under `test/`."""
        self.validation_step(batch, batch_idx, stage="test")

    def predict_step(self, batch: Any, batch_idx: int) -> dict[str, Tensor]:
        """The codes, (N, latent_dim), and where the batch has a second tensor, the labels."""
        codes = {"code": self.encode(batch[0])}
        return codes | {"label": batch[1]} if len(batch) > 1 else codes

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam."""
        return torch.optim.Adam(self.parameters(), lr=self.learning_rate)

    def on_train_start(self) -> None:
        """Lightning's hook, once a checkpoint is restored: the model's learning rate wins over the optimizer's."""
        for group in self.trainer.optimizers[0].param_groups:
            group["lr"] = self.learning_rate

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Lightning's hook."""
        note_class(self, checkpoint)
