"""Adversarial losses: functions of the discriminator's logits, each (N,), or one a patch, and before any sigmoid.

Every pair has one signature: the discriminator's takes `(real_logits, fake_logits)`, the generator's `(fake_logits,
real_logits)`, where only a relativistic one reads the latter. Logits are taken in float32, whatever the precision
around. The result is a scalar, the mean over the batch.
"""

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import relu, softplus

AdversarialLossName = Literal["minimax", "non_saturating", "least_squares", "wasserstein", "hinge", "relativistic"]


class AdversarialLoss(NamedTuple):
    """The two sides of one game.

    Attributes:
        discriminator: (real_logits, fake_logits) -> scalar.
        generator: (fake_logits, real_logits) -> scalar.
        relative: the generator's side needs `real_logits`, as many as there are fake ones; else it may be None.
    """

    discriminator: Callable[[Tensor, Tensor], Tensor]
    generator: Callable[[Tensor, Tensor | None], Tensor]
    relative: bool = False


def log_discriminator(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """-E log s(D(x)) - E log(1 - s(D(G(z)))), s the sigmoid (Goodfellow et al. 2014)."""
    return softplus(-real_logits.float()).mean() + softplus(fake_logits.float()).mean()


def minimax_generator(fake_logits: Tensor, real_logits: Tensor | None = None) -> Tensor:
    """E log(1 - s(D(G(z)))): the game's own side, whose gradient vanishes where D is sure (Goodfellow et al. 2014)."""
    return -softplus(fake_logits.float()).mean()


def non_saturating_generator(fake_logits: Tensor, real_logits: Tensor | None = None) -> Tensor:
    """-E log s(D(G(z))): the same fixed point, a gradient that stays (Goodfellow et al. 2014)."""
    return softplus(-fake_logits.float()).mean()


def least_squares_discriminator(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """1/2 E (D(x) - 1)^2 + 1/2 E D(G(z))^2 (Mao et al. 2017, a = 0, b = 1)."""
    return 0.5 * (real_logits.float() - 1).square().mean() + 0.5 * fake_logits.float().square().mean()


def least_squares_generator(fake_logits: Tensor, real_logits: Tensor | None = None) -> Tensor:
    """1/2 E (D(G(z)) - 1)^2 (Mao et al. 2017, c = 1)."""
    return 0.5 * (fake_logits.float() - 1).square().mean()


def wasserstein_discriminator(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """E D(G(z)) - E D(x): less a distance, for a D of bounded slope Wasserstein's (Arjovsky et al. 2017)."""
    return fake_logits.float().mean() - real_logits.float().mean()


def wasserstein_generator(fake_logits: Tensor, real_logits: Tensor | None = None) -> Tensor:
    """-E D(G(z)) (Arjovsky et al. 2017; also the hinge loss's side, Lim and Ye 2017)."""
    return -fake_logits.float().mean()


def hinge_discriminator(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """E max(0, 1 - D(x)) + E max(0, 1 + D(G(z))) (Lim and Ye 2017)."""
    return relu(1 - real_logits.float()).mean() + relu(1 + fake_logits.float()).mean()


def relativistic_discriminator(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """-E log s(D(x) - D(G(z))), over pairs of a real and a generated image (Jolicoeur-Martineau 2018)."""
    return softplus(fake_logits.float() - real_logits.float()).mean()


def relativistic_generator(fake_logits: Tensor, real_logits: Tensor | None) -> Tensor:
    """-E log s(D(G(z)) - D(x)), over the same pairs (Jolicoeur-Martineau 2018)."""
    assert real_logits is not None
    return softplus(real_logits.float() - fake_logits.float()).mean()


def feature_matching(fake_maps: Sequence[Sequence[Tensor]], real_maps: Sequence[Sequence[Tensor]]) -> Tensor:
    """How far the discriminator's maps of generated images lie from those of real ones (Wang et al. 2018, pix2pixHD).

    The mean absolute difference of the maps of each layer but the last, times 4 over the number of these layers, summed
    over them; the mean over scales, a scalar.

    Args:
        fake_maps: for each scale the maps of its layers, of any shapes.
        real_maps: the same of the real images; the caller detaches them.
    """
    scales = []
    for ours, theirs in zip(fake_maps, real_maps, strict=True):
        differences = [(a.float() - b.float()).abs().mean() for a, b in zip(ours[:-1], theirs[:-1], strict=True)]
        scales.append(4 * torch.stack(differences).mean())
    return torch.stack(scales).mean()


ADVERSARIAL_LOSSES: dict[str, AdversarialLoss] = {
    "minimax": AdversarialLoss(log_discriminator, minimax_generator),
    "non_saturating": AdversarialLoss(log_discriminator, non_saturating_generator),
    "least_squares": AdversarialLoss(least_squares_discriminator, least_squares_generator),
    "wasserstein": AdversarialLoss(wasserstein_discriminator, wasserstein_generator),
    "hinge": AdversarialLoss(hinge_discriminator, wasserstein_generator),
    "relativistic": AdversarialLoss(relativistic_discriminator, relativistic_generator, relative=True),
}
