import pytest
import torch
from published import published_discriminator_state, published_unet_state
from torch import nn
from torch.nn import functional

from lightning_genmodels import GenmodelsError
from lightning_genmodels.networks.encoder_decoder import DnCNN, UNet
from lightning_genmodels.networks.patchgan import PATCHES, MultiScaleDiscriminator, PatchDiscriminator, fits
from lightning_genmodels.networks.published import published_discriminator, published_unet
from lightning_genmodels.networks.unet import UNetGenerator, _drop, deepest


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def count(network):
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(("depth", "size", "parameters"), [(8, (256, 256), 54_413_955), (7, (128, 128), 41_828_995)])
def test_the_unet_has_the_papers_size_and_gives_an_image_of_the_sources(depth, size, parameters):
    network = UNetGenerator(3, 3, depth)
    assert count(network) == parameters
    made = network(torch.rand(1, 3, *size))
    assert made.shape == (1, 3, *size)
    assert -1 <= made.min() < 0 < made.max() <= 1


@pytest.mark.parametrize(("height", "width", "times"), [(256, 256, 8), (1024, 512, 8), (160, 128, 5), (28, 28, 2),
                                                         (21, 64, 0)])  # fmt: skip
def test_an_image_is_halved_as_often_as_both_sides_can_be(height, width, times):
    assert deepest(height, width) == times


def test_the_skips_hand_on_what_the_bottleneck_loses():
    """Two images that differ in one pixel of a checkerboard's frequency give results that differ there."""
    network = UNetGenerator(1, 1, 4, width=8, dropout=0)
    one = torch.rand(1, 1, 16, 16)
    other = one.clone()
    other[..., 5, 6] += 0.5
    assert (network(one) - network(other)).abs()[..., 3:8, 4:9].max() > 1e-4
    for up in network.up[:-1]:
        width = up.in_channels // 2
        up.weight.data[:width] = 0  # the skip's half
    with torch.no_grad():
        network.up[-1].weight.zero_()
    assert torch.equal(network(one), network(other))


def test_dropout_is_on_in_eval_mode_repeatable_and_only_between_the_innermost_and_the_four_outer_blocks():
    source = torch.rand(1, 3, 128, 128)
    network = UNetGenerator(3, 3, 7, width=4).eval()
    assert list(network.dropped) == [4, 5]
    assert not list(UNetGenerator(3, 3, 5, width=4).dropped)
    one, same, other = (network(source, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert not torch.equal(network(source), network(source))
    network.dropout = 0
    assert torch.equal(network(source), network(source))


def test_dropout_leaves_the_mean():
    kept = _drop(torch.ones(1, 8, 64, 64), 0.25, torch.Generator().manual_seed(0))
    assert kept.unique().tolist() == [0, pytest.approx(4 / 3)]
    assert kept.mean().item() == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("build", [lambda: UNetGenerator(3, 3, 5, width=8), lambda: PatchDiscriminator(3, 34)])
@pytest.mark.parametrize("training", [True, False])
def test_an_image_is_normalised_by_itself_in_training_and_afterwards(build, training):
    network = build().train(training)
    images = torch.rand(4, 3, 32, 32)
    together, alone = network(images), [network(image) for image in images.split(1)]
    if isinstance(together, list):
        together, alone = together[-1], [maps[-1] for maps in alone]
    torch.testing.assert_close(together, torch.cat(alone), rtol=0, atol=1e-5)
    assert not list(network.buffers())


@pytest.mark.parametrize("patch_size", PATCHES)
def test_a_logit_sees_a_patch_of_that_size(patch_size):
    """Counted by the gradient of one logit in the middle; normalisation, which sees all, is left out."""
    network = PatchDiscriminator(2, patch_size, width=4)
    for module in network.modules():
        if isinstance(module, nn.Sequential) and len(module) == 3:
            module[1] = nn.Identity()
    for parameter in network.parameters():
        parameter.data = parameter.data.abs() + 0.01  # no path cancels another
    size = 512 if patch_size == 286 else 128
    images = torch.rand(1, 2, size, size, requires_grad=True)
    logits = network(images)[-1]
    logits[0, 0, logits.shape[2] // 2, logits.shape[3] // 2].backward()
    seen = (images.grad[0].abs().sum(0) > 0).nonzero()
    assert (seen.amax(0) - seen.amin(0) + 1).tolist() == [patch_size] * 2


def test_the_papers_discriminator_gives_30_by_30_logits_of_256_pixels_and_has_its_size():
    network = PatchDiscriminator(6)
    maps = network(torch.rand(1, 6, 256, 256))
    assert [m.shape[1] for m in maps] == [64, 128, 256, 512, 1]
    assert maps[-1].shape == (1, 1, 30, 30)
    assert count(network) == 2_768_705


@pytest.mark.parametrize("scales", [1, 2, 3])
@pytest.mark.parametrize("patch_size", PATCHES)
def test_fits_says_which_images_can_be_judged(patch_size, scales):
    smallest = next(size for size in range(1, 2000) if fits(patch_size, size, size + 5, scales))
    network = MultiScaleDiscriminator(1, patch_size, scales)
    assert network(torch.rand(1, 1, smallest, smallest + 5))[-1][-1].numel() >= 1
    with pytest.raises((ValueError, RuntimeError)):  # torch's, of a single pixel that is normalised, or of none
        network(torch.rand(1, 1, smallest - 1, smallest - 1))


def test_scales_are_of_the_image_halved_again_and_again_borders_not_darkened():
    network = MultiScaleDiscriminator(1, 16, 3)
    seen = []
    for scale in network.scales:
        scale.register_forward_pre_hook(lambda module, arguments: seen.append(arguments[0]))
    network(torch.full((1, 1, 64, 64), 0.5))
    assert [tuple(images.shape[2:]) for images in seen] == [(64, 64), (32, 32), (16, 16)]
    assert all(torch.equal(images, torch.full_like(images, 0.5)) for images in seen)
    assert not torch.equal(network.scales[0].layers[0][0].weight, network.scales[1].layers[0][0].weight)


# Weights of the implementation in public use: their names, and a plain forward of theirs


def normalised(maps, state, name):
    """Batch normalisation of a batch of one in training mode."""
    return functional.batch_norm(maps, None, None, state[f"{name}.weight"], state[f"{name}.bias"], training=True)


def published_block(maps, state, block):
    """One of the blocks within blocks: what it is given, beside what it makes of it."""
    down = functional.conv2d(functional.leaky_relu(maps, 0.2), state[f"{block}.1.weight"], stride=2, padding=1)
    if f"{block}.5.weight" in state:
        inner = published_block(normalised(down, state, f"{block}.2"), state, f"{block}.3.model")
        up, norm = f"{block}.5", f"{block}.6"
    else:
        inner, up, norm = down, f"{block}.3", f"{block}.4"
    made = functional.conv_transpose2d(inner.relu(), state[f"{up}.weight"], stride=2, padding=1)
    return torch.cat([maps, normalised(made, state, norm)], 1)


def published_forward(image, state):
    inner = published_block(
        functional.conv2d(image, state["model.model.0.weight"], stride=2, padding=1), state, "model.model.1.model"
    )
    last = state["model.model.3.weight"], state["model.model.3.bias"]
    return functional.conv_transpose2d(inner.relu(), *last, stride=2, padding=1).tanh()


@pytest.mark.parametrize(("depth", "prefix"), [(7, ""), (8, "module.")])
def test_a_published_unet_gives_what_its_own_forward_gives(depth, prefix):
    state = published_unet_state(depth)
    network = published_unet({f"{prefix}{name}": value for name, value in state.items()}, "G.pth")
    assert (network.depth, network.in_channels, network.out_channels, network.width) == (depth, 3, 2, 4)
    network.dropout = 0
    image = torch.rand(1, 3, 2**depth, 2**depth) * 2 - 1
    torch.testing.assert_close(network(image), published_forward(image, state), rtol=0, atol=1e-5)


@pytest.mark.parametrize(("patch_size", "halvings", "prefix"), [(1, 0, "net"), (16, 1, "model"), (70, 3, "model")])
def test_a_published_discriminator_gives_what_its_own_forward_gives(patch_size, halvings, prefix):
    state = published_discriminator_state(halvings, prefix)
    network = published_discriminator(state, 5, "D.pth")
    assert network.patch_size == patch_size
    pair = torch.rand(1, 5, 64, 64)
    maps, hidden, padding = pair, max(halvings, 1), 0 if prefix == "net" else 1
    for layer in range(hidden + 2):
        name = f"{prefix}.{0 if layer == 0 else 3 * layer - 1}"
        stride = 2 if layer < halvings else 1
        maps = functional.conv2d(maps, state[f"{name}.weight"], state.get(f"{name}.bias"), stride, padding)
        if 0 < layer <= hidden:
            maps = normalised(maps, state, f"{prefix}.{3 * layer}")
        if layer <= hidden:
            maps = functional.leaky_relu(maps, 0.2)
    torch.testing.assert_close(network(pair)[-1], maps, rtol=1e-5, atol=1e-4)


def without(name, state):
    return {key: value for key, value in state.items() if key != name}


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({}, "it has no convolutions model.model.0 and model.model.3"),
        (without("model.model.1.model.3.model.2.bias", published_unet_state()),
         r"model\.model\.1\.model\.3\.model\.2\.bias is missing; expected \(16,\)"),
        ({**published_unet_state(), "model.model.3.weight": torch.zeros(8, 2, 3, 3)},
         r"model.model.3.weight is of the shape \(8, 2, 3, 3\); expected \(8, 2, 4, 4\)"),
        ({**published_unet_state(), "model.model.0.bias": torch.zeros(4)}, "it also has model.model.0.bias"),
    ],
)  # fmt: skip
def test_what_is_no_published_unet_is_one_sentence(state, message):
    with pytest.raises(GenmodelsError, match=rf"^G\.pth is no U-Net of pix2pix.*{message}\.$"):
        published_unet(state, "G.pth")


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({}, r" of 1, 16, 34, 70, 286 pixels"),
        (published_discriminator_state(4), r" of 1, 16, 34, 70, 286 pixels"),
        (
            without("model.3.weight", published_discriminator_state()),
            r".*: model.3.weight is missing; expected \(128,\)",
        ),
    ],
)
def test_what_is_no_published_discriminator_is_one_sentence(state, message):
    with pytest.raises(GenmodelsError, match=rf"^D\.pth is no discriminator of pix2pix{message}\.$"):
        published_discriminator(state, 5, "D.pth")


# Regression


@pytest.mark.parametrize("depth", [1, 3])
def test_a_unet_keeps_the_size_and_sees_far_at_its_deepest(depth):
    network = UNet(2, 5, depth, width=4, batch_norm=False)
    images = torch.rand(1, 2, 160, 64, requires_grad=True)
    made = network(images)
    assert made.shape == (1, 5, 160, 64)
    made[0, 0, 80, 32].backward()
    rows = (images.grad.abs().sum((0, 1, 3)) > 0).nonzero()
    assert 8 * 2**depth <= rows.max() - rows.min() + 1 <= 16 * 2**depth


def test_a_dncnn_sees_two_pixels_more_with_each_layer():
    network = DnCNN(1, 1, depth=5, width=4, batch_norm=False)
    for parameter in network.parameters():
        parameter.data = parameter.data.abs()
    images = torch.rand(1, 1, 21, 21, requires_grad=True)
    network(images)[0, 0, 10, 10].backward()
    assert images.grad[0, 0, 10].nonzero().numel() == 11
    paper = DnCNN(1, 1)
    assert sum(isinstance(module, nn.Conv2d) for module in paper.modules()) == 17
    assert sum(isinstance(module, nn.BatchNorm2d) for module in paper.modules()) == 15
