import math
import typing

import pytest
import torch
from command import QUIET, genmodels
from drawing import all_digits, evaluate, mean_image_error, random_batches
from torch.utils.data import DataLoader
from toy import fit

from lightning_genmodels import DenoisingAutoencoder, GenmodelsError
from lightning_genmodels.cli.weights import copy_matching_weights
from lightning_genmodels.models.denoising_autoencoder import NOISES, NoiseName

SHAPE = (1, 8, 8)
every_noise = pytest.mark.parametrize(
    ("noise", "level"), [("masking", 0.3), ("salt_and_pepper", 0.2), ("gaussian", 0.3)]
)


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@pytest.fixture(scope="module")
def digits():
    return all_digits()


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def corrupted(images, noise, level, generator=None):
    model = DenoisingAutoencoder(tuple(images.shape[1:]), latent_dim=2, noise=noise, noise_level=level)
    return model.corrupt(images, generator=generator)


def greys(n=100):
    return 0.1 + 0.8 * torch.rand(n, 1, 20, 20, generator=seeded(5))  # 40,000 pixels, none of them 0 or 1


# The noise


def test_the_named_noises_are_those_of_the_table():
    assert typing.get_args(NoiseName) == tuple(NOISES)


@pytest.mark.parametrize("level", [0.1, 0.5, 0.9])
def test_masking_sets_its_share_to_0_and_scales_nothing(level):
    clean, noisy = greys(), corrupted(greys(), "masking", level)
    assert torch.equal(noisy[noisy != 0], clean[noisy != 0])
    assert (noisy == 0).float().mean().item() == pytest.approx(level, abs=0.015)


@pytest.mark.parametrize("level", [0.1, 0.5, 0.9])
def test_salt_and_pepper_sets_half_its_share_to_0_and_half_to_1(level):
    clean, noisy = greys(), corrupted(greys(), "salt_and_pepper", level)
    kept = (noisy != 0) & (noisy != 1)
    assert torch.equal(noisy[kept], clean[kept])
    shares = [(noisy == value).float().mean().item() for value in (0, 1)]
    assert shares == pytest.approx([level / 2] * 2, abs=0.015)


@pytest.mark.parametrize("level", [0.05, 0.5, 2.0])
def test_gaussian_adds_noise_of_its_standard_deviation_and_does_not_clamp(level):
    noise = corrupted(greys(), "gaussian", level) - greys()
    assert noise.mean().item() == pytest.approx(0, abs=5 * level / 200)
    assert noise.std().item() == pytest.approx(level, rel=0.02)
    assert (noise.abs() > 2 * level).float().mean().item() == pytest.approx(0.0455, abs=0.006)


@every_noise
def test_every_pixel_is_drawn_for_itself(noise, level):
    change = (corrupted(greys(), noise, level) - greys()).abs().flatten(1)
    change = change / change.mean()
    for one, other in ((change[:, 0::2], change[:, 1::2]), (change[0::2], change[1::2])):
        correlation = torch.corrcoef(torch.stack([one.flatten(), other.flatten()]))[0, 1]
        assert abs(correlation.item()) < 0.04


@every_noise
def test_a_generator_repeats_the_noise_and_nothing_else_is_drawn(noise, level):
    before = torch.get_rng_state()
    model = DenoisingAutoencoder((1, 20, 20), latent_dim=2, noise=noise, noise_level=level)
    torch.set_rng_state(before)
    one, same, other = (model.corrupt(greys(), generator=seeded(s)) for s in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert not torch.equal(model.corrupt(greys()), model.corrupt(greys()))


# The loss


def of_identity(**options):
    model = DenoisingAutoencoder(
        (1, 20, 20),
        latent_dim=400,
        code_activation="linear",
        output_activation="linear",
        reconstruction_loss="mse",
        **options,
    )
    with torch.no_grad():
        model.encoder.layer1.weight.copy_(torch.eye(400))
        model.encoder.layer1.bias.zero_()
    return model


def test_the_input_is_corrupted_and_the_target_is_clean():
    images = greys()
    terms, output = of_identity(noise_level=0.25).loss_terms(images)
    masked = (output == 0).float()
    assert masked.mean().item() == pytest.approx(0.25, abs=0.015)
    assert terms["reconstruction"].item() == pytest.approx(
        (masked * images).square().flatten(1).sum(1).mean().item(), rel=1e-5
    )


def test_the_target_of_the_cross_entropy_is_clean():
    images, model = greys(), DenoisingAutoencoder((1, 20, 20), latent_dim=2)
    with torch.no_grad():
        model.encoder.layer1.weight.zero_()
        model.decoder.biases["layer1"].fill_(math.log(3))  # draws 3/4 everywhere, whatever it is shown
    expected = -(images * math.log(0.75) + (1 - images) * math.log(0.25)).flatten(1).sum(1).mean()
    assert model.loss_terms(images)[0]["reconstruction"].item() == pytest.approx(expected.item(), rel=1e-5)


@every_noise
def test_the_noise_is_new_in_every_batch_and_absent_in_use(noise, level):
    images, model = greys(), of_identity(noise=noise, noise_level=level)
    outputs = [model.loss_terms(images)[1] for _ in range(2)]
    assert not torch.equal(*outputs)
    for mode in (True, False):
        torch.testing.assert_close(model.train(mode).reconstruct(images), images)
        torch.testing.assert_close(model.encode(images), images.flatten(1))


# Validation


class Recording(DenoisingAutoencoder):
    """Keeps what it corrupts and what becomes of it."""

    def corrupt(self, images, *, generator=None):
        noisy = super().corrupt(images, generator=generator)
        self.__dict__.setdefault("seen", []).append((images, noisy))
        return noisy


def psnr(images, drawn):
    return -10 * math.log10((images - drawn).double().square().mean().item())


@every_noise
@pytest.mark.parametrize(("stage", "prefix"), [("validate", "val"), ("test", "test")])
def test_psnr_is_that_over_all_pixels_of_what_is_drawn_from_the_noisy_images(digits, noise, level, stage, prefix):
    options = {"output_activation": "linear", "reconstruction_loss": "mse"}  # draws outside [0, 1], too
    model = Recording(SHAPE, latent_dim=30, noise=noise, noise_level=level, **options).eval()
    result = evaluate(model, digits[:70], batch_size=32, stage=stage)
    clean, noisy = (torch.cat(parts) for parts in zip(*model.seen, strict=True))
    assert torch.equal(clean, digits[:70])
    with torch.no_grad():
        drawn = model.decode(model.encode(noisy))
    assert drawn.min() < 0
    found = {name: result[f"{prefix}/{name}"] for name in ("psnr", "psnr_noisy", "reconstruction", "squared_error")}
    assert found == pytest.approx(
        {
            "psnr": psnr(clean, drawn.clamp(0, 1)),
            "psnr_noisy": psnr(clean, noisy),
            "reconstruction": 64 * (drawn - clean).square().mean().item(),
            "squared_error": 64 * (drawn - clean).square().mean().item(),
        },
        rel=1e-4,
    )


@pytest.mark.parametrize("options", [{}, {"hidden_sizes": (20,), "frozen_layers": 1}])
def test_validation_has_the_same_noise_each_time_and_another_in_each_batch(digits, options):
    model = Recording(SHAPE, latent_dim=30, **options)
    images = digits[:1].expand(40, -1, -1, -1)
    first = evaluate(model, images, batch_size=20)
    (_, one), *_, (_, other) = model.seen
    assert not torch.equal(one, other)
    torch.rand(1)
    assert evaluate(model, images, batch_size=20) == first


# Learning


@every_noise
def test_what_is_drawn_from_noisy_digits_is_closer_to_the_clean_ones(digits, noise, level):
    model = DenoisingAutoencoder(SHAPE, latent_dim=128, noise=noise, noise_level=level, learning_rate=1e-2)
    fit(model, random_batches(digits, 200))
    result = evaluate(model, digits)
    assert result["val/psnr"] > result["val/psnr_noisy"] + 3
    assert result["val/squared_error"] < 0.5 * mean_image_error(digits)


def test_conv_in_colour_learns_to_denoise_too(digits):
    images = digits * torch.tensor([1.0, 0.7, 0.5]).view(1, 3, 1, 1)
    model = DenoisingAutoencoder((3, 8, 8), network="conv", learning_rate=3e-3)  # all else as it comes
    fit(model, random_batches(images, 200, 128))
    result = evaluate(model, images)
    assert result["val/psnr"] > result["val/psnr_noisy"] + 2
    assert result["val/squared_error"] < 0.6 * mean_image_error(images)


# Layer by layer

DEEP = {"hidden_sizes": (40,), "latent_dim": 20, "frozen_layers": 1}
THREE = {"hidden_sizes": (40, 30), "latent_dim": 20, "frozen_layers": 2}
every_depth = pytest.mark.parametrize("options", [DEEP, THREE], ids=["1 of 2", "2 of 3"])
tied_or_not = pytest.mark.parametrize("tied", [True, False])


def outer_layers(options):
    return [f"layer{number}" for number in range(1, options["frozen_layers"] + 1)]


@tied_or_not
@every_depth
def test_frozen_layers_stay_and_the_others_learn(digits, options, tied):
    model = DenoisingAutoencoder(SHAPE, tied=tied, **options)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    fit(model, random_batches(digits, 3))
    stayed = {name for name, p in model.named_parameters() if torch.equal(p, before[name])}
    assert stayed == {name for name in before if any(layer in name for layer in outer_layers(options))}
    assert stayed == {name for name, p in model.named_parameters() if not p.requires_grad}
    assert 0 < len(stayed) < len(before)


@tied_or_not
def test_without_frozen_layers_all_learn(digits, tied):
    model = DenoisingAutoencoder(SHAPE, tied=tied, **DEEP | {"frozen_layers": 0})
    before = [p.detach().clone() for p in model.parameters()]
    fit(model, random_batches(digits, 3))
    assert not any(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


@tied_or_not
@every_depth
@pytest.mark.parametrize("activation", ["sigmoid", "tanh"])
def test_the_loss_of_a_layer_is_the_squared_error_of_what_enters_it(digits, options, tied, activation):
    act = {"sigmoid": torch.sigmoid, "tanh": torch.tanh}[activation]
    options = {**options, "tied": tied, "activation": activation, "noise": "gaussian", "noise_level": 0.1}
    model, images = Recording(SHAPE, **options), digits[:20]
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "bias" in name:
                parameter.normal_()
    loss = model.loss_terms(images)[0]["reconstruction"]

    entering = images.flatten(1)
    for layer in outer_layers(options):
        entering = act(getattr(model.encoder, layer)(entering))
    clean, noisy = model.seen[-1]
    torch.testing.assert_close(clean, entering)
    assert (noisy - clean).std().item() == pytest.approx(0.1, rel=0.2)
    trained = getattr(model.encoder, f"layer{options['frozen_layers'] + 1}")
    code = torch.sigmoid(trained(noisy))
    if tied:
        bias = model.decoder.biases[f"layer{options['frozen_layers'] + 1}"]
        redrawn = act(code @ trained.weight + bias)
    else:
        redrawn = act(getattr(model.decoder, f"layer{options['frozen_layers'] + 1}")(code))
    assert loss.item() == pytest.approx((redrawn - clean).square().sum(1).mean().item(), rel=1e-4)


def test_validation_of_a_layer_has_its_loss_and_the_error_of_the_whole_drawing(digits):
    model = Recording(SHAPE, **DEEP).eval()
    result = evaluate(model, digits[:50])
    (_, noisy), (hidden, noisy_hidden) = model.seen
    with torch.no_grad():
        drawn = model.decode(model.encode(noisy))
        code = torch.sigmoid(model.encoder.layer2(noisy_hidden))
        redrawn = torch.sigmoid(code @ model.encoder.layer2.weight + model.decoder.biases["layer2"])
    assert result["val/squared_error"] == pytest.approx(64 * (drawn - digits[:50]).square().mean().item(), rel=1e-4)
    assert result["val/reconstruction"] == pytest.approx((redrawn - hidden).square().sum(1).mean().item(), rel=1e-4)


@tied_or_not
def test_a_deeper_model_starts_from_the_layers_of_the_one_before(digits, tied, capsys):
    shallow = DenoisingAutoencoder(SHAPE, latent_dim=40, tied=tied)
    trainer = fit(shallow, random_batches(digits, 3))
    trainer.save_checkpoint("shallow.ckpt")
    deep = DenoisingAutoencoder(SHAPE, tied=tied, **DEEP)
    copy_matching_weights(deep, "shallow.ckpt")
    names = {*shallow.state_dict()}
    assert names == {name for name in deep.state_dict() if "layer1" in name}
    assert len(names) == (3 if tied else 4)
    for name in names:
        assert torch.equal(deep.state_dict()[name], shallow.state_dict()[name])
    said = capsys.readouterr().out
    assert all(name in said for name in deep.state_dict())

    # What enters the second layer is the shallow model's code, and drawn from it is what that one draws.
    hidden = shallow.encode(digits[:5])
    torch.testing.assert_close(torch.sigmoid(deep.encoder.layer1(digits[:5].flatten(1))), hidden)
    drawn = torch.sigmoid(
        hidden @ deep.encoder.layer1.weight + deep.decoder.biases["layer1"] if tied else deep.decoder.layer1(hidden)
    )
    torch.testing.assert_close(shallow.decode(hidden), drawn.unflatten(1, SHAPE))


def test_frozen_layers_that_a_checkpoint_has_not_are_refused(digits, in_tmp):
    wide = DenoisingAutoencoder(SHAPE, latent_dim=50)
    fit(wide, random_batches(digits, 2)).save_checkpoint("wide.ckpt")
    with pytest.raises(
        GenmodelsError,
        match=r"^--init_from wide\.ckpt has no encoder\.layer1\.weight of the model's shape, which "
        r"--model\.frozen_layers 1 would leave at its random values; expected a checkpoint with these layers\.$",
    ):
        copy_matching_weights(DenoisingAutoencoder(SHAPE, **DEEP), "wide.ckpt")


def test_a_new_run_with_frozen_layers_needs_a_checkpoint(in_tmp, capsys):
    status = genmodels("fit", "--model", "DenoisingAutoencoder", "--model.hidden_sizes", "[9]",
                       "--model.frozen_layers", 1, "--data", "DigitsDataModule", *QUIET)  # fmt: skip
    assert status == 2
    assert capsys.readouterr().err.splitlines()[-1] == (
        "genmodels: --model.frozen_layers is 1 in a new model, whose layers are random; expected --init_from with the "
        "checkpoint that they come from."
    )
    assert not list(in_tmp.rglob("*.ckpt"))


def test_frozen_layers_of_another_activation_are_refused(digits, in_tmp):
    shallow = DenoisingAutoencoder(SHAPE, latent_dim=40, code_activation="relu")
    fit(shallow, random_batches(digits, 3)).save_checkpoint("shallow.ckpt")
    options = {"hidden_sizes": (40,), "latent_dim": 20, "frozen_layers": 1}
    message = (
        r"^--init_from shallow\.ckpt: the activation of its layer 1 is relu, that of the frozen layers sigmoid; "
        r"expected --model\.activation relu\.$"
    )
    deep = DenoisingAutoencoder(SHAPE, **options)
    with pytest.raises(GenmodelsError, match=message):
        copy_matching_weights(deep, "shallow.ckpt")
    assert not torch.equal(deep.encoder.layer1.weight, shallow.encoder.layer1.weight)
    copy_matching_weights(DenoisingAutoencoder(SHAPE, activation="relu", **options), "shallow.ckpt")


def test_layers_trained_one_after_the_other_draw_digits_better_than_their_mean(digits):
    shallow = DenoisingAutoencoder(SHAPE, latent_dim=64, learning_rate=1e-2)
    fit(shallow, random_batches(digits, 150)).save_checkpoint("shallow.ckpt")
    deep = DenoisingAutoencoder(SHAPE, hidden_sizes=(64,), latent_dim=64, frozen_layers=1, learning_rate=1e-2)
    copy_matching_weights(deep, "shallow.ckpt")
    before = evaluate(deep, digits)
    fit(deep, random_batches(digits, 150))
    after = evaluate(deep, digits)
    codes = shallow.encode(digits).detach()
    assert after["val/reconstruction"] < 0.5 * (codes - codes.mean(0)).square().sum(1).mean().item()
    assert before["val/squared_error"] > mean_image_error(digits)
    assert after["val/squared_error"] < 0.75 * mean_image_error(digits)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"noise": "speckle"}, "noise is 'speckle'; expected one of masking, salt_and_pepper, gaussian"),
        ({"noise_level": 0.0}, r"noise_level is 0\.0; expected above 0 and below 1"),
        ({"noise_level": 1.0}, r"noise_level is 1\.0; expected above 0 and below 1"),
        ({"noise": "salt_and_pepper", "noise_level": -0.1}, r"noise_level is -0\.1; expected above 0 and below 1"),
        ({"noise": "gaussian", "noise_level": 0.0}, r"noise_level is 0\.0; expected above 0, and finite\.$"),
        ({"noise": "gaussian", "noise_level": math.inf}, r"noise_level is inf; expected above 0, and finite\.$"),
        ({"frozen_layers": 1}, "frozen_layers is 1; expected 0 or more, below 1, the number of layers"),
        (
            {"frozen_layers": 2, "hidden_sizes": (9,)},
            "frozen_layers is 2; expected 0 or more, below 2, the number of layers",
        ),
        ({"frozen_layers": -1}, "frozen_layers is -1; expected 0 or more, below 1, the number of layers"),
        ({"network": "conv", "frozen_layers": 1}, "frozen_layers is 1; expected 0 for network 'conv'"),
        (
            {"noise": "salt_and_pepper", "hidden_sizes": (9,), "frozen_layers": 1, "activation": "relu"},
            "noise is 'salt_and_pepper' on frozen_layers of activation 'relu', .* expected activation 'sigmoid'",
        ),
        (
            {"output_activation": "linear"},
            "reconstruction_loss is 'bce' with output_activation 'linear'; expected 'sigmoid'",
        ),
    ],
)
def test_bad_option_is_named_with_its_value_and_what_was_expected(options, message):
    with pytest.raises(GenmodelsError, match=f"DenoisingAutoencoder: {message}"):
        DenoisingAutoencoder(SHAPE, **options)


def test_a_noise_level_above_1_is_for_gaussian_noise():
    loader = DataLoader([(torch.rand(4, *SHAPE),)], batch_size=None)
    assert fit(DenoisingAutoencoder(SHAPE, noise="gaussian", noise_level=1.5), loader).global_step == 1
