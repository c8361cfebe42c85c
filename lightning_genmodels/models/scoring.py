"""What generators are scored by while they are trained, and what their discriminators made of it."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torchmetrics import MetricCollection

from lightning_genmodels.metrics import DensityCoverage, PrecisionRecall
from lightning_genmodels.metrics.collection import process_share

LEAST_SCORED = 6  # coverage asks for a fifth neighbour


class Judged(NamedTuple):
    """What a discriminator was trained on, and what it made of it.

    Attributes:
        real_logits: (N,), or one for each pack, before any sigmoid.
        fake_logits: the same of the generated images.
        fake: (N, C, H, W), these images in [0, 1].
    """

    real_logits: Tensor
    fake_logits: Tensor
    fake: Tensor


class SampleScores(nn.Module):
    """Precision, recall (k = 3), density and coverage (k = 5) of samples beside a split's images, by their pixels.

    Args:
        count: images that are scored at most, the first ones, in all processes together.
    """

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count
        self.metrics = MetricCollection(
            [PrecisionRecall(k=3), DensityCoverage(k=5)],
            compute_groups=[["PrecisionRecall", "DensityCoverage"]],  # the features are kept once
        )

    def begin(self, module: LightningModule) -> None:
        """Begins a split, with the same draws every time."""
        self.noise = torch.Generator().manual_seed(module.global_rank)
        self._left = process_share(self.count, module.global_rank, module.trainer.world_size)

    def update(self, images: Tensor, draw: Callable[[], Tensor]) -> None:
        """Takes (N, C, H, W) images in [0, 1] and as many samples; nothing once there are enough."""
        if self._left:
            self.metrics.update(images[: self._left], real=True)
            self.metrics.update(draw()[: self._left], real=False)
            self._left -= min(self._left, len(images))

    def log(self, module: LightningModule, stage: str) -> None:
        """Logs `<stage>/precision`, `recall`, `density` and `coverage`."""
        if not module.trainer.sanity_checking:
            found = {f"{stage}/{name}": value for name, value in self.metrics.compute().items()}
            module.log_dict(found, sync_dist=True)
        self.metrics.reset()
