"""Divergences in nats, in float32."""

import math

import torch
from torch import Tensor

CLOSEST = 1e-6  # how near a mean activation is let to 0 and 1, where the divergence has no finite gradient


def bernoulli_divergence(rho: float, mean: Tensor) -> Tensor:
    """KL(rho || mean) between Bernoulli distributions, the wanted one first (Ng 2011).

    Args:
        rho: the wanted mean activation, in (0, 1).
        mean: mean activations of any shape, in [0, 1].

    Returns:
        the same shape; 0 where mean equals rho.
    """
    mean = mean.float()
    # In value only: a unit that is always off keeps its gradient, and is pulled back.
    mean = mean + (mean.clamp(CLOSEST, 1 - CLOSEST) - mean).detach()
    return rho * (math.log(rho) - mean.log()) + (1 - rho) * (math.log(1 - rho) - torch.log1p(-mean))


def gaussian_divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(mean, diag(exp(log_variance))) || N(0, I)) (Kingma and Welling 2014, appendix B).

    Args:
        mean: (N, Z).
        log_variance: (N, Z).

    Returns:
        (N,), the sum over the Z dimensions.
    """
    mean, log_variance = mean.float(), log_variance.float()
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1)
