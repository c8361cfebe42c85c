import math
import typing

import pytest
import torch
from lightning.pytorch import Trainer
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from torch.utils.data import DataLoader, TensorDataset

from lightning_genmodels import Autoencoder, GenmodelsError
from lightning_genmodels.models.autoencoder import HIDDEN_SIZES
from lightning_genmodels.networks.autoencoder import ACTIVATIONS

SHAPE = (1, 8, 8)
LINEAR = {"hidden_sizes": (), "activation": "linear", "code_activation": "linear", "output_activation": "linear"}


def test_the_named_choices_are_those_of_the_tables():
    hints = typing.get_type_hints(Autoencoder.__init__)
    for option, table in (("activation", ACTIVATIONS), ("code_activation", ACTIVATIONS), ("network", HIDDEN_SIZES)):
        assert typing.get_args(hints[option]) == tuple(table)


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@pytest.fixture(scope="module")
def digits():
    return torch.from_numpy(load_digits().images).float().div(16).unsqueeze(1)


def make_trainer(**options):
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}
    return Trainer(accelerator="cpu", devices=1, logger=False, **quiet, **options)


def train(model, images, steps):
    generator = torch.Generator().manual_seed(0)
    parts = [(images[torch.randperm(len(images), generator=generator)[:256]],) for _ in range(steps)]
    make_trainer(max_epochs=1).fit(model, DataLoader(parts, batch_size=None))


def mean_squared_error(model, images):
    with torch.no_grad():
        return (model.decode(model.encode(images)) - images).square().mean().item()


@pytest.fixture(scope="module")
def linear(digits):
    torch.manual_seed(0)
    model = Autoencoder(SHAPE, latent_dim=10, tied=True, learning_rate=1e-2, **LINEAR)
    make_trainer(max_epochs=1).fit(model, DataLoader([(digits,)] * 2500, batch_size=None))
    return model


@pytest.fixture(scope="module")
def pca(digits):
    return PCA(10, svd_solver="full").fit(digits.flatten(1).double().numpy())


def test_linear_tied_autoencoder_reaches_the_error_of_pca(linear, pca, digits):
    pixels = digits.flatten(1).double().numpy()
    optimum = ((pca.inverse_transform(pca.transform(pixels)) - pixels) ** 2).mean()
    assert mean_squared_error(linear, digits) == pytest.approx(optimum, rel=0.01)


def test_linear_tied_autoencoder_spans_the_subspace_of_pca(linear, pca):
    axes = torch.linalg.qr(next(linear.encoder.parameters()).detach().t()).Q
    cosines = torch.linalg.svdvals(axes.double().t() @ torch.from_numpy(pca.components_.T))  # of the principal angles
    assert cosines.tolist() == pytest.approx([1] * 10, abs=0.005)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"network": "conv"},
        {"hidden_sizes": (64,), "tied": True},
        {"reconstruction_loss": "bce"},
        {"network": "conv", "reconstruction_loss": "bce", "activation": "silu", "code_activation": "tanh"},
        {"output_activation": "linear", "activation": "leaky_relu"},
    ],
)
def test_every_kind_learns_to_draw_digits_better_than_their_mean(digits, options):
    model = Autoencoder(SHAPE, learning_rate=3e-3, **options)
    train(model, digits, 150)
    floor = (digits - digits.mean(0)).square().mean().item()
    assert mean_squared_error(model, digits) < 0.5 * floor


def test_tied_model_has_one_weight_and_two_biases():
    model = Autoencoder(SHAPE, latent_dim=10, tied=True, **LINEAR)
    assert sum(p.numel() for p in model.parameters()) == 64 * 10 + 10 + 64


def test_decoded_mean_of_the_bce_model_is_the_sigmoid_of_the_logits(digits):
    model = Autoencoder(SHAPE, reconstruction_loss="bce")
    codes = model.encode(digits[:5])
    torch.testing.assert_close(model.decode(codes), model.decoder(codes).sigmoid(), rtol=1e-6, atol=1e-6)


def test_bce_model_trains_on_the_cross_entropy_of_its_mean(digits):
    model = Autoencoder(SHAPE, reconstruction_loss="bce")
    images = digits[:50]
    mean = model.decode(model.encode(images)).double()
    expected = -(images * mean.log() + (1 - images) * (1 - mean).log()).flatten(1).sum(1).mean().item()
    result = make_trainer().validate(model, DataLoader([(images,)], batch_size=None), verbose=False)[0]
    assert result["val/reconstruction"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("loss", ["mse", "bce"])
def test_squared_error_is_summed_over_pixels_and_averaged_over_all_images(digits, loss):
    model = Autoencoder(SHAPE, reconstruction_loss=loss)
    images = digits[:70]
    loader = DataLoader(TensorDataset(images, torch.zeros(70)), batch_size=32)  # the last batch is smaller
    result = make_trainer().validate(model, loader, verbose=False)[0]
    errors = [((model.decode(model.encode(x[None])) - x) ** 2).sum().item() for x in images]
    assert result["val/squared_error"] == pytest.approx(sum(errors) / 70, rel=1e-5)


def test_test_scores_are_those_of_validation(digits):
    model, loader = Autoencoder(SHAPE), DataLoader([(digits[:50],)], batch_size=None)
    tested = make_trainer().test(model, loader, verbose=False)[0]
    validated = make_trainer().validate(model, loader, verbose=False)[0]
    assert {name.replace("test/", "val/"): value for name, value in tested.items()} == pytest.approx(validated)


@pytest.mark.parametrize("training", [True, False])
def test_reconstruct_clamps_and_restores_the_mode(digits, training):
    model = Autoencoder(SHAPE, output_activation="linear").train(training)
    with torch.no_grad():
        model.decoder[-2].bias.copy_(torch.linspace(-5, 5, 64))
    decoded, drawn = model.decode(model.encode(digits[:5])), model.reconstruct(digits[:5])
    assert decoded.min() < 0
    assert decoded.max() > 1
    torch.testing.assert_close(drawn, decoded.clamp(0, 1), rtol=1e-6, atol=1e-6)
    assert torch.equal(model(digits[:5]), drawn)
    assert model.training == model.decoder.training == training


def test_reconstruct_restores_the_mode_after_an_error():
    model = Autoencoder(SHAPE).train()
    with pytest.raises(RuntimeError):
        model.reconstruct(torch.rand(1, 1, 9, 9))
    assert model.training


@pytest.mark.parametrize("training", [True, False])
def test_interpolation_draws_the_straight_line_clamped_and_restores_the_mode(training):
    model = Autoencoder(SHAPE, latent_dim=4, output_activation="linear").train(training)
    with torch.no_grad():
        model.decoder[-2].bias.copy_(torch.linspace(-5, 5, 64))
    z0, z1 = torch.randn(3, 4), torch.randn(3, 4)
    images = model.interpolate(z0, z1, 5)
    assert images.shape == (3, 5, *SHAPE)
    assert (images.min(), images.max()) == (0, 1)
    for step in range(5):
        expected = model.decode(z0 + step / 4 * (z1 - z0)).clamp(0, 1)
        torch.testing.assert_close(images[:, step], expected, rtol=1e-4, atol=1e-5)
    assert not images.requires_grad
    assert model.training == model.decoder.training == training


def test_interpolation_of_codes_of_two_shapes_is_an_error():
    with pytest.raises(GenmodelsError, match=r"interpolate: the codes have the shapes \(1, 4\) and \(2, 4\)"):
        Autoencoder(SHAPE, latent_dim=4).interpolate(torch.zeros(1, 4), torch.zeros(2, 4), 3)


@pytest.mark.parametrize(
    ("options", "shape"),
    [
        ({"hidden_sizes": (12,)}, (12, 3, 8, 6)),
        ({"hidden_sizes": (), "latent_dim": 7, "tied": True}, (7, 3, 8, 6)),
        ({"network": "conv", "hidden_sizes": (12, 4)}, (12, 3, 3, 3)),
    ],
)
def test_filters_are_the_first_layers_weights_grey_where_0(options, shape):
    model = Autoencoder((3, 8, 6), **options)
    weight = next(model.encoder.parameters())
    with torch.no_grad():
        weight[1] *= 1000
        weight[2, :1] = 0
        weight[3] = 0
    filters = model.filters()
    assert filters.shape == shape
    assert not filters.requires_grad
    extremes = (filters - 0.5).abs().flatten(1).amax(1)
    assert extremes.tolist() == pytest.approx([0.5 if unit != 3 else 0 for unit in range(len(filters))])
    assert (filters[3] == 0.5).all()
    assert (filters[2].flatten()[0]) == 0.5
    # Each is its weights, but for a factor.
    signed, weights = (filters - 0.5).flatten(1), weight.detach().reshape(len(filters), -1)
    cosines = torch.nn.functional.cosine_similarity(signed, weights, dim=1)
    assert [c for unit, c in enumerate(cosines.tolist()) if unit != 3] == pytest.approx([1] * (len(filters) - 1))


def test_filters_of_ones_own_encoder_that_does_not_see_the_pixels_are_none():
    class Own(Autoencoder):
        def build_encoder(self):
            return torch.nn.Sequential(torch.nn.AvgPool2d(2), torch.nn.Flatten(), torch.nn.Linear(16, self.latent_dim))

    assert Own(SHAPE).filters().shape == (0, *SHAPE)


def test_filters_draw_no_random_numbers():
    model, before = Autoencoder(SHAPE), torch.get_rng_state()
    model.filters()
    assert torch.equal(torch.get_rng_state(), before)


def test_codes_are_float32_in_half_precision_too(digits):
    model = Autoencoder(SHAPE)
    with torch.autocast("cpu", torch.bfloat16):
        codes = model.encode(digits[:5])
        drawn = model.decode(codes)
    assert codes.dtype == drawn.dtype == torch.float32
    torch.testing.assert_close(codes, model.encode(digits[:5]), rtol=0.05, atol=0.02)


def test_predictions_are_the_codes_with_their_labels(digits):
    model, labels = Autoencoder(SHAPE, latent_dim=3).eval(), torch.arange(5)
    (prediction,) = make_trainer().predict(model, DataLoader([(digits[:5], labels)], batch_size=None))
    with torch.no_grad():
        torch.testing.assert_close(prediction["code"], model.encode(digits[:5]), rtol=1e-6, atol=1e-6)
    assert torch.equal(prediction["label"], labels)


def test_prediction_without_labels_is_the_codes_alone(digits):
    assert set(Autoencoder(SHAPE).predict_step((digits[:5],), 0)) == {"code"}
    assert set(Autoencoder(SHAPE).predict_step((digits[:5], ["cat"] * 5), 0)) == {"code"}


@pytest.mark.parametrize("factor", [255, -1])
def test_predictions_are_made_of_images_in_range_alone(digits, factor):
    with pytest.raises(GenmodelsError, match=r"reach from .*; expected \[0, 1\]"):
        Autoencoder(SHAPE).predict_step((factor * digits[:5],), 0)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.full((2, *SHAPE), 255.0), r"reach from 255 to 255; expected \[0, 1\]"),
        (torch.full((2, *SHAPE), -0.5), r"reach from -0\.5 to -0\.5; expected \[0, 1\]"),
        (torch.full((2, *SHAPE), float("nan")), r"nan; expected \[0, 1\]"),
        (torch.zeros(2, *SHAPE, dtype=torch.uint8), r"uint8; expected floating point in \[0, 1\]"),
        (torch.zeros(2, 3, 8, 8), r"\(2, 3, 8, 8\); expected \(N, 1, 8, 8\)"),
    ],
)
def test_bad_batch_stops_training_with_one_sentence(images, message):
    with pytest.raises(GenmodelsError, match=message):
        make_trainer(max_steps=1).fit(Autoencoder(SHAPE), DataLoader([(images,)], batch_size=None))


def test_divergence_stops_training_with_the_term_and_the_step(digits):
    model = Autoencoder(SHAPE, output_activation="linear", learning_rate=1e20)
    with pytest.raises(GenmodelsError, match=r"diverged: the loss train/reconstruction is (inf|nan) at step [1-9]"):
        train(model, digits, 10)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"network": "cnn"}, "network is 'cnn'; expected one of mlp, conv"),
        ({"activation": "rel"}, "activation is 'rel'; expected one of linear, relu, "),
        ({"code_activation": "rel"}, "code_activation is 'rel'; expected one of linear, relu, "),
        ({"output_activation": "tanh"}, "output_activation is 'tanh'; expected one of sigmoid, linear"),
        ({"reconstruction_loss": "l2"}, "reconstruction_loss is 'l2'; expected one of mse, bce"),
        ({"image_shape": (8, 8)}, r"image_shape is \(8, 8\); expected \(channels, height, width\)"),
        ({"image_shape": (1, 0, 8)}, r"image_shape is \(1, 0, 8\); expected \(channels, height, width\)"),
        ({"latent_dim": 0}, "latent_dim is 0 .* expected 1 or more"),
        ({"hidden_sizes": (16, 0)}, r"hidden_sizes \(16, 0\); expected 1 or more"),
        ({"learning_rate": 0.0}, r"learning_rate is 0\.0; expected above 0"),
        ({"learning_rate": math.inf}, "learning_rate is inf; expected above 0, and finite"),
        (
            {"reconstruction_loss": "bce", "output_activation": "linear"},
            "reconstruction_loss is 'bce' with output_activation 'linear'; expected 'sigmoid'",
        ),
        ({"network": "conv", "tied": True}, "network is 'conv' with tied True .* expected tied False"),
        ({"network": "conv", "hidden_sizes": ()}, r"hidden_sizes \(\); expected .* at least one hidden size"),
    ],
)
def test_bad_option_is_named_with_its_value_and_what_was_expected(options, message):
    with pytest.raises(GenmodelsError, match=message):
        Autoencoder(**{"image_shape": SHAPE} | options)
