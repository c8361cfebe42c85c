import pytest
import torch
from torch import nn

from lightning_genmodels.networks.autoencoder import (
    ConvDecoder,
    ConvEncoder,
    MLPDecoder,
    MLPEncoder,
    TiedDecoder,
    conv_sizes,
)
from lightning_genmodels.networks.dcgan import STAGES, DCGANDiscriminator, DCGANGenerator
from lightning_genmodels.networks.mlp import MLPDiscriminator, MLPGenerator
from lightning_genmodels.networks.normalization import normalize_spectrum
from lightning_genmodels.networks.resnet import STAGES as RESNET_STAGES
from lightning_genmodels.networks.resnet import ResNetDiscriminator, ResNetGenerator

every_dcgan_shape = pytest.mark.parametrize("shape", [(channels, size, size) for size in STAGES for channels in (1, 3)])


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@every_dcgan_shape
def test_dcgan_generator_draws_images_of_the_shape_between_minus_1_and_1(shape):
    images = DCGANGenerator(10, shape, width=8)(100 * torch.randn(3, 10))
    assert images.shape == (3, *shape)
    assert -1 <= images.min() < 0 < images.max() <= 1


@every_dcgan_shape
@pytest.mark.parametrize("n", [1, 3])
def test_dcgan_discriminator_gives_one_logit_an_image(shape, n):
    assert DCGANDiscriminator(shape, width=8)(torch.rand(n, *shape)).shape == (n,)


@pytest.mark.parametrize("build", [DCGANGenerator, DCGANDiscriminator])
def test_dcgan_weights_are_drawn_as_in_the_paper(build):
    network = build(100, (3, 32, 32)) if build is DCGANGenerator else build((3, 32, 32))
    gains = []
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            expected = pytest.approx(0.02, rel=5 * (2 * module.weight.numel()) ** -0.5)  # five standard errors
            assert module.weight.std().item() == expected
            assert module.weight.mean().item() == pytest.approx(0, abs=5 * 0.02 * module.weight.numel() ** -0.5)
        elif isinstance(module, nn.BatchNorm2d):
            gains.append(module.weight)
        if getattr(module, "bias", None) is not None:
            assert not module.bias.any()
    assert torch.cat(gains).mean().item() == pytest.approx(1, abs=0.01)
    assert torch.cat(gains).std().item() == pytest.approx(0.02, rel=0.3)


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 7, 5), (2, 1, 1)])
def test_mlp_generator_draws_images_of_any_shape_between_minus_1_and_1(shape):
    images = MLPGenerator(10, shape, hidden_sizes=(32,))(100 * torch.randn(64, 10))
    assert images.shape == (64, *shape)
    assert -1 <= images.min() < 0 < images.max() <= 1


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 7, 5), (2, 1, 1)])
@pytest.mark.parametrize("n", [1, 3])
def test_mlp_discriminator_gives_one_logit_an_image(shape, n):
    assert MLPDiscriminator(shape, hidden_sizes=(16,))(torch.rand(n, *shape)).shape == (n,)


def test_mlp_discriminator_judges_each_image_by_itself():
    network, images = MLPDiscriminator((1, 8, 8)), torch.rand(4, 1, 8, 8)
    torch.testing.assert_close(network(images)[:2], network(images[:2]), rtol=1e-5, atol=1e-6)


@every_dcgan_shape
def test_resnet_generator_draws_images_of_the_shape_between_minus_1_and_1(shape):
    images = ResNetGenerator(10, shape, share=1 / 32)(100 * torch.randn(3, 10))
    assert images.shape == (3, *shape)
    assert -1 <= images.min() < 0 < images.max() <= 1


@every_dcgan_shape
@pytest.mark.parametrize("n", [1, 3])
def test_resnet_discriminator_gives_one_logit_an_image_and_judges_each_by_itself(shape, n):
    network, images = ResNetDiscriminator(shape, share=1 / 16), torch.rand(4, *shape)
    logits = network(images[:n])
    assert logits.shape == (n,)
    torch.testing.assert_close(network(images)[:n], logits, rtol=1e-4, atol=1e-4)


def test_resnets_of_32_pixels_are_as_large_as_the_papers():
    """SNGAN's CIFAR-10 networks, counted by hand from table 4 of Miyato et al. 2018, with z of 128."""

    def conv(before, after, side=3):
        return before * after * side * side + after

    up = 2 * (2 * 256) + 2 * conv(256, 256) + conv(256, 256, 1)
    generator = (128 + 1) * 256 * 16 + 3 * up + 2 * 256 + conv(256, 3)
    first = conv(3, 128) + conv(128, 128) + conv(3, 128, 1)
    second = 2 * conv(128, 128) + conv(128, 128, 1)
    discriminator = first + second + 2 * (2 * conv(128, 128)) + 129
    for network, expected in ((ResNetGenerator(128, (3, 32, 32)), generator),
                              (ResNetDiscriminator((3, 32, 32)), discriminator)):  # fmt: skip
        assert sum(parameter.numel() for parameter in network.parameters()) == expected


def test_resnet_has_the_sizes_of_dcgan():
    assert list(RESNET_STAGES) == list(STAGES)


@pytest.mark.parametrize(
    "network",
    [MLPDiscriminator((1, 16, 16)), DCGANDiscriminator((1, 16, 16)), ResNetDiscriminator((1, 16, 16), share=1 / 8)],
)
def test_a_discriminators_head_reads_its_features(network):
    images = torch.rand(5, 1, 16, 16)
    network.eval()
    features = network.features(images)
    assert features.shape[:2] == (5, network.feature_size)
    torch.testing.assert_close(network.head(features), network(images))


def test_spectrum_is_normalised_to_a_largest_singular_value_of_1():
    network = nn.Sequential(nn.Conv2d(2, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 16, 1))
    normalize_spectrum(network)
    network.train()
    for _ in range(50):
        network(torch.rand(2, 2, 6, 6))
    for layer in (network[0], network[3]):
        assert torch.linalg.matrix_norm(layer.weight.flatten(1), 2).item() == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("shape", [(1, 28, 28), (1, 28, 20), (3, 7, 5), (1, 1, 3)])
@pytest.mark.parametrize("sizes", [(6,), (6, 5), (6, 5, 4)])
def test_conv_autoencoder_gives_back_any_shape(shape, sizes):
    codes = ConvEncoder(shape, sizes, 9, "relu", "linear")(torch.rand(2, *shape))
    assert codes.shape == (2, 9)
    assert ConvDecoder(shape, sizes, 9, "relu")(codes).shape == (2, *shape)


def test_conv_sizes_halve_and_round_up():
    assert conv_sizes((1, 28, 5), 3) == [(28, 5), (14, 3), (7, 2), (4, 1)]


@pytest.mark.parametrize("sizes", [(), (6,), (6, 5)])
def test_mlp_autoencoder_gives_back_the_shape_through_mirrored_widths(sizes):
    encoder, decoder = MLPEncoder((3, 4, 2), sizes, 7, "relu", "linear"), MLPDecoder((3, 4, 2), sizes, 7, "relu")
    codes = encoder(torch.rand(2, 3, 4, 2))
    assert codes.shape == (2, 7)
    assert decoder(codes).shape == (2, 3, 4, 2)
    down = [m.weight.shape for m in encoder.modules() if isinstance(m, nn.Linear)]
    up = [m.weight.shape for m in decoder.modules() if isinstance(m, nn.Linear)]
    assert up == [shape[::-1] for shape in reversed(down)]


@pytest.mark.parametrize("network", [MLPEncoder, ConvEncoder])
def test_code_has_its_own_activation(network):
    images = torch.rand(50, 1, 4, 4)
    codes = network((1, 4, 4), (6,), 7, "relu", "sigmoid")(images)
    assert 0 < codes.min() < codes.max() < 1
    assert network((1, 4, 4), (6,), 7, "relu", "linear")(images).min() < 0


@pytest.mark.parametrize("network", [MLPDecoder, ConvDecoder])
def test_decoder_leaves_its_output_to_the_caller(network):
    images = network((1, 4, 4), (6,), 7, "relu")(torch.randn(50, 7))
    assert images.min() < 0


def tied(sizes=(6,), activation="tanh"):
    """A tied decoder with biases that are not 0, and the encoder's weights, `layer1` first."""
    encoder = MLPEncoder((1, 4, 3), sizes, 5, activation, "linear")
    decoder = TiedDecoder((1, 4, 3), sizes, activation)
    for bias in decoder.parameters():
        nn.init.normal_(bias)
    return decoder, [m.weight for m in encoder.modules() if isinstance(m, nn.Linear)]


def test_tied_decoder_applies_the_encoders_weights_transposed():
    decoder, (first, second) = tied()
    codes = torch.randn(2, 5)
    expected = torch.tanh(codes @ second + decoder.biases["layer2"]) @ first + decoder.biases["layer1"]
    torch.testing.assert_close(decoder(codes, [first, second]), expected.reshape(2, 1, 4, 3), rtol=1e-5, atol=1e-6)


def test_tied_decoder_is_the_mirror_image_of_one_with_weights_of_its_own():
    decoder, weights = tied((8, 6))
    plain = MLPDecoder((1, 4, 3), (8, 6), 5, "tanh")
    with torch.no_grad():
        for number, weight in enumerate(weights, start=1):
            plain.get_submodule(f"layer{number}").weight.copy_(weight.t())
            plain.get_submodule(f"layer{number}").bias.copy_(decoder.biases[f"layer{number}"])
    codes = torch.randn(2, 5)
    torch.testing.assert_close(decoder(codes, weights), plain(codes), rtol=1e-5, atol=1e-6)


def test_tied_decoder_has_biases_alone():
    decoder = TiedDecoder((1, 4, 3), (6,), "relu")
    shapes = {name: tuple(p.shape) for name, p in decoder.named_parameters()}
    assert shapes == {"biases.layer1": (12,), "biases.layer2": (6,)}
    assert not any(p.any() for p in decoder.parameters())


def test_tied_decoder_stops_after_its_outermost_layer_activated():
    decoder, weights = tied((8, 6))
    codes = torch.randn(2, 5)
    inner = torch.tanh(codes @ weights[2] + decoder.biases["layer3"])
    middle = torch.tanh(inner @ weights[1] + decoder.biases["layer2"])
    whole = (middle @ weights[0] + decoder.biases["layer1"]).reshape(2, 1, 4, 3)
    for outermost, expected in ((3, inner), (2, middle), (1, whole)):
        torch.testing.assert_close(decoder(codes, weights, outermost=outermost), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("sizes", [(), (6,), (8, 6)])
def test_layers_are_numbered_from_the_image_on_in_both_directions(sizes):
    encoder = MLPEncoder((1, 4, 3), sizes, 5, "relu", "linear")
    decoder, widths = MLPDecoder((1, 4, 3), sizes, 5, "relu"), (12, *sizes, 5)
    for number in range(1, len(widths)):
        outer, inner = widths[number - 1], widths[number]
        assert encoder.get_submodule(f"layer{number}").weight.shape == (inner, outer)
        assert decoder.get_submodule(f"layer{number}").weight.shape == (outer, inner)


@pytest.mark.parametrize(
    "build",
    [
        lambda sizes, z: MLPEncoder((1, 4, 3), sizes, z, "relu", "linear"),
        lambda sizes, z: MLPDecoder((1, 4, 3), sizes, z, "relu"),
        lambda sizes, z: TiedDecoder((1, 4, 3), sizes, "relu"),
    ],
)
def test_a_deeper_networks_outer_layers_have_the_names_and_shapes_of_a_shallower_ones(build):
    shallow, deep = ({n: p.shape for n, p in build(*a).named_parameters()} for a in (((8,), 6), ((8, 6), 5)))
    assert shallow.items() < deep.items()
