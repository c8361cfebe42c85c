"""SuperResolution: a small picture enlarged, with or without an adversary."""

from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from lightning_genmodels.errors import check_options
from lightning_genmodels.losses.adversarial import ADVERSARIAL_LOSSES
from lightning_genmodels.losses.regression import IMAGE_LOSSES, ImageLossName
from lightning_genmodels.metrics import ImagePSNR, SlicedWasserstein
from lightning_genmodels.models.base import AdversarialModel, ScheduleName
from lightning_genmodels.models.checks import check_source, checked_images
from lightning_genmodels.models.ranges import to_signed
from lightning_genmodels.models.translation import collect_distance, log_distance
from lightning_genmodels.modes import in_eval_mode
from lightning_genmodels.networks.srresnet import SRDiscriminator, SRResNet

EnlargingLossName = Literal["non_saturating", "least_squares"]
SMALLEST = 16  # pixels a side
SMALLEST_JUDGED = 24  # of which the discriminator's last normalisation has 2x2 left


class SuperResolution(AdversarialModel):
    """Enlarges images 2 or 4 times (Ledig et al. 2017, SRResNet and SRGAN).

    A batch has the large images first, float (N, C, H, W) in [0, 1]; the model makes the small ones of them itself, by
    bicubic interpolation with antialiasing. With `adversarial_weight` 0 the generator is trained alone, on
    `reconstruction_loss`: the stage with the least error. Above 0 it also has to convince a discriminator, which draws
    detail that may not be there; start from a generator of the first stage::

        genmodels fit --model SuperResolution --data CelebADataModule
        genmodels fit --model SuperResolution --data CelebADataModule --model.adversarial_weight 1e-3 \\
            --init_from runs/superresolution_celeba/0/checkpoints/best.ckpt

    Validation logs `val/psnr` in dB, the mean of all images' own, of the output clamped to [0, 1] and without a border
    of `scale` pixels, and the same of the bicubic enlargement, `val/psnr_bicubic`. With an adversary also `val/swd`
    with its parts by resolution, the sliced Wasserstein distance of the first 1,000 images, by which the best
    checkpoint is then chosen.

    Args:
        image_shape: (C, H, W) of the large images, of 16 pixels or more, with an adversary 24; H and W divisible by
            `scale`.
        scale: 2 or 4.
        blocks: residual blocks of the generator; the paper has 16.
        width: channels of its maps; the paper has 64.
        batch_norm: normalise in the blocks over the batch, as the paper does; without is sharper (Lim et al. 2017).
        reconstruction_loss: "l1", "l2" (the paper's), "huber" or "ssim", the mean over pixels in [0, 1].
        adversarial_weight: of the generator's adversarial loss; the paper's is 1e-3 beside another loss, of features.
        adversarial_loss: "non_saturating" (the paper's) or "least_squares".
        learning_rate: Adam's step size for both networks.
        generator_learning_rate: the generator's own; None takes `learning_rate`.
        discriminator_learning_rate: the discriminator's own; None takes `learning_rate`.
        betas: Adam's two decay rates.
        schedule: "none", or "linear": down to zero from `decay_start` on.
        decay_start: share of the training after which "linear" begins, in [0, 1).
        gradient_clip: largest norm of each network's gradient; 0 does not clip.
        accumulate: parts into which a batch is split, to save memory.
        discriminator_steps: with an adversary the generator is trained on every n-th batch only.
        generator_steps: generator steps on such a batch.
        ema_decay: decay per generator step of the averaged generator, which translates; 0 keeps none.

    Raises:
        GenmodelsError: for an option out of its range; in training, for images out of their range or of another shape,
            and for a loss that is not finite.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        scale: Literal[2, 4] = 2,
        blocks: int = 8,
        width: int = 32,
        batch_norm: bool = False,
        reconstruction_loss: ImageLossName = "l1",
        adversarial_weight: float = 0.0,
        adversarial_loss: EnlargingLossName = "non_saturating",
        learning_rate: float = 5e-4,
        generator_learning_rate: float | None = None,
        discriminator_learning_rate: float | None = None,
        betas: tuple[float, float] = (0.9, 0.999),
        schedule: ScheduleName = "none",
        decay_start: float = 0.5,
        gradient_clip: float = 0.0,
        accumulate: int = 1,
        discriminator_steps: int = 1,
        generator_steps: int = 1,
        ema_decay: float = 0.0,
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
        shape = tuple(image_shape)
        least = SMALLEST_JUDGED if adversarial_weight else SMALLEST
        check_options(
            self,
            ("scale", scale, scale in (2, 4), "2 or 4"),
            (
                "image_shape",
                shape,
                len(shape) == 3 and shape[0] >= 1 and all(s >= least and s % scale == 0 for s in shape[1:]),
                f"(channels, height, width) of {least} pixels or more, divisible by {scale}",
            ),
            ("blocks", blocks, blocks >= 1, "1 or more"),
            ("width", width, width >= 1, "1 or more"),
            (
                "reconstruction_loss",
                reconstruction_loss,
                reconstruction_loss in IMAGE_LOSSES,
                f"one of {', '.join(IMAGE_LOSSES)}",
            ),
            ("adversarial_weight", adversarial_weight, 0 <= adversarial_weight < float("inf"), "0 or more, and finite"),
            (
                "adversarial_loss",
                adversarial_loss,
                adversarial_loss in get_args(EnlargingLossName),
                f"one of {', '.join(get_args(EnlargingLossName))}",
            ),
        )
        self.save_hyperparameters()
        self.image_shape = (image_shape[0], image_shape[1], image_shape[2])
        self.scale = scale
        self.blocks = blocks
        self.width = width
        self.batch_norm = batch_norm
        self.reconstruction_loss = reconstruction_loss
        self.adversarial_weight = adversarial_weight
        self.loss = ADVERSARIAL_LOSSES[adversarial_loss]
        self.best_metric = ("val/swd", "min") if adversarial_weight else ("val/psnr", "max")
        self.psnr = ImagePSNR()
        self.psnr_bicubic = ImagePSNR()
        self.swd = SlicedWasserstein()
        self.build_networks()

    def build_generator(self) -> nn.Module:
        """(N, C, h, w) -> (N, C, scale h, scale w), in [0, 1] or near it."""
        return SRResNet(self.image_shape[0], self.scale, self.blocks, self.width, self.batch_norm)

    def build_discriminator(self) -> nn.Module:
        """(N, C, H, W) in [-1, 1] -> (N,) logits; nothing without an adversary."""
        return SRDiscriminator(self.image_shape[0]) if self.adversarial_weight else nn.Identity()

    # Training

    def generate(self, batch: Any) -> Tensor:
        """The small images enlarged, not clamped."""
        made: Tensor = self.generator(self.pair(batch)[0].to(next(self.generator.parameters())))
        return made

    def discriminator_loss(self, batch: Any, fake: Tensor) -> dict[str, Tensor]:
        """The adversarial loss."""
        real_logits, fake_logits = self._judge(batch[0]), self._judge(fake)
        return {"discriminator": self.loss.discriminator(real_logits, fake_logits)}

    def generator_loss(self, batch: Any, fake: Tensor) -> dict[str, Tensor]:
        """The error and, with an adversary, the adversarial loss."""
        terms: dict[str, Tensor] = {self.reconstruction_loss: IMAGE_LOSSES[self.reconstruction_loss](fake, batch[0])}
        if self.adversarial_weight:
            terms["generator"] = self.adversarial_weight * self.loss.generator(self._judge(fake), None)
        return terms

    def _judge(self, images: Tensor) -> Tensor:
        logits: Tensor = self.discriminator(to_signed(images).to(next(self.discriminator.parameters())))
        return logits

    # Use

    def degrade(self, images: Tensor) -> Tensor:
        """(N, C, scale h, scale w) in [0, 1] -> (N, C, h, w), by bicubic interpolation with antialiasing, clamped."""
        size = [side // self.scale for side in images.shape[-2:]]
        return functional.interpolate(images.float(), size, mode="bicubic", antialias=True).clamp(0, 1)

    def pair(self, batch: Any, *, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """The small images and the large ones of a batch; `generator` is not used, as nothing is drawn.

        Raises:
            GenmodelsError: for images out of their range or of another shape.
        """
        checked_images(batch, self.image_shape)
        return self.degrade(batch[0]), batch[0]

    @torch.no_grad()
    def translate(self, source: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        """Enlarges images, by the averaged generator in eval mode.

        Args:
            source: (N, C, h, w) in [0, 1], of any size.
            generator: not used, as nothing is drawn.

        Returns:
            (N, C, scale h, scale w) float32 in [0, 1], on the model's device.

        Raises:
            GenmodelsError: for images out of their range, or of another number of channels.
        """
        check_source(source, self.image_shape[0])
        network = self.averaged_generator
        with in_eval_mode(network):
            made: Tensor = network(source.to(next(network.parameters()))).float()
        return made.clamp(0, 1)

    def forward(self, source: Tensor) -> Tensor:
        """`translate`."""
        return self.translate(source)

    # Validation, test, prediction

    def validation_step(self, batch: Any, batch_idx: int, stage: str = "val") -> None:
        """Logs the errors; see the class."""
        source, target = self.pair(batch)
        made = self.translate(source)
        smooth = functional.interpolate(source, target.shape[-2:], mode="bicubic").clamp(0, 1)
        inner = (..., slice(self.scale, -self.scale), slice(self.scale, -self.scale))
        for name, metric, image in (("psnr", self.psnr, made), ("psnr_bicubic", self.psnr_bicubic, smooth)):
            metric.update(image[inner], target[inner])
            self.log(f"{stage}/{name}", metric)
        if self.adversarial_weight:
            collect_distance(self, target, made)

    def on_validation_epoch_end(self, stage: str = "val") -> None:
        """Logs the sliced Wasserstein distance, with an adversary."""
        if self.adversarial_weight:
            log_distance(self, stage)

    def test_step(self, batch: Any, batch_idx: int) -> None:
        """Logs the same under `test/`."""
        self.validation_step(batch, batch_idx, stage="test")

    def on_test_epoch_end(self) -> None:
        """Logs the same under `test/`."""
        self.on_validation_epoch_end("test")

    def predict_step(self, batch: Any, batch_idx: int) -> Tensor:
        """The batch's images made small and enlarged again, (N, C, H, W) in [0, 1]."""
        return self.translate(self.pair(batch)[0])
