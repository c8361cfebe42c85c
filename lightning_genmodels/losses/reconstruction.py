"""Reconstruction losses: functions of the decoder's raw output, before its own activation."""

from collections.abc import Callable
from typing import Literal

from torch import Tensor
from torch.nn import functional

ReconstructionLossName = Literal["mse", "bce"]


def mse(output: Tensor, target: Tensor) -> Tensor:
    """Mean squared error over images and pixels.

    Args:
        output: (N, ...) the reconstruction itself.
        target: the same shape.
    """
    return functional.mse_loss(output.float(), target.float())


def bce(output: Tensor, target: Tensor) -> Tensor:
    """Binary cross-entropy in nats, the mean over images and pixels.

    Args:
        output: (N, ...) logits of the reconstruction.
        target: the same shape, in [0, 1].
    """
    return functional.binary_cross_entropy_with_logits(output.float(), target.float())


RECONSTRUCTION_LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"mse": mse, "bce": bce}
