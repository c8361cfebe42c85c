"""Augmentation of what a discriminator sees, real and generated images alike (Karras et al. 2020, limited data)."""

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

AugmentationName = Literal["none", "fixed", "adaptive"]

SHIFT = 0.125  # of a side at most
SCALE_DEVIATION = 0.2  # of the binary logarithm of sizes
CONTRAST_DEVIATION = 0.5  # of the binary logarithm of contrasts
BRIGHTNESS_DEVIATION = 0.2


def augment(images: Tensor, probability: float, generator: torch.Generator) -> Tensor:
    """Mirrors, turns, moves, resizes and recolours each image, each of these with that probability by itself.

    Below a probability of about .8 a generator that learns from such images still draws ones without.

    Args:
        images: (N, C, H, W) in [-1, 1]; the result has a gradient to them.
        probability: in [0, 1]; 0 gives the images as they are.
        generator: source of the draws, on the CPU.
    """
    if probability == 0:
        return images
    # In full precision, whatever the precision around: a grid in half would bend the images.
    with torch.autocast(images.device.type, enabled=False):
        return _changed(images.to(torch.promote_types(images.dtype, torch.float32)), probability, generator).to(images)


def _changed(images: Tensor, probability: float, generator: torch.Generator) -> Tensor:
    n, channels, height, width = images.shape

    def chosen(values: Tensor, neutral: float) -> Tensor:
        return torch.where(torch.rand(n, generator=generator) < probability, values, neutral)

    def normal(deviation: float) -> Tensor:
        return deviation * torch.randn(n, generator=generator)

    def uniform(reach: float) -> Tensor:
        return reach * (2 * torch.rand(n, generator=generator) - 1)

    mirrored = chosen(2 * torch.randint(2, (n,), generator=generator).float() - 1, 1)
    angle = chosen(torch.randint(4, (n,), generator=generator) * (math.pi / 2), 0) + chosen(uniform(math.pi), 0)
    size, stretch = chosen(normal(SCALE_DEVIATION).exp2(), 1), chosen(normal(SCALE_DEVIATION).exp2(), 1)
    # Whole pixels, in the unit of affine_grid, which is half a side.
    right, down = (2 * chosen((uniform(SHIFT) * side).round() / side, 0) for side in (width, height))
    cosine, sine = angle.cos(), angle.sin()
    across, along = size * stretch * mirrored, size / stretch
    rows = (cosine * across, -sine * along, right, sine * across, cosine * along, down)
    grid = functional.affine_grid(torch.stack(rows, 1).view(n, 2, 3).to(images), list(images.shape), False)
    images = functional.grid_sample(images, grid, padding_mode="reflection", align_corners=False)

    def per_image(values: Tensor) -> Tensor:
        return values.view(n, 1, 1, 1).to(images)

    images = images * per_image(chosen(normal(CONTRAST_DEVIATION).exp2(), 1))
    images = images + per_image(chosen(normal(BRIGHTNESS_DEVIATION), 0))
    if channels == 3:
        grey = images.mean(1, keepdim=True)
        images = grey + (images - grey) * per_image(chosen(normal(1.0).exp2(), 1))
    return images


class Augmentation(nn.Module):
    """(N, C, H, W) in [-1, 1] -> the same, augmented with a probability that may adapt itself.

    Args:
        kind: "none", "fixed" or "adaptive".
        probability: of each change; of "adaptive" the first.
        target: the mean sign of the logits of real images, above which "adaptive" augments more, and below it less: a
            discriminator that knows its few images by heart takes all for real.
        images: within so many the probability can go from 0 to 1.
    """

    share: Tensor

    def __init__(self, kind: AugmentationName, probability: float, target: float, images: int) -> None:
        super().__init__()
        self.kind, self.target, self.images = kind, target, images
        self.register_buffer("share", torch.tensor(float(probability)))
        self.signs: list[Tensor] = []

    def forward(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """See the class; `generator` is the source of the draws, on the CPU."""
        return images if self.kind == "none" else augment(images, self.share.item(), generator)

    def note(self, real_logits: Tensor) -> None:
        """Takes what the discriminator makes of a part of a batch, for `adapt`."""
        if self.kind == "adaptive":
            self.signs.append(real_logits.sign())

    def adapt(self, images: int) -> None:
        """Moves the probability by one batch of so many images, in all processes; the first one's logits decide."""
        if self.kind == "adaptive":
            surplus = torch.cat(self.signs).mean() - self.target
            self.share.add_(surplus.sign() * images / self.images).clamp_(0, 1)
            self.signs.clear()
