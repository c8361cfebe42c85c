"""How the units of a code are used."""

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric


class UnitActivity(Metric):
    """Mean, spread and use of each unit of a code over the images.

    `compute` returns a dict of (units,) tensors: "mean", "std" and "used", the share of the images at which the unit
    is not zero.

    Args:
        units: length of the code.
    """

    is_differentiable = False
    full_state_update = False
    images: Tensor
    total: Tensor
    squares: Tensor
    nonzero: Tensor

    def __init__(self, units: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("images", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        for name in ("total", "squares", "nonzero"):
            self.add_state(name, torch.zeros(units, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, codes: Tensor) -> None:
        """Adds codes (N, units)."""
        codes = codes.double()
        self.images += len(codes)
        self.total += codes.sum(0)
        self.squares += codes.square().sum(0)
        self.nonzero += (codes != 0).sum(0)

    def compute(self) -> dict[str, Tensor]:
        """The three; see the class."""
        mean = self.total / self.images
        variance = (self.squares / self.images - mean.square()).clamp_min(0)
        return {"mean": mean.float(), "std": variance.sqrt().float(), "used": (self.nonzero / self.images).float()}
