"""Pix2Pix: one picture made into another, as pairs of both show it."""

from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from lightning_genmodels.checkpoints import read_weights
from lightning_genmodels.errors import GenmodelsError, check_options
from lightning_genmodels.losses.adversarial import ADVERSARIAL_LOSSES, feature_matching
from lightning_genmodels.metrics import ImagePSNR, SlicedWasserstein
from lightning_genmodels.models.base import AdversarialModel, ScheduleName
from lightning_genmodels.models.checks import check_pair, check_source
from lightning_genmodels.models.ranges import to_signed, to_unit
from lightning_genmodels.models.translation import at_any_size, collect_distance, log_distance
from lightning_genmodels.modes import in_eval_mode
from lightning_genmodels.networks.patchgan import PATCHES, MultiScaleDiscriminator, PatchSize, fits
from lightning_genmodels.networks.published import published_discriminator, published_unet
from lightning_genmodels.networks.unet import UNetGenerator, deepest
from lightning_genmodels.seeding import derive_seed

PairedLossName = Literal["non_saturating", "least_squares"]
SMALLEST = 16  # pixels a side


class Pix2Pix(AdversarialModel):
    """Image to image from pairs: a U-Net against a discriminator of patches (Isola et al. 2017).

    A batch has the source first and the target second, float (N, C, H, W) in [0, 1], of one height and width. The
    generator is trained on the adversarial loss and `l1_weight` times the mean absolute error of the picture in
    [-1, 1]; the discriminator sees the source beside the picture. Its log-loss is halved, as the paper's; the squares
    have their halves in both networks (Mao et al. 2017).

    The networks normalise each image by itself, as batch normalisation does at the paper's batch size of 1, in training
    and afterwards; and what dropout drops is drawn in prediction too. So what becomes of an image depends neither on
    the others of its batch nor on running averages, and is as sharp as in training.

    With `discriminator_scales` above 1 and a `feature_weight` it is the multi-scale version of pix2pixHD (Wang et al.
    2018). With `adversarial_weight` 0 the generator is trained alone, on the absolute error, which makes blur.

    Validation logs `val/l1`, the mean absolute error in [0, 1], `val/psnr` in dB, the mean of all images' own, and
    `val/swd` with its parts by resolution, the sliced Wasserstein distance of the first 1,000 results and targets, by
    which the best checkpoint is chosen, as the two errors prefer blur; it is nan for one image alone.

    Args:
        image_shape: (C, H, W) of the source, of 16 pixels or more; H and W divisible by 2^network_depth.
        target_channels: of the target. On the command line they are the data's.
        network_depth: times that the U-Net halves the image, 2 to 8; None: as often as both sides can be halved, 8 for
            256 pixels.
        width: channels after the first halving.
        dropout: share that is dropped in the U-Net's blocks between the innermost and the four outer ones, in [0, 1);
            there are such blocks with a `network_depth` of 6 or more, that is from 64 pixels on.
        patch_size: pixels a side that one of the discriminator's logits sees; None: 70, or the largest that the image
            has room for. 1 judges colours, 286 the whole image of 256 pixels.
        discriminator_scales: discriminators, each for images of half the size, 1 to 3.
        adversarial_weight: of the generator's adversarial loss.
        adversarial_loss: "non_saturating" (the paper's, also called vanilla), or "least_squares".
        l1_weight: of the absolute error.
        feature_weight: of the distance of the discriminator's maps from those of the target; pix2pixHD has 10 beside
            squares without the half, which is 5 here.
        learning_rate: Adam's step size for both networks.
        generator_learning_rate: the generator's own; None takes `learning_rate`.
        discriminator_learning_rate: the discriminator's own; None takes `learning_rate`.
        betas: Adam's two decay rates.
        schedule: "none", or "linear": down to zero from `decay_start` on, as in the paper.
        decay_start: share of the training after which "linear" begins, in [0, 1).
        gradient_clip: largest norm of each network's gradient; 0 does not clip.
        accumulate: parts into which a batch is split, to save memory.
        discriminator_steps: the generator is trained on every n-th batch only.
        generator_steps: generator steps on such a batch.
        ema_decay: decay per generator step of the averaged generator, which translates; 0 keeps none.

    Raises:
        GenmodelsError: for an option out of its range, or a size that the networks cannot take; in training, for
            images out of their range or of another shape, and for a loss that is not finite.
    """

    best_metric = ("val/swd", "min")

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        target_channels: int = 3,
        network_depth: int | None = None,
        width: int = 64,
        dropout: float = 0.5,
        patch_size: PatchSize | None = None,
        discriminator_scales: int = 1,
        adversarial_weight: float = 1.0,
        adversarial_loss: PairedLossName = "non_saturating",
        l1_weight: float = 100.0,
        feature_weight: float = 0.0,
        learning_rate: float = 2e-4,
        generator_learning_rate: float | None = None,
        discriminator_learning_rate: float | None = None,
        betas: tuple[float, float] = (0.5, 0.999),
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
        if len(image_shape) != 3 or image_shape[0] < 1 or min(image_shape[1:]) < SMALLEST:
            raise GenmodelsError(
                f"Pix2Pix: image_shape is {tuple(image_shape)}; expected (channels, height, width) of {SMALLEST} "
                "pixels or more."
            )
        channels, rows, columns = image_shape
        halvings = deepest(rows, columns)
        if halvings < 2:
            raise GenmodelsError(
                f"Pix2Pix: image_shape is {tuple(image_shape)}; expected height and width divisible by 4."
            )
        chosen = halvings if network_depth is None else network_depth
        losses = get_args(PairedLossName)
        check_options(
            self,
            ("target_channels", target_channels, target_channels >= 1, "1 or more"),
            (
                "network_depth",
                chosen,
                2 <= chosen <= halvings,
                f"2 or more, {halvings} at most for {rows}x{columns} pixels",
            ),
            ("width", width, width >= 1, "1 or more"),
            ("dropout", dropout, 0 <= dropout < 1, "at least 0 and below 1"),
            ("discriminator_scales", discriminator_scales, discriminator_scales in (1, 2, 3), "1, 2 or 3"),
            ("adversarial_weight", adversarial_weight, 0 <= adversarial_weight < float("inf"), "0 or more, and finite"),
            ("adversarial_loss", adversarial_loss, adversarial_loss in losses, f"one of {', '.join(losses)}"),
            ("l1_weight", l1_weight, 0 <= l1_weight < float("inf"), "0 or more, and finite"),
            ("l1_weight", l1_weight, l1_weight > 0 or adversarial_weight > 0, "above 0 with adversarial_weight 0"),
            ("feature_weight", feature_weight, 0 <= feature_weight < float("inf"), "0 or more, and finite"),
            (
                "feature_weight",
                feature_weight,
                feature_weight == 0 or adversarial_weight > 0,
                "0 with adversarial_weight 0, which has no discriminator",
            ),
        )
        sizes = [size for size in PATCHES if fits(size, rows, columns, discriminator_scales)]
        if patch_size is not None and patch_size not in sizes:
            raise GenmodelsError(
                f"Pix2Pix: patch_size is {patch_size}, discriminator_scales {discriminator_scales} and the images have "
                f"{rows}x{columns} pixels; expected one of {', '.join(map(str, sizes))}."
            )
        self.save_hyperparameters()
        self.image_shape = (channels, rows, columns)
        self.target_channels = target_channels
        self.network_depth = chosen
        self.width = width
        self.dropout = dropout
        self.patch_size = patch_size or max(size for size in sizes if size <= 70)
        self.discriminator_scales = discriminator_scales
        self.adversarial_weight = adversarial_weight
        self.loss = ADVERSARIAL_LOSSES[adversarial_loss]
        self.halving = 0.5 if adversarial_loss == "non_saturating" else 1.0  # least squares have it already
        self.l1_weight = l1_weight
        self.feature_weight = feature_weight
        self.psnr = ImagePSNR()
        self.swd = SlicedWasserstein()
        self.build_networks()

    def build_generator(self) -> nn.Module:
        """(N, C, H, W) in [-1, 1], and a generator of its draws -> (N, target_channels, H, W) in [-1, 1]."""
        return UNetGenerator(self.image_shape[0], self.target_channels, self.network_depth, self.width, self.dropout)

    def build_discriminator(self) -> nn.Module:
        """(N, C + target_channels, H, W) in [-1, 1] -> for each scale the maps of its layers, the last one logits;
        nothing without an adversary."""
        if not self.adversarial_weight:
            return nn.Identity()
        channels = self.image_shape[0] + self.target_channels
        return MultiScaleDiscriminator(channels, self.patch_size, self.discriminator_scales)

    @classmethod
    def from_published(cls, generator: str | Path, discriminator: str | Path | None = None) -> "Pix2Pix":
        """A model with weights that the well-known PyTorch implementation of pix2pix saved; no code in them is run.

        Args:
            generator: file of its U-Net with batch normalisation, of 128 or 256 pixels, as `latest_net_G.pth`.
            discriminator: file of its discriminator; None leaves ours at its first weights.

        Raises:
            GenmodelsError: for a file that is missing, cannot be read, or holds another network.
        """
        states = {}
        for path in (generator, *([] if discriminator is None else [discriminator])):
            if not Path(path).is_file():
                raise GenmodelsError(f"weights {path} do not exist; expected a .pth file.")
            states[path] = state = read_weights(path, expected="a whole state dict")
            if not isinstance(state, dict) or not all(
                isinstance(name, str) and isinstance(v, Tensor) and v.is_contiguous() for name, v in state.items()
            ):
                raise GenmodelsError(f"{path} holds other things than weights; expected a state dict alone.")
        unet, judge = published_unet(states[generator], str(generator)), None
        if discriminator is not None:
            channels = unet.in_channels + unet.out_channels
            judge = published_discriminator(states[discriminator], channels, str(discriminator))
        model = cls(
            (unet.in_channels, 2**unet.depth, 2**unet.depth),
            target_channels=unet.out_channels,
            width=unet.width,
            patch_size=None if judge is None else judge.patch_size,
        )
        model.generator = unet
        if judge is not None:
            model.discriminator.scales = nn.ModuleList([judge])
        return model.eval()

    # Training; images are in [-1, 1]

    def generate(self, batch: Any) -> Tensor:
        """The pictures made of the sources."""
        check_pair(batch, self.image_shape, self.target_channels)
        made: Tensor = self.generator(to_signed(batch[0]).to(next(self.generator.parameters())), self.noise)
        return made

    def discriminator_loss(self, batch: Any, fake: Tensor) -> dict[str, Tensor]:
        """The adversarial loss, summed over scales; of the log-loss the half."""
        real, made = self._judge(batch, to_signed(batch[1])), self._judge(batch, fake)
        losses = [self.loss.discriminator(ours[-1], theirs[-1]) for ours, theirs in zip(real, made, strict=True)]
        return {"discriminator": self.halving * torch.stack(losses).sum()}

    def generator_loss(self, batch: Any, fake: Tensor) -> dict[str, Tensor]:
        """The adversarial loss, summed over scales; the absolute error; and the distance of features."""
        target = to_signed(batch[1])
        terms = {"l1": self.l1_weight * (fake.float() - target).abs().mean()}
        if not self.adversarial_weight:
            return terms
        made = self._judge(batch, fake)
        losses = [self.loss.generator(maps[-1], None) for maps in made]
        terms["generator"] = self.adversarial_weight * torch.stack(losses).sum()
        if self.feature_weight:
            with torch.no_grad():
                real = self._judge(batch, target)
            terms["features"] = self.feature_weight * feature_matching(made, real)
        return terms

    def _judge(self, batch: Any, images: Tensor) -> list[list[Tensor]]:
        pair = torch.cat([to_signed(batch[0]).to(images), images], 1).to(next(self.discriminator.parameters()))
        judged: list[list[Tensor]] = self.discriminator(pair)
        return judged

    # Use

    @torch.no_grad()
    def translate(self, source: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        """Makes of each source its picture, by the averaged generator.

        Args:
            source: (N, C, H, W) in [0, 1], of any size; sides that the U-Net cannot halve are continued by their last
                pixels, and the result is cut back.
            generator: source of what dropout drops, image by image; one on the CPU drops the same on every device.

        Returns:
            (N, target_channels, H, W) float32 in [0, 1], on the model's device.

        Raises:
            GenmodelsError: for images out of their range, or of another number of channels.
        """
        check_source(source, self.image_shape[0])
        network = self.averaged_generator
        signed = to_signed(source).to(next(network.parameters()))
        multiple = 2**self.network_depth
        with in_eval_mode(network):
            # One by one, so that what is drawn for an image is the same alone and in a batch.
            made = [
                at_any_size(lambda image: network(image, generator), signed[place : place + 1], multiple)
                for place in range(len(signed))
            ]
        empty = signed.new_empty(0, self.target_channels, *source.shape[2:])
        return to_unit(torch.cat([empty, *made]).float()).clamp(0, 1)

    def forward(self, source: Tensor) -> Tensor:
        """`translate`."""
        return self.translate(source)

    # Validation, test, prediction

    def validation_step(self, batch: Any, batch_idx: int, stage: str = "val") -> None:
        """Logs the errors; see the class."""
        check_pair(batch, self.image_shape, self.target_channels)
        source, target = batch[0], batch[1]
        made = self._translate_batch(source, batch_idx)
        self.psnr.update(made, target)
        collect_distance(self, target, made)
        self.log(f"{stage}/l1", (made - target).abs().mean(), batch_size=len(source), sync_dist=True)
        self.log(f"{stage}/psnr", self.psnr)

    def on_validation_epoch_end(self, stage: str = "val") -> None:
        """Logs the sliced Wasserstein distance."""
        log_distance(self, stage)

    def test_step(self, batch: Any, batch_idx: int) -> None:
        """Logs the same under `test/`."""
        self.validation_step(batch, batch_idx, stage="test")

    def on_test_epoch_end(self) -> None:
        """Logs the same under `test/`."""
        self.on_validation_epoch_end("test")

    def predict_step(self, batch: Any, batch_idx: int) -> Tensor:
        """The pictures made of the sources, (N, target_channels, H, W) in [0, 1]."""
        return self._translate_batch(batch[0], batch_idx)

    def _translate_batch(self, source: Tensor, batch_idx: int) -> Tensor:
        # The same draws at every validation.
        seed = derive_seed(0, batch_idx, self.global_rank)
        return self.translate(source, generator=torch.Generator().manual_seed(seed))
