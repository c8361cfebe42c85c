import math
from copy import deepcopy
from types import SimpleNamespace
from typing import get_args
from urllib.error import URLError

import numpy as np
import pytest
import torch
import torchvision
from torch import nn
from torchvision.transforms.v2 import functional as transforms

from lightning_genmodels import StyleGAN
from lightning_genmodels.errors import GenmodelsError
from lightning_genmodels.metrics import (
    DISTANCES,
    DistanceName,
    lpips_distance,
    perceptual,
    perceptual_path_length,
    pyramid_distance,
)

EDGES, STEP = 4, 1e-4


def scenes(n=4, channels=3, size=32):
    """Smooth shapes with edges."""
    draw = torch.Generator().manual_seed(0)
    coarse = torch.rand(n, channels, 4, 4, generator=draw)
    smooth = nn.functional.interpolate(coarse, size, mode="bilinear").double()
    smooth[..., size // 4 : size // 2, size // 4 : size // 2] = 0.9
    return smooth


def test_the_named_distances_are_those_of_the_table():
    assert get_args(DistanceName) == tuple(DISTANCES)


# The pyramid's


def by_hand(difference):
    """The same, number by number, of one image (C, H, W) whose sides are powers of two."""
    d = np.asarray(difference)
    levels = []
    while True:
        channels, height, width = d.shape
        total = sum(v * v for v in d.flatten()) / d.size
        for one, other in ((d[:, 1:], d[:, :-1]), (d[:, :, 1:], d[:, :, :-1])):
            if one.size:
                total += (
                    EDGES * sum((a - b) ** 2 for a, b in zip(one.flatten(), other.flatten(), strict=True)) / one.size
                )
        levels.append(total)
        if height == width == 1:
            return sum(levels) / len(levels)
        d = d.reshape(channels, max(1, height // 2), min(2, height), max(1, width // 2), min(2, width)).mean((2, 4))


@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 16, 4), (2, 1, 4), (1, 1, 1)])
def test_it_is_what_its_definition_says(shape):
    draw = torch.Generator().manual_seed(0)
    x, y = (torch.rand(2, *shape, generator=draw, dtype=torch.float64) for _ in "xy")
    expected = [by_hand(difference) for difference in x - y]
    assert pyramid_distance(x, y).tolist() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("size", [(16, 16), (64, 64), (5, 7), (28, 28), (1, 3)])
def test_plain_images_are_as_far_apart_as_their_squared_difference_at_any_size(size):
    x = torch.full((2, 3, *size), 0.7)
    assert pyramid_distance(x, x - 0.2).tolist() == pytest.approx([0.04, 0.04], rel=1e-5)


def test_no_pixel_is_overlooked_at_odd_sizes():
    x = torch.zeros(35, 1, 5, 7)
    y = torch.eye(35).view(35, 1, 5, 7)  # one pixel each
    distances = pyramid_distance(x, y)
    assert distances.max() < 2 * distances.min()


def test_a_picture_and_its_enlargement_are_about_as_far_from_others():
    x = scenes(size=32)
    y = x.flip(0)
    large = [images.repeat_interleave(2, 2).repeat_interleave(2, 3) for images in (x, y)]
    ratio = pyramid_distance(*large) / pyramid_distance(x, y)
    assert ((ratio > 0.7) & (ratio < 1.1)).all()


def distorted(x):
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(1), dtype=x.dtype)
    brightness = [x + share for share in (0.02, 0.05, 0.1)]
    return {
        "noise": [x + share * noise for share in (0.02, 0.05, 0.1)],
        "blur": [transforms.gaussian_blur(x, [9, 9], [share, share]) for share in (0.5, 1.0, 2.0)],
        "brightness": brightness,
    }


@pytest.mark.parametrize("kind", ["noise", "blur", "brightness"])
def test_it_grows_with_the_distortion(kind):
    x = scenes()
    distances = torch.stack([pyramid_distance(x, y) for y in distorted(x)[kind]])
    assert (distances[0] > 0).all()
    assert (distances.diff(dim=0) > 0).all()


def test_blur_and_noise_weigh_more_than_brightness_at_the_same_squared_error():
    x = scenes()
    weights = {
        kind: (pyramid_distance(x, y[1]) / (x - y[1]).square().mean((1, 2, 3))).mean()
        for kind, y in distorted(x).items()
    }
    assert weights["brightness"] == pytest.approx(1, rel=1e-6)
    assert weights["blur"] > 2
    assert weights["noise"] > 2


def test_it_is_a_distance_of_each_pair_alone():
    x = scenes()
    y = x.flip(0)
    distances = pyramid_distance(x, y)
    assert distances.shape == (4,)
    assert (pyramid_distance(x, x) == 0).all()
    assert torch.equal(distances, pyramid_distance(y, x))
    assert torch.equal(distances[1:2], pyramid_distance(x[1:2], y[1:2]))


def test_it_has_gradients_and_its_precision_is_the_images_or_better():
    x, y = scenes(1, size=8), scenes(2, size=8)[1:]
    assert torch.autograd.gradcheck(pyramid_distance, (x.requires_grad_(), y.requires_grad_()))
    for precision, kept in ((torch.float64, torch.float64), (torch.float32, torch.float32), (torch.bfloat16,
                            torch.float32)):  # fmt: skip
        assert pyramid_distance(x.to(precision), y.to(precision)).dtype == kept


@pytest.mark.parametrize("distance", DISTANCES.values())
@pytest.mark.parametrize(
    ("x", "y", "said"),
    [
        (torch.rand(2, 3, 8, 8), torch.rand(2, 1, 8, 8), "torch.float32 (2, 3, 8, 8) and torch.float32 (2, 1, 8, 8)"),
        (torch.rand(3, 8, 8), torch.rand(3, 8, 8), "torch.float32 (3, 8, 8) and torch.float32 (3, 8, 8)"),
        (torch.ones(1, 1, 8, 8).byte(), torch.ones(1, 1, 8, 8).byte(), "torch.uint8 (1, 1, 8, 8) and torch.uint8"),
    ],
)
def test_what_cannot_be_compared_is_one_sentence(distance, x, y, said):
    with pytest.raises(GenmodelsError) as error:
        distance(x, y)
    assert str(error.value).startswith(f"images to compare are {said}")
    assert str(error.value).endswith("; expected floating point (N, C, H, W) twice.")


# LPIPS


@pytest.fixture
def no_cached_network():
    perceptual._lpips.cache_clear()
    yield
    perceptual._lpips.cache_clear()


@pytest.fixture
def seen(no_cached_network, monkeypatch):
    """What reaches a stand-in for the network."""
    images = []

    class Network(nn.Module):
        def forward(self, x, y):
            images.append((x, y))
            return (x - y).square().mean((1, 2, 3), keepdim=True)

    monkeypatch.setattr(
        perceptual, "LearnedPerceptualImagePatchSimilarity", lambda name: SimpleNamespace(net=Network(), name=name)
    )
    return images


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((16, 16), (64, 64)),
        ((64, 64), (64, 64)),
        ((32, 48), (64, 96)),
        ((100, 80), (100, 80)),
        ((512, 512), (256, 256)),
    ],
)
def test_lpips_sees_three_channels_in_the_range_and_size_of_its_network(seen, size, expected):
    x = torch.linspace(0, 1, math.prod(size)).view(1, 1, *size)
    distances = lpips_distance(torch.cat([x, x]), torch.cat([x, x.flip(3)]))
    ((first, second),) = seen
    assert first.shape == second.shape == (2, 3, *expected)
    assert distances.shape == (2,)
    assert distances[0] == 0 < distances[1]
    for images in (first, second):
        assert (images[:, :1] == images).all()
        assert images.min() == pytest.approx(-1, abs=0.02)
        assert images.max() == pytest.approx(1, abs=0.02)
    if size == expected:
        assert torch.equal(first[:1, :1], 2 * x - 1)


def test_lpips_takes_one_channel_or_three(seen):
    with pytest.raises(GenmodelsError, match=r"^distance 'lpips': images have 2 channels; expected 1 or 3\.$"):
        lpips_distance(torch.rand(1, 2, 64, 64), torch.rand(1, 2, 64, 64))


def test_lpips_of_torchmetrics_is_a_distance_with_gradients(no_cached_network, monkeypatch):
    """With VGG's weights drawn, for there may be no network; those of the layers on top are torchmetrics' own."""
    layers = torchvision.models.vgg.make_layers(torchvision.models.vgg.cfgs["D"])
    monkeypatch.setattr(torchvision.models, "vgg16", lambda weights: SimpleNamespace(features=layers))
    x = scenes(2, size=16).float().requires_grad_()
    y = (x + 0.1 * torch.randn(x.shape, generator=torch.Generator().manual_seed(0))).detach()
    distances = lpips_distance(x, y)
    assert distances.shape == (2,)
    assert (distances > 0).all()
    assert (lpips_distance(x, x) == 0).all()
    assert lpips_distance(x[1:], y[1:]).item() == pytest.approx(distances[1].item(), rel=1e-4)
    (slope,) = torch.autograd.grad(distances[0], x)
    assert (slope[0] != 0).any()
    assert (slope[1] == 0).all()
    with torch.no_grad():
        precise = lpips_distance(x.double(), y.double())
    assert precise.dtype == torch.float64
    assert precise.tolist() == pytest.approx(distances.tolist(), rel=1e-3)


def test_lpips_failed_download_is_one_sentence(no_cached_network, monkeypatch, in_tmp):
    def fail(*arguments, **options):
        raise URLError("no\nnetwork")

    monkeypatch.setenv("TORCH_HOME", str(in_tmp))
    monkeypatch.setattr(torch.hub, "download_url_to_file", fail)
    with pytest.raises(
        GenmodelsError,
        match=r"^distance 'lpips': the download of VGG's weights failed \(<urlopen error no network>\); expected a "
        r"working network, or the file in .*checkpoints\.$",
    ):
        lpips_distance(torch.rand(1, 3, 64, 64), torch.rand(1, 3, 64, 64))


# Path length


class LinearGenerator(nn.Module):
    """Images that are linear in their style, which is linear in its latent; noise is added to each pixel."""

    latent_dim = 5

    def __init__(self, noise=0.0, size=8):
        super().__init__()
        draw = torch.Generator().manual_seed(0)
        self.mapping = nn.Parameter(torch.randn(5, 5, generator=draw))
        self.register_buffer("synthesis", torch.randn(5, size * size, generator=draw) / 10)
        self.noise, self.size = noise, size
        self.dropout = nn.Dropout()

    def styles(self, z):
        return z @ self.mapping

    def synthesize(self, styles, noises):
        images = self.dropout(0.5 + styles @ self.synthesis).view(-1, 1, self.size, self.size)
        return images + self.noise * noises[0].to(images)

    def draw_noises(self, n, generator):
        return [torch.randn(n, 1, self.size, self.size, generator=generator)]


def drawn(model, n):
    """The draws of the first n pairs, 32 or fewer: latents and places."""
    draw = torch.Generator().manual_seed(7)
    z0, z1 = torch.randn(2 * n, model.latent_dim, generator=draw).double().chunk(2)
    return z0, z1, torch.rand(n, 1, generator=draw).double()


def trimmed_mean(values):
    low = np.percentile(values, 1, method="lower")
    high = np.percentile(values, 99, method="higher")
    return values[(values >= low) & (values <= high)].mean()


def closed_form(model, space, n):
    z0, z1, place = drawn(model, n)
    if space == "w":
        velocity = z1 - z0
    else:  # Shoemake's formula, differentiated, between the middles of the pair
        ends = [z0, z1 * z0.norm(dim=1, keepdim=True) / z1.norm(dim=1, keepdim=True)]
        angle = torch.cosine_similarity(z0, z1).acos()[:, None]
        place = place + STEP / 2
        velocity = angle / angle.sin() * ((place * angle).cos() * ends[1] - ((1 - place) * angle).cos() * ends[0])
    moved = (velocity @ model.mapping.double() @ model.synthesis.double()).view(-1, 1, model.size, model.size)
    return trimmed_mean(pyramid_distance(moved, torch.zeros_like(moved)).detach().numpy())


def path_length(model, **options):
    options = {"samples": 32, "generator": torch.Generator().manual_seed(7), **options}
    return perceptual_path_length(model, **options)


@pytest.mark.parametrize("space", ["w", "z"])
@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_of_a_linear_generator_it_is_the_closed_form(space, noise):
    model = LinearGenerator(noise)
    found = path_length(model, space=space)
    assert found == {f"ppl_{space}_pyramid": pytest.approx(closed_form(model, space, 32), rel=1e-6)}


@pytest.mark.parametrize("space", ["w", "z"])
def test_its_square_root_is_of_the_scale_of_the_images(space):
    model = LinearGenerator()
    ppl = path_length(model, space=space)[f"ppl_{space}_pyramid"]
    model.synthesis *= 3
    assert path_length(model, space=space)[f"ppl_{space}_pyramid"] == pytest.approx(9 * ppl, rel=1e-6)


def test_weights_of_little_precision_round_nothing():
    rough = LinearGenerator().bfloat16()
    precise = deepcopy(rough).double()
    for space in ("w", "z"):
        assert path_length(rough, space=space) == pytest.approx(path_length(precise, space=space), rel=1e-9)


def test_more_pairs_than_are_made_at_a_time_are_all_counted():
    model = LinearGenerator()
    made = []
    draw_noises = model.draw_noises
    model.draw_noises = lambda n, generator: made.append(n) or draw_noises(n, generator)
    long = path_length(model, samples=2 * perceptual.PAIRS + 7)["ppl_w_pyramid"]
    assert made == [perceptual.PAIRS, perceptual.PAIRS, 7]
    assert long != path_length(model)["ppl_w_pyramid"]
    # E |w1 - w0|^2 is known: twice the covariance.
    form = (model.mapping @ model.synthesis).detach().double().view(5, 1, 8, 8)
    expected = 2 * pyramid_distance(form, torch.zeros_like(form)).sum().item()
    assert path_length(model, samples=2000)["ppl_w_pyramid"] == pytest.approx(expected, rel=0.1)


def test_the_extremes_are_left_out():
    draw = torch.Generator().manual_seed(0)
    values = torch.rand(1000, generator=draw, dtype=torch.float64)
    assert perceptual._trimmed_mean(values) == pytest.approx(trimmed_mean(values.numpy()), rel=1e-12)
    values[torch.randperm(1000, generator=draw)[:9]] = 1e9
    assert 0.45 < perceptual._trimmed_mean(values) < 0.55
    assert perceptual._trimmed_mean(torch.tensor([3.0])) == 3


def test_the_circle_keeps_the_length_and_ends_in_the_others_direction():
    z0, z1, _ = drawn(LinearGenerator(), 8)
    ends = [perceptual._on_circle(z0, z1, torch.full((8, 1), place)) for place in (0.0, 1.0)]
    torch.testing.assert_close(ends[0], z0)
    torch.testing.assert_close(ends[1], z1 / z1.norm(dim=1, keepdim=True) * z0.norm(dim=1, keepdim=True))
    middle = perceptual._on_circle(z0, z1, torch.full((8, 1), 0.5))
    torch.testing.assert_close(middle.norm(dim=1), z0.norm(dim=1))
    torch.testing.assert_close(torch.cosine_similarity(middle, z0), torch.cosine_similarity(middle, z1))
    assert perceptual._on_circle(z0[:, :1], z1[:, :1], torch.rand(8, 1)).isfinite().all()  # latents of one number


@pytest.fixture(scope="module")
def stylegan():
    torch.manual_seed(0)
    model = StyleGAN((3, 16, 16), latent_dim=8, width=8)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith("noise_weight"):
                weight.fill_(0.1)
    return model


@pytest.mark.parametrize("space", ["w", "z"])
def test_a_stylegan_is_measured_without_rounding_and_stays_as_it_is(stylegan, space, monkeypatch):
    stylegan.train()
    stylegan.generator_ema.eval()
    modes = [part.training for part in stylegan.modules()]
    weights = deepcopy(stylegan.state_dict())
    ppl = path_length(stylegan, space=space)
    assert [part.training for part in stylegan.modules()] == modes
    assert all(torch.equal(weight, weights[name]) for name, weight in stylegan.state_dict().items())
    assert all(weight.dtype == torch.float32 and weight.grad is None for weight in stylegan.parameters())
    monkeypatch.setattr(torch.Tensor, "float", lambda tensor: tensor)  # the normalisation's own precision
    assert ppl == pytest.approx(path_length(stylegan, space=space), rel=3e-4)


def test_the_seed_decides(stylegan):
    one, again = (path_length(stylegan, samples=4) for _ in range(2))
    assert one == again
    assert one != path_length(stylegan, samples=4, generator=torch.Generator().manual_seed(8))
    torch.manual_seed(0)
    unseeded = perceptual_path_length(stylegan, samples=4)
    torch.manual_seed(0)
    assert unseeded == perceptual_path_length(stylegan, samples=4)


def test_path_length_by_lpips_says_so(seen):
    found = path_length(LinearGenerator(size=16), samples=3, distance="lpips", space="z")
    assert found.keys() == {"ppl_z_lpips"}
    assert [image.dtype for image in seen[0]] == [torch.float64] * 2


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ({"samples": 0}, "samples is 0; expected 1 or more."),
        ({"distance": "pixels"}, "distance is 'pixels'; expected one of pyramid, lpips."),
        ({"space": "s"}, "space is 's'; expected one of z, w."),
    ],
)
def test_an_option_out_of_its_range_is_one_sentence(option, said):
    with pytest.raises(GenmodelsError) as error:
        path_length(LinearGenerator(), **option)
    assert str(error.value) == f"perceptual_path_length: {said}"
