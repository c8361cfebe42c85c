"""Errors of depth maps."""

from typing import Any, Literal

import torch
from torch import Tensor
from torchmetrics import Metric

from lightning_genmodels.errors import GenmodelsError

DepthCropName = Literal["none", "eigen", "garg"]
# Top, bottom, left and right of the part that is scored, as shares of height and width.
CROPS: dict[str, tuple[float, float, float, float]] = {
    "none": (0.0, 1.0, 0.0, 1.0),
    "eigen": (45 / 480, 471 / 480, 41 / 640, 601 / 640),  # NYU (Eigen et al. 2014)
    "garg": (0.40810811, 0.99189189, 0.03594771, 0.96405229),  # KITTI (Garg et al. 2016)
}
NEAREST = 1e-3  # metres
NAMES = ("rel", "log10", "rms", "rmslog", "silog", "delta1", "delta2", "delta3")


class DepthErrors(Metric):
    """Errors of predicted depth, of each image over the pixels that have a measurement, in the mean over images.

    With p the prediction, clamped to 1 mm and `cap`, and y the measurement: `rel` E |p - y| / y, `log10`
    E |log10 p - log10 y|, `rms` the root of E (p - y)^2 in metres, `rmslog` that of the natural logarithms, `silog`
    100 times the standard deviation of their difference, and `delta1` to `delta3` the share of pixels whose
    max(p / y, y / p) is below 1.25, 1.25^2 and 1.25^3 (Eigen et al. 2014).

    Args:
        cap: in metres; measurements beyond it do not count. 10 for NYU, 80 for KITTI.
        crop: the part of the image that is scored: "none", all; "eigen", of NYU; "garg", of KITTI.
        kwargs: those of `torchmetrics.Metric`.

    `compute` gives a dict of scalars. Raises GenmodelsError for an option out of its range; in `update`, for maps of
    different shapes; in `compute`, where no image has a measurement.
    """

    is_differentiable = False
    full_state_update = False
    higher_is_better = False
    sums: Tensor
    count: Tensor

    def __init__(self, cap: float = 10.0, crop: DepthCropName = "none", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not cap > NEAREST:
            raise GenmodelsError(f"DepthErrors: cap is {cap}; expected above {NEAREST} metres.")
        if crop not in CROPS:
            raise GenmodelsError(f"DepthErrors: crop is {crop!r}; expected one of {', '.join(CROPS)}.")
        self.cap = cap
        self.crop = crop
        self.add_state("sums", torch.zeros(len(NAMES)), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.long), dist_reduce_fx="sum")

    def update(self, prediction: Tensor, target: Tensor) -> None:
        """Adds depth maps (N, 1, H, W) in metres, and measurements of the same shape, 0 where there is none."""
        if prediction.shape != target.shape or target.ndim != 4:
            raise GenmodelsError(
                f"DepthErrors: prediction is {tuple(prediction.shape)} and target {tuple(target.shape)}; expected both "
                "(N, 1, H, W)."
            )
        height, width = target.shape[-2:]
        top, bottom, left, right = CROPS[self.crop]
        part = (
            ...,
            slice(int(top * height), int(bottom * height)),  # as published, cut off and not rounded
            slice(int(left * width), int(right * width)),
        )
        for p, y in zip(prediction[part].float(), target[part].float(), strict=True):
            valid = (y > 0) & (y <= self.cap)
            if valid.any():
                self.sums += self._errors(p[valid].clamp(NEAREST, self.cap), y[valid].clamp_min(NEAREST))
                self.count += 1

    def _errors(self, p: Tensor, y: Tensor) -> Tensor:
        """(M,) predictions and measurements -> (8,) errors."""
        logarithms = p.log() - y.log()
        ratio = torch.maximum(p / y, y / p)
        return torch.stack([
            ((p - y).abs() / y).mean(),
            (p.log10() - y.log10()).abs().mean(),
            (p - y).square().mean().sqrt(),
            logarithms.square().mean().sqrt(),
            100 * logarithms.std(correction=0),
            *((ratio < 1.25**power).float().mean() for power in (1, 2, 3)),
        ])  # fmt: skip

    def compute(self) -> dict[str, Tensor]:
        """The means over all images with a measurement."""
        if not self.count:
            raise GenmodelsError("DepthErrors: no image has a measurement; expected one at least.")
        return dict(zip(NAMES, self.sums / self.count, strict=True))
