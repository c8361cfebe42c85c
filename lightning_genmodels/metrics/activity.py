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
    mean: Tensor
    deviations: Tensor
    nonzero: Tensor

    def __init__(self, units: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.units = units
        self.add_state("images", torch.zeros(1))
        for name in ("mean", "deviations", "nonzero"):
            self.add_state(name, torch.zeros(units))

    def update(self, codes: Tensor) -> None:
        """Adds codes (N, units)."""
        codes = codes.float()
        share = len(codes) / (self.images + len(codes)).clamp_min(1)
        moved = codes.mean(0) - self.mean if len(codes) else torch.zeros_like(self.mean)
        # Squared deviations from the mean so far (Chan et al. 1979): float32 suffices, where sums of squares would not.
        self.deviations += (codes - self.mean - moved).square().sum(0) + moved.square() * share * self.images
        self.mean += moved * share
        self.images += len(codes)
        self.nonzero += (codes != 0).sum(0)

    def compute(self) -> dict[str, Tensor]:
        """The three; see the class."""
        # A row for each process.
        images = self.images.view(-1, 1)
        means, deviations, nonzero = (s.view(-1, self.units) for s in (self.mean, self.deviations, self.nonzero))
        total = images.sum()
        mean = (images * means).sum(0) / total
        variance = (deviations + images * (means - mean).square()).sum(0) / total
        return {"mean": mean, "std": variance.sqrt(), "used": nonzero.sum(0) / total}
