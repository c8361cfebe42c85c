import math

import numpy as np
import pytest
import scipy.ndimage
import torch
from torch.nn import functional

from lightning_genmodels import GenmodelsError
from lightning_genmodels.metrics import SlicedWasserstein
from lightning_genmodels.metrics.sliced_wasserstein import laplacian_pyramid, level_sizes, sliced_wasserstein


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def blobs(n, seed=0, channels=1, size=32, coarse=8):
    """Smooth random images."""
    rough = torch.rand(n, channels, coarse, coarse, generator=seeded(seed))
    return functional.interpolate(rough, (size, size), mode="bilinear", antialias=True)


def score(real, fake, **options):
    metric = SlicedWasserstein(**{"patches": 16, "directions": 64, **options})
    for images, is_real in ((real, True), (fake, False)):
        for part in images.tensor_split(2):
            metric.update(part, real=is_real)
    return {name: value.item() for name, value in metric.compute().items()}


@pytest.mark.parametrize("shift", [0.0, 0.7, -2.0])
@pytest.mark.parametrize("spread", [1.0, 3.0])
def test_distance_on_a_line_is_the_closed_form_of_gaussians(shift, spread):
    # Quantiles stand for draws. W1 of N(0, 1) and N(m, s^2) is E |m + (s - 1) Z|, a folded Gaussian's mean.
    quantiles = torch.special.ndtri((torch.arange(20_000).double() + 0.5) / 20_000).float()[:, None]
    other = (shift + spread * quantiles)[torch.randperm(20_000, generator=seeded())]
    width = spread - 1
    expected = abs(shift)
    if width:
        ratio = shift / width
        expected = width * math.sqrt(2 / math.pi) * math.exp(-(ratio**2) / 2) + shift * math.erf(ratio / math.sqrt(2))
    found = sliced_wasserstein(quantiles.clone(), other, torch.tensor([[1.0], [-1.0]]))
    assert found.item() == pytest.approx(expected, abs=2e-3)


def test_distance_of_shifted_points_is_the_mean_of_the_shift_along_the_directions():
    points, shift = torch.randn(500, 5, generator=seeded()), torch.randn(5, generator=seeded(1))
    directions = functional.normalize(torch.randn(37, 5, generator=seeded(2)))
    found = sliced_wasserstein(points, points.flip(0) + shift, directions)
    assert found.item() == pytest.approx((directions @ shift).abs().mean().item(), rel=1e-4)


def test_distance_leaves_the_points_as_they_are():
    points = torch.randn(50, 1, generator=seeded())
    kept = points.clone()
    sliced_wasserstein(points, points + 1, torch.ones(1, 1))
    assert torch.equal(points, kept)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((64, 64), [64, 32, 16]),
        ((128, 128), [128, 64, 32, 16]),
        ((28, 28), [28]),
        ((32, 48), [32, 16]),
        ((33, 33), [33]),
        ((50, 50), [50, 25]),
        ((16, 16), [16]),
        ((15, 40), []),
    ],
)
def test_levels_halve_down_to_16_pixels(size, expected):
    assert level_sizes(*size) == expected


def test_pyramid_is_the_one_that_scipy_builds():
    images = torch.rand(2, 3, 32, 48, generator=seeded())
    line = np.array([1, 4, 6, 4, 1]) / 16
    window = np.outer(line, line)[None, None]
    found = laplacian_pyramid(images, 3)
    gaussian, expected = images.double().numpy(), []
    for _ in range(2):
        half = scipy.ndimage.convolve(gaussian, window, mode="mirror")[..., ::2, ::2]
        spread = np.zeros_like(gaussian)
        spread[..., ::2, ::2] = half
        expected.append(gaussian - 4 * scipy.ndimage.convolve(spread, window, mode="mirror"))
        gaussian = half
    for level, other in zip(found, [*expected, gaussian], strict=True):
        np.testing.assert_allclose(level.numpy(), other, atol=1e-5)


def test_pyramid_of_an_even_grey_is_grey_at_the_bottom_alone():
    levels = laplacian_pyramid(torch.full((1, 1, 64, 64), 0.5), 3)
    assert [tuple(level.shape) for level in levels] == [(1, 1, s, s) for s in (64, 32, 16)]
    for level, value in zip(levels, (0, 0, 0.5), strict=True):
        torch.testing.assert_close(level, torch.full_like(level, value), rtol=0, atol=1e-6)


def test_scores_are_named_by_level_and_have_a_mean():
    found = score(blobs(20, size=64), blobs(20, 1, size=64))
    assert list(found) == ["swd_64", "swd_32", "swd_16", "swd"]
    assert found["swd"] == pytest.approx(sum(list(found.values())[:3]) / 3, rel=1e-5)


def test_score_is_the_distance_of_the_patches_of_both_sets_normalised():
    # With as many patches as there are places for 16 images of 7 + 9 pixels, drawn patches are near all patches.
    real, fake = blobs(300, size=16), blobs(300, 1, size=16, coarse=4)

    def patches(images):
        images = (images * 255).round()
        all_patches = functional.unfold(images, 7).transpose(1, 2).reshape(-1, 49)
        return (all_patches - all_patches.mean()) / all_patches.std(correction=0)

    directions = functional.normalize(torch.randn(512, 49, generator=seeded(5)))
    expected = 1000 * sliced_wasserstein(patches(real), patches(fake), directions).item()
    assert score(real, fake, patches=100, directions=512)["swd_16"] == pytest.approx(expected, rel=0.05)


def test_images_of_one_distribution_are_near_and_noise_is_far():
    near = score(blobs(300), blobs(300, 1))
    far = score(blobs(300), torch.rand(300, 1, 32, 32, generator=seeded(2)))
    for name in near:
        assert near[name] < 40 < 3 * near[name] < far[name], (near, far)


def test_a_lack_of_detail_shows_at_the_finest_level_and_of_structure_at_the_coarsest():
    detailed = (blobs(300) + 0.1 * torch.randn(300, 1, 32, 32, generator=seeded(2))).clamp(0, 1)
    smooth = score(detailed, blobs(300, 1))
    assert smooth["swd_32"] > 2 * smooth["swd_16"]


def test_grey_images_score_as_the_same_ones_in_three_channels():
    real, fake = blobs(200), blobs(200, 1, coarse=4)
    grey = score(real, fake, directions=512)
    colour = score(real.expand(-1, 3, -1, -1), fake.expand(-1, 3, -1, -1), directions=512)
    assert colour == pytest.approx(grey, rel=0.1)


def test_channels_are_normalised_each_by_itself():
    real, fake = blobs(100, channels=3), blobs(100, 1, channels=3, coarse=4)
    darkened = torch.tensor([1.0, 0.2, 0.6]).view(3, 1, 1)
    assert score(real * darkened, fake * darkened) == pytest.approx(score(real, fake), rel=0.02)


def test_the_same_seed_gives_the_same_score_and_the_global_generator_is_left_alone():
    real, fake = blobs(20), blobs(20, 1)
    state = torch.get_rng_state()
    first = score(real, fake)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(7)
    assert score(real, fake) == first
    other = score(real, fake, seed=1)
    assert other != first
    assert other == pytest.approx(first, rel=0.3)


def test_more_images_than_are_taken_at_a_time_give_as_many_patches(monkeypatch):
    monkeypatch.setattr("lightning_genmodels.metrics.sliced_wasserstein.IMAGES", 7)
    real, fake = blobs(40), blobs(40, 1, coarse=4)
    parts = score(real, fake)
    monkeypatch.undo()
    assert parts == pytest.approx(score(real, fake), rel=0.2)


def test_images_that_are_all_black_are_no_division_by_zero():
    found = score(blobs(20), torch.zeros(20, 1, 32, 32))
    assert all(0 < value < 2000 for value in found.values())


def test_reset_forgets_the_images_before():
    metric = SlicedWasserstein(patches=4, directions=4)
    metric.update(blobs(3), real=True)
    metric.reset()
    metric.update(blobs(2, 1), real=True)
    metric.update(blobs(2, 2), real=False)
    assert metric.compute()["swd"] == pytest.approx(
        score(blobs(2, 1), blobs(2, 2), patches=4, directions=4)["swd"], rel=1e-6
    )


@pytest.mark.parametrize(
    ("real", "fake", "message"),
    [
        ((1, 1, 32, 32), (9, 1, 32, 32), "1 real images; expected 2 or more"),
        ((9, 1, 32, 32), (0, 1, 32, 32), "0 generated images; expected 2 or more"),
        (
            (9, 1, 32, 32),
            (8, 1, 32, 32),
            r"real images are \(9, 1, 32, 32\) and generated ones \(8, 1, 32, 32\); "
            "expected as many, of the same shape",
        ),
        ((9, 1, 8, 8), (9, 1, 8, 8), r"images are \(1, 8, 8\); expected 16 pixels or more"),
    ],
)
def test_images_that_do_not_fit_are_named(real, fake, message):
    with pytest.raises(GenmodelsError, match=f"^SlicedWasserstein: {message}\\.$"):
        score(torch.rand(real), torch.rand(fake))


@pytest.mark.parametrize("option", ["patches", "directions"])
def test_bad_options_are_named(option):
    with pytest.raises(GenmodelsError, match=f"^SlicedWasserstein: {option} is 0; expected 1 or more\\.$"):
        SlicedWasserstein(**{option: 0})
