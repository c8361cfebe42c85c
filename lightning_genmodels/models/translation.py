"""What image-to-image models have in common: images of any size, and the distance of results from targets."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from lightning_genmodels.metrics.collection import process_share


def at_any_size(network: Callable[[Tensor], Tensor], images: Tensor, multiple: int) -> Tensor:
    """What the network makes of images (N, C, H, W) whose sides need not be multiples of a number.

    They are continued to the right and below by their last pixels, and the result is cut back.

    Args:
        network: (N, C, H', W') -> (N, C', H', W'), for sides that are multiples.
        images: the images.
        multiple: the number.
    """
    height, width = images.shape[-2:]
    padded = functional.pad(images, (0, -width % multiple, 0, -height % multiple), mode="replicate")
    return network(padded)[..., :height, :width]


def halvings_to_two(height: int, width: int) -> int:
    """How often images of this size, continued to what can be halved so often, are halved to 2 pixels or more."""
    return (min(height, width) - 1).bit_length() - 1


SCORED = 1000  # images of a validation: the distance takes 20 s for as many of 88 pixels


def collect_distance(model: Any, target: Tensor, made: Tensor) -> None:
    """Adds a batch to `model.swd`, a `SlicedWasserstein`, up to the share of this process."""
    share = process_share(SCORED, model.global_rank, model.trainer.world_size)
    missing = share - sum(len(part) for part in model.swd.real)
    if missing > 0:
        model.swd.update(target[:missing], real=True)
        model.swd.update(made[:missing], real=False)


def log_distance(model: Any, stage: str) -> None:
    """Logs the distances that `model.swd` has collected, nan for one image alone, and empties it."""
    if not model.trainer.sanity_checking:
        alone = model.trainer.world_size == 1 and sum(len(part) for part in model.swd.real) < 2
        found = {"swd": torch.tensor(torch.nan)} if alone else model.swd.compute()
        model.log_dict({f"{stage}/{name}": value for name, value in found.items()}, sync_dist=True)
    model.swd.reset()
