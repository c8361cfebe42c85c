"""DenoisingAutoencoder: draws the clean image from a corrupted one."""

import math
from collections.abc import Callable
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torchmetrics.image import PeakSignalNoiseRatio

from lightning_genmodels.errors import GenmodelsError, check_options
from lightning_genmodels.losses.reconstruction import RECONSTRUCTION_LOSSES, ReconstructionLossName
from lightning_genmodels.models.autoencoder import Autoencoder
from lightning_genmodels.models.checks import checked_images
from lightning_genmodels.models.schedules import CosineScheduleName, OptimizerName
from lightning_genmodels.networks.autoencoder import ActivationName, MLPDecoder, MLPEncoder, TiedDecoder
from lightning_genmodels.seeding import derive_seed

NoiseName = Literal["masking", "salt_and_pepper", "gaussian"]


def masking(values: Tensor, level: float, generator: torch.Generator | None) -> Tensor:
    """Sets a share `level` of the entries to 0, and leaves the others as they are (nn.Dropout would scale them)."""
    return values * (_uniform(values, generator) >= level)


def salt_and_pepper(values: Tensor, level: float, generator: torch.Generator | None) -> Tensor:
    """Sets a share `level` of the entries to 0 or 1, each with probability 1/2."""
    draw = _uniform(values, generator)
    noise = (draw < level / 2).to(values)
    return torch.where(draw < level, noise, values)


def gaussian(values: Tensor, level: float, generator: torch.Generator | None) -> Tensor:
    """Adds noise of the standard deviation `level`, not clamped."""
    device = values.device if generator is None else generator.device
    return values + level * torch.randn(values.shape, generator=generator, device=device).to(values)


def _uniform(values: Tensor, generator: torch.Generator | None) -> Tensor:
    # On the generator's own device, which for a CPU generator makes the draws the same everywhere.
    device = values.device if generator is None else generator.device
    return torch.rand(values.shape, generator=generator, device=device).to(values.device)


NOISES: dict[str, Callable[[Tensor, float, torch.Generator | None], Tensor]] = {
    "masking": masking,
    "salt_and_pepper": salt_and_pepper,
    "gaussian": gaussian,
}


class DenoisingAutoencoder(Autoencoder):
    """Denoising autoencoder (Vincent et al. 2008, 2010): redraws clean images from corrupted ones.

    The images are corrupted anew in every batch, and the reconstruction is compared with the clean ones. `encode` and
    `reconstruct` add no noise.

    Trained deep, it corrupts the images. Trained layer by layer ("stacked"), it begins with one layer; then a model
    with one more starts from the weights of the one before and leaves the `frozen_layers` outermost as they are: it
    corrupts and reconstructs their output, by the squared error. At last all layers are trained together::

        genmodels fit --model DenoisingAutoencoder --data MNISTDataModule --model.latent_dim 1000
        genmodels fit --model DenoisingAutoencoder --data MNISTDataModule --model.latent_dim 500 \\
            --model.hidden_sizes [1000] --model.frozen_layers 1 \\
            --init_from runs/denoisingautoencoder_mnist/0/checkpoints/last.ckpt
        genmodels fit --model DenoisingAutoencoder --data MNISTDataModule --model.latent_dim 500 \\
            --model.hidden_sizes [1000] --init_from runs/denoisingautoencoder_mnist/1/checkpoints/last.ckpt

    The activation of a hidden layer has to be what the code's was (`--init_from` refuses another for frozen ones).

    Validation corrupts with the same noise each time and logs `val/reconstruction`, the loss; `val/psnr` of the output
    and `val/psnr_noisy` of the corrupted images, in dB over all pixels, and `val/squared_error` of an image.

    Args:
        image_shape: (C, H, W).
        latent_dim: length of the code; it may exceed the number of pixels.
        noise: "masking" sets pixels to 0, "salt_and_pepper" to 0 or 1, "gaussian" adds to them.
        noise_level: share of the pixels (masking, salt_and_pepper), in (0, 1); standard deviation (gaussian), above 0.
        frozen_layers: how many of the outermost layers stay as they are; below the number of layers. For "mlp".
        network: "mlp", or "conv": 3x3 convolutions of stride 2 and one linear layer.
        hidden_sizes: widths (mlp) or channels (conv) between image and code; None takes () or (32, 64).
        activation: of the hidden layers: "linear", "relu", "leaky_relu", "sigmoid", "silu" or "tanh"; None takes
            "sigmoid", as the code's, for an mlp, and "relu" for a conv, whose sigmoids would pass on no gradient.
        code_activation: of the code.
        output_activation: "sigmoid" or "linear".
        tied: the decoder's weights are the encoder's, transposed; None ties an mlp.
        reconstruction_loss: "bce": binary cross-entropy, which needs the sigmoid output, or "mse": squared error; of an
            image, summed over its pixels, in the mean over images.
        optimizer: "adam", or "sgd" with momentum .9, whose filters are smoother.
        learning_rate: its step size.
        schedule: of the learning rate: "none", or "cosine": up over the first 5 % of the training, then along a
            cosine to zero.

    Raises:
        GenmodelsError: as `Autoencoder` does, and for a noise_level or frozen_layers out of range, or noise
            that does not suit the values of the frozen layers.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        latent_dim: int = 256,
        noise: NoiseName = "masking",
        noise_level: float = 0.3,
        frozen_layers: int = 0,
        network: Literal["mlp", "conv"] = "mlp",
        hidden_sizes: tuple[int, ...] | None = None,
        activation: ActivationName | None = None,
        code_activation: ActivationName = "sigmoid",
        output_activation: Literal["sigmoid", "linear"] = "sigmoid",
        tied: bool | None = None,
        reconstruction_loss: ReconstructionLossName = "bce",
        optimizer: OptimizerName = "adam",
        learning_rate: float = 1e-3,
        schedule: CosineScheduleName = "none",
    ) -> None:
        super().__init__(
            image_shape=image_shape,
            latent_dim=latent_dim,
            network=network,
            hidden_sizes=() if hidden_sizes is None and network == "mlp" else hidden_sizes,
            activation=("sigmoid" if network == "mlp" else "relu") if activation is None else activation,
            code_activation=code_activation,
            output_activation=output_activation,
            tied=network == "mlp" if tied is None else tied,
            reconstruction_loss=reconstruction_loss,
            learning_rate=learning_rate,
            schedule=schedule,
        )
        layers = len(self.hidden_sizes) + 1 if network == "mlp" else 1
        check_options(
            self,
            (
                "optimizer",
                optimizer,
                optimizer in get_args(OptimizerName),
                f"one of {', '.join(get_args(OptimizerName))}",
            ),
            ("noise", noise, noise in NOISES, f"one of {', '.join(NOISES)}"),
            (
                "noise_level",
                noise_level,
                0 < noise_level < (math.inf if noise == "gaussian" else 1),
                "above 0, and finite" if noise == "gaussian" else "above 0 and below 1",
            ),
            (
                "frozen_layers",
                frozen_layers,
                0 <= frozen_layers < layers,
                f"0 or more, below {layers}, the number of layers" if network == "mlp" else "0 for network 'conv'",
            ),
        )
        if frozen_layers and not (
            isinstance(self.encoder, MLPEncoder) and isinstance(self.decoder, MLPDecoder | TiedDecoder)
        ):
            raise GenmodelsError(
                f"DenoisingAutoencoder: frozen_layers is {frozen_layers} with an encoder or a decoder of your own; "
                "expected 0."
            )
        if frozen_layers and self.activation != "sigmoid" and noise == "salt_and_pepper":
            raise GenmodelsError(
                f"DenoisingAutoencoder: noise is 'salt_and_pepper' on frozen_layers of activation {self.activation!r}, "
                "whose values do not lie in [0, 1]; expected activation 'sigmoid', or other noise."
            )
        self.optimizer = optimizer
        self.noise = noise
        self.noise_level = noise_level
        self.frozen_layers = frozen_layers
        for number in range(1, frozen_layers + 1):
            for name, parameter in self.named_parameters():
                if f"layer{number}" in name.split("."):
                    parameter.requires_grad_(False)
        self.psnr = PeakSignalNoiseRatio(data_range=1.0)
        self.psnr_noisy = PeakSignalNoiseRatio(data_range=1.0)

    def corrupt(self, images: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        """Adds the noise.

        Args:
            images: of any shape, in [0, 1].
            generator: source of the noise; one on the CPU gives the same on every device.

        Returns:
            the same shape; in [0, 1] except for Gaussian noise, which is not clamped.
        """
        return NOISES[self.noise](images, self.noise_level, generator)

    def loss_terms(self, images: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """The loss against the clean images, and the output.

        With `frozen_layers` it is the loss against the clean output of these layers, and what is redrawn of that,
        (N, width).
        """
        if self.frozen_layers:
            return self._layer_terms(images, None)
        return self._reconstruction_terms(self.encode(self.corrupt(images)), images)

    def _layer_terms(self, images: Tensor, generator: torch.Generator | None) -> tuple[dict[str, Tensor], Tensor]:
        """The squared error of the frozen layers' output, redrawn from its corrupted version, and what is redrawn."""
        encoder, decoder = list(self.encoder.children()), self.decoder
        first = 1 + 2 * self.frozen_layers  # a flattening, then each layer with its activation
        with torch.no_grad():
            clean = nn.Sequential(*encoder[:first])(images.to(self.dtype)).float()
        codes = nn.Sequential(*encoder[first:])(self.corrupt(clean, generator=generator).to(self.dtype))
        if isinstance(decoder, TiedDecoder):
            redrawn = decoder(codes, self._tied_weights(), outermost=self.frozen_layers + 1)
        else:
            redrawn = nn.Sequential(*list(decoder.children())[: len(encoder) - first])(codes)
        return {"reconstruction": RECONSTRUCTION_LOSSES["mse"](redrawn, clean)}, redrawn

    def validation_step(self, batch: Any, batch_idx: int, stage: str = "val") -> None:
        """Logs the loss and the two PSNRs; see the class."""
        images = checked_images(batch, self.image_shape)
        generator = torch.Generator().manual_seed(derive_seed(0, batch_idx, self.global_rank))
        noisy = self.corrupt(images, generator=generator)
        terms, output = self._reconstruction_terms(self.encode(noisy), images)
        if self.frozen_layers:
            terms, _ = self._layer_terms(images, generator)
        self._log_evaluation(stage, images, terms, output)
        for name, metric, drawn in (("psnr", self.psnr, output.clamp(0, 1)), ("psnr_noisy", self.psnr_noisy, noisy)):
            metric.update(drawn, images)
            self.log(f"{stage}/{name}", metric)
