"""Gradient penalties on the discriminator, with respect to the images in [-1, 1] that it sees.

Every penalty has one signature, `(discriminator, real, fake, generator)`, and gives a scalar to be weighted by the
caller; `generator` is the source of what is drawn. It differentiates twice, so it runs in float32 whatever the
precision around. Weight clipping is no term of a loss: it changes the weights themselves.
"""

import math
from collections.abc import Callable, Iterable
from typing import Literal

import torch
from torch import Tensor

Discriminator = Callable[[Tensor], Tensor]
Penalty = Callable[[Discriminator, Tensor, Tensor, torch.Generator | None], Tensor]
PenaltyName = Literal["none", "weight_clipping", "gradient_penalty", "r1", "r2", "r1_r2", "dragan"]

SLOPE_EPSILON = 1e-12  # under the root, whose gradient at 0 is infinite


def squared_slopes(discriminator: Discriminator, images: Tensor) -> Tensor:
    """(N,) |grad_x D(x)|^2 at each image, the norm over all but the batch dimension, with a graph to D's parameters.

    Args:
        discriminator: (N, ...) -> (N,) logits; a callable that can be differentiated twice.
        images: (N, ...); they are left as they are.
    """
    images = _in_full_precision(images).requires_grad_()
    with torch.autocast(images.device.type, enabled=False):
        (gradient,) = torch.autograd.grad(discriminator(images).sum(), images, create_graph=True)
        return gradient.square().flatten(1).sum(1)


def _in_full_precision(images: Tensor) -> Tensor:
    """The images without their graph, in float32 at least: mixed precision's weights are."""
    return images.detach().to(torch.promote_types(images.dtype, torch.float32))


def r1_penalty(
    discriminator: Discriminator, real: Tensor, fake: Tensor, generator: torch.Generator | None = None
) -> Tensor:
    """1/2 E |grad_x D(x)|^2 over real images (Mescheder et al. 2018)."""
    return 0.5 * squared_slopes(discriminator, real).mean()


def r2_penalty(
    discriminator: Discriminator, real: Tensor, fake: Tensor, generator: torch.Generator | None = None
) -> Tensor:
    """1/2 E |grad_x D(x)|^2 over generated images (Mescheder et al. 2018)."""
    return 0.5 * squared_slopes(discriminator, fake).mean()


def r1_r2_penalty(
    discriminator: Discriminator, real: Tensor, fake: Tensor, generator: torch.Generator | None = None
) -> Tensor:
    """R1 + R2; with the relativistic loss it is R3GAN's (Huang et al. 2024)."""
    return r1_penalty(discriminator, real, fake) + r2_penalty(discriminator, real, fake)


def gradient_penalty(
    discriminator: Discriminator, real: Tensor, fake: Tensor, generator: torch.Generator | None = None
) -> Tensor:
    """E (|grad_x D(x)| - 1)^2 at a drawn place between each real image and a generated one (Gulrajani et al. 2017)."""
    real = _in_full_precision(real)
    share = _uniform((len(real), *[1] * (real.ndim - 1)), real, generator)
    return _distance_from_1(discriminator, real.lerp(_in_full_precision(fake), share))


def dragan_penalty(
    discriminator: Discriminator, real: Tensor, fake: Tensor, generator: torch.Generator | None = None
) -> Tensor:
    """E (|grad_x D(x)| - 1)^2 around the real images (Kodali et al. 2017).

    Each is moved, by a share drawn for it, towards itself with uniform noise added to each pixel, of at most half the
    standard deviation of the batch.
    """
    real = _in_full_precision(real)
    share = _uniform((len(real), *[1] * (real.ndim - 1)), real, generator)
    noise = 0.5 * real.std() * _uniform(real.shape, real, generator)
    return _distance_from_1(discriminator, real + share * noise)


def clip_weights(parameters: Iterable[Tensor], bound: float) -> None:
    """Clamps every weight to [-bound, bound], in place (Arjovsky et al. 2017)."""
    with torch.no_grad():
        for parameter in parameters:
            parameter.clamp_(-bound, bound)


def _distance_from_1(discriminator: Discriminator, images: Tensor) -> Tensor:
    return ((squared_slopes(discriminator, images) + SLOPE_EPSILON).sqrt() - 1).square().mean()


def _uniform(shape: tuple[int, ...], like: Tensor, generator: torch.Generator | None) -> Tensor:
    device = like.device if generator is None else generator.device
    return torch.rand(shape, generator=generator, device=device, dtype=like.dtype).to(like.device)


PENALTIES: dict[str, Penalty] = {
    "gradient_penalty": gradient_penalty,
    "r1": r1_penalty,
    "r2": r2_penalty,
    "r1_r2": r1_r2_penalty,
    "dragan": dragan_penalty,
}


def path_lengths(images: Tensor, styles: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """(N,) |J^T y|, how far images move with their styles, for a drawn direction y in each image (Karras et al. 2020).

    Args:
        images: (N, C, H, W), a function of the styles.
        styles: (N, L, Z), which carry the graph; the mean is taken over the L layers.
        generator: source of y, of N(0, 1 / (H W)) in each number.
    """
    device = images.device if generator is None else generator.device
    direction = torch.randn(images.shape, generator=generator, device=device).to(images)
    (slope,) = torch.autograd.grad((images * direction).sum() / math.sqrt(images[0, 0].numel()), styles,
                                   create_graph=True)  # fmt: skip
    return (slope.square().sum(2).mean(1) + SLOPE_EPSILON).sqrt()
