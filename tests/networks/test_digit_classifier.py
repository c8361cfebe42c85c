import json
import os
import struct
from importlib.resources import files
from pathlib import Path

import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional

from datamodules import MNISTDataModule
from lightning_genmodels.networks.digit_classifier import DigitClassifier, digit_classifier

REAL_DATA = Path(os.environ.get("GENMODELS_DATA", "none"))
WEIGHTS = files("lightning_genmodels").joinpath("weights/digits.safetensors")


@pytest.fixture
def network():
    torch.manual_seed(0)
    return DigitClassifier().eval()


def handwritten():
    """scikit-learn's 1,797 digits, laid out as MNIST's are: 20 pixels high in the middle of 28."""
    images, labels = load_digits(return_X_y=True)
    images = torch.from_numpy(images).float().view(-1, 1, 8, 8) / 16
    return functional.pad(functional.interpolate(images, (20, 20), mode="bicubic").clamp(0, 1), [4] * 4), labels


@pytest.mark.parametrize("n", [0, 1, 3])
def test_an_image_has_ten_logits_and_128_features_that_are_not_negative(network, n):
    images = torch.rand(n, 1, 28, 28)
    assert network(images).shape == (n, 10)
    assert network.features(images).shape == (n, network.num_features) == (n, 128)
    assert (network.features(images) >= 0).all()


def test_features_are_what_the_last_layer_sees(network):
    seen = []
    last = [m for m in network.modules() if isinstance(m, nn.Linear)][-1]
    last.register_forward_hook(lambda module, inputs, output: seen.append((inputs[0], output)))
    images = torch.rand(3, 1, 28, 28)
    logits = network(images)
    torch.testing.assert_close(seen[0], (network.features(images), logits))


def test_several_channels_count_by_their_mean(network):
    images = torch.rand(3, 3, 28, 28)
    torch.testing.assert_close(network(images), network(images.mean(1, keepdim=True)))


@pytest.mark.parametrize("size", [(32, 32), (64, 64), (8, 8), (20, 30)])
def test_other_sizes_are_resized(network, size):
    images = torch.rand(3, 1, *size)
    expected = functional.interpolate(images, (28, 28), mode="bilinear", antialias=True)
    torch.testing.assert_close(network(images), network(expected))


def test_the_packaged_file_is_small_and_says_how_it_was_made():
    content = WEIGHTS.read_bytes()
    assert len(content) <= 2_000_000
    (length,) = struct.unpack("<Q", content[:8])  # the format's own header
    metadata = json.loads(content[8 : 8 + length])["__metadata__"]
    assert metadata.keys() == {"test_accuracy", "torch", "command"}
    assert float(metadata["test_accuracy"]) >= 0.993
    assert "benchmarks/digit_features.py" in metadata["command"]


@pytest.mark.skipif(not (REAL_DATA / "MNIST").is_dir(), reason="the real MNIST is not at hand")
def test_the_packaged_classifier_is_as_right_about_mnists_test_digits_as_it_says():
    data = MNISTDataModule(REAL_DATA, batch_size=1000, download=False)
    data.setup("test")
    batches = [data.to_float(batch) for batch in data.test_dataloader()]
    with torch.no_grad():
        right = [digit_classifier()(batch.image).argmax(1) == batch.label for batch in batches]
    assert torch.cat(right).float().mean().item() == pytest.approx(0.9963, abs=1e-3)


def test_the_packaged_classifier_reads_other_peoples_digits():
    images, labels = handwritten()
    right = digit_classifier()(images).argmax(1).numpy() == labels
    assert right.mean() > 0.9


def test_the_packaged_classifier_is_loaded_once_frozen_and_in_eval_mode():
    network = digit_classifier()
    assert digit_classifier() is network
    assert not any(module.training for module in network.modules())
    assert not any(parameter.requires_grad for parameter in network.parameters())
    assert all(parameter.dtype == torch.float32 for parameter in network.parameters())


def test_gradients_pass_through_a_classifier_that_was_first_loaded_in_validation():
    digit_classifier.cache_clear()
    with torch.inference_mode():
        digit_classifier()
    images = torch.rand(2, 1, 28, 28, requires_grad=True)
    digit_classifier()(images).sum().backward()
    assert images.grad.any()
