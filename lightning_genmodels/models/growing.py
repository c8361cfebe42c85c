"""How a generator and its discriminator grow while they are trained: a function of the images seen alone."""

import math
from typing import NamedTuple

from torch import Tensor

from lightning_genmodels.networks.style import enlarge, shrink, style_levels

FASTER = {128: 1.5, 256: 2.0, 512: 3.0, 1024: 3.0}  # what the paper's learning rate is multiplied by at a size


class Growth(NamedTuple):
    """The schedule of progressive growing (Karras et al. 2017, 2018).

    The first size is trained for `stable_images`; each one after it fades in over `fade_images` and is then trained for
    `stable_images`; the last is trained on to the end.

    Attributes:
        start_size: of the first images in pixels, a power of two of 4 or more.
        size: of the last.
        fade_images: real images shown while a size fades in; 0 brings it at once.
        stable_images: real images shown once it is there.
    """

    start_size: int
    size: int
    fade_images: int
    stable_images: int

    def detail(self, images: int) -> float:
        """How far the networks have grown after so many images: see `networks/style.py`."""
        first, last = style_levels(self.start_size), style_levels(self.size)
        for level in range(first, last):
            images -= self.stable_images
            if images < 0:
                return float(level)
            if images < self.fade_images:
                # Even the first batch of a size sees a little of it, so that its layers are trained.
                return level + (images + 1) / (self.fade_images + 1)
            images -= self.fade_images
        return float(last)


def grown_size(detail: float) -> int:
    """Pixels in a row of the images that the networks make and see, one that fades in included."""
    return 4 << math.ceil(detail)


def rate_factor(detail: float) -> float:
    """What the learning rate is multiplied by."""
    return FASTER.get(grown_size(detail), 1.0)


def faded(images: Tensor, detail: float, size: int) -> Tensor:
    """(N, C, S, S) real images, as blurred as generated ones are: no finer than the size that is reached.

    While a size fades in, they are between that and the one before, as those of the generator are.
    """
    below = style_levels(size) - math.ceil(detail)
    images = enlarge(shrink(images, 1 << below), 1 << below) if below > 0 else images
    share = detail - math.ceil(detail) + 1
    if share == 1:
        return images
    factor = 2 << below
    return enlarge(shrink(images, factor), factor).lerp(images, share)
