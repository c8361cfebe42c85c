"""Which style a generator would have made an image from."""

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lightning_genmodels.editing.styles import draw_styles, images_of
from lightning_genmodels.errors import GenmodelsError
from lightning_genmodels.metrics.perceptual import DISTANCES, DistanceName, check_distance

DRAWN = 10_000  # styles whose mean and spread are taken
NOISE, NOISY = 0.05, 0.75  # of the styles, as a share of their spread, and until which share of the steps
RISE, FALL = 0.05, 0.25  # of the learning rate, as shares of the steps


class Projection(NamedTuple):
    """Images and what a generator makes of the styles that come nearest.

    Attributes:
        styles: (N, Z), or (N, L, Z) with one for each layer.
        images: (N, C, S, S) in [0, 1], made of these without noise.
        distances: (N,), of these from the images that were to be found.
        history: (steps,), the mean distance before each step, of images made of noisy styles.
    """

    styles: Tensor
    images: Tensor
    distances: Tensor
    history: Tensor


def project(
    model: Any,
    images: Tensor,
    *,
    steps: int = 1000,
    distance: DistanceName = "pyramid",
    per_layer: bool = False,
    learning_rate: float = 0.1,
    generator: torch.Generator | None = None,
) -> Projection:
    """Looks for the styles that images could have been made from, as the projector of Karras et al. (2020) does.

    Adam begins at the mean of drawn styles; its learning rate rises within the first twentieth of the steps and falls,
    on a cosine, within the last quarter. Noise on the styles, which goes through three quarters of the steps and fades,
    helps it out of bad places. The images are made without noise for their pixels, which could else draw anything.
    Each image is looked for by itself: what is found does not depend, but for rounding, on the others of its batch.

    Args:
        model: a StyleGAN; it stays as it is.
        images: (N, C, S, S) in [0, 1], N of 1 or more, of the model's shape, on any device.
        steps: 1 or more.
        distance: that is made small, one of `metrics.perceptual.DISTANCES`.
        per_layer: a style for each layer (W+, Abdal et al. 2019): nearer to any image, but further from what the
            generator was trained on, so that edits of it look worse.
        learning_rate: Adam's at its highest, above 0.
        generator: source, on the CPU, of the drawn styles and of the noise.

    Returns:
        Styles, images and distances, without a graph, on the model's device.

    Raises:
        GenmodelsError: for images of another shape or outside [0, 1], or an option out of its range; as the distance
            does.
    """
    shape = tuple(model.image_shape)
    if images.ndim != 4 or not len(images) or tuple(images.shape[1:]) != shape or not images.is_floating_point():
        raise GenmodelsError(
            f"project: images are {images.dtype} {tuple(images.shape)}; expected floating point "
            f"(N, {', '.join(map(str, shape))}) in [0, 1], N of 1 or more."
        )
    low, high = (value.item() for value in images.aminmax())
    if not (low >= 0 and high <= 1):
        raise GenmodelsError(f"project: images lie in [{low:.3g}, {high:.3g}]; expected [0, 1].")
    if steps < 1:
        raise GenmodelsError(f"project: steps is {steps}; expected 1 or more.")
    if not 0 < learning_rate < math.inf:
        raise GenmodelsError(f"project: learning_rate is {learning_rate}; expected above 0.")
    check_distance("project", distance)
    measure = DISTANCES[distance]
    drawn = draw_styles(model, DRAWN, generator)
    precision = drawn.dtype  # of the weights
    drawn = drawn.float()
    mean = drawn.mean(0)
    spread = (drawn - mean).square().sum(1).mean().sqrt()
    target = images.to(mean)
    layers = (model.style_layers,) if per_layer else ()
    styles = mean.expand(len(images), *layers, -1).clone()
    optimizer = torch.optim.Adam([styles], learning_rate)
    history = []
    for step in range(steps):
        share = step / steps
        optimizer.param_groups[0]["lr"] = learning_rate * rate_at(share)
        # One noise for all, so that an image's does not depend on its place in the batch.
        noise = torch.randn(styles.shape[1:], generator=generator).to(mean) * spread * noise_at(share)
        with torch.enable_grad():
            noisy = (styles + noise).requires_grad_()
            distances = measure(model.synthesize(noisy.to(precision)), target)
            # Of the styles alone: the weights get no gradient. The sum, of which each image has its own part.
            (styles.grad,) = torch.autograd.grad(distances.sum(), noisy)
        history.append(distances.detach().mean())
        optimizer.step()
    styles = styles.detach()
    styles.grad = None
    with torch.no_grad():
        made = images_of(model, styles.to(precision))
        return Projection(styles, made, measure(made, target), torch.stack(history))


def rate_at(share: float) -> float:
    """The factor of the learning rate, in [0, 1], after that share of the steps."""
    fall = 0.5 - 0.5 * math.cos(math.pi * min(1.0, (1 - share) / FALL))
    return fall * min(1.0, share / RISE)


def noise_at(share: float) -> float:
    """The noise on the styles after that share of the steps, as a share of their spread."""
    return NOISE * max(0.0, 1 - share / NOISY) ** 2
