"""Peak signal-to-noise ratio of images."""

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

LEAST = 1e-10  # of an image's mean squared error: 100 dB, where it would be without end


class ImagePSNR(Metric):
    """Peak signal-to-noise ratio of images in [0, 1] in dB, the mean of all images' own.

    An image without any error counts as 100 dB, so that one of a single colour does not make the mean infinite.

    Args:
        kwargs: those of `torchmetrics.Metric`.
    """

    is_differentiable = False
    full_state_update = False
    higher_is_better = True
    total: Tensor
    count: Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("total", torch.zeros(()), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.long), dist_reduce_fx="sum")

    def update(self, images: Tensor, target: Tensor) -> None:
        """Adds images (N, C, H, W), and what they are compared with, of the same shape."""
        errors = (images.float() - target.float()).square().flatten(1).mean(1)
        self.total += (-10 * errors.clamp_min(LEAST).log10()).sum()
        self.count += len(images)

    def compute(self) -> Tensor:
        """A scalar; nan where no image was added."""
        return self.total / self.count
