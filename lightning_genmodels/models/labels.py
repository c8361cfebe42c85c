"""What labels of a batch are to a conditional model: classes or attributes, and vectors of either."""

from typing import Any

from torch import Tensor
from torch.nn import functional

from lightning_genmodels.errors import GenmodelsError


def labels_of(batch: Any) -> Tensor:
    """The second item of a batch; GenmodelsError where there is none."""
    labels = batch[1] if isinstance(batch, tuple | list) and len(batch) > 1 else None
    if not isinstance(labels, Tensor):
        raise GenmodelsError("ConditionalGAN: the batch holds no labels; expected (images, labels).")
    return labels


def check_labels(labels: Tensor, count: int) -> None:
    """Raises GenmodelsError unless labels are whole numbers (N,) below `count`, or floats (N, count) in [0, 1]."""
    if labels.is_floating_point():
        if labels.shape[1:] != (count,) or not ((labels >= 0) & (labels <= 1)).all():
            raise GenmodelsError(
                f"ConditionalGAN: attributes of the shape {_described(labels)}; expected (N, {count}) numbers "
                f"in [0, 1], {count} being the number of label_names."
            )
    elif labels.ndim != 1 or not ((labels >= 0) & (labels < count)).all():
        raise GenmodelsError(
            f"ConditionalGAN: classes of the shape {_described(labels)}; expected (N,) numbers from 0 to {count - 1}, "
            f"{count} being the number of label_names; or attributes, which are floating point."
        )


def _described(labels: Tensor) -> str:
    reach = f", from {labels.min():.4g} to {labels.max():.4g}" if labels.numel() else ""
    return f"{tuple(labels.shape)}{reach}"


def as_vectors(labels: Tensor, count: int) -> Tensor:
    """Classes (N,) -> (N, count) float32, 1 in one place; attributes as they are."""
    return labels.float() if labels.is_floating_point() else functional.one_hot(labels.long(), count).float()
