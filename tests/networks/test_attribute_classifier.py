import pytest
import torch
from torch.nn import functional

from lightning_genmodels.networks.attribute_classifier import AttributeClassifier


@pytest.mark.parametrize(("channels", "size"), [(1, 16), (3, 50), (3, 64), (3, 128)])
@pytest.mark.parametrize("n", [0, 2])
def test_an_image_of_any_size_has_a_logit_for_each_attribute(channels, size, n):
    network = AttributeClassifier((channels, size, size), 5, width=4).eval()
    assert network(torch.rand(n, channels, size, size)).shape == (n, 5)


def test_large_images_are_looked_at_as_smaller_ones():
    torch.manual_seed(0)
    network = AttributeClassifier((3, 96, 96), 5, width=4).eval()
    images = torch.rand(2, 3, 96, 96)
    expected = network(functional.interpolate(images, (64, 64), mode="bilinear", antialias=True))
    torch.testing.assert_close(network(images), expected)


def test_the_place_in_the_image_counts():
    torch.manual_seed(0)
    network = AttributeClassifier((1, 32, 32), 1, width=4).eval()
    image = torch.zeros(1, 1, 32, 32)
    image[..., 4:12, 4:12] = 1
    assert (network(image) - network(image.flip(3))).abs().item() > 1e-4
