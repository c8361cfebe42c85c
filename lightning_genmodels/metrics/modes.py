"""Which modes of the data generated images reach. K modes; N images."""

import math
from collections.abc import Sequence
from typing import Any, Literal, get_args

import torch
from torch import Tensor
from torchmetrics import Metric

from lightning_genmodels.errors import GenmodelsError
from lightning_genmodels.metrics.features import digit_logits

ModesName = Literal["digits", "stacked_digits", "centres"]
CONFIDENCE = 0.9  # of the classifier, above which we call a digit one of high quality
DEVIATIONS = 3  # of a Gaussian, within which Srivastava et al. 2017 call a point one of high quality


class ModeCoverage(Metric):
    """Modes found, evenness of the modes and quality (Srivastava et al. 2017 and Lin et al. 2018).

    With "digits" and "stacked_digits" the packaged classifier of MNIST's digits says which mode an image is of: its
    class, or the three classes of its channels, each for itself. High quality is then a choice of ours: the least of
    the softmax's greatest values, one a channel, is above .9. It tells a digit that could be two, not whether an image
    is a digit at all: of noise the classifier may be sure as well.

    With "centres" the modes are Gaussians in the plane, and images (N, 2, 1, 1) in [0, 1] are points of the square from
    -extent to extent. A point within 3 sigma of the nearest centre is of high quality, and only such points count for
    the modes; for real ones their share is 1 - exp(-4.5) = .989.

    With "probabilities" the modes are classes by a classifier of your own: what is added is its softmax (N, K), and
    high quality is a greatest value above .9.

    Args:
        by: what the modes are: "digits" (10), "stacked_digits" (1000), "centres" or "probabilities".
        centres: (x, y) of each mode. These three are for "centres", which needs them.
        sigma: standard deviation of each mode along each axis.
        extent: half a side of the square.
        classes: K, for "probabilities", which needs it.
        kwargs: those of `torchmetrics.Metric`.

    `compute` gives scalars, by the packaged classifier "modes_digits", "mode_kl_digits" and "high_quality_digits", else
    "modes", "mode_kl" and "high_quality": how many modes have an image; the divergence KL(p || uniform) in
    nats, p the share of each mode, from 0 to ln K, which it is also where no image counts; a share in [0, 1]. And
    with "centres" "mode_spread", the median over modes found of the high-quality points' standard deviation along an
    axis (both axes together), divided by sigma, and "mode_spread_min" and "mode_spread_max", of the narrowest and the
    widest mode: .974 for real points, whose tails are cut off; 0 for points that are all alike or where no mode was
    found. As only points within 3 sigma count, it tells modes that are too narrow, but hardly those that are too wide:
    at 1.5 times the width it is 1.24. Raises GenmodelsError for options that do not fit and, in `update`, for
    images that do not; in `compute`, for no images.
    """

    is_differentiable = False
    full_state_update = False
    counts: Tensor
    high: Tensor
    total: Tensor
    sums: Tensor
    squares: Tensor
    centres: Tensor

    def __init__(
        self,
        by: ModesName | Literal["probabilities"] = "digits",
        centres: Sequence[tuple[float, float]] | Tensor | None = None,
        sigma: float | None = None,
        extent: float | None = None,
        classes: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        name = type(self).__name__
        known = [*get_args(ModesName), "probabilities"]
        if by not in known:
            raise GenmodelsError(f"{name}: by is {by!r}; expected one of {known}.")
        for option, value, owner in (
            ("centres", centres, "centres"),
            ("sigma", sigma, "centres"),
            ("extent", extent, "centres"),
            ("classes", classes, "probabilities"),
        ):
            if (value is None) == (by == owner):
                raise GenmodelsError(
                    f"{name}: by is {by!r} and {option} is {value}; expected {option} with {owner!r} and only there."
                )
        if classes is not None and classes < 1:
            raise GenmodelsError(f"{name}: classes is {classes}; expected 1 or more.")
        self.by = by
        self.sigma = sigma
        self.extent = extent
        modes = {"digits": 10, "stacked_digits": 1000}.get(by, classes or 0)
        if centres is not None:
            self._check_plane(name)
            places = torch.as_tensor(centres, dtype=torch.float32)
            if places.ndim != 2 or places.shape[1] != 2 or not len(places):
                raise GenmodelsError(f"{name}: centres are {tuple(places.shape)}; expected (modes, 2).")
            self.register_buffer("centres", places, persistent=False)
            modes = len(places)
            # Of what separates high-quality points from their centres, in sigmas.
            self.add_state("sums", torch.zeros(modes, 2), dist_reduce_fx="sum")
            self.add_state("squares", torch.zeros(modes, 2), dist_reduce_fx="sum")
        self.add_state("counts", torch.zeros(modes, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("high", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("total", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def _check_plane(self, name: str) -> None:
        for option in ("sigma", "extent"):
            value = getattr(self, option)
            if not 0 < value < math.inf:
                raise GenmodelsError(f"{name}: {option} is {value}; expected a finite number above 0.")

    def update(self, images: Tensor) -> None:
        """Adds images in [0, 1]: (N, C, H, W), (N, 3, H, W) with "stacked_digits", (N, 2, 1, 1) with "centres".

        With "probabilities" they are what a classifier made of images, (N, K) in [0, 1].
        """
        expected = {"stacked_digits": ("(N, 3, H, W)", images.shape[1:2] == (3,)),
                    "centres": ("(N, 2, 1, 1)", images.shape[1:] == (2, 1, 1)),
                    "probabilities": (f"(N, {len(self.counts)})", images.shape[1:] == self.counts.shape)}  # fmt: skip
        shape, fits = expected.get(self.by, ("(N, C, H, W)", images.ndim == 4))
        if not fits:
            raise GenmodelsError(
                f"{type(self).__name__}: images are {tuple(images.shape)} for the modes {self.by!r}; expected {shape}."
            )
        self.total += len(images)
        if self.by == "centres":
            self._update_points(images.float().flatten(1))
            return
        if self.by == "probabilities":
            if not ((images >= 0) & (images <= 1)).all():
                raise GenmodelsError(f"{type(self).__name__}: probabilities reach beyond [0, 1]; expected a softmax.")
            confidence, mode = images.max(1)
        elif self.by == "digits":
            confidence, mode = digit_logits(images).softmax(1).max(1)
        else:
            confidences, digits = digit_logits(images.flatten(0, 1)[:, None]).softmax(1).max(1)
            confidence = confidences.view(-1, 3).amin(1)
            mode = (digits.view(-1, 3) * digits.new_tensor([100, 10, 1])).sum(1)  # no product of whole numbers on GPUs
        self.counts += mode.bincount(minlength=len(self.counts))
        self.high += (confidence > CONFIDENCE).sum()

    def _update_points(self, unit: Tensor) -> None:
        """Adds (N, 2) points of the unit square."""
        assert self.sigma is not None
        assert self.extent is not None
        points = (2 * unit - 1) * self.extent
        offsets = (points[:, None] - self.centres) / self.sigma  # (N, K, 2)
        distance, mode = offsets.norm(dim=2).min(1)
        chosen = distance <= DEVIATIONS
        mode = mode[chosen]
        offset = offsets[chosen].gather(1, mode[:, None, None].expand(-1, 1, 2)).squeeze(1)
        self.high += len(mode)
        self.counts += mode.bincount(minlength=len(self.counts))
        self.sums.index_add_(0, mode, offset)
        self.squares.index_add_(0, mode, offset.square())

    def compute(self) -> dict[str, Tensor]:
        """The figures over all images."""
        if not self.total:
            raise GenmodelsError(f"{type(self).__name__}: 0 images; expected 1 or more.")
        found = self.counts > 0
        shares = self.counts / self.counts.sum().clamp_min(1)
        scores = {
            "modes": found.sum().float(),
            "mode_kl": (math.log(len(shares)) - torch.special.entr(shares).sum()).clamp_min(0),
            "high_quality": self.high / self.total,
        }
        if self.by in ("digits", "stacked_digits"):
            return {f"{name}_digits": value for name, value in scores.items()}
        if self.by == "centres":
            n = self.counts[found, None]
            variance = self.squares[found] / n - (self.sums[found] / n).square()
            spreads = variance.clamp_min(0).mean(1).sqrt()
            for name, quantile in (("mode_spread_min", 0.0), ("mode_spread", 0.5), ("mode_spread_max", 1.0)):
                scores[name] = spreads.quantile(quantile) if len(spreads) else shares.new_zeros(())
        return scores
