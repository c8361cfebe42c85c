"""Paths between two codes."""

import torch
from torch import Tensor

from lightning_genmodels.errors import GenmodelsError


def linear_path(z0: Tensor, z1: Tensor, steps: int) -> Tensor:
    """(N, Z) and (N, Z) codes -> (N, steps, Z) along the straight line, both ends included.

    Raises:
        GenmodelsError: for codes of different shapes, or fewer than 2 steps.
    """
    share = _shares(z0, z1, steps)
    return torch.lerp(z0.unsqueeze(1), z1.unsqueeze(1), share)


def spherical_path(z0: Tensor, z1: Tensor, steps: int) -> Tensor:
    """The same along the great circle (Shoemake 1985; for latents: White 2016).

    Every code on it is as long as Gaussian latents are; the middle of a straight line is much shorter. Codes of the
    same or the opposite direction are joined by the straight line.
    """
    share = _shares(z0, z1, steps).cpu().double()  # in float32, near 180 degrees, the sine is mostly rounding
    start, end = z0.unsqueeze(1).cpu().double(), z1.unsqueeze(1).cpu().double()
    cosine = torch.nn.functional.cosine_similarity(start, end, dim=-1, eps=1e-12).unsqueeze(-1)
    angle = cosine.clamp(-1, 1).acos()
    flat = angle.sin() < 1e-4  # in the same direction or the opposite one, where the circle is not determined
    sine = torch.where(flat, torch.ones_like(angle), angle.sin())
    path = ((1 - share) * angle).sin() / sine * start + (share * angle).sin() / sine * end
    return torch.where(flat, torch.lerp(start, end, share), path).to(z0)


def latent_path(z0: Tensor, z1: Tensor, steps: int, latent_dim: int) -> Tensor:
    """The great circle between latents of a generator; GenmodelsError where they have another length."""
    path = spherical_path(z0, z1, steps)
    if path.shape[-1] != latent_dim:
        raise GenmodelsError(f"interpolate: the latents have {path.shape[-1]} entries; expected {latent_dim}.")
    return path


def _shares(z0: Tensor, z1: Tensor, steps: int) -> Tensor:
    if z0.shape != z1.shape or z0.ndim != 2:
        raise GenmodelsError(
            f"interpolate: the codes have the shapes {tuple(z0.shape)} and {tuple(z1.shape)}; expected (N, latent_dim) "
            "twice."
        )
    if steps < 2:
        raise GenmodelsError(f"interpolate: steps is {steps}; expected 2 or more, both ends included.")
    return torch.linspace(0, 1, steps, device=z0.device, dtype=z0.dtype).view(1, steps, 1)
