import math

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from torch import nn
from torchmetrics.image.fid import FrechetInceptionDistance

from lightning_genmodels import GenmodelsError
from lightning_genmodels.metrics import FrechetDistance, KernelDistance
from lightning_genmodels.metrics.frechet import BLOCK, frechet_distance, polynomial_mmd


def draw(n, seed=0, *, spread=1.0, shape=(1, 2, 2), offset=0.0):
    return offset + spread * torch.randn(n, *shape, generator=torch.Generator().manual_seed(seed))


def with_moments(n, mean, factor, seed=0):
    """n images (D, 1, 1) whose mean is exactly `mean` and whose covariance (of n - 1) exactly factor factor'."""
    points = torch.randn(n, len(mean), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    points -= points.mean(0)
    white = points @ torch.linalg.inv(torch.linalg.cholesky(points.T.cov())).T
    return (white @ factor.T + mean)[:, :, None, None]


def score(metric, real, fake, parts=1):
    for images, is_real in ((real, True), (fake, False)):
        for part in images.tensor_split(parts):
            metric.update(part, real=is_real)
    return {name: value.item() for name, value in metric.compute().items()}


def fid(real, fake, parts=1):
    return score(FrechetDistance("pixels"), real, fake, parts)["fid_pixels"]


def kid(real, fake, parts=1):
    return score(KernelDistance("pixels"), real, fake, parts)["kid_pixels"]


def gaussians(size=6):
    generator = torch.Generator().manual_seed(3)
    one, other = torch.randn(2, size, size, generator=generator, dtype=torch.float64)
    mean = torch.randn(size, generator=generator, dtype=torch.float64)
    return mean, one, torch.zeros_like(mean), other


def by_definition(mean, covariance, other_mean, other_covariance):
    root = sqrtm((covariance @ other_covariance).numpy())
    traces = (covariance + other_covariance).trace().item() - 2 * np.trace(root).real
    return (mean - other_mean).square().sum().item() + traces


def test_distance_of_gaussians_is_that_of_the_formula():
    mean, one, other_mean, other = gaussians()
    moments = (mean, one @ one.T, other_mean, other @ other.T)
    assert frechet_distance(*moments).item() == pytest.approx(by_definition(*moments), rel=1e-9)


def test_distance_of_images_is_that_of_their_means_and_covariances():
    mean, one, other_mean, other = gaussians()
    expected = by_definition(mean, one @ one.T, other_mean, other @ other.T)
    found = fid(with_moments(50, mean, one), with_moments(40, other_mean, other, seed=1), parts=3)
    assert found == pytest.approx(expected, rel=1e-5)


def test_distance_of_gaussians_along_the_axes_has_a_closed_form():
    mean, spreads = torch.tensor([1.0, -2.0, 0.5]).double(), torch.tensor([0.5, 2.0, 1.0]).double()
    real = with_moments(30, torch.zeros(3).double(), torch.eye(3).double())
    # |m|^2 + sum of (s - 1)^2.
    assert fid(real, with_moments(30, mean, spreads.diag(), seed=1)) == pytest.approx(5.25 + 0.25 + 1, rel=1e-5)


def test_distance_on_a_line_is_exact_where_the_covariance_has_no_inverse():
    real = with_moments(30, torch.zeros(3).double(), torch.diag(torch.tensor([1.0, 0, 0]).double()))
    fake = with_moments(30, torch.zeros(3).double(), torch.diag(torch.tensor([0, 3.0, 0]).double()), seed=1)
    assert fid(real, fake) == pytest.approx(1 + 9, rel=1e-5)


@pytest.mark.parametrize("n", [2, 5, 300])
@pytest.mark.parametrize("offset", [0.0, 1000.0])
def test_images_are_not_far_from_themselves(n, offset):
    images = draw(n, shape=(1, 5, 5), offset=offset)
    assert 0 <= fid(images, images.flip(0)) < 1e-6


def test_images_of_one_distribution_are_near_and_others_are_not():
    near = fid(draw(2000), draw(2000, 1))
    assert near < 0.05 < fid(draw(2000), draw(2000, 1, spread=0.5)) == pytest.approx(4 * 0.25, abs=0.1)


def test_the_distance_is_torchmetrics_own():
    class Pixels(nn.Module):
        num_features = 12

        def forward(self, images):
            return images.flatten(1)

    real, fake = draw(40, shape=(3, 2, 2)), draw(60, 1, shape=(3, 2, 2), spread=0.7, offset=0.3)
    theirs = FrechetInceptionDistance(Pixels(), normalize=True, input_img_size=(3, 2, 2))
    theirs.update(real, real=True)
    theirs.update(fake, real=False)
    assert fid(real, fake) == pytest.approx(theirs.compute().item(), rel=1e-5)


def test_the_distance_does_not_depend_on_the_batches_or_on_which_is_real():
    real, fake = draw(50), draw(40, 1, spread=0.5)
    whole = fid(real, fake)
    assert fid(real, fake, parts=7) == pytest.approx(whole, rel=1e-6)
    assert fid(fake, real) == pytest.approx(whole, rel=1e-6)


def test_the_states_are_sums_in_float64_that_do_not_grow():
    metric = FrechetDistance("digits")
    sizes = []
    for _ in range(3):
        metric.update(torch.rand(5, 1, 28, 28), real=True)
        states = [getattr(metric, name) for name in metric._defaults]
        assert all(state.dtype == torch.float64 for state in states)
        sizes.append(sum(state.numel() for state in states))
    assert sizes == [2 * (1 + 128 + 128**2)] * 3


@pytest.mark.parametrize("build", [FrechetDistance, KernelDistance])
def test_reset_forgets_the_images_before(build):
    metric = build("pixels")
    score(metric, draw(30), draw(30, 1, offset=5.0))
    metric.reset()
    # Of another size, too.
    real, fake = draw(30, shape=(1, 3, 3)), draw(20, 1, shape=(1, 3, 3))
    assert score(metric, real, fake) == score(build("pixels"), real, fake)


@pytest.mark.parametrize("build", [FrechetDistance, KernelDistance])
@pytest.mark.parametrize(
    ("n_real", "n_fake", "named"), [(1, 9, "1 real"), (9, 1, "1 generated"), (9, 0, "0 generated"), (0, 0, "0 real")]
)
def test_fewer_than_two_images_are_an_error(build, n_real, n_fake, named):
    metric = build("pixels")
    metric.update(draw(n_real), real=True)
    metric.update(draw(n_fake), real=False)
    with pytest.raises(GenmodelsError, match=f"^{build.__name__}: {named} images; expected 2 or more\\.$"):
        metric.compute()


def mmd_by_definition(x, y):
    # Bińkowski et al. 2018, one pair at a time.
    x, y = x.double().flatten(1).tolist(), y.double().flatten(1).tolist()

    def kernel(a, b):
        return (sum(p * q for p, q in zip(a, b, strict=True)) / len(a) + 1) ** 3

    within = [
        sum(kernel(z[i], z[j]) for i in range(len(z)) for j in range(len(z)) if i != j) / (len(z) * (len(z) - 1))
        for z in (x, y)
    ]
    return sum(within) - 2 * sum(kernel(a, b) for a in x for b in y) / (len(x) * len(y))


@pytest.mark.parametrize(("n", "m"), [(2, 2), (12, 12), (15, 8), (3, 20)])
def test_kernel_distance_is_that_of_a_loop_over_the_definition(n, m):
    real, fake = draw(n), draw(m, 1, spread=0.5, offset=0.3)
    assert kid(real, fake) == pytest.approx(mmd_by_definition(real, fake), rel=1e-5, abs=1e-6)


def test_kernel_distance_is_not_biased():
    found = [kid(draw(20, seed), draw(20, 1000 + seed)) for seed in range(400)]
    error = np.std(found) / math.sqrt(len(found))
    assert abs(np.mean(found)) < 3 * error
    assert error < 0.02 < kid(draw(500), draw(500, 1, offset=0.5))
    assert min(found) < 0 < max(found)


@pytest.mark.parametrize(("n", "m", "blocks"), [(2 * BLOCK, 2 * BLOCK, 2), (BLOCK, BLOCK, 1), (BLOCK + 1, 7, 2)])
def test_kernel_distance_of_many_is_the_mean_over_blocks_that_hold_every_image_once(n, m, blocks, monkeypatch):
    seen = []

    def spy(x, y):
        seen.append((x, y))
        return polynomial_mmd(x, y)

    monkeypatch.setattr("lightning_genmodels.metrics.frechet.polynomial_mmd", spy)
    real, fake = draw(n, shape=(1, 1, 2)), draw(m, 1, shape=(1, 1, 2), spread=0.5)
    found = kid(real, fake)
    assert len(seen) == blocks
    assert all(2 <= len(points) <= BLOCK for pair in seen for points in pair)
    for side, images in enumerate((real, fake)):
        kept = torch.cat([pair[side] for pair in seen])
        assert torch.equal(kept.sort(0).values, images.flatten(1).double().sort(0).values)
    assert found == pytest.approx(np.mean([polynomial_mmd(x, y).item() for x, y in seen]), rel=1e-5)


def test_kernel_distance_of_two_against_many_has_one_block():
    assert math.isfinite(kid(draw(2 * BLOCK), draw(2, 1)))


def test_blocks_of_a_sorted_set_are_of_the_whole_set():
    real = torch.cat([draw(BLOCK, 0, offset=-3.0), draw(BLOCK, 1, offset=3.0)])
    fake = torch.cat([draw(BLOCK, 2, offset=3.0), draw(BLOCK, 3, offset=-3.0)])
    # In their own order each block would be one half against the other.
    assert abs(kid(real, fake)) < 10
    assert kid(real[:BLOCK], fake[:BLOCK]) > 1000


def test_kernel_distance_draws_nothing_from_the_global_generator():
    state = torch.get_rng_state()
    first = kid(draw(1500), draw(1500, 1))
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(1)
    assert kid(draw(1500), draw(1500, 1)) == first
