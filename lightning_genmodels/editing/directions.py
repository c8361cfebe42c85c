"""Directions of styles along which one attribute of the images changes: InterFaceGAN (Shen et al. 2020)."""

import math
import warnings
from collections.abc import Sequence

import torch
from torch import Tensor

from lightning_genmodels.errors import GenmodelsError

CERTAIN = 0.5  # of the samples of each label, the share that a direction is fitted to
HELD_OUT = 5  # every so many-th sample is judged by
LEAST = 10  # samples of each label
INVERSE_PENALTY = 0.1  # C of the logistic regression
MAX_ITER = 1000  # of its L-BFGS


def attribute_direction(styles: Tensor, scores: Tensor, name: str = "the attribute") -> tuple[Tensor, float]:
    """The direction in which styles of images with an attribute lie, seen from those without it.

    It is the normal of the plane that a logistic regression (scikit-learn's) draws between the two labels. Of each
    label the half that is most certain by its scores is fitted, and counts as much as the other label's. Every fifth
    sample, certain or not, is left out of that, and judges it.

    Args:
        styles: (N, Z).
        scores: (N,), above 0 where the attribute is there, and the larger the more certain: the logits of a classifier,
            or a continuous factor less its median. Boolean labels are all as certain, and all are used.
        name: of the attribute, for the messages.

    Returns:
        The direction, float32 (Z,) of length 1, on the device of the styles; and the accuracy of the plane, the mean of
        both labels' shares of right answers among the samples left out, of which guessing gets .5.

    Raises:
        GenmodelsError: for shapes that do not fit, values that are not finite, or fewer than 10 samples of a label.
    """
    if styles.ndim != 2 or scores.shape != styles.shape[:1]:
        raise GenmodelsError(
            f"attribute_direction: styles have the shape {tuple(styles.shape)} and scores {tuple(scores.shape)}; "
            "expected (N, Z) and (N,)."
        )
    if not (styles.isfinite().all() and scores.isfinite().all()):
        raise GenmodelsError("attribute_direction: styles or scores are not all finite; expected finite numbers.")
    scores = scores.cpu()  # where scikit-learn computes
    there = scores > 0
    count = int(there.sum())
    if min(count, len(there) - count) < LEAST:
        raise GenmodelsError(
            f"{name} is there in {count} of {len(there)} samples; expected at least {LEAST} with it and {LEAST} "
            "without it."
        )
    from sklearn.exceptions import ConvergenceWarning  # slow to import, and only this needs it
    from sklearn.linear_model import LogisticRegression

    fitted = [_most_certain(scores, label) for label in (there, ~there)]
    left_out = [label.nonzero().flatten()[::HELD_OUT] for label in (there, ~there)]
    # Centred and of one scale, so that the penalty means the same for every model, and the direction stays what it is.
    x = styles.detach().cpu().double()
    x = (x - x.mean(0)) / x.std(0).mean().clamp_min(1e-12)
    rows = torch.cat(fitted)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # stopping early is a choice here, not a fault
        regression = LogisticRegression(C=INVERSE_PENALTY, class_weight="balanced", max_iter=MAX_ITER)
        regression.fit(x[rows].numpy(), there[rows].numpy())
    right = [(regression.predict(x[rows].numpy()) == there[rows].numpy()).mean() for rows in left_out]
    normal = torch.from_numpy(regression.coef_[0])
    return (normal / normal.norm()).to(styles.device, torch.float32), float(sum(right) / 2)


def _most_certain(scores: Tensor, label: Tensor) -> Tensor:
    """The rows of a label that are fitted: none of those left out, and the most certain half of the others."""
    rows = label.nonzero().flatten()
    rows = rows[torch.arange(len(rows), device=rows.device) % HELD_OUT != 0]
    if scores.dtype == torch.bool:
        return rows
    return rows[scores[rows].abs().argsort(descending=True)[: math.ceil(CERTAIN * len(rows))]]


def conditioned(direction: Tensor, others: Sequence[Tensor]) -> Tensor:
    """The part of a direction (Z,) that none of the others (Z,) has, of length 1: it leaves their attributes alone.

    Raises:
        GenmodelsError: where the direction lies within the span of the others, so that nothing is left.
    """
    whole = direction.cpu().double()
    basis = torch.linalg.qr(torch.stack(list(others), 1).cpu().double()).Q  # (Z, K)
    rest = whole - basis @ (basis.T @ whole)
    length = rest.norm() / whole.norm()
    if length < 1e-4:
        raise GenmodelsError(
            f"conditioned: {length:.2g} of the direction is left without the others; expected it to be no sum of them."
        )
    vector: Tensor = (rest / rest.norm()).to(direction)
    return vector


def deviation_along(styles: Tensor, direction: Tensor) -> float:
    """The standard deviation of styles (N, Z), N of 2 or more, along a direction (Z,) of length 1."""
    return (styles @ direction.to(styles)).std().item()


def move(styles: Tensor, direction: Tensor, strength: float, deviation: float) -> Tensor:
    """Moves styles along a direction: styles + strength * deviation * direction.

    Args:
        styles: (N, Z), or (N, L, Z), in which all layers are moved.
        direction: (Z,), of length 1.
        strength: how far, in standard deviations; a negative one goes the other way.
        deviation: the length of one, as `deviation_along` the direction has it for many drawn styles.

    Returns:
        The moved styles, of the same shape.
    """
    return styles + strength * deviation * direction.to(styles)
