"""VAE: an autoencoder whose codes are distributed, and which therefore generates."""

import math
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from lightning_genmodels.errors import GenmodelsError, check_options
from lightning_genmodels.losses.divergence import gaussian_divergence
from lightning_genmodels.losses.likelihood import (
    DecoderDistributionName,
    bernoulli_log_likelihood,
    gaussian_log_likelihood,
)
from lightning_genmodels.models.autoencoder import Autoencoder
from lightning_genmodels.models.checks import check_images, checked_images
from lightning_genmodels.models.interpolation import spherical_path
from lightning_genmodels.models.schedules import CosineScheduleName
from lightning_genmodels.modes import in_eval_mode
from lightning_genmodels.networks.autoencoder import ActivationName, ConvEncoder, MLPEncoder
from lightning_genmodels.seeding import derive_seed

PIXELS_AT_ONCE = 2**22  # decoded: 16 MB, some 500 MB with a convolutional decoder's 32 maps of each pixel


class VAE(Autoencoder):
    """Variational autoencoder (Kingma and Welling 2014; beta: Higgins et al. 2017).

    The encoder gives q(z|x) = N(mean, diag(exp(log_variance))), the decoder p(x|z), the prior is N(0, I). The loss is
    -E_q log p(x|z) + beta KL(q || p), in nats per image, the sum over pixels and latents, with one draw of z; training
    and validation weigh the divergence alike.

    Validation logs `val/reconstruction` (-log p(x|z)), `val/kl` (beta times the divergence), `val/loss`, their sum,
    `val/elbo` (the bound itself, with beta 1), and `val/squared_error` of the decoder's mean at a
    draw of z. Test logs the same and `test/nll`, the importance-weighted estimate of -log p(x) from
    `importance_samples` draws.

    A "bernoulli" likelihood of images that are not binary is not one; figures in nats compare only between models of
    the same pixels: see `binarize` of the data modules.

    Args:
        image_shape: (C, H, W).
        latent_dim: length of z.
        decoder_distribution: of a pixel given z: "bernoulli", or "gaussian" of the standard deviation
            `decoder_scale`.
        decoder_scale: standard deviation of a "gaussian" pixel, above 0.
        beta: weight of the divergence, 0 or more; 1 is the variational bound.
        importance_samples: draws of z for each image in `test/nll`; 0 leaves it out.
        network: "mlp", or "conv": 3x3 convolutions of stride 2 and one linear layer.
        hidden_sizes: widths (mlp) or channels (conv) between image and code, the decoder's being their mirror image;
            None takes (256, 128) or (32, 64).
        activation: of the hidden layers: "linear", "relu", "leaky_relu", "sigmoid", "silu" or "tanh".
        output_activation: of a "gaussian" pixel's mean: "sigmoid" or "linear"; "sigmoid" for "bernoulli".
        learning_rate: Adam's step size.
        schedule: of the learning rate: "none", or "cosine": up over the first 5 % of the training, then along a
            cosine to zero.

    Raises:
        GenmodelsError: as `Autoencoder` does, and for a decoder_scale, beta or importance_samples out of range, or a
            "bernoulli" decoder whose output is not in [0, 1].
    """

    best_metric = ("val/loss", "min")
    _path = staticmethod(spherical_path)

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        latent_dim: int = 16,
        decoder_distribution: DecoderDistributionName = "bernoulli",
        decoder_scale: float = 0.1,
        beta: float = 1.0,
        importance_samples: int = 200,
        network: Literal["mlp", "conv"] = "mlp",
        hidden_sizes: tuple[int, ...] | None = None,
        activation: ActivationName = "relu",
        output_activation: Literal["sigmoid", "linear"] = "sigmoid",
        learning_rate: float = 1e-3,
        schedule: CosineScheduleName = "none",
    ) -> None:
        super().__init__(
            image_shape=image_shape,
            latent_dim=latent_dim,
            network=network,
            hidden_sizes=hidden_sizes,
            activation=activation,
            output_activation=output_activation,
            learning_rate=learning_rate,
            schedule=schedule,
        )
        check_options(
            self,
            (
                "decoder_distribution",
                decoder_distribution,
                decoder_distribution in get_args(DecoderDistributionName),
                f"one of {', '.join(get_args(DecoderDistributionName))}",
            ),
            ("decoder_scale", decoder_scale, 0 < decoder_scale < math.inf, "above 0, and finite"),
            ("beta", beta, 0 <= beta < math.inf, "0 or more, and finite"),
            ("importance_samples", importance_samples, importance_samples >= 0, "0 or more"),
            (
                "output_activation",
                output_activation,
                output_activation == "sigmoid" or decoder_distribution == "gaussian",
                "'sigmoid' for a 'bernoulli' decoder_distribution",
            ),
        )
        self.decoder_distribution = decoder_distribution
        self.decoder_scale = decoder_scale
        self.beta = beta
        self.importance_samples = importance_samples

    def build_encoder(self) -> nn.Module:
        """(N, C, H, W) in [0, 1] -> (N, 2 * latent_dim): the means of z, then the logarithms of its variances."""
        network = MLPEncoder if self.network == "mlp" else ConvEncoder
        return network(self.image_shape, self.hidden_sizes, 2 * self.latent_dim, self.activation, "linear")

    # Use

    def posterior(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(N, C, H, W) in [0, 1] -> mean and log-variance of q(z|x), (N, latent_dim) each, float32."""
        mean, log_variance = super().encode(images).chunk(2, dim=1)
        return mean, log_variance

    def encode(self, images: Tensor) -> Tensor:
        """(N, C, H, W) in [0, 1] -> (N, latent_dim), the mean of q(z|x)."""
        return self.posterior(images)[0]

    @torch.no_grad()
    def sample(self, n: int, *, generator: torch.Generator | None = None) -> Tensor:
        """Draws z from the prior and gives the decoder's means, in eval mode.

        Args:
            n: how many, 0 or more.
            generator: source of z; one on the CPU gives the same on every device.

        Returns:
            (n, C, H, W) float32 in [0, 1], on the model's device.

        Raises:
            GenmodelsError: for a negative n.
        """
        if n < 0:
            raise GenmodelsError(f"sample: n is {n}; expected 0 or more.")
        with in_eval_mode(self):
            latents = self._normal((n, self.latent_dim), generator)
            # The empty chunk of n = 0 still goes through, for its shape.
            return torch.cat([self.decode(z).clamp(0, 1) for z in latents.split(self._decoded_at_once())])

    @torch.no_grad()
    def log_likelihood(self, images: Tensor, samples: int = 200, generator: torch.Generator | None = None) -> Tensor:
        """The importance-weighted estimate of log p(x) (Burda et al. 2016).

        It is log (1/K) sum_k p(x|z_k) p(z_k) / q(z_k|x), z_k from q(z|x): in expectation a lower bound, which rises to
        log p(x) with K.

        Args:
            images: (N, C, H, W) in [0, 1].
            samples: K, 1 or more.
            generator: source of z; one on the CPU gives the same on every device.

        Returns:
            (N,) nats.

        Raises:
            GenmodelsError: for fewer than 1 sample, or images outside [0, 1] or of another shape.
        """
        if samples < 1:
            raise GenmodelsError(f"log_likelihood: samples is {samples}; expected 1 or more.")
        check_images(images, self.image_shape)
        mean, log_variance = self.posterior(images)
        weights = []
        share = max(1, self._decoded_at_once() // max(1, len(images)))
        for start in range(0, samples, share):
            noise = self._normal((min(share, samples - start), *mean.shape), generator)
            latents = mean + noise * (log_variance / 2).exp()
            # log p(z) - log q(z|x); the factors of 2 pi cancel.
            prior = 0.5 * (noise.square() + log_variance - latents.square()).sum(-1)
            raw = self._decode_raw(latents.flatten(0, 1)).unflatten(0, latents.shape[:2])
            weights.append(self._pixel_log_likelihood(raw, images) + prior)
        return torch.cat(weights).logsumexp(0) - math.log(samples)

    def _decoded_at_once(self) -> int:
        return max(1, PIXELS_AT_ONCE // math.prod(self.image_shape))

    def _normal(self, shape: tuple[int, ...], generator: torch.Generator | None) -> Tensor:
        # Drawn on the generator's own device, which for a CPU generator makes them the same everywhere.
        device = self.device if generator is None else generator.device
        return torch.randn(shape, generator=generator, device=device).to(self.device)

    def _pixel_log_likelihood(self, raw: Tensor, images: Tensor) -> Tensor:
        if self.decoder_distribution == "bernoulli":
            return bernoulli_log_likelihood(raw, images)
        return gaussian_log_likelihood(self._activate(raw), images, self.decoder_scale)

    # Training

    def loss_terms(self, images: Tensor, generator: torch.Generator | None = None) -> tuple[dict[str, Tensor], Tensor]:
        """The two terms of the bound, and the decoder's mean at the drawn z; see the class."""
        reconstruction, divergence, output = self._bound(images, generator)
        return {"reconstruction": reconstruction, "kl": self.beta * divergence}, output

    def _bound(self, images: Tensor, generator: torch.Generator | None) -> tuple[Tensor, Tensor, Tensor]:
        """-E_q log p(x|z) and KL(q || p), nats in the mean over images, and the decoder's mean at the drawn z."""
        mean, log_variance = self.posterior(images)
        latents = mean + self._normal(tuple(mean.shape), generator) * (log_variance / 2).exp()
        raw = self._decode_raw(latents)
        reconstruction = -self._pixel_log_likelihood(raw, images).mean()
        return reconstruction, gaussian_divergence(mean, log_variance).mean(), self._activate(raw)

    def validation_step(self, batch: Any, batch_idx: int, stage: str = "val") -> None:
        """Logs the bound and its terms, with the same draws of z each time; see the class."""
        images = checked_images(batch, self.image_shape)
        generator = torch.Generator().manual_seed(derive_seed(0, batch_idx, self.global_rank))
        reconstruction, divergence, output = self._bound(images, generator)
        terms = {"reconstruction": reconstruction, "kl": self.beta * divergence}
        self._log_evaluation(stage, images, terms, output)
        self.log(f"{stage}/elbo", -reconstruction - divergence, batch_size=len(images), sync_dist=True)
        if stage == "test" and self.importance_samples:
            nll = -self.log_likelihood(images, self.importance_samples, generator).mean()
            self.log("test/nll", nll, batch_size=len(images), sync_dist=True)
