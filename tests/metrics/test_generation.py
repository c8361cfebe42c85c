import math

import pytest
import torch

from lightning_genmodels import GenmodelsError
from lightning_genmodels.metrics import DensityCoverage, PrecisionRecall, generation
from lightning_genmodels.metrics.features import features_of


def draw(n, seed, *, spread=1.0, shape=(1, 2, 2)):
    return spread * torch.randn(n, *shape, generator=torch.Generator().manual_seed(seed))


def line(*values):
    return torch.tensor(values).reshape(-1, 1, 1, 1)


def score(metric, real, fake):
    for images in real.split(len(real)):
        metric.update(images, real=True)
    for images in fake.split(len(fake)):
        metric.update(images, real=False)
    return {name: value.item() for name, value in metric.compute().items()}


def radius(points, i, k):
    return sorted(math.dist(points[i], p) for j, p in enumerate(points) if j != i)[k - 1]


def by_definition(real, fake, k):
    # Kynkäänniemi et al. 2019 and Naeem et al. 2020, one comparison at a time.
    real, fake = real.double().flatten(1).tolist(), fake.double().flatten(1).tolist()
    real_radii = [radius(real, i, k) for i in range(len(real))]
    fake_radii = [radius(fake, j, k) for j in range(len(fake))]
    distance = [[math.dist(r, f) for f in fake] for r in real]
    rows, columns = range(len(real)), range(len(fake))
    return {
        "precision": sum(any(distance[i][j] <= real_radii[i] for i in rows) for j in columns) / len(fake),
        "recall": sum(any(distance[i][j] <= fake_radii[j] for j in columns) for i in rows) / len(real),
        "density": sum(distance[i][j] < real_radii[i] for i in rows for j in columns) / (k * len(fake)),
        "coverage": sum(any(distance[i][j] < real_radii[i] for j in columns) for i in rows) / len(real),
    }


@pytest.mark.parametrize("k", [1, 3, 5])
@pytest.mark.parametrize(("spread", "offset"), [(0.3, 0.0), (1.0, 0.5), (1.0, 1000.0)])
@pytest.mark.parametrize(("n_real", "n_fake"), [(12, 20), (60, 40)])
def test_scores_are_those_of_a_loop_over_the_definitions(k, spread, offset, n_real, n_fake):
    real = draw(n_real, 0) + offset
    fake = draw(n_fake, 1, spread=spread) + offset + 0.5
    expected = by_definition(real, fake, k)
    assert score(PrecisionRecall(k=k), real, fake) | score(DensityCoverage(k=k), real, fake) == pytest.approx(
        expected, abs=1e-6
    )


def test_point_on_a_radius_is_within_for_precision_and_recall_and_outside_for_density_and_coverage():
    real, fake = line(0.0, 1.0, 3.0, 4.0), line(5.0, 7.0, 9.0, 11.0)  # with k = 1 real radii are 1, generated ones 2
    assert score(PrecisionRecall(k=1), real, fake) == pytest.approx({"precision": 0.25, "recall": 0.5}, abs=1e-6)
    assert score(DensityCoverage(k=1), real, fake) == pytest.approx({"density": 0, "coverage": 0}, abs=1e-6)


def test_density_exceeds_1_where_generated_images_crowd_among_real_ones():
    assert score(DensityCoverage(), draw(50, 0), draw(50, 1, spread=0.01))["density"] > 1


def test_identical_sets_are_wholly_precise_recalled_and_covered():
    images = draw(80, 0)
    assert score(PrecisionRecall(), images, images) == pytest.approx({"precision": 1, "recall": 1}, abs=1e-6)
    assert score(DensityCoverage(), images, images)["coverage"] == pytest.approx(1, abs=1e-6)


def test_sets_far_apart_score_0():
    real, fake = draw(80, 0), draw(80, 1) + 100
    assert score(PrecisionRecall(), real, fake) == pytest.approx({"precision": 0, "recall": 0}, abs=1e-6)
    assert score(DensityCoverage(), real, fake) == pytest.approx({"density": 0, "coverage": 0}, abs=1e-6)


def test_exchanging_the_sets_exchanges_precision_and_recall():
    real, fake = draw(60, 0), draw(40, 1, spread=0.5)
    one, other = score(PrecisionRecall(), real, fake), score(PrecisionRecall(), fake, real)
    assert one["precision"] != pytest.approx(one["recall"], abs=1e-6)
    assert other == pytest.approx({"precision": one["recall"], "recall": one["precision"]}, abs=1e-6)


@pytest.mark.parametrize("build", [PrecisionRecall, DensityCoverage])
def test_order_of_the_images_does_not_matter(build):
    real, fake = draw(60, 0), draw(40, 1, spread=0.5)
    shuffled = score(build(), real[torch.randperm(60)], fake[torch.randperm(40)])
    assert shuffled == pytest.approx(score(build(), real, fake), abs=1e-6)


@pytest.mark.parametrize("build", [PrecisionRecall, DensityCoverage])
def test_several_updates_and_blocks_give_the_scores_of_one(build, monkeypatch):
    real, fake = draw(60, 0), draw(40, 1, spread=0.5)
    expected = score(build(), real, fake)
    monkeypatch.setattr(generation, "ROWS", 7)
    metric = build()
    for part in range(4):
        metric.update(real[part * 15 : part * 15 + 15], real=True)
        metric.update(fake[part * 10 : part * 10 + 10], real=False)
    assert {name: value.item() for name, value in metric.compute().items()} == pytest.approx(expected, abs=1e-6)


def test_images_beyond_the_first_block_count_as_those_in_it():
    real = draw(generation.ROWS + 100, 0)
    real[generation.ROWS :] += 20
    copies = real[generation.ROWS :]
    share = 100 / len(real)
    assert score(PrecisionRecall(), real, copies) == pytest.approx({"precision": 1, "recall": share}, abs=1e-6)
    assert score(DensityCoverage(), real, copies)["coverage"] == pytest.approx(share, abs=1e-6)


@pytest.mark.parametrize("build", [PrecisionRecall, DensityCoverage])
@pytest.mark.parametrize(
    ("n_real", "n_fake", "named"), [(3, 9, "3 real"), (9, 3, "3 generated"), (9, 0, "0 generated")]
)
def test_k_or_fewer_images_are_an_error(build, n_real, n_fake, named):
    metric = build(k=3)
    for n, real in ((n_real, True), (n_fake, False)):
        if n:
            metric.update(draw(n, 0), real=real)
    with pytest.raises(GenmodelsError, match=f"{named} images; expected more than k = 3"):
        metric.compute()


@pytest.mark.parametrize("build", [PrecisionRecall, DensityCoverage])
def test_bad_options_are_named(build):
    with pytest.raises(GenmodelsError, match=f"^{build.__name__}: k is 0; expected 1 or more\\.$"):
        build(k=0)


def test_scores_of_digit_features_are_those_of_the_pixels_of_these_features_by_another_name():
    real, fake = (torch.rand(30, 1, 28, 28, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1))
    seen = [features_of(images, "digits")[:, :, None, None] for images in (real, fake)]
    for build in (PrecisionRecall, DensityCoverage):
        expected = {f"{name}_digits": value for name, value in score(build(), *seen).items()}
        assert score(build("digits"), real, fake) == pytest.approx(expected, abs=1e-6)


def test_scores_of_the_same_distribution_are_the_known_figures():
    # N(0, I) in 1000 dimensions, 10,000 of each and k = 5.
    n, k = 10_000, 5
    real, fake = draw(n, 0, shape=(1, 1, 1000)), draw(n, 1, shape=(1, 1, 1000))
    scores = score(PrecisionRecall(k=k), real, fake) | score(DensityCoverage(k=k), real, fake)
    coverage = 1 - math.prod((n - 1 - i) / (2 * n - 1 - i) for i in range(k))
    assert coverage == pytest.approx(0.969, abs=0.001)
    assert scores["coverage"] == pytest.approx(coverage, abs=0.015)
    assert scores["density"] == pytest.approx(1, abs=0.2)
    assert (scores["precision"], scores["recall"]) == pytest.approx((0.475, 0.475), abs=0.04)


def test_images_of_bytes_are_an_error_by_their_pixels_too():
    for metric in (PrecisionRecall(), DensityCoverage()):
        for images in (torch.zeros(9, 1, 8, 8, dtype=torch.uint8), torch.rand(9)):
            with pytest.raises(
                GenmodelsError, match=r"^images to score are .*; expected floating point \(N, C, H, W\)"
            ):
                metric.update(images, real=True)
