"""Losses of depth maps, over the pixels that have a measurement, in float32.

Every loss has one signature: `(prediction, target)`, both (N, 1, H, W) in metres, where a target of 0 is no
measurement; the result is a scalar, 0 where there is no measurement at all. Below, e is prediction - target and d the
difference of their logarithms. As a network may draw a depth of 0 or less, the prediction's logarithm is continued
below 1 cm by its tangent.
"""

import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

DepthLossName = Literal["l1", "l2", "huber", "berhu", "eigen", "eigen_grad"]
TANGENT = 0.01  # metres, from where on the logarithm is its tangent
HUBER = 1.0  # metres
BERHU = 0.2  # of the largest error of the batch
LAMBDA = 0.5  # how much of an error that all pixels of an image share is forgiven


def _errors(prediction: Tensor, target: Tensor) -> Tensor:
    """(M,) errors of the pixels that have a measurement."""
    valid = target > 0
    return prediction.float()[valid] - target.float()[valid]


def _mean(values: Tensor) -> Tensor:
    return values.sum() / max(values.numel(), 1)


def l1(prediction: Tensor, target: Tensor) -> Tensor:
    """E |e|."""
    return _mean(_errors(prediction, target).abs())


def l2(prediction: Tensor, target: Tensor) -> Tensor:
    """E e^2."""
    return _mean(_errors(prediction, target).square())


def huber(prediction: Tensor, target: Tensor) -> Tensor:
    """E of e^2 / 2 up to an error of 1 m, and of |e| - 1/2 from there on (Huber 1964)."""
    errors = _errors(prediction, target)
    return _mean(functional.huber_loss(errors, torch.zeros_like(errors), reduction="none", delta=HUBER))


def berhu(prediction: Tensor, target: Tensor) -> Tensor:
    """E of |e| up to c, and of (e^2 + c^2) / 2c from there on; c a fifth of the batch's largest (Laina et al. 2016)."""
    errors = _errors(prediction, target).abs()
    if not errors.numel():
        return _mean(errors)
    bound = (BERHU * errors.detach().max()).clamp_min(1e-6)
    return _mean(torch.where(errors <= bound, errors, (errors.square() + bound.square()) / (2 * bound)))


def eigen(prediction: Tensor, target: Tensor) -> Tensor:
    """E of an image's mean d^2 less half the square of its mean d (Eigen et al. 2014)."""
    difference, valid = _log_differences(prediction, target)
    count = valid.flatten(1).sum(1).clamp_min(1)
    mean_square = difference.square().flatten(1).sum(1) / count
    square_mean = (difference.flatten(1).sum(1) / count).square()
    return (mean_square - LAMBDA * square_mean).mean()


def eigen_grad(prediction: Tensor, target: Tensor) -> Tensor:
    """`eigen`, and an image's mean square of the differences of d between neighbours (Eigen and Fergus 2015).

    As there, the square of the mean counts half, and not a quarter.
    """
    difference, valid = _log_differences(prediction, target)
    total = eigen(prediction, target)
    count = valid.flatten(1).sum(1).clamp_min(1)
    for dimension in (2, 3):
        both = valid.narrow(dimension, 1, valid.shape[dimension] - 1) & valid.narrow(
            dimension, 0, valid.shape[dimension] - 1
        )
        slopes = difference.diff(dim=dimension) * both
        total = total + (slopes.square().flatten(1).sum(1) / count).mean()
    return total


def _log_differences(prediction: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """(N, 1, H, W) d, 0 where there is no measurement, and where there is one."""
    valid = target > 0
    prediction = prediction.float()
    logarithm = torch.where(
        prediction > TANGENT,
        prediction.clamp_min(TANGENT).log(),
        math.log(TANGENT) + (prediction - TANGENT) / TANGENT,
    )
    difference = logarithm - torch.where(valid, target.float(), 1.0).log()
    return torch.where(valid, difference, 0.0), valid


DEPTH_LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "l1": l1,
    "l2": l2,
    "huber": huber,
    "berhu": berhu,
    "eigen": eigen,
    "eigen_grad": eigen_grad,
}
