"""GAN: unconditional generation, its loss, penalty and networks chosen by name."""

from typing import Any, get_args

import torch
from torch import Tensor, nn

from lightning_genmodels.errors import GenmodelsError
from lightning_genmodels.losses.adversarial import ADVERSARIAL_LOSSES, AdversarialLossName
from lightning_genmodels.losses.penalties import PENALTIES, PenaltyName, clip_weights
from lightning_genmodels.models.base import AdversarialModel, ScheduleName
from lightning_genmodels.models.checks import checked_images
from lightning_genmodels.models.interpolation import latent_path
from lightning_genmodels.models.ranges import to_signed, to_unit
from lightning_genmodels.models.scoring import LEAST_SCORED, Judged, SampleScores
from lightning_genmodels.modes import in_eval_mode
from lightning_genmodels.networks.pairs import CONVOLUTIONAL_SIZES, GENERATORS, NetworkName, make_discriminator

SAMPLES_AT_ONCE = 512


class GAN(AdversarialModel):
    """Generative adversarial network (Goodfellow et al. 2014), its loss, penalty and networks chosen by name.

    DCGAN (Radford et al. 2016), LSGAN (Mao et al. 2017), WGAN (Arjovsky et al. 2017), WGAN-GP (Gulrajani et al. 2017),
    DRAGAN (Kodali et al. 2017), SNGAN (Miyato et al. 2018), PacGAN (Lin et al. 2018) and the objective of R3GAN (Huang
    et al. 2024) are settings of it.

    The generator turns z ~ N(0, I) into images; the discriminator tells them from real ones. Both live in [-1, 1];
    outside, images are in [0, 1]. A batch is read by position: `batch[0]` is the images, float (N, C, H, W) in [0, 1].

    Validation scores as many samples as there are images, by their pixels: `val/precision`, `val/recall` (k = 3),
    `val/density`, `val/coverage` (k = 5).

    Args:
        image_shape: (C, H, W).
        latent_dim: length of z.
        network: "mlp" for any size; "dcgan" and "resnet" for squares of 16, 28, 32, 64 or 128 pixels. The discriminator
            of "dcgan" normalises over the batch, but not with `spectral_norm`, nor with a penalty on the gradient,
            which is one of single images.
        generator_batch_norm: normalise in the generator over the batch. Its noise is wider than the modes of points in
            the plane, which are found without.
        spectral_norm: divide the weights of each of the discriminator's layers by their largest singular value.
        adversarial_loss: "minimax", "non_saturating", "least_squares", "wasserstein", "hinge", or "relativistic", of
            pairs.
        penalty: on the discriminator: "none"; "weight_clipping"; or of its gradient with respect to images in [-1, 1]:
            "gradient_penalty" (distance of its norm from 1, between real and generated images), "dragan" (the same
            around real ones), "r1" (half its square at real images), "r2" (at generated ones), "r1_r2" (both).
        penalty_weight: the penalty's weight; or the bound that weights are clipped to, after every step.
        penalty_interval: a penalty on the gradient is taken on every n-th batch only, n times as strong.
        packing: images that the discriminator judges together, stacked on their channels; a batch's remainder of them
            is left out.
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
        score_count: images that are scored at most in a validation or test, the first ones, in all processes together,
            6 or more; the time it takes grows with its square, and its pixels are held on the device.

    Raises:
        GenmodelsError: for an option out of its range, or an image size that the network cannot make; in training,
            for images outside [0, 1] or of another shape, and for a loss that is not finite.
    """

    best_metric = ("val/coverage", "max")

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        latent_dim: int = 64,
        network: NetworkName = "mlp",
        generator_batch_norm: bool = True,
        spectral_norm: bool = False,
        adversarial_loss: AdversarialLossName = "non_saturating",
        penalty: PenaltyName = "r1",
        penalty_weight: float = 0.1,
        penalty_interval: int = 16,
        packing: int = 1,
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
        score_count: int = 10_000,
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
        name = type(self).__name__
        for option, value, choices in (
            ("network", network, get_args(NetworkName)),
            ("adversarial_loss", adversarial_loss, get_args(AdversarialLossName)),
            ("penalty", penalty, get_args(PenaltyName)),
        ):
            if value not in choices:
                raise GenmodelsError(f"{name}: {option} is {value!r}; expected one of {', '.join(choices)}.")
        for option, number, least in (
            ("latent_dim", latent_dim, 1),
            ("penalty_weight", penalty_weight, 0),
            ("penalty_interval", penalty_interval, 1),
            ("packing", packing, 1),
            ("score_count", score_count, LEAST_SCORED),
        ):
            if not number >= least:
                raise GenmodelsError(f"{name}: {option} is {number}; expected {least} or more.")
        if penalty == "weight_clipping" and penalty_weight == 0:
            raise GenmodelsError(
                f"{name}: penalty_weight is 0, the bound that weights are clipped to; expected above 0."
            )
        if len(image_shape) != 3 or min(image_shape) < 1:
            raise GenmodelsError(f"{name}: image_shape is {tuple(image_shape)}; expected (channels, height, width).")
        channels, height, width = image_shape
        if network != "mlp" and (height != width or height not in CONVOLUTIONAL_SIZES):
            raise GenmodelsError(
                f"{name}: network is {network!r} and the images are {height}x{width} pixels; "
                f"expected a square of {', '.join(map(str, CONVOLUTIONAL_SIZES))}."
            )
        self.save_hyperparameters()
        self.image_shape = (channels, height, width)
        self.latent_dim = latent_dim
        self.network = network
        self.generator_batch_norm = generator_batch_norm
        self.spectral_norm = spectral_norm
        self.loss = ADVERSARIAL_LOSSES[adversarial_loss]
        self.penalty = penalty
        self.penalty_weight = penalty_weight
        self.penalty_interval = penalty_interval
        self.packing = packing
        self.scores = SampleScores(score_count)
        self._judged: tuple[Tensor, Tensor, Tensor] | None = None
        self.build_networks()

    def build_generator(self) -> nn.Module:
        """(N, latent_dim) -> (N, C, H, W) in [-1, 1]."""
        return self.make_generator(self.latent_dim)

    def build_discriminator(self) -> nn.Module:
        """(N, packing * C, H, W) in [-1, 1] -> (N,) logits."""
        channels, height, width = self.image_shape
        return self.make_discriminator((self.packing * channels, height, width))

    def make_generator(self, latent_dim: int) -> nn.Module:
        """A generator by this model's options from latents of that length."""
        return GENERATORS[self.network](latent_dim, self.image_shape, batch_norm=self.generator_batch_norm)

    def make_discriminator(self, shape: tuple[int, int, int]) -> nn.Module:
        """A discriminator by this model's options for images of that shape."""
        batch_norm = not self.spectral_norm and self.penalty in ("none", "weight_clipping")
        return make_discriminator(self.network, shape, batch_norm, self.spectral_norm)

    # Training; real and fake are in [-1, 1]

    def generate(self, batch: Any) -> Tensor:
        """Fresh images in [-1, 1], as many as the batch has."""
        self.check_batch(batch)
        fake: Tensor = self.generator(self._latents(len(batch[0]), self.noise), *self.condition(batch))
        return fake

    def check_batch(self, batch: Any) -> None:
        """Raises GenmodelsError for a batch that the model cannot be trained on."""
        checked_images(batch, self.image_shape)
        if len(batch[0]) == 1 and any(isinstance(module, nn.BatchNorm1d) for module in self.generator.modules()):
            raise GenmodelsError(
                f"{type(self).__name__}: a batch has 1 image, which the generator cannot normalise over; expected 2 or "
                "more, by a larger batch_size or a loader with drop_last=True, or generator_batch_norm to be False."
            )

    def discriminator_loss(self, batch: Any, fake: Tensor) -> dict[str, Tensor]:
        """The adversarial loss and, on every n-th batch, the penalty."""
        real, packed, condition = self.pack(self.real_images(batch)), self.pack(fake), self.condition(batch)
        logits = self.discriminator(real, *condition), self.discriminator(packed, *condition)
        self._judged = (logits[0].detach(), logits[1].detach(), fake)
        terms = {"discriminator": self.loss.discriminator(*logits)}
        if self.penalty in PENALTIES and self.trainer.global_step % self.penalty_interval == 0:

            def judge(images: Tensor) -> Tensor:
                weights = next(self.discriminator.parameters())  # of less than float32 in "bf16-true"
                judged: Tensor = self.discriminator.forward(images.to(weights), *condition)
                return judged

            penalty = PENALTIES[self.penalty](judge, real, packed, self.noise)
            terms[self.penalty] = self.penalty_weight * self.penalty_interval * penalty
        return terms

    def after_discriminator_step(self) -> None:
        """Clips the weights, where that is the penalty."""
        if self.penalty == "weight_clipping":
            clip_weights(self.discriminator.parameters(), self.penalty_weight)

    def generator_loss(self, batch: Any, fake: Tensor) -> dict[str, Tensor]:
        """The adversarial loss."""
        condition, real_logits = self.condition(batch), None
        if self.loss.relative:
            with torch.no_grad():
                real_logits = self.discriminator(self.pack(self.real_images(batch)), *condition)
        return {"generator": self.loss.generator(self.discriminator(self.pack(fake), *condition), real_logits)}

    def real_images(self, batch: Any) -> Tensor:
        """The batch's images in [-1, 1], of the discriminator's precision."""
        return to_signed(batch[0]).to(next(self.discriminator.parameters()))

    @property
    def judged(self) -> Judged | None:
        """What the discriminator was last trained on; None before."""
        if self._judged is None:
            return None
        real_logits, fake_logits, fake = self._judged
        return Judged(real_logits, fake_logits, to_unit(fake))

    def condition(self, batch: Any) -> tuple[Tensor, ...]:
        """What both networks are given beside latents and images: nothing."""
        return ()

    def pack(self, images: Tensor) -> Tensor:
        """(N, C, H, W) -> (N // packing, packing * C, H, W), neighbours together."""
        if self.packing == 1:
            return images
        if len(images) < self.packing:
            raise GenmodelsError(
                f"{type(self).__name__}: packing is {self.packing} and a batch has {len(images)} images; expected "
                f"{self.packing} or more."
            )
        whole = images[: len(images) // self.packing * self.packing]
        return torch.stack(whole.split(self.packing)).flatten(1, 2)

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
        path = latent_path(z0, z1, steps, self.latent_dim)
        images: Tensor = self._draw(path.flatten(0, 1)).unflatten(0, path.shape[:2])
        return images

    def _draw(self, *inputs: Tensor) -> Tensor:
        network = self.averaged_generator
        with in_eval_mode(network):
            # The empty chunk of no latents still goes through, for its shape.
            chunks = zip(*(tensor.split(SAMPLES_AT_ONCE) for tensor in inputs), strict=True)
            images = torch.cat([network(*chunk).float() for chunk in chunks])
        return to_unit(images).clamp(0, 1)

    # Validation, test, prediction

    def on_validation_epoch_start(self) -> None:
        """Lightning's hook: the same latents at every validation."""
        self.scores.begin(self)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Collects the images and as many samples."""
        self.scores.update(checked_images(batch, self.image_shape), lambda: self._sample_like(batch))

    def on_validation_epoch_end(self) -> None:
        """Logs `val/precision`, `val/recall`, `val/density` and `val/coverage`."""
        self.scores.log(self, "val")

    on_test_epoch_start = on_validation_epoch_start
    test_step = validation_step

    def on_test_epoch_end(self) -> None:
        """Logs the same four under `test/`."""
        self.scores.log(self, "test")

    on_predict_epoch_start = on_validation_epoch_start

    def predict_step(self, batch: Any, batch_idx: int) -> Tensor:
        """As many samples as the batch has images, (N, C, H, W) in [0, 1]."""
        return self._sample_like(batch)

    def _sample_like(self, batch: Any) -> Tensor:
        return self.sample(len(batch[0]), generator=self.scores.noise)
