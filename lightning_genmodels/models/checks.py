"""What every model checks of its batches and its losses."""

import math
from collections.abc import Mapping
from functools import reduce
from operator import add
from typing import Any, Literal

import torch
from lightning.pytorch import LightningModule
from torch import Tensor

from lightning_genmodels.checkpoints import name_last_good
from lightning_genmodels.errors import GenmodelsError


def row_is_due(module: LightningModule) -> bool:
    """Whether Lightning writes a row of scalars after this batch; ask before each self.log in a training step.

    A call of self.log costs about 0.3 ms whether or not its row is written.
    """
    every: int = module.trainer.log_every_n_steps  # type: ignore[attr-defined]  # set by one of Lightning's connectors
    return every > 0 and (module.trainer.fit_loop.total_batch_idx + 1) % every == 0


def check_images(
    images: Tensor, image_shape: tuple[int, ...], item: Literal["first", "second"] = "first", beyond: float = 0.0
) -> None:
    """Raises GenmodelsError unless `images`, that item of a batch, is float, (N, *image_shape) and within [0, 1].

    Noisy images may exceed that range by `beyond`.
    """
    what, known = ("images", "image_shape") if item == "first" else ("targets", "target_channels and image_shape")
    if item == "first" and tuple(images.shape) == image_shape:  # what batch[0] is of a batch that is a tensor
        shape = ", ".join(map(str, image_shape))
        raise GenmodelsError(
            f"the batch's first item is one image ({shape}), as it is where a loader gives bare images; expected a "
            f"tuple whose first item is all of them, (N, {shape}): a TensorDataset gives one."
        )
    if not images.is_floating_point():
        raise GenmodelsError(
            f"the batch's {what} are {images.dtype}; expected floating point in [0, 1]: divide bytes by 255."
        )
    if tuple(images.shape[1:]) != image_shape:
        raise GenmodelsError(
            f"the batch's {what} have the shape {tuple(images.shape)}; expected (N, {', '.join(map(str, image_shape))})"
            f", the model's {known}, as the {item} item of the batch."
        )
    low, high = _bounds(images)
    if not (low >= -beyond and high <= 1 + beyond):  # written so that NaN fails
        raise GenmodelsError(
            f"the batch's {what} reach from {low:.4g} to {high:.4g}; expected [0, 1]: divide bytes by 255, and leave "
            "normalisation to the model."
        )


def checked_images(batch: Any, image_shape: tuple[int, ...]) -> Tensor:
    """The first item of a batch; raises GenmodelsError unless it is images as `check_images` expects them."""
    if isinstance(batch, Mapping):
        keys = ", ".join(map(repr, batch))
        raise GenmodelsError(
            f"the batch is a dict of {keys}; expected a tuple whose first item is the images, (N, C, H, W): return a "
            "tuple from the data set or from the loader's collate_fn."
        )
    images: Tensor = batch[0]
    check_images(images, image_shape)
    return images


def _bounds(values: Tensor) -> tuple[float, float]:
    """The least and the greatest, 0 where there are none."""
    if not values.numel():
        return 0, 0
    low, high = torch.aminmax(values.detach())
    return low.item(), high.item()


def _second(batch: Any) -> Any:
    return batch[1] if len(batch) > 1 else None


def _described(item: Any) -> str:
    given = f"{item.dtype} {tuple(item.shape)}" if isinstance(item, Tensor) else "no tensor"
    return f"the batch's second item is {given}"


def check_source(source: Tensor, channels: int, beyond: float = 0.0) -> None:
    """Raises GenmodelsError unless images to be translated are float (N, channels, H, W) in [0, 1], of any size."""
    if source.ndim != 4 or source.shape[1] != channels:
        raise GenmodelsError(
            f"translate: the source is {tuple(source.shape)}; expected (N, {channels}, height, width)."
        )
    check_images(source, tuple(source.shape[1:]), beyond=beyond)


def check_pair(batch: Any, image_shape: tuple[int, int, int], target_channels: int) -> None:
    """Raises GenmodelsError unless a batch holds source images of that shape, and targets of their height and width."""
    checked_images(batch, image_shape)
    target = _second(batch)
    if not isinstance(target, Tensor) or target.ndim != 4:
        given = f"of the shape {tuple(target.shape)}" if isinstance(target, Tensor) else "no tensor"
        raise GenmodelsError(
            f"the batch's second item is {given}; expected target images (N, {target_channels}, "
            f"{image_shape[1]}, {image_shape[2]}), as of PairedImagesDataModule."
        )
    check_images(target, (target_channels, *image_shape[1:]), "second")
    if len(target) != len(batch[0]):
        raise GenmodelsError(f"the batch holds {len(batch[0])} images and {len(target)} targets; expected as many.")


def check_depth(batch: Any, image_shape: tuple[int, int, int]) -> None:
    """Raises GenmodelsError unless a batch holds images of that shape, and their depth, (N, 1, H, W) of 0 or more."""
    checked_images(batch, image_shape)
    depth = _second(batch)
    shape = (len(batch[0]), 1, *image_shape[1:])
    if not isinstance(depth, Tensor) or not depth.is_floating_point() or tuple(depth.shape) != shape:
        raise GenmodelsError(f"{_described(depth)}; expected depth in metres, float32 {shape}.")
    low, high = _bounds(depth)
    if not 0 <= low <= high < math.inf:  # written so that NaN fails
        raise GenmodelsError(
            f"the batch's depth reaches from {low:.4g} to {high:.4g}; expected metres, 0 where there is no measurement."
        )


def check_classes(batch: Any, image_shape: tuple[int, int, int], count: int) -> None:
    """Raises GenmodelsError unless a batch holds source images of that shape, and int64 (N, H, W) classes below it."""
    checked_images(batch, image_shape)
    classes = _second(batch)
    shape = (len(batch[0]), *image_shape[1:])
    if not isinstance(classes, Tensor) or classes.dtype != torch.int64 or tuple(classes.shape) != shape:
        raise GenmodelsError(f"{_described(classes)}; expected a map of classes, torch.int64 {shape}.")
    low, high = _bounds(classes)
    if not 0 <= low <= high < count:
        raise GenmodelsError(
            f"the batch's classes reach from {low} to {high}; expected 0 to {count - 1}, by target_channels."
        )


def finite_sum(module: LightningModule, terms: dict[str, Tensor]) -> Tensor:
    """The sum of a loss's terms.

    Raises:
        GenmodelsError: where they are no dict; where the sum is not finite, with the term, the step and the last good
            checkpoint.
    """
    if not isinstance(terms, dict) or not terms:
        found = "an empty dict" if terms == {} else f"a {type(terms).__name__}"
        raise GenmodelsError(
            f"{type(module).__name__}: a loss is {found}; expected a dict with a name for each term, such as "
            "{'generator': loss}."
        )
    total = reduce(add, terms.values())
    if not math.isfinite(total.item()):
        name = next((n for n, value in terms.items() if not math.isfinite(value.item())), " + ".join(terms))
        raise GenmodelsError(
            f"training diverged: the loss train/{name} is {terms.get(name, total).item()} at step "
            f"{module.trainer.global_step}; {name_last_good(module.trainer)}."
        )
    return total
