"""DepthEstimation: metres from one picture."""

from http.client import HTTPException
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torchvision.models import DenseNet121_Weights, densenet121

from lightning_genmodels.errors import GenmodelsError, check_options
from lightning_genmodels.losses.adversarial import ADVERSARIAL_LOSSES
from lightning_genmodels.losses.depth import DEPTH_LOSSES, DepthLossName
from lightning_genmodels.metrics.depth import CROPS, NEAREST, DepthCropName, DepthErrors
from lightning_genmodels.models.base import AdversarialModel, ScheduleName
from lightning_genmodels.models.checks import check_depth, check_source
from lightning_genmodels.models.ranges import to_signed
from lightning_genmodels.models.translation import at_any_size, halvings_to_two
from lightning_genmodels.modes import in_eval_mode
from lightning_genmodels.networks.d3net import D3Net
from lightning_genmodels.networks.encoder_decoder import UNet
from lightning_genmodels.networks.patchgan import PatchDiscriminator, PatchSize, fits

DepthNetworkName = Literal["unet", "d3net"]
DEPTH = 4  # halvings
PATCH: PatchSize = 34  # pixels: two layers of stride 2, which make of 320x256 pixels the paper's 78x62 logits


class DepthEstimation(AdversarialModel):
    """Depth from one picture, by regression or against a discriminator (Carvalho, Le Saux et al. 2018, D3-Net).

    A batch has the images first, float (N, 3, H, W) in [0, 1], and the depth second, float32 (N, 1, H, W) in metres,
    0 where there is no measurement; such pixels count in no loss and no score. With `adversarial_weight` 0 the
    generator is trained alone, on `loss`. Above 0 a discriminator judges patches of the depth beside the image, by
    least squares; the paper has 0.01, which is its 100 on the other side, with "l1".

    Validation logs the errors of `DepthErrors` (Eigen et al. 2014): `val/rel`, `val/log10`, `val/rms` in metres, by
    which the best checkpoint is chosen, `val/rmslog`, `val/silog` and `val/delta1` to `val/delta3`.

    Args:
        image_shape: (3, H, W) of the image.
        network: "unet": 3x3 convolutions at every size, or "d3net": DenseNet-121 and a decoder with skips, 24 million
            parameters.
        network_depth: halvings of the U-Net, 1 or more, which leave 2x2 pixels; None takes 4, or as many as do.
        width: channels of the U-Net at the image's own size.
        pretrained: "d3net" begins with the encoder's published weights for ImageNet, which are downloaded when a new
            training begins.
        loss: "l1", "l2", "huber", "berhu", "eigen" or "eigen_grad".
        adversarial_weight: of the generator's adversarial loss.
        cap: in metres; measurements beyond it are not scored, and predictions end there. 10 for NYU, 80 for KITTI.
        crop: the part that is scored: "none", all; "eigen", of NYU's whole pictures; "garg", of KITTI's.
        learning_rate: Adam's step size for both networks.
        generator_learning_rate: the generator's own; None takes `learning_rate`.
        discriminator_learning_rate: the discriminator's own; None takes `learning_rate`.
        betas: Adam's two decay rates.
        schedule: "none", or "linear": down to zero from `decay_start` on.
        decay_start: share of the training after which "linear" begins, in [0, 1).
        gradient_clip: largest norm of each network's gradient; 0 does not clip.
        accumulate: parts into which a batch is split, to save memory; the losses are then means over each part.
        discriminator_steps: with a discriminator the generator is trained on every n-th batch only.
        generator_steps: generator steps on such a batch.
        ema_decay: decay per generator step of the averaged generator, which translates; 0 keeps none.

    Raises:
        GenmodelsError: for an option out of its range; when a training begins, for published weights that cannot be
            had; in training, for images or depth out of their range or of another shape, and for a loss that is not
            finite.
    """

    best_metric = ("val/rms", "min")

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        network: DepthNetworkName = "unet",
        network_depth: int | None = None,
        width: int = 16,
        pretrained: bool = False,
        loss: DepthLossName = "l1",
        adversarial_weight: float = 0.0,
        cap: float = 10.0,
        crop: DepthCropName = "none",
        learning_rate: float = 1e-3,
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
        least = 33 if network == "d3net" else 3  # of which normalisation has 2x2 pixels left
        deepest = halvings_to_two(*shape[1:]) if len(shape) == 3 else 0
        chosen = min(DEPTH, deepest) if network_depth is None else network_depth
        check_options(
            self,
            (
                "image_shape",
                shape,
                len(shape) == 3 and shape[0] == 3 and min(shape[1:]) >= least,
                f"(3, height, width) of {least} pixels or more",
            ),
            ("network", network, network in get_args(DepthNetworkName), "one of unet, d3net"),
            ("network_depth", chosen, 1 <= chosen <= deepest, f"1 or more, {deepest} at most for this size"),
            ("width", width, width >= 1, "1 or more"),
            ("pretrained", pretrained, not pretrained or network == "d3net", "False, but for 'd3net'"),
            ("loss", loss, loss in DEPTH_LOSSES, f"one of {', '.join(DEPTH_LOSSES)}"),
            ("adversarial_weight", adversarial_weight, 0 <= adversarial_weight < float("inf"), "0 or more, and finite"),
            ("cap", cap, NEAREST < cap < float("inf"), f"above {NEAREST} metres, and finite"),
            ("crop", crop, crop in CROPS, f"one of {', '.join(CROPS)}"),
        )
        if adversarial_weight and not fits(PATCH, *shape[1:]):
            raise GenmodelsError(
                f"DepthEstimation: image_shape is {shape}; expected 12 pixels or more with adversarial_weight above 0."
            )
        self.save_hyperparameters()
        self.image_shape = (image_shape[0], image_shape[1], image_shape[2])
        self.network = network
        self.network_depth = chosen
        self.width = width
        self.pretrained = pretrained
        self.loss = loss
        self.adversarial_weight = adversarial_weight
        self.depth_cap = cap
        self.errors = DepthErrors(cap, crop)
        self.build_networks()

    def build_generator(self) -> nn.Module:
        """(N, 3, H, W) in [0, 1] -> (N, 1, H, W) metres; it begins with a quarter of the cap everywhere."""
        made = D3Net() if self.network == "d3net" else UNet(3, 1, self.network_depth, self.width)
        assert made.last.bias is not None
        nn.init.constant_(made.last.bias, self.depth_cap / 4)
        return made

    def build_discriminator(self) -> nn.Module:
        """(N, 4, H, W), image and depth in [-1, 1] -> the maps of its layers; nothing without an adversary."""
        return PatchDiscriminator(4, PATCH) if self.adversarial_weight else nn.Identity()

    def setup(self, stage: str) -> None:
        """Lightning's hook; GenmodelsError where pictures that are cropped already would be scored in a crop again."""
        super().setup(stage)
        data = getattr(self.trainer, "datamodule", None)
        cropped = getattr(data, "crop", "none")
        if self.errors.crop != "none" and cropped != "none":
            raise GenmodelsError(
                f"DepthEstimation: crop is {self.errors.crop!r}, of whole pictures, and {type(data).__name__} crops "
                f"them already, by {cropped!r}; expected 'none' in one of the two."
            )

    def on_fit_start(self) -> None:
        """Lightning's hook: a new training begins with the published weights, where they are asked for."""
        super().on_fit_start()
        if not self.pretrained:
            return
        try:
            published = densenet121(weights=DenseNet121_Weights.IMAGENET1K_V1, progress=False)
        except (OSError, HTTPException, RuntimeError) as error:
            raise GenmodelsError(
                f"DepthEstimation: the download of the encoder's published weights failed "
                f"({' '.join(str(error).split())}); expected a working network, or pretrained False."
            ) from error
        for network in (self.generator, self.generator_ema):
            if isinstance(network, D3Net):
                network.load_encoder(published.features.state_dict())
        self.pretrained = False  # a second training goes on from the first

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Lightning's hook: the weights are the checkpoint's."""
        super().on_load_checkpoint(checkpoint)
        self.pretrained = False

    # Training

    def generate(self, batch: Any) -> Tensor:
        """The images' depth in metres, not clamped."""
        check_depth(batch, self.image_shape)
        made: Tensor = at_any_size(self.generator, batch[0].to(next(self.generator.parameters())), self._multiple)
        return made

    def discriminator_loss(self, batch: Any, fake: Tensor) -> dict[str, Tensor]:
        """The adversarial loss, by least squares."""
        real_logits, fake_logits = self._judge(batch, batch[1]), self._judge(batch, fake)
        return {"discriminator": ADVERSARIAL_LOSSES["least_squares"].discriminator(real_logits, fake_logits)}

    def generator_loss(self, batch: Any, fake: Tensor) -> dict[str, Tensor]:
        """The error and, with a discriminator, the adversarial loss."""
        terms: dict[str, Tensor] = {self.loss: DEPTH_LOSSES[self.loss](fake, batch[1])}
        if self.adversarial_weight:
            loss = ADVERSARIAL_LOSSES["least_squares"].generator(self._judge(batch, fake), None)
            terms["generator"] = self.adversarial_weight * loss
        return terms

    def _judge(self, batch: Any, depth: Tensor) -> Tensor:
        # Where there is no measurement, a prediction shows none either.
        shown = to_signed(torch.where(batch[1] > 0, depth, 0).clamp(max=self.depth_cap) / self.depth_cap)
        pair = torch.cat([to_signed(batch[0]).to(shown), shown], 1).to(next(self.discriminator.parameters()))
        logits: Tensor = self.discriminator(pair)[-1]
        return logits

    @property
    def _multiple(self) -> int:
        return 32 if self.network == "d3net" else 2**self.network_depth

    # Use

    @torch.no_grad()
    def translate(self, source: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        """Estimates depth, by the averaged generator in eval mode.

        Args:
            source: (N, 3, H, W) in [0, 1], of any size; sides that the network cannot halve are continued by their
                last pixels, and the result is cut back.
            generator: not used, as nothing is drawn.

        Returns:
            (N, 1, H, W) float32 metres, from 1 mm to the cap, on the model's device.

        Raises:
            GenmodelsError: for images out of their range, or of another number of channels.
        """
        check_source(source, 3)
        network = self.averaged_generator
        with in_eval_mode(network):
            made = at_any_size(network, source.to(next(network.parameters())), self._multiple).float()
        return made.clamp(NEAREST, self.depth_cap)

    def forward(self, source: Tensor) -> Tensor:
        """`translate`."""
        return self.translate(source)

    # Validation, test, prediction

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Collects the errors."""
        check_depth(batch, self.image_shape)
        self.errors.update(self.translate(batch[0]), batch[1])

    def on_validation_epoch_end(self, stage: str = "val") -> None:
        """Logs the errors; see the class."""
        if not self.trainer.sanity_checking:
            self.log_dict({f"{stage}/{name}": value for name, value in self.errors.compute().items()}, sync_dist=True)
        self.errors.reset()

    test_step = validation_step

    def on_test_epoch_end(self) -> None:
        """Logs the same under `test/`."""
        self.on_validation_epoch_end("test")

    def predict_step(self, batch: Any, batch_idx: int) -> Tensor:
        """The images' depth, (N, 1, H, W) in metres."""
        return self.translate(batch[0])
