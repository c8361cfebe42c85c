"""What scores of real against generated images have in common."""

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from lightning_genmodels.errors import GenmodelsError


def process_share(count: int, rank: int, world_size: int) -> int:
    """How many of `count` images the process of that rank scores, so that all together score `count`."""
    return count // world_size + (rank < count % world_size)


class RealAgainstFake(Metric):
    """Keeps what real and generated images are compared by, over all processes; not used by itself."""

    is_differentiable = False
    full_state_update = False
    real: list[Tensor]
    fake: list[Tensor]

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("real", [], dist_reduce_fx="cat")
        self.add_state("fake", [], dist_reduce_fx="cat")

    @abstractmethod
    def keep(self, images: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, ...), what is kept of images."""

    def update(self, images: Tensor, real: bool) -> None:
        """Adds images (N, C, H, W), float in [0, 1], to the real or to the generated ones."""
        (self.real if real else self.fake).append(self.keep(images))

    def collected(self, least: int, expected: str) -> tuple[Tensor, Tensor]:
        """What was kept of the real and of the generated images, or GenmodelsError for fewer than `least` of either."""
        both = []
        for name, parts in (("real", self.real), ("generated", self.fake)):
            kept = dim_zero_cat(parts) if len(parts) else torch.empty(0)
            if len(kept) < least:
                raise GenmodelsError(f"{type(self).__name__}: {len(kept)} {name} images; expected {expected}.")
            both.append(kept)
        if both[0].shape[1:] != both[1].shape[1:]:
            shapes = " and ".join(str(tuple(kept.shape[1:])) for kept in both)
            raise GenmodelsError(f"{type(self).__name__}: real and generated images are {shapes}; expected the same.")
        return both[0], both[1]
