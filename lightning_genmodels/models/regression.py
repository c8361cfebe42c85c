"""ImageRegression: an encoder-decoder trained on pairs, without an adversary."""

import math
from typing import Any, Literal, get_args

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.nn import functional
from torchmetrics.classification import MulticlassAccuracy, MulticlassJaccardIndex

from lightning_genmodels.checkpoints import note_class
from lightning_genmodels.errors import GenmodelsError, check_options
from lightning_genmodels.losses.regression import IMAGE_LOSSES, ImageLossName
from lightning_genmodels.metrics import ImagePSNR
from lightning_genmodels.models.checks import (
    check_classes,
    check_pair,
    check_source,
    checked_images,
    finite_sum,
    row_is_due,
)
from lightning_genmodels.models.schedules import CosineScheduleName, cosine_factor, set_learning_rate, training_steps
from lightning_genmodels.models.translation import at_any_size, halvings_to_two
from lightning_genmodels.modes import in_eval_mode
from lightning_genmodels.networks.encoder_decoder import DnCNN, UNet
from lightning_genmodels.seeding import derive_seed

TaskName = Literal["denoise", "paired", "segmentation"]
RegressionNetworkName = Literal["unet", "dncnn"]
DEPTHS: dict[str, int] = {"unet": 3, "dncnn": 17}
WIDTHS: dict[str, int] = {"unet": 32, "dncnn": 64}


class ImageRegression(LightningModule):
    """What an image is to become, by regression: denoised, any picture of a pair, or a map of classes.

    By `task` a batch holds, in this order,

    - "denoise": clean images, float (N, C, H, W) in [0, 1], to which noise is added anew in every batch. The network
      draws the noise, which is taken away (Zhang et al. 2017);
    - "paired": sources and targets, float (N, C, H, W) in [0, 1];
    - "segmentation": sources, and int64 (N, H, W) classes below `target_channels`. The loss is the cross-entropy.

    Any size is taken, and continued by its last pixels to what the network can halve.

    Validation logs `val/loss`. Of images also `val/psnr` in dB, of the output clamped to [0, 1], the mean of all
    images' own (and `val/psnr_noisy`, before the noise is taken away, which is the same at every validation); of
    classes `val/mean_iou`, the intersection over union in the mean of the classes, and `val/accuracy`, of all pixels.

    Args:
        image_shape: (C, H, W) of the source.
        target_channels: of the target, or its number of classes; with "denoise" they are the image's own. On the
            command line they are the data's.
        task: "denoise", "paired" or "segmentation".
        network: "unet": 3x3 convolutions at every size (Ronneberger et al. 2015), or "dncnn": at the image's own
            alone (Zhang et al. 2017).
        network_depth: halvings of the U-Net, 1 or more, which leave 2x2 pixels, or convolutions of "dncnn", 2 to 1000;
            None takes 3 (or as many halvings as do) or 17.
        width: channels at the image's own size; None takes 32 or 64.
        batch_norm: normalise over the batch.
        losses: whose weighted sum is minimised: "l1", "l2", "huber" (a square up to .1) and "ssim" (1 less the
            structural similarity), each the mean over pixels in [0, 1]; None takes "l1", or with "segmentation" the
            cross-entropy.
        loss_weights: as many; None takes 1 for each.
        noise_sigma: with "denoise" the standard deviation of the noise on the scale of 0 to 255, from the first to the
            second, drawn evenly for each image; the same number twice is a fixed one.
        learning_rate: Adam's step size.
        schedule: of the learning rate: "none", or "cosine": up over the first 5 % of the training, then along a
            cosine to zero.

    Raises:
        GenmodelsError: for an option out of its range or a combination that cannot be; in training, for images or
            classes out of their range or of another shape, and for a loss that is not finite.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        target_channels: int = 3,
        task: TaskName = "denoise",
        network: RegressionNetworkName = "unet",
        network_depth: int | None = None,
        width: int | None = None,
        batch_norm: bool = True,
        losses: tuple[ImageLossName, ...] | None = None,
        loss_weights: tuple[float, ...] | None = None,
        noise_sigma: tuple[float, float] = (25.0, 25.0),
        learning_rate: float = 1e-3,
        schedule: CosineScheduleName = "none",
    ) -> None:
        super().__init__()
        for option, name, choices in (
            ("task", task, get_args(TaskName)),
            ("network", network, get_args(RegressionNetworkName)),
            ("schedule", schedule, get_args(CosineScheduleName)),
            *(("losses", loss, get_args(ImageLossName)) for loss in losses or ()),
        ):
            if name not in choices:
                raise GenmodelsError(f"ImageRegression: {option} is {name!r}; expected one of {', '.join(choices)}.")
        if len(image_shape) != 3 or min(image_shape) < 1:
            raise GenmodelsError(
                f"ImageRegression: image_shape is {tuple(image_shape)}; expected (channels, height, width)."
            )
        segments = task == "segmentation"
        chosen = tuple(losses) if losses is not None else () if segments else ("l1",)
        weights = tuple(loss_weights) if loss_weights is not None else (1.0,) * len(chosen)
        deepest = halvings_to_two(*image_shape[1:]) if network == "unet" else 1000
        layers = min(DEPTHS[network], deepest) if network_depth is None else network_depth
        channels = WIDTHS[network] if width is None else width
        least = 2 if network == "dncnn" else 1
        check_options(
            self,
            (
                "target_channels",
                target_channels,
                1 + segments <= target_channels <= (256 if segments else target_channels),
                "2 to 256 classes" if segments else "1 or more",
            ),
            ("network_depth", layers, least <= layers <= deepest, f"{least} or more, {deepest} at most for this size"),
            ("width", width, channels >= 1, "1 or more"),
            (
                "losses",
                losses,
                "ssim" not in chosen or min(image_shape[1:]) >= 6,
                "none of 'ssim' for images of less than 6 pixels",
            ),
            ("losses", losses, bool(chosen) != segments, "None, the cross-entropy" if segments else "1 or more"),
            (
                "loss_weights",
                loss_weights,
                len(weights) == len(chosen) and all(0 < weight < math.inf for weight in weights),
                f"{len(chosen)} finite numbers above 0",
            ),
            (
                "noise_sigma",
                noise_sigma,
                len(noise_sigma) == 2 and 0 <= noise_sigma[0] <= noise_sigma[1] < math.inf,
                "two numbers from 0 on, the smaller first",
            ),
            ("learning_rate", learning_rate, 0 < learning_rate < math.inf, "above 0, and finite"),
        )
        self.save_hyperparameters()
        self.image_shape = (image_shape[0], image_shape[1], image_shape[2])
        self.target_channels = image_shape[0] if task == "denoise" else target_channels
        self.task = task
        self.network_name = network
        self.network_depth, self.width = layers, channels
        self.batch_norm = batch_norm
        self.losses = dict(zip(chosen, weights, strict=True))
        self.noise_sigma = noise_sigma
        self.learning_rate = learning_rate
        self.schedule = schedule
        self.best_metric = ("val/mean_iou", "max") if segments else ("val/psnr", "max")
        if segments:
            self.mean_iou = MulticlassJaccardIndex(target_channels)
            self.accuracy = MulticlassAccuracy(target_channels, average="micro")
        else:
            self.psnr = ImagePSNR()
        if task == "denoise":
            self.psnr_noisy = ImagePSNR()
        self.network = self.build_network()

    def build_network(self) -> nn.Module:
        """(N, C, H, W) -> (N, target_channels, H, W): noise, a picture in [0, 1], or logits of classes."""
        build = UNet if self.network_name == "unet" else DnCNN
        return build(self.image_shape[0], self.target_channels, self.network_depth, self.width, self.batch_norm)

    # Use

    def degrade(self, images: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        """Adds the noise of "denoise".

        Args:
            images: (N, C, H, W) in [0, 1].
            generator: source of the noise; one on the CPU gives the same on every device.

        Returns:
            the same shape, not clamped.
        """
        device = images.device if generator is None else generator.device
        low, high = (sigma / 255 for sigma in self.noise_sigma)
        sigma = low + (high - low) * torch.rand(len(images), 1, 1, 1, generator=generator, device=device)
        return images + (sigma * torch.randn(images.shape, generator=generator, device=device)).to(images)

    def pair(self, batch: Any, *, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """A batch's sources and targets; with "denoise" the images with noise, drawn by the generator, and themselves.

        Raises:
            GenmodelsError: for images or classes out of their range or of another shape.
        """
        if self.task == "denoise":
            checked_images(batch, self.image_shape)
            return self.degrade(batch[0], generator=generator), batch[0]
        if self.task == "segmentation":
            check_classes(batch, self.image_shape, self.target_channels)
        else:
            check_pair(batch, self.image_shape, self.target_channels)
        return batch[0], batch[1]

    @torch.no_grad()
    def translate(self, source: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        """What the sources are to become, in eval mode.

        Args:
            source: (N, C, H, W) in [0, 1], of any size; noisy images may exceed it by six deviations of the noise.
            generator: not used, as nothing is drawn.

        Returns:
            (N, target_channels, H, W) float32 in [0, 1], or int64 (N, H, W) classes.

        Raises:
            GenmodelsError: for images out of their range, or of another number of channels.
        """
        # Six deviations, and a little for the rounding of a picture's bytes.
        beyond = 6 * self.noise_sigma[1] / 255 + 0.01 if self.task == "denoise" else 0.0
        check_source(source, self.image_shape[0], beyond)
        with in_eval_mode(self):
            output = self.output(source.to(next(self.network.parameters()).device))
        return output.argmax(1) if self.task == "segmentation" else output.clamp(0, 1)

    def forward(self, source: Tensor) -> Tensor:
        """`translate`."""
        return self.translate(source)

    def output(self, source: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, target_channels, H, W) float32, with its graph: the image, not clamped, or logits."""
        multiple = 2**self.network_depth if self.network_name == "unet" else 1
        made = at_any_size(self.network, source.to(self.dtype), multiple).float()
        return source.float() - made if self.task == "denoise" else made

    # Training

    def loss_terms(self, output: Tensor, target: Tensor) -> dict[str, Tensor]:
        """The weighted terms whose sum is minimised, float32 scalars."""
        if self.task == "segmentation":
            return {"cross_entropy": functional.cross_entropy(output, target)}
        return {name: weight * IMAGE_LOSSES[name](output, target) for name, weight in self.losses.items()}

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """The sum of the loss's terms over one batch; logs each as `train/<term>`."""
        source, target = self.pair(batch)
        if self.schedule == "cosine":
            done = self.trainer.global_step / self._total_steps
            set_learning_rate(self, self.learning_rate * cosine_factor(done))
        terms = self.loss_terms(self.output(source), target)
        if row_is_due(self):
            self.log_dict({f"train/{name}": value for name, value in terms.items()}, prog_bar=True, sync_dist=True)
        return finite_sum(self, terms)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam."""
        return torch.optim.Adam(self.network.parameters(), lr=self.learning_rate, fused=self.trainer.scaler is None)

    def on_train_start(self) -> None:
        """Lightning's hook, once a checkpoint is restored: the model's learning rate wins over the optimizer's."""
        set_learning_rate(self, self.learning_rate)
        if self.schedule != "none":
            self._total_steps = training_steps(self, f"schedule is {self.schedule!r}")

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Lightning's hook."""
        note_class(self, checkpoint)

    # Validation, test, prediction

    def validation_step(self, batch: Any, batch_idx: int, stage: str = "val") -> None:
        """Logs the loss and the scores; see the class."""
        source, target = self.pair(batch, generator=self._generator(batch_idx))
        output = self.output(source)
        loss = torch.stack(list(self.loss_terms(output, target).values())).sum()
        self.log(f"{stage}/loss", loss, batch_size=len(source), sync_dist=True)
        scores: dict[str, Any] = {}
        if self.task == "segmentation":
            scores = {"mean_iou": (self.mean_iou, output), "accuracy": (self.accuracy, output)}
        else:
            scores["psnr"] = (self.psnr, output.clamp(0, 1))
        if self.task == "denoise":
            scores["psnr_noisy"] = (self.psnr_noisy, source)
        for name, (metric, made) in scores.items():
            metric.update(made, target)
            self.log(f"{stage}/{name}", metric)

    def test_step(self, batch: Any, batch_idx: int) -> None:
        """Logs the same under `test/`."""
        self.validation_step(batch, batch_idx, stage="test")

    def predict_step(self, batch: Any, batch_idx: int) -> Tensor:
        """What the sources become, as `translate` gives it; with "denoise" of the batch's images with noise."""
        return self.translate(self.pair(batch, generator=self._generator(batch_idx))[0])

    def _generator(self, batch_idx: int) -> torch.Generator:
        # The same noise at every validation.
        return torch.Generator().manual_seed(derive_seed(0, batch_idx, self.global_rank))
