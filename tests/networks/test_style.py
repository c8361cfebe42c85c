"""Each block of StyleGAN beside a slow, plain formulation."""

import math

import pytest
import torch
from torch.nn import functional

from lightning_genmodels.networks.style import (
    EqualizedConv2d,
    EqualizedLinear,
    MappingNetwork,
    ShrinkingBlock,
    StyleDiscriminator,
    StyleGenerator,
    StyleLayer,
    Synthesis,
    adaptive_normalization,
    batch_deviation,
    blur,
    channels_at,
    enlarge,
    shrink,
)


def generator(growing=False, size=16, channels=1):
    torch.manual_seed(0)
    return StyleGenerator(size, channels, latent_dim=12, width=8, mapping_depth=2, growing=growing)


def test_the_papers_networks_have_the_published_number_of_weights():
    with torch.device("meta"):
        networks = StyleGenerator(1024, 3, 512, 512, 8, True), StyleDiscriminator(1024, 3, 512, True)
    assert [sum(p.numel() for p in network.parameters()) for network in networks] == [26_219_627, 23_087_249]
    assert [channels_at(size, 512) for size in (4, 32, 64, 128, 256, 512, 1024)] == [512, 512, 256, 128, 64, 32, 16]


@pytest.mark.parametrize("rate", [1.0, 0.01])
def test_an_equalised_layer_is_a_scaled_one_and_learns_by_its_rate(rate):
    torch.manual_seed(0)
    layer = EqualizedLinear(2000, 300, rate=rate)
    x = torch.randn(64, 2000)
    assert layer.weight.std().item() == pytest.approx(1 / rate, rel=0.01)
    assert layer(x).std().item() == pytest.approx(math.sqrt(2), rel=0.03)
    weight = layer.weight.detach() * math.sqrt(2 / 2000) * rate
    torch.testing.assert_close(layer(x), x @ weight.T, rtol=1e-4, atol=1e-4)
    # A step of Adam, the same for every weight, moves the output in proportion to the rate.
    before = layer(x).detach()
    with torch.no_grad():
        layer.weight += 0.1
        layer.bias += 0.1
    moved = 0.1 * math.sqrt(2 / 2000) * x.sum(1, keepdim=True) + 0.1
    torch.testing.assert_close(layer(x) - before, (rate * moved).expand(-1, 300), rtol=2e-3, atol=2e-4)


def test_an_equalised_convolution_is_a_scaled_one():
    torch.manual_seed(0)
    layer, x = EqualizedConv2d(6, 5, 3, gain=0.7), torch.randn(2, 6, 8, 8)
    with torch.no_grad():
        layer.bias.normal_()
    plain = functional.conv2d(x, layer.weight * 0.7 / math.sqrt(54), layer.bias, padding=1)
    torch.testing.assert_close(layer(x), plain)


def test_the_blur_sums_to_1_and_commutes_with_shifts():
    x = torch.zeros(1, 2, 9, 9)
    x[0, 1, 4, 4] = 16
    window = torch.tensor([[1.0, 2, 1], [2, 4, 2], [1, 2, 1]])
    assert torch.equal(blur(x)[0, 1, 3:6, 3:6], window)
    assert blur(x)[0, 0].abs().max() == 0
    torch.testing.assert_close(blur(torch.ones(1, 3, 8, 8))[..., 1:-1, 1:-1], torch.ones(1, 3, 6, 6))
    shifted = torch.randn(1, 1, 12, 12)
    inner = (..., slice(2, -2), slice(2, -2))
    torch.testing.assert_close(blur(shifted.roll((1, -1), (2, 3)))[inner], blur(shifted).roll((1, -1), (2, 3))[inner])


def test_enlarging_repeats_pixels_and_shrinking_takes_it_back():
    x = torch.randn(2, 3, 4, 4)
    assert torch.equal(enlarge(x)[:, :, 1::2, ::2], x)
    assert torch.equal(shrink(enlarge(x)), x)
    torch.testing.assert_close(shrink(x, 4)[..., 0, 0], x.mean((2, 3)))


def test_adaptive_normalisation_gives_each_channel_the_deviation_s_plus_1_and_its_mean():
    torch.manual_seed(0)
    x, style = 3 * torch.randn(2, 5, 16, 16) + 4, torch.randn(2, 10)
    made = adaptive_normalization(x, style)
    torch.testing.assert_close(made.mean((2, 3)), style[:, 5:], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(made.std((2, 3), correction=0), (style[:, :5] + 1).abs(), rtol=1e-4, atol=1e-4)
    neutral = adaptive_normalization(x, torch.zeros(2, 10))
    plain = (x - x.mean((2, 3), keepdim=True)) / x.std((2, 3), keepdim=True, correction=0)
    torch.testing.assert_close(neutral, plain, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("n", "group"), [(8, 4), (6, 3), (7, 1), (2, 2)])
def test_the_deviation_of_a_batch_by_hand(n, group):
    torch.manual_seed(0)
    x = torch.randn(n, 3, 4, 4)
    made = batch_deviation(x)
    assert torch.equal(made[:, :3], x)
    parts = n // group
    for i in range(n):
        members = x[[j for j in range(n) if j % parts == i % parts]]
        deviation = (members.var(0, unbiased=False) + 1e-8).sqrt().mean()
        torch.testing.assert_close(made[i, 3], deviation.expand(4, 4))


def test_the_mapping_network_sees_the_direction_of_a_latent_alone():
    torch.manual_seed(0)
    mapping, z = MappingNetwork(16, 3), torch.randn(4, 16)
    torch.testing.assert_close(mapping(z), mapping(5 * z))
    unit = functional.normalize(z) * 4
    plain = unit
    for layer in mapping:
        plain = layer(plain)
    torch.testing.assert_close(mapping(z), plain)


def test_a_layer_beside_its_plain_formulation():
    torch.manual_seed(0)
    layer = StyleLayer(6, 4, 10, enlarges=True)
    with torch.no_grad():
        layer.noise_weight.normal_()
        layer.bias.normal_()
    x, style, noise = torch.randn(2, 6, 4, 4), torch.randn(2, 10), torch.randn(2, 1, 8, 8)
    made = blur(layer.conv(x.repeat_interleave(2, 2).repeat_interleave(2, 3)))
    made = functional.leaky_relu(made + layer.noise_weight * noise + layer.bias, 0.2)
    torch.testing.assert_close(layer(x, style, noise), adaptive_normalization(made, layer.style(style)))


def test_noise_changes_nothing_at_the_start_and_something_once_it_has_weights():
    network = generator()
    styles = network.styles(torch.randn(3, 12))
    noises = network.synthesis.draw_noises(3, torch.Generator().manual_seed(1))
    assert [tuple(n.shape[1:]) for n in noises] == [(1, s, s) for s in (4, 4, 8, 8, 16, 16)]
    assert torch.equal(network(styles, noises), network(styles))
    with torch.no_grad():
        network.synthesis.layers[1].noise_weight.fill_(1)
    assert not torch.allclose(network(styles, noises), network(styles), atol=1e-2)


def test_each_layer_is_given_its_own_style():
    network = generator()
    styles = network.styles(torch.randn(2, 12))[:, None].expand(-1, 6, -1).contiguous()
    torch.testing.assert_close(network(styles), network(styles[:, 0]))
    for number in range(6):
        changed = styles.clone()
        changed[:, number] += 1
        assert not torch.allclose(network(changed), network(styles), atol=1e-3)


def test_the_image_is_a_sum_over_sizes_where_it_does_not_grow():
    network = generator().synthesis
    styles = torch.randn(2, 6, 12)
    x, image = network.constant.expand(2, -1, -1, -1), 0
    for level in range(3):
        for number in (2 * level, 2 * level + 1):
            x = network.layers[number](x, styles[:, number], None)
        image = (blur(enlarge(image)) if level else 0) + network.to_image[level](x)
    torch.testing.assert_close(network(styles), image)


def test_fading_at_0_is_the_lower_size_and_at_1_the_higher():
    network, discriminator = generator(growing=True), StyleDiscriminator(16, 1, 8, growing=True)
    styles, images = torch.randn(4, 12), torch.randn(4, 1, 16, 16)

    def at(detail):
        network.synthesis.detail.fill_(detail)
        discriminator.detail.fill_(detail)
        return network(styles), discriminator(images)

    for level in (0, 1):
        low, half, high = at(level), at(level + 0.5), at(level + 1)
        for begun, before in zip(at(level + 1e-6), low, strict=True):
            torch.testing.assert_close(begun, before, rtol=1e-4, atol=1e-4)
        for ended, after in zip(at(level + 1 - 1e-6), high, strict=True):
            torch.testing.assert_close(ended, after, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(half[0], (low[0] + high[0]) / 2)
        side = 4 << level
        torch.testing.assert_close(low[0], enlarge(shrink(low[0], 16 // side), 16 // side))
        assert not torch.allclose(low[1], high[1], atol=1e-3)


def test_the_growing_discriminator_sees_no_more_than_the_size_it_has_reached():
    discriminator = StyleDiscriminator(16, 1, 8, growing=True)
    discriminator.detail.fill_(1)
    images = torch.randn(4, 1, 16, 16)
    blurred = enlarge(shrink(images))
    torch.testing.assert_close(discriminator(images), discriminator(blurred))


def test_a_block_of_the_discriminator_with_and_without_a_way_around():
    torch.manual_seed(0)
    block, x = ShrinkingBlock(6, 4, residual=True), torch.randn(2, 6, 8, 8)
    made = functional.leaky_relu(block.conv0(x), 0.2)
    made = functional.leaky_relu(functional.avg_pool2d(block.conv1(blur(made)), 2), 0.2)
    around = block.around(functional.avg_pool2d(blur(x), 2))
    torch.testing.assert_close(block(x), (made + around) / math.sqrt(2))
    block.around = None
    torch.testing.assert_close(block(x), made)


def scaled(x, layer, gain, rate=1.0):
    """By hand what an equalised layer does to x."""
    weight = layer.weight * gain * rate / math.sqrt(layer.weight[0].numel())
    bias = 0 if layer.bias is None else layer.bias * rate
    if layer.weight.ndim == 2:
        return x @ weight.T + bias
    return functional.conv2d(x, weight, None, padding=layer.weight.shape[2] // 2) + (
        bias.view(-1, 1, 1) if layer.bias is not None else 0
    )


def random_biases(network):
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith(("bias", "noise_weight")):
                parameter.normal_()


def leaky(x):
    return functional.leaky_relu(x, 0.2)


def repeated(x):
    return x.repeat_interleave(2, 2).repeat_interleave(2, 3)


@pytest.mark.parametrize("bounded", [False, True])
def test_the_generator_beside_its_plain_formulation(bounded):
    torch.manual_seed(0)
    network = StyleGenerator(8, 3, latent_dim=12, width=8, mapping_depth=2, growing=True, bounded=bounded)
    assert torch.equal(network.synthesis.constant, torch.ones(1, 8, 4, 4))
    random_biases(network)
    z, noises = torch.randn(4, 12), [torch.randn(4, 1, size, size) for size in (4, 4, 8, 8)]
    w = z / z.square().mean(1, keepdim=True).sqrt()
    for layer in list(network.mapping)[::2]:
        w = leaky(scaled(w, layer, math.sqrt(2), rate=0.01))
    x = network.synthesis.constant
    for number, layer in enumerate(network.synthesis.layers):
        if number:
            x = scaled(repeated(x) if number == 2 else x, layer.conv, math.sqrt(2))
            x = blur(x) if number == 2 else x
        x = leaky(x + layer.noise_weight * noises[number] + layer.bias)
        scale, shift = scaled(w, layer.style, 1.0)[:, :, None, None].chunk(2, 1)
        x = (x - x.mean((2, 3), keepdim=True)) / (x.var((2, 3), keepdim=True, correction=0) + 1e-8).sqrt()
        x = x * (scale + 1) + shift
    image = scaled(x, network.synthesis.to_image[1], 1.0)
    torch.testing.assert_close(
        network(network.styles(z), noises), image.tanh() if bounded else image, rtol=1e-3, atol=1e-3
    )


def test_the_discriminator_beside_its_plain_formulation():
    torch.manual_seed(0)
    network, gain = StyleDiscriminator(8, 3, 6, growing=True), math.sqrt(2)
    random_biases(network)
    images = torch.randn(8, 3, 8, 8)
    x = leaky(scaled(images, network.from_image[1], gain))
    block = network.blocks[0]
    x = leaky(scaled(x, block.conv0, gain))
    x = leaky(functional.avg_pool2d(scaled(blur(x), block.conv1, gain), 2))
    deviation = (x.unflatten(0, (4, 2)).var(0, unbiased=False) + 1e-8).sqrt().mean((1, 2, 3))
    x = torch.cat([x, deviation.repeat(4).view(8, 1, 1, 1).expand(8, 1, 4, 4)], 1)
    x = leaky(scaled(leaky(scaled(x, network.conv, gain)).flatten(1), network.linear, gain))
    torch.testing.assert_close(network(images), scaled(x, network.head, 1.0).flatten(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("growing", [False, True])
@pytest.mark.parametrize(("size", "channels"), [(16, 1), (64, 3), (256, 3)])
def test_images_of_every_size_are_made_and_judged(size, channels, growing):
    network = StyleGenerator(size, channels, 12, 4, 2, growing)
    images = network(network.styles(torch.randn(2, 12)))
    assert images.shape == (2, channels, size, size)
    assert StyleDiscriminator(size, channels, 4, growing)(images).shape == (2,)


def test_truncation_moves_styles_towards_the_mean_one():
    network = generator()
    with torch.no_grad():
        network.style_average.normal_()
    z = torch.randn(5, 12)
    styles, mean = network.mapping(z), network.style_average
    torch.testing.assert_close(network.styles(z, 0.3), mean + 0.3 * (styles - mean))
    torch.testing.assert_close(network.styles(z, 0.0), mean.expand(5, -1))
    assert torch.equal(network.styles(z), styles)


def test_a_synthesis_has_two_layers_for_each_size():
    assert [len(Synthesis(size, 3, 8, 4, False).layers) for size in (16, 64, 1024)] == [6, 10, 18]
