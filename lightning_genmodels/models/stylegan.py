"""StyleGAN: a generator of styles, from coarse to fine."""

import math
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from lightning_genmodels.errors import check_options
from lightning_genmodels.losses.adversarial import ADVERSARIAL_LOSSES
from lightning_genmodels.losses.penalties import path_lengths, r1_penalty
from lightning_genmodels.models.augmentation import Augmentation, AugmentationName
from lightning_genmodels.models.base import ScheduleName
from lightning_genmodels.models.checks import checked_images, row_is_due
from lightning_genmodels.models.growing import Growth, faded, grown_size, rate_factor
from lightning_genmodels.models.ranges import to_signed, to_unit
from lightning_genmodels.models.scoring import LEAST_SCORED, Judged, SampleScores
from lightning_genmodels.models.splitting import parts_of_groups
from lightning_genmodels.models.style_sampling import StyleSampling
from lightning_genmodels.networks.style import GROUP, StyleDiscriminator, StyleGenerator, style_levels

SIZES = (16, 32, 64, 128, 256, 512, 1024)
LOSS = ADVERSARIAL_LOSSES["non_saturating"]
STYLE_AVERAGE_DECAY = 0.995
PATH_LENGTH_INTERVAL, PATH_LENGTH_DECAY = 4, 0.99  # generator steps


class StyleGAN(StyleSampling):
    """StyleGAN (Karras et al. 2018): latents become styles, which set the channels of feature maps at every size.

    A mapping network turns z ~ N(0, I) into a style; the synthesis network begins with a learned constant of 4 pixels,
    and at each size two layers are normalised and given a scale and a mean for each channel by the style (AdaIN), with
    noise for each pixel. The styles of small sizes set pose and shape, those of large ones colours and texture.

    Fixed networks train faster: the image is a sum over all sizes, the discriminator has ways around its blocks (Karras
    et al. 2020). With `growing` they grow as in the paper, and real images fade in with them. The loss is
    non-saturating with R1 (Mescheder et al. 2018). A batch is read by position: `batch[0]` is the images, float
    (N, C, S, S) in [0, 1]. Half precision is "bf16-mixed": in "bf16-true" the mapping network, whose weights are in the
    hundreds, the mean style and an adaptive augmentation all but stand still.

    Validation scores as many samples as there are images, by their pixels, not truncated: `val/precision`, `val/recall`
    (k = 3), `val/density`, `val/coverage` (k = 5).

    Args:
        image_shape: (C, S, S), S 16, 32, 64, 128, 256, 512 or 1024 pixels. The paper's sizes at 1024 are `latent_dim`
            512 and `width` 512: 26.2 million weights in the generator, 23.1 in the discriminator.
        latent_dim: length of z, and of a style.
        width: channels of the feature maps of up to 32 pixels; from 64 on half as many a size.
        mapping_depth: layers of the mapping network, which learn by a hundredth of the rate.
        output_activation: "linear", as published, or "tanh", for images that are pure black or white in large parts,
            as digits are: of a linear output, which is never quite black, generators of digits lost their variety.
        growing: begin with small images.
        start_size: side of the first images in pixels, a power of two, with `growing`.
        fade_images: real images shown while a size fades in.
        stable_images: real images shown once it has, before the next. At each size Adam begins anew, and from 128
            pixels on the learning rate is 1.5, from 256 on 2, from 512 on 3 times as large, as in the paper.
        pixels_at_once: pixels (images times their size) that go through the networks together; a batch with more is
            split, if possible into parts of whole groups of 4, which the discriminator compares. 0 does not split.
        style_mixing: share of the images whose styles are, from a drawn layer on, those of another latent.
        penalty_weight: of R1, half the squared slope at the real images in [-1, 1] that the discriminator sees, on
            every `penalty_interval`-th batch. The paper's 10 is for large images; a small one needs less.
        penalty_interval: n, by which the penalty is multiplied then. The discriminator's learning rate is n / (n + 1)
            of what it is set to, and its betas are to the power of that, as of Karras et al. (2020).
        path_length_weight: of the squared distance of path lengths from their mean (Karras et al. 2020: 2), on every
            fourth step of the generator, on half of the batch; 0 leaves it out.
        augmentation: of what the discriminator sees, where images are few (Karras et al. 2020, limited data): "none";
            "fixed"; "adaptive", so that it takes `augmentation_target` more of the real images for real than for
            generated.
        augmentation_probability: of each change of an image; with "adaptive" the first.
        augmentation_target: with "adaptive", the mean sign of the logits of real images.
        augmentation_images: with "adaptive", the images within which the probability can go from 0 to 1.
        learning_rate: Adam's step size for both networks.
        generator_learning_rate: the generator's own; None takes `learning_rate`.
        discriminator_learning_rate: the discriminator's own; None takes `learning_rate`.
        betas: Adam's two decay rates.
        schedule: "none", or "linear": down to zero from `decay_start` on.
        decay_start: share of the training after which "linear" begins, in [0, 1).
        gradient_clip: largest norm of each network's gradient; 0 does not clip.
        accumulate: parts into which a batch is split at least, to save memory; of them as of `pixels_at_once`.
        discriminator_steps: the generator is trained on every n-th batch only.
        ema_images: the averaged generator, which samples are drawn with, has half of its weight from the last so many
            real images; 0 keeps none.
        score_count: images that are scored at most in a validation or test, the first ones, in all processes together,
            6 or more; the time it takes grows with its square, and its pixels are held on the device.

    Raises:
        GenmodelsError: for an option out of its range; in training, for images outside [0, 1] or of another shape, and
            for a loss that is not finite.
    """

    best_metric = ("val/coverage", "max")
    counters = ("images_seen", "augment.share")  # of a training; `--init_from` leaves them
    discriminator: StyleDiscriminator
    images_seen: Tensor
    path_length_mean: Tensor

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        latent_dim: int = 64,
        width: int = 64,
        mapping_depth: int = 8,
        output_activation: Literal["linear", "tanh"] = "linear",
        growing: bool = False,
        start_size: int = 8,
        fade_images: int = 600_000,
        stable_images: int = 600_000,
        pixels_at_once: int = 0,
        style_mixing: float = 0.9,
        penalty_weight: float = 1.0,
        penalty_interval: int = 16,
        path_length_weight: float = 0.0,
        augmentation: AugmentationName = "none",
        augmentation_probability: float = 0.0,
        augmentation_target: float = 0.6,
        augmentation_images: int = 500_000,
        learning_rate: float = 1e-3,
        generator_learning_rate: float | None = None,
        discriminator_learning_rate: float | None = None,
        betas: tuple[float, float] = (0.0, 0.99),
        schedule: ScheduleName = "none",
        decay_start: float = 0.5,
        gradient_clip: float = 0.0,
        accumulate: int = 1,
        discriminator_steps: int = 1,
        ema_images: float = 10_000,
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
            ema_decay=0.5 if ema_images else 0.0,  # set for each batch by its length
        )
        shape, activations = tuple(image_shape), ("linear", "tanh")
        square = len(shape) == 3 and shape[0] in (1, 3) and shape[1] == shape[2] and shape[1] in SIZES
        starts = [4 << level for level in range(style_levels(shape[-1]) + 1)] if square else []
        share, names = "in [0, 1]", get_args(AugmentationName)
        check_options(
            self,
            ("image_shape", shape, square, f"1 or 3 channels and a square of {', '.join(map(str, SIZES))} pixels"),
            ("latent_dim", latent_dim, latent_dim >= 1, "1 or more"),
            ("width", width, width >= 1, "1 or more"),
            ("mapping_depth", mapping_depth, mapping_depth >= 1, "1 or more"),
            ("output_activation", output_activation, output_activation in activations, "one of linear, tanh"),
            ("start_size", start_size, start_size in starts or not growing, f"one of {', '.join(map(str, starts))}"),
            ("fade_images", fade_images, fade_images >= 0, "0 or more"),
            ("stable_images", stable_images, stable_images >= 0, "0 or more"),
            ("pixels_at_once", pixels_at_once, pixels_at_once >= 0, "0 or more"),
            ("style_mixing", style_mixing, 0 <= style_mixing <= 1, share),
            ("penalty_weight", penalty_weight, 0 <= penalty_weight < math.inf, "0 or more, and finite"),
            ("penalty_interval", penalty_interval, penalty_interval >= 1, "1 or more"),
            ("path_length_weight", path_length_weight, 0 <= path_length_weight < math.inf, "0 or more, and finite"),
            ("augmentation", augmentation, augmentation in names, f"one of {', '.join(names)}"),
            ("augmentation_probability", augmentation_probability, 0 <= augmentation_probability <= 1, share),
            ("augmentation_target", augmentation_target, -1 <= augmentation_target <= 1, "in [-1, 1]"),
            ("augmentation_images", augmentation_images, augmentation_images >= 1, "1 or more"),
            ("ema_images", ema_images, ema_images >= 0, "0 or more"),
            ("score_count", score_count, score_count >= LEAST_SCORED, f"{LEAST_SCORED} or more"),
        )
        self.save_hyperparameters()
        self.image_shape = (shape[0], shape[1], shape[2])
        self.latent_dim, self.width, self.mapping_depth = latent_dim, width, mapping_depth
        self.output_activation, self.growing = output_activation, growing
        self.growth = Growth(start_size if growing else shape[1], shape[1], fade_images, stable_images)
        self.pixels_at_once, self.least_parts, self.style_mixing = pixels_at_once, accumulate, style_mixing
        self.penalty_weight, self.penalty_interval = penalty_weight, penalty_interval
        self.path_length_weight = path_length_weight
        self.augment = Augmentation(augmentation, augmentation_probability, augmentation_target, augmentation_images)
        self.ema_images, self.score_count = ema_images, score_count
        # As published, where the penalty has steps of its own.
        lazy = penalty_interval / (penalty_interval + 1) if penalty_interval > 1 and penalty_weight else 1.0
        self.learning_rates = (self.learning_rates[0], lazy * self.learning_rates[1])
        self.betas = (self.betas[0], (self.betas[1][0] ** lazy, self.betas[1][1] ** lazy))
        self.register_buffer("images_seen", torch.tensor(0))
        self.register_buffer("path_length_mean", torch.tensor(0.0))
        self.scores = SampleScores(score_count)
        self._judged: tuple[Tensor, Tensor, Tensor] | None = None
        self.build_networks()
        self._grow_to(self.growth.detail(0))

    def build_generator(self) -> StyleGenerator:
        """(N, latent_dim) -> (N, C, S, S), in [-1, 1], by a linear output not clamped."""
        channels, size, _ = self.image_shape
        options = self.mapping_depth, self.growing, self.output_activation == "tanh"
        return StyleGenerator(size, channels, self.latent_dim, self.width, *options)

    def build_discriminator(self) -> StyleDiscriminator:
        """(N, C, S, S) in [-1, 1] -> (N,) logits."""
        channels, size, _ = self.image_shape
        return StyleDiscriminator(size, channels, self.width, self.growing)

    # Training; real and fake are in [-1, 1]

    def training_step(self, batch: Any, batch_idx: int) -> None:
        """Grows the networks, then one step of each."""
        checked_images(batch, self.image_shape)
        detail = self.growth.detail(int(self.images_seen))
        if grown_size(detail) != grown_size(self._detail):
            for optimizer in self._optimizers():
                optimizer.optimizer.state.clear()
        self._grow_to(detail)
        images = len(batch[0]) * self.trainer.world_size
        pixels = len(batch[0]) * grown_size(detail) ** 2
        least = max(self.least_parts, math.ceil(pixels / self.pixels_at_once) if self.pixels_at_once else 1)
        self.accumulate = parts_of_groups(len(batch[0]), least, GROUP)
        if self.ema_images:
            self.ema_decay = 0.5 ** (images * self.discriminator_steps / self.ema_images)
        super().training_step(batch, batch_idx)
        self.augment.adapt(images)
        self.images_seen += images
        if row_is_due(self) and self.growing:
            self.log("train/size", float(grown_size(detail)))
        if row_is_due(self) and self.augment.kind == "adaptive":
            self.log("train/augmentation", self.augment.share)

    def _grow_to(self, detail: float) -> None:
        self._detail = detail
        averages = [] if self.generator_ema is None else [self.generator_ema]
        for network in (self.generator, *averages):
            network.synthesis.detail.fill_(detail)
        self.discriminator.detail.fill_(detail)

    def _set_learning_rates(self, step: int) -> None:
        self._scale_learning_rates(self._schedule_factor(step) * (rate_factor(self._detail) if self.growing else 1))

    def generate(self, batch: Any) -> Tensor:
        """Fresh images, as many as the batch has, some of mixed styles."""
        styles = self._mixed_styles(len(batch[0]))
        # On the device, where so many draws cost nothing; by the batch's own source, so that a resumed run draws them.
        seed = int(torch.randint(2**62, (), generator=self.noise))
        noises = self.draw_noises(len(styles), torch.Generator(self.device).manual_seed(seed))
        fake: Tensor = self.generator(styles, noises)
        return fake

    def _mixed_styles(self, n: int) -> Tensor:
        """(n, L, Z)."""
        first, second = self.generator.styles(self._latents(2 * n, self.noise)).chunk(2)
        with torch.no_grad():
            self.generator.style_average.lerp_(first.detach().mean(0).to(self.generator.style_average),
                                               1 - STYLE_AVERAGE_DECAY)  # fmt: skip
        used = 2 * math.ceil(self._detail) + 2
        crossover = torch.randint(1, used, (n,), generator=self.noise)
        crossover[torch.rand(n, generator=self.noise) >= self.style_mixing] = used
        mixed = (torch.arange(self.style_layers) >= crossover[:, None])[..., None].to(self.device)
        return torch.where(mixed, second[:, None], first[:, None])

    def discriminator_loss(self, batch: Any, fake: Tensor) -> dict[str, Tensor]:
        """The adversarial loss and, on every n-th batch, R1."""
        weights = next(self.discriminator.parameters())  # of less than float32 in "bf16-true"
        real = self.augment(faded(to_signed(batch[0]).to(weights), self._detail, self.image_shape[1]), self.noise)
        logits = self.discriminator(real), self.discriminator(self.augment(fake, self.noise))
        self._judged = (logits[0].detach(), logits[1].detach(), fake)
        self.augment.note(self._judged[0])
        terms = {"discriminator": LOSS.discriminator(*logits)}
        if self.penalty_weight and self.trainer.global_step % self.penalty_interval == 0:
            penalty = r1_penalty(lambda images: self.discriminator.forward(images.to(weights)), real, fake)
            terms["r1"] = self.penalty_weight * self.penalty_interval * penalty
        return terms

    def generator_loss(self, batch: Any, fake: Tensor) -> dict[str, Tensor]:
        """The adversarial loss and, on every fourth step, that of path lengths."""
        terms = {"generator": LOSS.generator(self.discriminator(self.augment(fake, self.noise)), None)}
        step = self.trainer.global_step // self.discriminator_steps
        if self.path_length_weight and step % PATH_LENGTH_INTERVAL == 0:
            terms["path_length"] = self.path_length_weight * PATH_LENGTH_INTERVAL * self._path_length_penalty(batch)
        return terms

    def _path_length_penalty(self, batch: Any) -> Tensor:
        with torch.autocast(self.device.type, enabled=False):
            styles = self._mixed_styles(max(1, len(batch[0]) // 2))
            lengths = path_lengths(self.generator(styles), styles, self.noise)
        self.path_length_mean.lerp_(lengths.detach().mean().to(self.path_length_mean), 1 - PATH_LENGTH_DECAY)
        return (lengths - self.path_length_mean).square().mean()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Lightning's hook."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["detail"] = self._detail

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Lightning's hook."""
        super().on_load_checkpoint(checkpoint)
        self._detail = checkpoint.get("detail", self._detail)

    @property
    def still_growing(self) -> bool:
        """Whether samples are of fewer pixels than asked for, or the last size fades in."""
        return self._detail < style_levels(self.image_shape[1])

    @property
    def judged(self) -> Judged | None:
        """What the discriminator was last trained on; None before."""
        return None if self._judged is None else Judged(*self._judged[:2], to_unit(self._judged[2]))
