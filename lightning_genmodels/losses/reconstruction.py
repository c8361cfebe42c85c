"""Reconstruction losses: functions of the decoder's raw output, before its own activation."""

from collections.abc import Callable
from typing import Literal

from torch import Tensor
from torch.nn import functional

ReconstructionLossName = Literal["mse", "bce"]


def mse(output: Tensor, target: Tensor) -> Tensor:
    """Squared error of an image, summed over its pixels, the mean over images.

    Args:
        output: (N, ...) the reconstruction itself.
        target: the same shape.
    """
    return (output.float() - target.float()).square().flatten(1).sum(1).mean()


def bce(output: Tensor, target: Tensor) -> Tensor:
    """Binary cross-entropy of an image in nats, summed over its pixels, the mean over images.

    Args:
        output: (N, ...) logits of the reconstruction.
        target: the same shape, in [0, 1].
    """
    losses = functional.binary_cross_entropy_with_logits(output.float(), target.float(), reduction="none")
    return losses.flatten(1).sum(1).mean()


RECONSTRUCTION_LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"mse": mse, "bce": bce}
