"""GAN: unconditional generation, its loss, penalty and networks chosen by name."""

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torchmetrics import MetricCollection

from lightning_genmodels.errors import GenmodelsError
from lightning_genmodels.losses.adversarial import ADVERSARIAL_LOSSES, AdversarialLossName
from lightning_genmodels.losses.penalties import PENALTIES, PenaltyName
from lightning_genmodels.metrics import DensityCoverage, PrecisionRecall
from lightning_genmodels.models.base import AdversarialModel, ScheduleName
from lightning_genmodels.models.checks import check_images
from lightning_genmodels.models.interpolation import spherical_path
from lightning_genmodels.modes import in_eval_mode
from lightning_genmodels.networks.dcgan import STAGES, DCGANDiscriminator, DCGANGenerator
from lightning_genmodels.networks.mlp import MLPDiscriminator, MLPGenerator

NETWORKS: dict[str, tuple[type[nn.Module], type[nn.Module]]] = {
    "mlp": (MLPGenerator, MLPDiscriminator),
    "dcgan": (DCGANGenerator, DCGANDiscriminator),
}
SAMPLES_AT_ONCE = 512


class GAN(AdversarialModel):
    """Generative adversarial network (Goodfellow et al. 2014; DCGAN: Radford et al. 2016; LSGAN: Mao et al. 2017).

    The generator turns z ~ N(0, I) into images; the discriminator tells them from real ones. Both live in [-1, 1];
    outside, images are in [0, 1]. A batch is read by position: `batch[0]` is the images, float (N, C, H, W) in [0, 1].

    Validation scores as many samples as there are images, by their pixels: `val/precision`, `val/recall` (k = 3),
    `val/density`, `val/coverage` (k = 5).

    Args:
        image_shape: (C, H, W).
        latent_dim: length of z.
        network: "mlp" for any size, "dcgan" for 16, 28, 32 or 64 pixels.
        adversarial_loss: "minimax", "non_saturating" or "least_squares".
        penalty: "none", or "r1" on the discriminator's gradient at real images in [-1, 1].
        penalty_weight: the penalty's weight.
        penalty_interval: the penalty is taken on every n-th batch only, n times as strong.
        learning_rate: Adam's step size for both networks.
        generator_learning_rate: the generator's own; None takes `learning_rate`.
        discriminator_learning_rate: the discriminator's own; None takes `learning_rate`.
        betas: Adam's two decay rates.
        schedule: "none", or "linear": down to zero from `decay_start` on.
        decay_start: share of the training after which "linear" begins, in [0, 1).
        gradient_clip: largest norm of each network's gradient; 0 does not clip.
        accumulate: parts into which a batch is split, to save memory.
        discriminator_steps: the generator is trained on every n-th batch only.
        generator_steps: generator steps on such a batch, with fresh latents after the first.
        ema_decay: decay per generator step of the averaged generator, which samples are drawn with; 0 keeps none.

    Raises:
        GenmodelsError: for an option out of its range, or an image size that the network cannot make; in training,
            for images outside [0, 1] or of another shape, and for a loss that is not finite.
    """

    best_metric = ("val/coverage", "max")

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        latent_dim: int = 64,
        network: Literal["mlp", "dcgan"] = "mlp",
        adversarial_loss: AdversarialLossName = "non_saturating",
        penalty: PenaltyName = "r1",
        penalty_weight: float = 0.1,
        penalty_interval: int = 16,
        learning_rate: float = 5e-4,
        generator_learning_rate: float | None = None,
        discriminator_learning_rate: float | None = None,
        betas: tuple[float, float] = (0.5, 0.999),
        schedule: ScheduleName = "none",
        decay_start: float = 0.5,
        gradient_clip: float = 0.0,
        accumulate: int = 1,
        discriminator_steps: int = 1,
        generator_steps: int = 1,
        ema_decay: float = 0.999,
    ) -> None:
        super().__init__(
            learning_rate=learning_rate,
            generator_learning_rate=generator_learning_rate,
            discriminator_learning_rate=discriminator_learning_rate,
            betas=betas,
            schedule=schedule,
            decay_start=decay_start,
            gradient_clip=gradient_clip,
            accumulate=accumulate,
            discriminator_steps=discriminator_steps,
            generator_steps=generator_steps,
            ema_decay=ema_decay,
        )
        for option, value, choices in (
            ("network", network, [*NETWORKS]),
            ("adversarial_loss", adversarial_loss, [*ADVERSARIAL_LOSSES]),
            ("penalty", penalty, ["none", *PENALTIES]),
        ):
            if value not in choices:
                raise GenmodelsError(f"GAN: {option} is {value!r}; expected one of {', '.join(choices)}.")
        for option, number, least in (
            ("latent_dim", latent_dim, 1),
            ("penalty_weight", penalty_weight, 0),
            ("penalty_interval", penalty_interval, 1),
        ):
            if number < least:
                raise GenmodelsError(f"GAN: {option} is {number}; expected {least} or more.")
        if len(image_shape) != 3 or min(image_shape) < 1:
            raise GenmodelsError(f"GAN: image_shape is {tuple(image_shape)}; expected (channels, height, width).")
        channels, height, width = image_shape
        if network == "dcgan" and (height != width or height not in STAGES):
            raise GenmodelsError(
                f"GAN: network is 'dcgan' and the images are {height}x{width} pixels; "
                f"expected a square of {', '.join(map(str, STAGES))}."
            )
        self.save_hyperparameters()
        self.image_shape = (channels, height, width)
        self.latent_dim = latent_dim
        self.network = network
        self.loss = ADVERSARIAL_LOSSES[adversarial_loss]
        self.penalty = penalty
        self.penalty_weight = penalty_weight
        self.penalty_interval = penalty_interval
        self.scores = MetricCollection(
            [PrecisionRecall(k=3), DensityCoverage(k=5)],
            compute_groups=[["PrecisionRecall", "DensityCoverage"]],  # the features are kept once
        )
        self.build_networks()

    def build_generator(self) -> nn.Module:
        """(N, latent_dim) -> (N, C, H, W) in [-1, 1]."""
        return NETWORKS[self.network][0](self.latent_dim, self.image_shape)

    def build_discriminator(self) -> nn.Module:
        """(N, C, H, W) in [-1, 1] -> (N,) logits."""
        return NETWORKS[self.network][1](self.image_shape)

    # Training; real and fake are in [-1, 1]

    def generate(self, batch: Any) -> Tensor:
        """Fresh images in [-1, 1], as many as the batch has."""
        check_images(batch[0], self.image_shape)
        fake: Tensor = self.generator(self._latents(len(batch[0]), self.noise))
        return fake

    def discriminator_loss(self, batch: Any, fake: Tensor) -> dict[str, Tensor]:
        """The adversarial loss and, on every n-th batch, the penalty."""
        real = to_signed(batch[0])
        terms = {"discriminator": self.loss.discriminator(self.discriminator(real), self.discriminator(fake))}
        if self.penalty != "none" and self.trainer.global_step % self.penalty_interval == 0:
            penalty = PENALTIES[self.penalty](self.discriminator.forward, real, fake)
            terms[self.penalty] = self.penalty_weight * self.penalty_interval * penalty
        return terms

    def generator_loss(self, batch: Any, fake: Tensor) -> dict[str, Tensor]:
        """The adversarial loss."""
        return {"generator": self.loss.generator(self.discriminator(fake), None)}

    def _latents(self, n: int, generator: torch.Generator | None) -> Tensor:
        # Drawn on the generator's own device, which for a CPU generator makes them the same everywhere.
        device = self.device if generator is None else generator.device
        return torch.randn(n, self.latent_dim, generator=generator, device=device).to(
            next(self.averaged_generator.parameters())
        )

    # Use

    def forward(self, z: Tensor) -> Tensor:
        """(N, latent_dim) latents -> (N, C, H, W) images in [0, 1], by the averaged generator in its present mode."""
        return to_unit(self.averaged_generator(z))

    @torch.no_grad()
    def sample(self, n: int, *, generator: torch.Generator | None = None) -> Tensor:
        """Draws n images by the averaged generator in eval mode.

        Args:
            n: how many, 0 or more.
            generator: source of the latents; one on the CPU gives the same latents on every device.

        Returns:
            (n, C, H, W) float32 in [0, 1], on the model's device.

        Raises:
            GenmodelsError: for a negative n.
        """
        if n < 0:
            raise GenmodelsError(f"sample: n is {n}; expected 0 or more.")
        return self._draw(self._latents(n, generator))

    @torch.no_grad()
    def interpolate(self, z0: Tensor, z1: Tensor, steps: int) -> Tensor:
        """The images along the great circle from one latent to another, by the averaged generator in eval mode.

        Args:
            z0: (N, latent_dim) latents.
            z1: the same shape.
            steps: images along the way, 2 or more, both ends included.

        Returns:
            (N, steps, C, H, W) in [0, 1].

        Raises:
            GenmodelsError: for latents of different shapes or another length, or fewer than 2 steps.
        """
        path = spherical_path(z0, z1, steps)
        if path.shape[-1] != self.latent_dim:
            raise GenmodelsError(f"interpolate: the latents have {path.shape[-1]} entries; expected {self.latent_dim}.")
        images: Tensor = self._draw(path.flatten(0, 1)).unflatten(0, path.shape[:2])
        return images

    def _draw(self, latents: Tensor) -> Tensor:
        network = self.averaged_generator
        with in_eval_mode(network):
            # The empty chunk of no latents still goes through, for its shape.
            images = torch.cat([network(z).float() for z in latents.split(SAMPLES_AT_ONCE)])
        return to_unit(images).clamp(0, 1)

    # Validation, test, prediction

    def on_validation_epoch_start(self) -> None:
        """Lightning's hook: the same latents at every validation."""
        self._eval_noise = torch.Generator().manual_seed(self.global_rank)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Collects the images and as many samples."""
        images = batch[0]
        check_images(images, self.image_shape)
        self.scores.update(images, real=True)
        self.scores.update(self.sample(len(images), generator=self._eval_noise), real=False)

    def on_validation_epoch_end(self) -> None:
        """Logs `val/precision`, `val/recall`, `val/density` and `val/coverage`."""
        self._log_scores("val")

    on_test_epoch_start = on_validation_epoch_start
    test_step = validation_step

    def on_test_epoch_end(self) -> None:
        """Logs the same four under `test/`."""
        self._log_scores("test")

    def _log_scores(self, stage: str) -> None:
        if not self.trainer.sanity_checking:
            self.log_dict({f"{stage}/{name}": value for name, value in self.scores.compute().items()}, sync_dist=True)
        self.scores.reset()

    on_predict_epoch_start = on_validation_epoch_start

    def predict_step(self, batch: Any, batch_idx: int) -> Tensor:
        """As many samples as the batch has images, (N, C, H, W) in [0, 1]."""
        return self.sample(len(batch[0]), generator=self._eval_noise)


def to_signed(images: Tensor) -> Tensor:
    """[0, 1] -> [-1, 1], the range of the networks."""
    return images * 2 - 1


def to_unit(images: Tensor) -> Tensor:
    """[-1, 1] -> [0, 1], the range of everything outside."""
    return (images + 1) / 2
