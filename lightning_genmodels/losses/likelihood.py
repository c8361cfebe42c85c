"""Log-likelihoods of images under a decoder's output, in nats, summed over the pixels, in float32."""

import math
from typing import Literal

from torch import Tensor
from torch.nn import functional

DecoderDistributionName = Literal["bernoulli", "gaussian"]


def bernoulli_log_likelihood(logits: Tensor, images: Tensor) -> Tensor:
    """log p(images) of independent Bernoulli pixels.

    Args:
        logits: (..., C, H, W).
        images: a shape that broadcasts to it, in [0, 1]; a proper likelihood for 0 and 1 alone.

    Returns:
        (...).
    """
    logits = logits.float()
    losses = functional.binary_cross_entropy_with_logits(logits, images.float().expand_as(logits), reduction="none")
    return -losses.flatten(-3).sum(-1)


def gaussian_log_likelihood(mean: Tensor, images: Tensor, scale: float) -> Tensor:
    """log density of independent Gaussian pixels of one standard deviation.

    Args:
        mean: (..., C, H, W).
        images: a shape that broadcasts to it.
        scale: the standard deviation.

    Returns:
        (...).
    """
    squares = ((images.float() - mean.float()) / scale).square() / 2
    return -(squares + math.log(scale) + math.log(2 * math.pi) / 2).flatten(-3).sum(-1)
