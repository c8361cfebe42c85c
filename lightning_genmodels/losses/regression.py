"""Losses of an image against its target, each the mean over all pixels, in float32."""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional
from torchmetrics.functional.image import structural_similarity_index_measure

ImageLossName = Literal["l1", "l2", "huber", "ssim"]
HUBER = 0.1  # where "huber" turns from a square into a line, in [0, 1]


def l1(output: Tensor, target: Tensor) -> Tensor:
    """The absolute error."""
    return functional.l1_loss(output.float(), target.float())


def l2(output: Tensor, target: Tensor) -> Tensor:
    """The squared error."""
    return functional.mse_loss(output.float(), target.float())


def huber(output: Tensor, target: Tensor) -> Tensor:
    """e^2 / 2 up to an error of .1, from there on .1 |e| - .005 (Huber 1964)."""
    return functional.huber_loss(output.float(), target.float(), delta=HUBER)


def ssim(output: Tensor, target: Tensor) -> Tensor:
    """1 less the structural similarity under a Gaussian window of 11 pixels (Wang et al. 2004).

    Args:
        output: (N, C, H, W), of 6 pixels a side or more, for values in [0, 1].
        target: the same shape.
    """
    with torch.autocast(output.device.type, enabled=False):
        similarity = structural_similarity_index_measure(output.float(), target.float(), data_range=1.0)
    assert isinstance(similarity, Tensor)
    return 1 - similarity


IMAGE_LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"l1": l1, "l2": l2, "huber": huber, "ssim": ssim}
