"""Gradient penalties on the discriminator, with respect to the images in [-1, 1] that it sees.

Every penalty has one signature, `(discriminator, real, fake)`, and gives a scalar to be weighted by the caller. It
differentiates twice, so it runs in float32 whatever the precision around.
"""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

PenaltyName = Literal["none", "r1"]


def r1_penalty(discriminator: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor) -> Tensor:
    """1/2 E |grad_x D(x)|^2 over real images (Mescheder et al. 2018), the norm over all but the batch dimension.

    Args:
        discriminator: (N, ...) -> (N,) logits; a callable that can be differentiated twice.
        real: (N, ...) real images.
        fake: not read.

    Returns:
        A scalar with a graph to the discriminator's parameters.
    """
    with torch.autocast(real.device.type, enabled=False):
        images = real.detach().float().requires_grad_()
        (gradient,) = torch.autograd.grad(discriminator(images).sum(), images, create_graph=True)
        return 0.5 * gradient.square().flatten(1).sum(1).mean()


PENALTIES: dict[str, Callable[[Callable[[Tensor], Tensor], Tensor, Tensor], Tensor]] = {"r1": r1_penalty}
