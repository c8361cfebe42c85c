import sys
import types
import typing
from urllib.error import URLError

import pytest
import torch

from lightning_genmodels import GenmodelsError
from lightning_genmodels.metrics import (
    DensityCoverage,
    FrechetDistance,
    KernelDistance,
    ModeCoverage,
    PairSimilarity,
    PrecisionRecall,
    features,
)
from lightning_genmodels.metrics.features import FEATURES, FeaturesName, features_of, to_bytes
from lightning_genmodels.networks.digit_classifier import digit_classifier

METRICS = [PrecisionRecall, DensityCoverage, FrechetDistance, KernelDistance]


@pytest.fixture
def fidelity(monkeypatch):
    """A package torch-fidelity whose network keeps what it was given: the real one's weights are a download."""

    class Network(torch.nn.Module):
        error = None

        def __init__(self, name, layers):
            super().__init__()
            if self.error is not None:
                raise self.error
            assert (name, layers) == ("inception-v3-compat", ["2048"])
            self.seen = []

        def forward(self, images):
            assert not self.training
            self.seen.append(images)
            return (images.float().mean((2, 3)).repeat(1, 683)[:, :2048],)

    module = types.ModuleType("torch_fidelity.feature_extractor_inceptionv3")
    module.FeatureExtractorInceptionV3 = Network
    package = types.ModuleType("torch_fidelity")
    package.__spec__ = types.SimpleNamespace()
    monkeypatch.setitem(sys.modules, "torch_fidelity", package)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    features._inception.cache_clear()
    yield Network
    features._inception.cache_clear()


@pytest.fixture
def no_fidelity(monkeypatch):
    monkeypatch.setattr(features, "find_spec", lambda name: None)


def images(n=6, channels=1, size=28):
    return torch.rand(n, channels, size, size, generator=torch.Generator().manual_seed(0))


def test_the_named_features_are_those_of_the_table():
    assert typing.get_args(FeaturesName) == tuple(FEATURES)


def test_bytes_are_rounded_and_clamped():
    levels = torch.arange(256).view(1, 1, 16, 16)
    assert torch.equal(to_bytes(levels / 255), levels.to(torch.uint8))
    edges = torch.tensor([-0.005, 0.0019, 0.002, 0.9981, 1.005]).view(1, 1, 1, 5)
    assert to_bytes(edges).flatten().tolist() == [0, 0, 1, 255, 255]
    assert to_bytes(torch.rand(0, 3, 4, 4)).shape == (0, 3, 4, 4)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (torch.zeros(2, 1, 8, 8, dtype=torch.uint8), r"are torch.uint8 \(2, 1, 8, 8\); expected floating point \(N, "),
        (torch.zeros(2, 64), r"are torch.float32 \(2, 64\); expected floating point \(N, C, H, W\) in \[0, 1\]"),
        (torch.linspace(-1, 1, 64).view(1, 1, 8, 8), r"lie in \[-1, 1\]; expected \[0, 1\]"),
        (torch.full((1, 1, 8, 8), float("nan")), r"lie in \[nan, nan\]; expected \[0, 1\]"),
    ],
)
def test_images_that_are_no_floats_of_0_to_1_are_named(wrong, message):
    for metric in (FrechetDistance(), PrecisionRecall("digits")):
        with pytest.raises(GenmodelsError, match=f"^images to score {message}"):
            metric.update(wrong, real=True)
    for alone in (PairSimilarity(), ModeCoverage("digits")):
        with pytest.raises(GenmodelsError, match=r"^(images to score|ModeCoverage: images are) "):
            alone.update(wrong)


@pytest.mark.parametrize("metric", [FrechetDistance, KernelDistance, PrecisionRecall, DensityCoverage])
def test_real_and_generated_images_of_other_shapes_are_named(metric):
    def score():
        scored = metric("pixels")
        scored.update(images(channels=1), real=True)
        scored.update(images(channels=3), real=False)
        scored.compute()

    with pytest.raises(GenmodelsError, match="expected the same"):
        score()


def test_pixels_are_the_images():
    assert torch.equal(features_of(images(channels=3), "pixels"), images(channels=3).flatten(1))


@pytest.mark.parametrize(("channels", "size"), [(1, 28), (3, 32), (1, 64)])
def test_digits_are_what_the_packaged_classifier_sees(channels, size):
    found = features_of(images(channels=channels, size=size), "digits")
    torch.testing.assert_close(found, digit_classifier().features(images(channels=channels, size=size)))


@pytest.mark.parametrize("name", ["pixels", "digits"])
def test_features_are_in_full_precision_whatever_the_precision_around(name):
    with torch.autocast("cpu", torch.bfloat16):
        found = features_of(images(), name)
    torch.testing.assert_close(found, features_of(images(), name), rtol=0, atol=0)
    half = images().to(torch.bfloat16)
    torch.testing.assert_close(features_of(half, name), features_of(half.float(), name), rtol=0, atol=0)


def test_features_of_many_images_are_those_of_each():
    many = images(2 * features.PART + 3, size=8)
    found = features_of(many, "digits")
    torch.testing.assert_close(found[-2:], features_of(many[-2:], "digits"))
    assert len(found) == len(many)


@pytest.mark.parametrize("name", ["pixels", "digits"])
def test_features_of_no_images_are_no_features(name):
    assert features_of(images(0), name).shape == (0, {"pixels": 784, "digits": 128}[name])


def test_features_have_no_gradient():
    assert not features_of(images().requires_grad_(), "digits").requires_grad


@pytest.mark.parametrize("channels", [1, 3])
def test_inception_sees_bytes_in_three_channels(fidelity, channels):
    found = features_of(images(channels=channels), "inception")
    (seen,) = features._inception(torch.device("cpu")).seen
    assert found.shape == (6, 2048)
    assert seen.dtype == torch.uint8
    assert torch.equal(seen, to_bytes(images(channels=channels)).expand(6, 3, 28, 28))


def test_inception_is_built_when_first_used_and_once(fidelity):
    metric = KernelDistance("inception")
    assert features._inception.cache_info().currsize == 0
    for _ in range(2):
        metric.update(images(), real=True)
        metric.update(images() / 2, real=False)
    assert features._inception.cache_info().misses == 1
    assert metric.compute().keys() == {"kid_inception"}


def test_inception_takes_one_channel_or_three(fidelity):
    with pytest.raises(GenmodelsError, match=r"^features 'inception': images have 2 channels; expected 1 or 3\.$"):
        features_of(images(channels=2), "inception")


def test_inceptions_failed_download_is_one_sentence(fidelity, monkeypatch):
    monkeypatch.setattr(fidelity, "error", URLError("no\nnetwork"))
    with pytest.raises(
        GenmodelsError,
        match=r"^features 'inception': the download of the weights failed \(<urlopen error no network>\); expected a "
        r"working network, or the file in .*checkpoints\.$",
    ):
        features_of(images(), "inception")


@pytest.mark.parametrize("build", METRICS)
def test_inceptions_missing_package_is_one_sentence_before_any_image(build, no_fidelity):
    with pytest.raises(
        GenmodelsError,
        match=rf"^{build.__name__}: features 'inception' needs the package torch-fidelity; expected it installed, "
        r"e\.g\. by pip install torch-fidelity\.$",
    ):
        build(features="inception")


@pytest.mark.parametrize("build", METRICS)
def test_other_features_need_no_package(build, no_fidelity):
    for name in ("pixels", "digits"):
        build(features=name)


@pytest.mark.parametrize("build", METRICS)
def test_a_misspelt_name_is_answered_with_the_names(build):
    with pytest.raises(
        GenmodelsError,
        match=rf"^{build.__name__}: features is 'pixel'; expected one of \['pixels', 'digits', 'inception'\]\.$",
    ):
        build(features="pixel")


@pytest.mark.parametrize("build", METRICS)
def test_scores_name_their_features(build):
    metric = build(features="digits")
    for real in (True, False):
        metric.update(images(20), real=real)
    assert all(name.endswith("_digits") for name in metric.compute())
