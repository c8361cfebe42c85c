"""Styles of a StyleGAN, and the images that are made of them."""

from typing import Any

import torch
from torch import Tensor

AT_ONCE = 64  # images that are made together


@torch.no_grad()
def draw_styles(model: Any, n: int, generator: torch.Generator | None = None, truncation: float = 1.0) -> Tensor:
    """Draws n styles.

    Args:
        model: a StyleGAN.
        n: how many.
        generator: source of the latents, on the CPU, so that they are the same on every device.
        truncation: how far they lie from the mean style, as a share of their way.

    Returns:
        (n, Z), on the model's device.
    """
    latents = torch.randn(n, model.latent_dim, generator=generator)
    styles: Tensor = model.styles(latents.to(model.style_average), truncation)
    return styles


@torch.no_grad()
def images_of(model: Any, styles: Tensor) -> Tensor:
    """(N, Z) or (N, L, Z) styles -> (N, C, S, S) in [0, 1]: without noise, so that nothing else decides."""
    return torch.cat([model.synthesize(part) for part in styles.split(AT_ONCE)]).clamp(0, 1)
