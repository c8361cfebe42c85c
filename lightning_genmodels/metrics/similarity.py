"""How alike generated images are to one another."""

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.functional.image import multiscale_structural_similarity_index_measure
from torchmetrics.utilities import dim_zero_cat

from lightning_genmodels.errors import GenmodelsError
from lightning_genmodels.metrics.features import to_bytes

BETAS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # exponents of the scales, the finest first (Wang et al. 2003)
WINDOW = 11  # pixels in a row
PAIRS = 512  # pairs compared at a time


def scales_that_fit(height: int, width: int) -> int:
    """How many of the five scales, each half the size of the one before, the window of 11 pixels fits in."""
    # torchmetrics asks for 11 pixels at 1 / (scales - 1)^2 of the size, which for four scales is a little more.
    return sum(
        min(height, width) // max(2 ** (scales - 1), (scales - 1) ** 2) >= WINDOW for scales in range(1, len(BETAS) + 1)
    )


class PairSimilarity(Metric):
    """Multi-scale structural similarity of pairs of images, in the mean: high where a generator lacks diversity.

    Odena et al. 2017 judge diversity by it, Wang et al. 2003 define it. It has five scales of a window of 11 pixels; of
    these as many are taken as fit, one from 11 pixels on, two from 22, three from 44, and their exponents made to sum
    to 1. So only figures of images of one size compare. A negative similarity counts as 0. Each image is in one pair.

    Args:
        kwargs: those of `torchmetrics.Metric`.

    `compute` gives {"ms_ssim": scalar} in [0, 1]; 1 for images that are all alike. Raises GenmodelsError for images of
    fewer than 11 pixels or of two shapes, and in `compute` for fewer than 2 of them.
    """

    is_differentiable = False
    full_state_update = False
    higher_is_better = False
    images: list[Tensor]

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("images", [], dist_reduce_fx="cat")

    def update(self, images: Tensor) -> None:
        """Adds images (N, C, H, W), float in [0, 1]."""
        kept = to_bytes(images)
        if not scales_that_fit(*images.shape[-2:]):
            raise GenmodelsError(
                f"{type(self).__name__}: images are {tuple(images.shape[1:])}; expected {WINDOW} pixels or more."
            )
        if len(self.images) and self.images[0].shape[1:] != kept.shape[1:]:
            shapes = f"{tuple(self.images[0].shape[1:])} and {tuple(kept.shape[1:])}"
            raise GenmodelsError(f"{type(self).__name__}: images are {shapes}; expected the same.")
        self.images.append(kept)

    def compute(self) -> dict[str, Tensor]:
        """The mean over the pairs of all images collected."""
        images = dim_zero_cat(self.images) if len(self.images) else torch.empty(0, 1, 0, 0)
        if len(images) < 2:
            raise GenmodelsError(f"{type(self).__name__}: {len(images)} images; expected 2 or more.")
        scales = scales_that_fit(*images.shape[-2:])
        betas = tuple(beta / sum(BETAS[:scales]) for beta in BETAS[:scales])
        # Always in the same order: sets sorted by class would make pairs of one class.
        order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0)).to(images.device)
        pairs = order[: len(images) // 2 * 2].view(-1, 2)
        similarities = [
            multiscale_structural_similarity_index_measure(
                images[part[:, 0]] / 255, images[part[:, 1]] / 255, data_range=1.0, betas=betas, reduction="none"
            )
            for part in pairs.split(PAIRS)
        ]
        return {"ms_ssim": torch.cat(similarities).mean()}
