"""Which attributes images have, by a classifier that is trained on labelled ones."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from lightning_genmodels.errors import GenmodelsError
from lightning_genmodels.networks.attribute_classifier import AttributeClassifier

AT_ONCE = 100  # images that are read together
LEARNING_RATE, WEIGHT_DECAY = 1e-3, 0.05


class AttributeAccuracy(NamedTuple):
    """How well a classifier reads attributes.

    Attributes:
        right: (A,), the share of right answers.
        frequent: (A,), what the more frequent answer alone would get.
    """

    right: Tensor
    frequent: Tensor


def label_thresholds(attributes: Tensor) -> Tensor:
    """(N, A) -> (A,): above it an attribute counts as there; .5, or the median where there are other values than 0, 1.

    So of continuous factors the upper half has them.
    """
    binary = ((attributes == 0) | (attributes == 1)).all(0)
    return torch.where(binary, 0.5, attributes.median(0).values)


def train_classifier(
    batches: Iterable[Any],
    image_shape: tuple[int, int, int],
    names: Sequence[str],
    *,
    epochs: int,
    seed: int = 0,
    device: torch.device | str = "cpu",
) -> AttributeClassifier:
    """Trains a classifier of attributes: AdamW on the binary cross-entropy.

    Args:
        batches: (images, attributes): float (B, C, S, S) in [0, 1] and float (B, A) in [0, 1]; they are gone through
            once an epoch.
        image_shape: (C, S, S), S of 16 or more.
        names: of the A attributes.
        epochs: 1 or more.
        seed: of the first weights and of dropout.
        device: where to train.

    Returns:
        The network, in eval mode, its weights frozen.

    Raises:
        GenmodelsError: for images or attributes that are not as above, or batches that cannot be gone through again.
    """
    device = torch.device(device)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        classifier = AttributeClassifier(image_shape, len(names)).to(device)
        optimizer = torch.optim.AdamW(classifier.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY)
        for epoch in range(epochs):
            count = 0
            for batch in batches:
                images, attributes = labelled(batch, names)
                _check_labels(attributes, names)
                optimizer.zero_grad()
                binary_cross_entropy_with_logits(classifier(images.to(device)), attributes.to(device)).backward()
                optimizer.step()
                count += 1
            if not count:
                raise GenmodelsError(
                    f"train_classifier: epoch {epoch} has no batches; expected some that can be gone through each time."
                )
    return classifier.eval().requires_grad_(False)


def labelled(batch: Any, names: Sequence[str]) -> tuple[Tensor, Tensor]:
    """The images and the attributes of a batch; GenmodelsError for attributes that are not float (B, A)."""
    attributes = batch[1] if len(batch) > 1 else None
    if not isinstance(attributes, Tensor) or not attributes.is_floating_point() or attributes.ndim != 2:
        raise GenmodelsError("the data hold no attributes; expected batches of images and attributes, float (N, A).")
    if attributes.shape[1] != len(names):
        raise GenmodelsError(
            f"the data hold {attributes.shape[1]} attributes; expected {len(names)}, the number of their names."
        )
    return batch[0], attributes


def _check_labels(attributes: Tensor, names: Sequence[str]) -> None:
    inside = ((attributes >= 0) & (attributes <= 1)).all(0)
    if not inside.all():
        column = int(inside.int().argmin())
        low, high = (value.item() for value in attributes[:, column].aminmax())
        raise GenmodelsError(f"{names[column]} lies in [{low:.3g}, {high:.3g}]; expected labels in [0, 1].")


@torch.no_grad()
def attribute_logits(classifier: AttributeClassifier, images: Tensor) -> Tensor:
    """(N, C, S, S) in [0, 1] -> (N, A) on the CPU, above 0 where an attribute is there."""
    device = next(classifier.parameters()).device
    return torch.cat([classifier(part.to(device)).cpu() for part in images.split(AT_ONCE)])


def attribute_accuracy(
    classifier: AttributeClassifier, batches: Iterable[Any], names: Sequence[str]
) -> AttributeAccuracy:
    """How well a classifier reads held-out batches, as of `train_classifier`; an attribute above .5 is there."""
    right, there = [], []
    for batch in batches:
        images, attributes = labelled(batch, names)
        there.append(attributes.cpu() > 0.5)
        right.append((attribute_logits(classifier, images) > 0) == there[-1])
    shares = torch.cat(there).float().mean(0)
    return AttributeAccuracy(torch.cat(right).float().mean(0), torch.maximum(shares, 1 - shares))
