"""How far the features of generated images lie from those of real ones, as distributions."""

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from lightning_genmodels.errors import GenmodelsError
from lightning_genmodels.metrics.collection import RealAgainstFake
from lightning_genmodels.metrics.features import FeaturesName, check_features, features_of

BLOCK = 1000  # images whose kernel matrix is held at a time, and the published size of KID's subsets


def _root(covariance: Tensor) -> Tensor:
    """The symmetric square root of a positive semi-definite matrix."""
    values, vectors = torch.linalg.eigh(covariance)
    root: Tensor = vectors * values.clamp_min(0).sqrt() @ vectors.T
    return root


def frechet_distance(mean: Tensor, covariance: Tensor, other_mean: Tensor, other_covariance: Tensor) -> Tensor:
    """|m - m'|^2 + tr(S + S' - 2 (S S')^(1/2)) of two Gaussians, a scalar (Dowson and Landau 1982).

    Args:
        mean: (F,), in float64 as the others: roots of near-zero eigenvalues lose half the digits.
        covariance: (F, F).
        other_mean: (F,).
        other_covariance: (F, F).
    """
    # The root's trace is the sum of the singular values of S^(1/2) S'^(1/2), which are found without complex numbers.
    common = torch.linalg.svdvals(_root(covariance) @ _root(other_covariance)).sum()
    distance: Tensor = (mean - other_mean).square().sum() + covariance.trace() + other_covariance.trace() - 2 * common
    return distance.clamp_min(0)


class FrechetDistance(Metric):
    """Fréchet distance between Gaussians fitted to the features of real and of generated images (Heusel et al. 2017).

    Its name says by which features: only with "inception" is it the published FID, and only a distance between as many
    images compares with another.

    Args:
        features: "digits", what the packaged classifier of MNIST's digits sees; "inception", which needs the package
            torch-fidelity and a download; "pixels", of small images: its memory is the square of their pixels.
        kwargs: those of `torchmetrics.Metric`.

    `compute` gives {"fid_digits": scalar}, 0 or more. Only sums are kept, in float64. Raises GenmodelsError for an
    option out of its range and, in `compute`, for fewer than 2 real or generated images.
    """

    is_differentiable = False
    full_state_update = False
    higher_is_better = False
    real_products: Tensor

    def __init__(self, features: FeaturesName = "digits", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_features(self, features)
        self.features = features
        for kind in ("real", "fake"):
            self.add_state(f"{kind}_count", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
            # As long as the features once there are some.
            self.add_state(f"{kind}_sum", torch.zeros(1, dtype=torch.float64), dist_reduce_fx="sum")
            self.add_state(f"{kind}_products", torch.zeros(1, 1, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, images: Tensor, real: bool) -> None:
        """Adds images (N, C, H, W), float in [0, 1], to the real or to the generated ones."""
        features = features_of(images, self.features).double()
        if len(self.real_products) not in (1, features.shape[1]):
            raise GenmodelsError(
                f"{type(self).__name__}: images of {features.shape[1]} pixels after images of "
                f"{len(self.real_products)}; expected the same."
            )
        for kind, rows in (("real", features if real else features[:0]), ("fake", features[:0] if real else features)):
            # Nothing is added to the other kind but a shape: processes can only sum tensors of one shape.
            for name, value in (("count", len(rows)), ("sum", rows.sum(0)), ("products", rows.T @ rows)):
                setattr(self, f"{kind}_{name}", getattr(self, f"{kind}_{name}") + value)

    def compute(self) -> dict[str, Tensor]:
        """The distance over all images."""
        gaussians = []
        for kind, name in (("real", "real"), ("fake", "generated")):
            count, total, products = (getattr(self, f"{kind}_{part}") for part in ("count", "sum", "products"))
            if count < 2:
                raise GenmodelsError(f"{type(self).__name__}: {count:.0f} {name} images; expected 2 or more.")
            mean = total / count
            gaussians += [mean, (products - count * mean.outer(mean)) / (count - 1)]
        return {f"fid_{self.features}": frechet_distance(*gaussians).float()}


def polynomial_mmd(x: Tensor, y: Tensor) -> Tensor:
    """Unbiased squared maximum mean discrepancy of the kernel (x y / F + 1)^3, a scalar (Bińkowski et al. 2018).

    Args:
        x: (N, F), N at least 2.
        y: (M, F), M at least 2.
    """
    xx, yy, xy = (((a @ b.T) / x.shape[1] + 1) ** 3 for a, b in ((x, x), (y, y), (x, y)))
    within = [(k.sum() - k.trace()) / (len(k) * (len(k) - 1)) for k in (xx, yy)]
    return within[0] + within[1] - 2 * xy.mean()


class KernelDistance(RealAgainstFake):
    """Kernel distance between the features of real and of generated images, KID (Bińkowski et al. 2018).

    The mean of the unbiased estimate over blocks of about 1,000 images; nothing is drawn by chance. Each image is in
    one block, and it may be negative where both sets are of one distribution. Its name says by which features: only
    with "inception" is it the published KID.

    Args:
        features: "digits", what the packaged classifier of MNIST's digits sees; "inception", which needs the package
            torch-fidelity and a download; "pixels", the images as they are.
        kwargs: those of `torchmetrics.Metric`.

    `compute` gives {"kid_digits": scalar}. Raises GenmodelsError for an option out of its range and, in `compute`, for
    fewer than 2 real or generated images.
    """

    higher_is_better = False

    def __init__(self, features: FeaturesName = "digits", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_features(self, features)
        self.features = features

    def keep(self, images: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, F)."""
        return features_of(images, self.features)

    def compute(self) -> dict[str, Tensor]:
        """The distance over all images collected."""
        real, fake = self.collected(2, "2 or more")
        # As many blocks of either, all of 2 images or more, the larger set's of 1,000 at most where that can be.
        blocks = min(-(-max(len(real), len(fake)) // BLOCK), min(len(real), len(fake)) // 2)
        mixed = (_mixed(points).tensor_split(blocks) for points in (real, fake))
        distances = [polynomial_mmd(x.double(), y.double()) for x, y in zip(*mixed, strict=True)]
        return {f"kid_{self.features}": torch.stack(distances).mean().float()}


def _mixed(points: Tensor) -> Tensor:
    """Rows in an order that is always the same: a set sorted by class would make blocks of one class."""
    order = torch.randperm(len(points), generator=torch.Generator().manual_seed(0))
    return points[order.to(points.device)]
