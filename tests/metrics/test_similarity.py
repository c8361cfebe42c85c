import pytest
import torch
from torch.nn import functional
from torchmetrics.functional.image import multiscale_structural_similarity_index_measure as torchmetrics_ms_ssim

from lightning_genmodels import GenmodelsError
from lightning_genmodels.metrics import PairSimilarity
from lightning_genmodels.metrics.similarity import BETAS, PAIRS, scales_that_fit


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def noise(n, size=28, channels=1, seed=0):
    return torch.rand(n, channels, size, size, generator=seeded(seed))


def similarity(images, parts=1):
    metric = PairSimilarity()
    for part in images.tensor_split(parts):
        metric.update(part)
    found = metric.compute()
    assert found.keys() == {"ms_ssim"}
    return found["ms_ssim"].item()


@pytest.mark.parametrize(
    ("size", "scales"),
    [((10, 64), 0), ((11, 11), 1), ((21, 40), 1), ((22, 22), 2), ((28, 28), 2), ((32, 32), 2), ((44, 44), 3),
     ((64, 64), 3), ((98, 98), 3), ((99, 99), 4), ((128, 128), 4), ((176, 176), 5), ((512, 512), 5)],
)  # fmt: skip
def test_as_many_scales_are_taken_as_fit_and_torchmetrics_takes_them(size, scales):
    assert scales_that_fit(*size) == scales
    if scales:
        assert 0 <= similarity(noise(2, 512)[..., : size[0], : size[1]]) < 1


@pytest.mark.parametrize("size", [11, 28, 32, 64])
@pytest.mark.parametrize("channels", [1, 3])
def test_identical_images_give_1(size, channels):
    assert similarity(noise(1, size, channels).expand(6, -1, -1, -1)) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("size", [28, 32, 64])
def test_independent_noise_gives_next_to_0(size):
    assert similarity(noise(64, size)) < 0.05


def test_black_images_give_1():
    assert similarity(torch.zeros(4, 1, 28, 28)) == pytest.approx(1, abs=1e-5)


def test_less_diversity_is_more_similarity():
    base = functional.interpolate(noise(1, 4), (32, 32), mode="bilinear")
    found = [similarity((base + spread * (noise(64, 32, seed=1) - 0.5)).clamp(0, 1)) for spread in (0.05, 0.3, 1.0)]
    assert found[0] > found[1] > found[2]
    assert found[0] > 0.9


def test_two_images_are_one_pair_with_the_papers_exponents_made_to_sum_to_1():
    images = functional.interpolate(noise(2, 8), (64, 64), mode="bilinear").mul(255).round().div(255)
    betas = torch.tensor(BETAS[:3])
    expected = torchmetrics_ms_ssim(images[:1], images[1:], data_range=1.0, betas=tuple((betas / betas.sum()).tolist()))
    assert similarity(images) == pytest.approx(expected.item(), rel=1e-4)


def test_with_one_scale_it_is_the_plain_similarity():
    # Wang et al. 2004, by torch's own convolution: in the mean over the image, mirrored at the border.
    images = functional.interpolate(noise(2, 4), (16, 16), mode="bilinear").mul(255).round().div(255).double()
    line = torch.exp(-((torch.arange(11).double() - 5) ** 2) / (2 * 1.5**2))
    window = (line.outer(line) / line.sum() ** 2)[None, None]

    def mean(values):
        return functional.conv2d(functional.pad(values, [5] * 4, mode="reflect"), window)

    x, y = images[:1], images[1:]
    luminance = (2 * mean(x) * mean(y) + 0.01**2) / (mean(x) ** 2 + mean(y) ** 2 + 0.01**2)
    covariance = mean(x * y) - mean(x) * mean(y)
    variances = mean(x * x) - mean(x) ** 2 + mean(y * y) - mean(y) ** 2
    expected = (luminance * (2 * covariance + 0.03**2) / (variances + 0.03**2)).mean().item()
    assert similarity(images) == pytest.approx(max(0, expected), abs=1e-4)


def test_each_image_is_in_one_pair_and_a_sorted_set_makes_no_pairs_of_its_own():
    # Two kinds of images, in order: neighbours would all be alike, pairs of a fixed order are about half the time.
    kinds = noise(2, 28)
    images = kinds.repeat_interleave(100, 0)
    one = similarity(kinds)
    assert 0.35 < (similarity(images) - one) / (1 - one) < 0.65


def test_the_same_images_give_the_same_figure_in_any_batches():
    images, state = noise(41), torch.get_rng_state()
    first = similarity(images)
    assert similarity(images, parts=5) == pytest.approx(first, rel=1e-6)
    assert torch.equal(torch.get_rng_state(), state)


def test_more_pairs_than_are_compared_at_a_time_count_alike():
    few = noise(4, 11)
    assert similarity(few.repeat(PAIRS, 1, 1, 1)) == pytest.approx(
        similarity(few.repeat(PAIRS // 4, 1, 1, 1)), abs=0.05
    )


def test_reset_forgets_the_images_before():
    metric = PairSimilarity()
    metric.update(torch.zeros(8, 1, 28, 28))
    metric.reset()
    metric.update(noise(8))
    assert metric.compute()["ms_ssim"].item() == similarity(noise(8))


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
@pytest.mark.parametrize("n", [0, 1])
def test_fewer_than_two_images_are_an_error(n):
    with pytest.raises(GenmodelsError, match=f"^PairSimilarity: {n} images; expected 2 or more\\.$"):
        similarity(noise(n))
    with pytest.raises(GenmodelsError, match=r"^PairSimilarity: 0 images"):
        PairSimilarity().compute()


def test_images_smaller_than_the_window_are_an_error():
    with pytest.raises(GenmodelsError, match=r"^PairSimilarity: images are \(3, 8, 8\); expected 11 pixels or more\.$"):
        similarity(noise(4, 8, 3))


def test_images_of_two_shapes_are_an_error():
    metric = PairSimilarity()
    metric.update(torch.rand(2, 3, 16, 16))
    with pytest.raises(GenmodelsError, match=r"images are \(3, 16, 16\) and \(1, 16, 16\); expected the same"):
        metric.update(torch.rand(2, 1, 16, 16))
