import math

import pytest
import torch
from sklearn.datasets import load_digits
from torch.nn import functional

from lightning_genmodels import GenmodelsError
from lightning_genmodels.metrics import ModeCoverage, modes

GRID = tuple((2.0 * i, 2.0 * j) for i in range(-2, 3) for j in range(-2, 3))
PLANE = {"by": "centres", "centres": GRID, "sigma": 0.05, "extent": 5.0}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def as_images(points, extent=5.0):
    return (points / extent + 1)[:, :, None, None] / 2


def mixture(n, *, centres=GRID, sigma=0.05, seed=0):
    which = torch.arange(n) % len(centres)
    return torch.tensor(centres)[which] + sigma * torch.randn(n, 2, generator=seeded(seed))


def plane(points, **options):
    return score(ModeCoverage(**{**PLANE, **options}), as_images(points))


def score(metric, images, parts=3):
    for part in images.tensor_split(parts):
        metric.update(part)
    return {name: value.item() for name, value in metric.compute().items()}


def scikit_digits(n):
    """Digits 0 to 9 over and over, laid out as MNIST's are."""
    images, labels = load_digits(return_X_y=True)
    images = torch.from_numpy(images).float().view(-1, 1, 8, 8) / 16
    images = functional.pad(functional.interpolate(images, (20, 20), mode="bicubic").clamp(0, 1), [4] * 4)
    kinds = [images[labels == digit] for digit in range(10)]
    return torch.stack([kinds[i % 10][i // 10] for i in range(n)])


@pytest.fixture
def classifier(monkeypatch):
    """Reads an image's class and its confidence in its first two pixels, so that figures can be closed forms."""

    def logits(images):
        label, confidence = (images[:, 0, 0, 0] * 10).round().long(), images[:, 0, 0, 1]
        found = ((1 - confidence) / 9)[:, None].repeat(1, 10)
        return found.scatter(1, label[:, None], confidence[:, None]).log()

    monkeypatch.setattr(modes, "digit_logits", logits)


def written(labels, confidence=0.95):
    """Images that the classifier above reads so: (N,) or (N, 3) labels."""
    labels = torch.as_tensor(labels)
    labels = labels[:, None] if labels.ndim == 1 else labels
    images = torch.zeros(*labels.shape, 28, 28)
    images[..., 0, 0] = labels / 10
    images[..., 0, 1] = torch.as_tensor(confidence)
    return images


# Points of Gaussians in the plane.


def test_real_points_find_every_mode_evenly_and_leave_a_gaussians_tails():
    found = plane(mixture(250_000))
    inside = math.exp(-4.5)
    assert found["modes"] == 25
    assert found["mode_kl"] == pytest.approx(0, abs=1e-4)
    assert found["high_quality"] == pytest.approx(1 - inside, abs=1e-3)
    # The variance of a Gaussian in the plane that is cut off at 3 sigma.
    assert found["mode_spread"] == pytest.approx(math.sqrt(1 - 4.5 * inside / (1 - inside)), abs=0.005)


def test_points_on_the_centres_have_no_spread():
    found = plane(torch.tensor(GRID * 40))
    spreads = dict.fromkeys(("mode_spread_min", "mode_spread", "mode_spread_max"), 0)
    assert found == pytest.approx({"modes": 25, "mode_kl": 0, "high_quality": 1, **spreads}, abs=1e-3)


def test_points_that_are_alike_beside_a_centre_have_no_spread():
    assert plane(torch.tensor([[0.1, 0.05]]).repeat(1000, 1))["mode_spread"] == pytest.approx(0, abs=0.01)


def test_uniform_noise_finds_as_many_modes_as_its_discs_are_hit():
    # 2,500 points on a square of side 10: a disc of 3 sigma has pi .15^2 / 100 of them, and 20.6 of 25 are hit.
    area = math.pi * 0.15**2 / 100
    runs = [plane(10 * torch.rand(2500, 2, generator=seeded(seed)) - 5) for seed in range(40)]
    found = {name: sum(run[name] for run in runs) / len(runs) for name in runs[0]}
    expected = 25 * (1 - (1 - area) ** 2500)
    assert expected == pytest.approx(20.6, abs=0.2)
    assert found["modes"] == pytest.approx(expected, abs=1)
    assert found["high_quality"] == pytest.approx(25 * area, abs=0.002)


def test_divergence_of_half_the_modes_is_the_logarithm_of_2():
    found = plane(mixture(48_000, centres=GRID[:12]), centres=GRID[:24])
    assert found["modes"] == 12
    assert found["mode_kl"] == pytest.approx(math.log(2), abs=1e-3)


def test_one_mode_alone_has_the_greatest_divergence():
    found = plane(mixture(2000, centres=GRID[7:8]))
    assert found["modes"] == 1
    assert found["mode_kl"] == pytest.approx(math.log(25), abs=1e-5)


@pytest.mark.parametrize("factor", [0.5, 1.5])
def test_spread_is_that_of_each_mode_in_sigmas(factor):
    # Cut off at 3 / factor standard deviations of its own.
    found = plane(mixture(50_000, sigma=0.05 * factor))["mode_spread"]
    half = (3 / factor) ** 2 / 2
    assert found == pytest.approx(factor * math.sqrt(1 - half * math.exp(-half) / (1 - math.exp(-half))), abs=0.01)


def test_spread_is_the_median_over_the_modes_found_and_the_mean_over_the_axes():
    one = torch.tensor([[0.1, 0.0], [-0.1, 0.0]])  # variances 4 and 0 in sigmas
    two = torch.tensor([[2.05, 0.05], [1.95, -0.05]])  # 1 and 1
    three = torch.tensor([[-2.0, 0.0]])
    assert plane(torch.cat([one, two]))["mode_spread"] == pytest.approx((math.sqrt(2) + 1) / 2, abs=1e-3)
    assert plane(torch.cat([one, two, three]))["mode_spread"] == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize(("distance", "good"), [(2.99, 1), (3.01, 0)])
def test_quality_is_high_within_3_sigma_of_the_nearest_centre(distance, good):
    for angle in (0.0, 1.0):
        point = 2 + 0.05 * distance * torch.tensor([[math.cos(angle), math.sin(angle)]])
        found = plane(point)
        assert (found["modes"], found["high_quality"]) == (good, good)


def test_only_points_of_high_quality_count_for_the_modes():
    good, bad = mixture(400, centres=GRID[:4]).clamp(-4.1, 4.1), torch.full((600, 2), 1.0)
    alone, mixed = plane(good), plane(torch.cat([good, bad]))
    assert (mixed["modes"], mixed["mode_kl"], mixed["mode_spread"]) == pytest.approx(
        (alone["modes"], alone["mode_kl"], alone["mode_spread"]), rel=1e-5
    )
    assert mixed["high_quality"] == pytest.approx(0.4 * alone["high_quality"], rel=1e-5)


def test_no_point_near_a_centre_is_the_worst_figure_and_no_division_by_zero():
    found = plane(torch.full((10, 2), 1.0))
    spreads = dict.fromkeys(("mode_spread_min", "mode_spread", "mode_spread_max"), 0)
    worst = {"modes": 0, "mode_kl": math.log(25), "high_quality": 0, **spreads}
    assert found == pytest.approx(worst, abs=1e-5)


def test_points_that_are_not_numbers_are_of_no_mode():
    assert plane(torch.full((10, 2), torch.nan))["high_quality"] == 0


@pytest.mark.parametrize("extent", [1.5, 5.0])
def test_images_are_mapped_to_the_square(extent):
    metric = ModeCoverage("centres", centres=[(-extent, extent), (0.0, 0.0)], sigma=0.01, extent=extent)
    corner, middle = torch.tensor([0.0, 1.0]), torch.tensor([0.5, 0.5])
    assert score(metric, torch.stack([corner, middle])[:, :, None, None])["modes"] == 2


def test_centres_may_be_a_tensor_and_move_with_the_metric():
    metric = ModeCoverage("centres", centres=torch.tensor(GRID), sigma=0.05, extent=5.0)
    assert score(metric, as_images(mixture(500))) == plane(mixture(500))
    assert ModeCoverage("centres", centres=GRID, sigma=0.05, extent=5.0).to("meta").centres.is_meta
    assert not metric.state_dict()


# Classes.


def test_half_the_classes_have_the_divergence_of_the_logarithm_of_2(classifier):
    found = score(ModeCoverage(), written([0, 2, 4, 6, 8] * 3))
    assert found == pytest.approx(
        {"modes_digits": 5, "mode_kl_digits": math.log(2), "high_quality_digits": 1}, abs=1e-5
    )


def test_divergence_is_that_of_the_shares(classifier):
    counts = (5, 3, 2)
    expected = sum(c / 10 * math.log(10 * c / 10) for c in counts)
    found = score(ModeCoverage(), written([4] * 5 + [7] * 3 + [9] * 2))
    assert found["mode_kl_digits"] == pytest.approx(expected, abs=1e-5)


def test_quality_of_a_class_is_high_where_the_classifier_is_sure_and_every_image_counts(classifier):
    found = score(ModeCoverage(), written([0, 1, 2, 3], torch.tensor([[0.95], [0.91], [0.89], [0.5]])))
    assert (found["modes_digits"], found["high_quality_digits"]) == (4, 0.5)


def test_stacked_digits_are_a_thousand_modes(classifier):
    labels = torch.cartesian_prod(*[torch.arange(10)] * 3)
    found = score(ModeCoverage("stacked_digits"), written(labels))
    assert found == pytest.approx({"modes_digits": 1000, "mode_kl_digits": 0, "high_quality_digits": 1}, abs=1e-5)


def test_a_stacks_mode_is_the_digits_of_its_channels_in_order(classifier):
    metric = ModeCoverage("stacked_digits")
    found = score(metric, written([[1, 2, 3], [3, 2, 1], [1, 2, 3]]))
    assert metric.counts.nonzero().flatten().tolist() == [123, 321]
    shares = [2 / 3, 1 / 3]
    assert found["mode_kl_digits"] == pytest.approx(sum(s * math.log(1000 * s) for s in shares), abs=1e-5)


def test_quality_of_a_stack_is_that_of_its_worst_channel(classifier):
    confidence = torch.tensor([[0.95, 0.95, 0.95], [0.95, 0.5, 0.95], [0.95, 0.95, 0.89]])
    assert score(ModeCoverage("stacked_digits"), written([[1, 2, 3]] * 3, confidence))["high_quality_digits"] == (
        pytest.approx(1 / 3)
    )


def test_digits_are_of_ten_modes_and_two_in_one_are_of_lower_quality():
    images = scikit_digits(500)
    real, both = score(ModeCoverage(), images), score(ModeCoverage(), (images + images.roll(1, 0)) / 2)
    assert real["modes_digits"] == 10
    assert real["mode_kl_digits"] < 0.05
    assert real["high_quality_digits"] > 0.8 > both["high_quality_digits"] + 0.1
    assert score(ModeCoverage(), images[:1].repeat(20, 1, 1, 1))["modes_digits"] == 1
    noise = torch.rand(500, 1, 28, 28, generator=seeded())
    assert score(ModeCoverage(), noise)["mode_kl_digits"] > 1


def test_stacks_of_digits_are_read_channel_by_channel():
    images = scikit_digits(300)
    stacks = torch.cat([images, images.roll(1, 0), images.roll(2, 0)], 1)
    found = score(ModeCoverage("stacked_digits"), stacks)
    # (d, d - 1, d - 2) are ten modes; a digit read wrongly makes three wrong ones.
    assert 10 <= found["modes_digits"] < 100
    assert found["mode_kl_digits"] == pytest.approx(math.log(100), abs=1)


def test_classes_of_a_users_own_classifier_are_the_greatest_probabilities():
    metric = ModeCoverage("probabilities", classes=4)
    metric.update(torch.tensor([[0.95, 0.05, 0, 0], [0.5, 0.3, 0.2, 0], [0, 0, 1, 0], [0, 0, 0.92, 0.08]]))
    assert {name: value.item() for name, value in metric.compute().items()} == pytest.approx(
        {"modes": 2, "mode_kl": math.log(2), "high_quality": 0.75}
    )
    with pytest.raises(GenmodelsError, match=r"images are \(2, 3\) for the modes 'probabilities'; expected \(N, 4\)"):
        metric.update(torch.rand(2, 3))
    for logits in (torch.full((2, 4), 1.5), torch.full((2, 4), torch.nan)):
        with pytest.raises(GenmodelsError, match=r"probabilities reach beyond \[0, 1\]; expected a softmax"):
            metric.update(logits)


# All of them.


@pytest.mark.parametrize("by", ["digits", "stacked_digits", "centres"])
def test_states_are_sums_that_do_not_grow(by):
    metric = ModeCoverage(**PLANE) if by == "centres" else ModeCoverage(by)
    images = as_images(mixture(20)) if by == "centres" else torch.rand(20, 3, 28, 28)
    sizes = []
    for _ in range(3):
        metric.update(images)
        assert all(isinstance(getattr(metric, name), torch.Tensor) for name in metric._defaults)
        sizes.append(sum(getattr(metric, name).numel() for name in metric._defaults))
    assert len(set(sizes)) == 1


def test_reset_forgets_the_images_before():
    metric = ModeCoverage(**PLANE)
    score(metric, as_images(mixture(500)))
    metric.reset()
    one = mixture(100, centres=GRID[:1])
    assert score(metric, as_images(one)) == plane(one)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"by": "classes"},
            r"by is 'classes'; expected one of \['digits', 'stacked_digits', 'centres', 'probabilities'\]",
        ),
        (
            {"by": "probabilities"},
            "by is 'probabilities' and classes is None; expected classes with 'probabilities' and only there",
        ),
        ({"by": "probabilities", "classes": 0}, "classes is 0; expected 1 or more"),
        (
            {**PLANE, "sigma": None},
            "by is 'centres' and sigma is None; expected sigma with 'centres' and only there",
        ),
        (
            {"by": "digits", "extent": 2.0},
            "by is 'digits' and extent is 2.0; expected extent with 'centres' and only there",
        ),
        ({**PLANE, "sigma": 0.0}, "sigma is 0.0; expected a finite number above 0"),
        ({**PLANE, "extent": math.inf}, "extent is inf; expected a finite number above 0"),
        ({**PLANE, "centres": ()}, r"centres are \(0,\); expected \(modes, 2\)"),
        ({**PLANE, "centres": ((1.0, 2.0, 3.0),)}, r"centres are \(1, 3\); expected \(modes, 2\)"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(GenmodelsError, match=f"^ModeCoverage: {message}\\.$"):
        ModeCoverage(**options)


@pytest.mark.parametrize(
    ("options", "shape", "expected"),
    [
        ({"by": "stacked_digits"}, (4, 1, 28, 28), r"\(N, 3, H, W\)"),
        ({"by": "digits"}, (4, 784), r"\(N, C, H, W\)"),
        (PLANE, (4, 2), r"\(N, 2, 1, 1\)"),
    ],
)
def test_images_that_do_not_fit_are_named(options, shape, expected):
    found = str(shape).replace("(", r"\(").replace(")", r"\)")
    with pytest.raises(
        GenmodelsError, match=f"^ModeCoverage: images are {found} for the modes '[a-z_]+'; expected {expected}\\.$"
    ):
        ModeCoverage(**options).update(torch.rand(shape))


def test_no_images_are_an_error():
    with pytest.raises(GenmodelsError, match=r"^ModeCoverage: 0 images; expected 1 or more\.$"):
        plane(mixture(0))
