import csv

import numpy as np
import pytest
import torch
from drawing import all_digits, evaluate, mean_image_error, random_batches
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.loggers import CSVLogger
from sklearn.decomposition import PCA
from torch import nn
from torch.utils.data import DataLoader
from toy import fit

from datamodules import DigitsDataModule
from lightning_genmodels import Autoencoder, GenmodelsError, KSparseAutoencoder

SHAPE = (1, 8, 8)


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@pytest.fixture(scope="module")
def digits():
    return all_digits()


def of_identity(k, **options):
    """A model of four pixels whose code, before the choice, is the pixels less 2."""
    model = KSparseAutoencoder((1, 1, 4), latent_dim=4, k=k, **options)
    with torch.no_grad():
        model.encoder.layer1.weight.copy_(torch.eye(4))
        model.encoder.layer1.bias.fill_(-2)
    return model


# Which units are kept


@pytest.mark.parametrize(
    "options", [{}, {"hidden_sizes": (30,)}, {"network": "conv", "hidden_sizes": (4,)}, {"tied": False}]
)
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 9, 7)])
def test_k_units_speak_in_training_and_alpha_times_k_when_the_codes_are_features(options, shape):
    model = KSparseAutoencoder(shape, latent_dim=40, k=6, alpha=2.5, **options)
    images = torch.rand(20, *shape)
    assert [*model.train().encode(images).count_nonzero(dim=1)] == [6] * 20
    assert [*model.eval().encode(images).count_nonzero(dim=1)] == [15] * 20
    assert [*model.encode(images, 3).count_nonzero(dim=1)] == [3] * 20
    assert model.decode(model.encode(images)).shape == images.shape


def test_alpha_times_k_stops_at_the_codes_length():
    model = KSparseAutoencoder(SHAPE, latent_dim=10, k=6).eval()
    assert [*model.encode(torch.rand(5, *SHAPE)).count_nonzero(dim=1)] == [10] * 5


def test_the_largest_are_taken_with_their_sign_and_for_each_image_by_itself():
    pixels = torch.tensor([[0.9, 0.1, 0.5, 0.3], [0.0, 0.2, 0.1, 0.4], [1.0, 1.0, 0.0, 0.9]]).reshape(3, 1, 1, 4)
    # By size alone, without the sign, the other two would be kept; over the batch, the last row would take all.
    kept = torch.tensor([[-1.1, 0, -1.5, 0], [0, -1.8, 0, -1.6], [-1, -1, 0, 0]])
    torch.testing.assert_close(of_identity(2).train().encode(pixels), kept)


def test_a_code_does_not_depend_on_the_images_beside_it(digits):
    model = KSparseAutoencoder(SHAPE, latent_dim=40, k=6)
    alone = torch.cat([model.encode(image[None]) for image in digits[:8]])
    torch.testing.assert_close(model.encode(digits[:8]), alone, rtol=1e-5, atol=1e-6)


def test_what_is_kept_is_what_the_dense_code_has_there(digits):
    model = KSparseAutoencoder(SHAPE, latent_dim=40, k=6)
    dense, code = model.encoder(digits[:50]), model.encode(digits[:50])
    torch.testing.assert_close(code[code != 0], dense[code != 0])
    left = dense.masked_fill(code != 0, -torch.inf).amax(1)
    assert (left <= dense.masked_fill(code == 0, torch.inf).amin(1)).all()


# The loss


def test_the_gradient_passes_through_the_kept_units_only(digits):
    model, images = KSparseAutoencoder(SHAPE, latent_dim=60, k=2, k_start=2), digits[:12]
    used = (model.encode(images) != 0).any(0)
    assert 2 <= used.sum() < 30
    terms, _ = model.loss_terms(images)
    terms["reconstruction"].backward()
    layer = model.encoder.layer1
    assert torch.equal(layer.weight.grad.any(1), used)
    assert torch.equal(layer.bias.grad != 0, used)


def test_the_gradient_is_that_of_the_autoencoder_of_the_kept_units(digits):
    model, images = KSparseAutoencoder(SHAPE, latent_dim=12, k=3, k_start=3), digits[:9]
    support = (model.encode(images) != 0).double()
    model.loss_terms(images)[0]["reconstruction"].backward()
    # Tied: x' = ((Wx + b) on the support) W + b', one image after the other.
    weight = model.encoder.layer1.weight.detach().double().requires_grad_()
    bias = model.encoder.layer1.bias.detach().double().requires_grad_()
    x = images.flatten(1).double()
    code = torch.stack([support[i] * (weight @ x[i] + bias) for i in range(9)])
    ((code @ weight + model.decoder.biases["layer1"].detach() - x) ** 2).sum(1).div(2).mean().backward()
    torch.testing.assert_close(model.encoder.layer1.weight.grad, weight.grad.float(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(model.encoder.layer1.bias.grad, bias.grad.float(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("training", [True, False])
def test_with_all_units_kept_it_is_the_linear_autoencoder(digits, training):
    linear = {"hidden_sizes": (), "code_activation": "linear", "output_activation": "linear", "tied": True}
    plain = Autoencoder(SHAPE, latent_dim=10, **linear).train(training)
    model = KSparseAutoencoder(SHAPE, latent_dim=10, k=10).train(training)
    assert model.load_state_dict(plain.state_dict(), strict=False).unexpected_keys == []
    torch.testing.assert_close(model.encode(digits[:20]), plain.encode(digits[:20]))
    torch.testing.assert_close(model.loss_terms(digits[:20])[1], plain.loss_terms(digits[:20])[1])


def test_validation_and_reconstruction_take_k_units_not_alpha_times_k(digits):
    model, images = KSparseAutoencoder(SHAPE, latent_dim=40, k=4, alpha=3), digits[:100]
    with torch.no_grad():
        model.encoder.layer1.weight.mul_(10)  # else either draws next to nothing
        drawn = model.decode(model.encode(images, 4))
        many = model.decode(model.encode(images, 12))
    result = evaluate(model, images)
    assert result["val/reconstruction"] == pytest.approx((drawn - images).square().sum().item() / 200, rel=1e-5)
    assert result["val/reconstruction"] != pytest.approx((many - images).square().sum().item() / 200, rel=1e-2)
    for mode in (True, False):
        torch.testing.assert_close(model.train(mode).reconstruct(images), drawn.clamp(0, 1))


@pytest.mark.parametrize("tied", [True, False])
def test_a_linear_model_begins_centred(digits, tied):
    model = KSparseAutoencoder(SHAPE, latent_dim=20, k=4, k_start=4, tied=tied, learning_rate=1e-30, optimizer="sgd")
    fit(model, DataLoader([(digits[:50],), (digits[50:60],)], batch_size=None))
    mean = digits[:50].mean(0)
    with torch.no_grad():
        codes, drawn = model.encode(mean[None]), model.decode(torch.zeros(1, 20))
    torch.testing.assert_close(codes, torch.zeros_like(codes), rtol=0, atol=1e-5)
    torch.testing.assert_close(drawn[0], mean, rtol=1e-5, atol=1e-6)


def test_a_linear_model_begins_with_the_papers_small_weights():
    weight = KSparseAutoencoder((1, 28, 28), latent_dim=1000, k=25).encoder.layer1.weight
    assert weight.mean().item() == pytest.approx(0, abs=1e-4)  # 9 standard errors
    assert weight.std().item() == pytest.approx(0.01, rel=0.01)
    assert (weight.abs() > 0.02).double().mean().item() == pytest.approx(0.0455, rel=0.05)  # a normal one's tails


@pytest.mark.parametrize("options", [{"hidden_sizes": (9,)}, {"output_activation": "sigmoid"}, {"network": "conv"}])
def test_any_other_model_begins_as_it_was_built(digits, options):
    model = KSparseAutoencoder(SHAPE, latent_dim=20, k=4, k_start=4, learning_rate=1e-30, optimizer="sgd", **options)
    before = {name: value.clone() for name, value in model.named_parameters()}
    fit(model, DataLoader([(digits[:50],)], batch_size=None))
    for name, value in model.named_parameters():
        torch.testing.assert_close(value, before[name], rtol=0, atol=1e-20)


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_either_optimizer_learns(digits, optimizer):
    rate = {"adam": 1e-2, "sgd": 2e-2}[optimizer]
    model = KSparseAutoencoder(SHAPE, latent_dim=64, k=8, optimizer=optimizer, learning_rate=rate)
    fit(model, random_batches(digits, 200, 128))
    assert evaluate(model, digits)["val/squared_error"] < 0.3 * mean_image_error(digits)


# k over a training


class Counting(Callback):
    """Counts the units of each training batch's codes."""

    def __init__(self, save_at=None):
        self.seen = {}
        self.save_at = save_at

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        (count,) = {*pl_module.encode(batch[0]).count_nonzero(dim=1).tolist()}
        self.seen[trainer.global_step - 1] = count
        if trainer.global_step == self.save_at:
            trainer.save_checkpoint("middle.ckpt")


def counts(model, save_at=None, **options):
    callback = Counting(save_at)
    data = DigitsDataModule(batch_size=128)
    fit(model, data, callbacks=[callback], limit_val_batches=0, **{"max_epochs": 2, **options})  # 18 steps
    return callback.seen


def test_k_comes_down_from_k_start_over_the_first_part_of_the_training():
    model = KSparseAutoencoder(SHAPE, latent_dim=30, k=3, k_start=12, k_decay=0.5)
    assert [*counts(model).values()] == [12, 11, 10, 9, 8, 7, 6, 5, 4] + [3] * 9
    assert [*model.train().encode(torch.rand(2, *SHAPE)).count_nonzero(dim=1)] == [3, 3]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"k_start": 3}, [3] * 6),
        ({"k_decay": 0.0}, [3] * 6),
        ({"k_start": 12, "k_decay": 1.0}, [12, 10, 9, 8, 6, 4]),  # 12 - 1.5 i, halves to the even
        ({"k": 6, "k_decay": 1.0}, [12, 11, 10, 9, 8, 7]),  # from 2 k
        ({"k_start": 1, "k_decay": 2 / 3}, [1, 2, 2, 2, 3, 3]),
        ({"latent_dim": 5, "k_decay": 1.0}, [5, 5, 4, 4, 4, 3]),  # 2 k units there are not: 5 - i / 3
    ],
)
def test_k_over_a_training_of_6_steps(options, expected):
    model = KSparseAutoencoder(SHAPE, **{"latent_dim": 30, "k": 3, **options})
    assert [*counts(model, max_epochs=1, limit_train_batches=6).values()] == expected


def test_a_resumed_training_goes_on_with_the_same_k():
    def model():
        return KSparseAutoencoder(SHAPE, latent_dim=30, k=3, k_start=12, k_decay=0.8)

    whole = counts(model(), save_at=7)
    assert whole[7] not in (3, 12)
    assert counts(model(), ckpt_path="middle.ckpt") == {step: whole[step] for step in range(7, 18)}


def test_a_training_without_an_end_is_one_where_k_stays():
    model = KSparseAutoencoder(SHAPE, latent_dim=30, k=3, k_start=3)

    class Stop(Callback):
        def on_train_batch_end(self, trainer, *_):
            trainer.should_stop = trainer.global_step == 4

    trainer = fit(model, random_batches(torch.rand(64, *SHAPE), 8), max_epochs=-1, callbacks=[Stop()])
    assert trainer.global_step == 4


# Dead units


@pytest.mark.parametrize(("stage", "prefix"), [("validate", "val"), ("test", "test")])
def test_dead_units_are_those_kept_for_no_image_of_the_set(digits, stage, prefix):
    model, images = KSparseAutoencoder(SHAPE, latent_dim=60, k=2), digits[:50]
    dense = model.encoder(images).detach().numpy()
    used = {unit for row in dense for unit in np.argsort(row)[-2:]}
    more = evaluate(model, digits, stage=stage)
    fewer = evaluate(model, images, batch_size=20, stage=stage)
    assert fewer[f"{prefix}/dead_units"] == 60 - len(used)
    assert more[f"{prefix}/dead_units"] < fewer[f"{prefix}/dead_units"]  # so the first count was forgotten


# Learning


def test_k_of_many_units_draw_digits_better_than_k_principal_components(digits):
    model = KSparseAutoencoder(SHAPE, latent_dim=128, k=5, learning_rate=1e-2)
    fit(model, random_batches(digits, 300))
    pixels = digits.flatten(1).numpy()
    pca = PCA(5, svd_solver="full").fit(pixels)
    floor = ((pca.inverse_transform(pca.transform(pixels)) - pixels) ** 2).sum(1).mean()
    result = evaluate(model, digits)
    assert result["val/squared_error"] < 0.6 * floor
    assert result["val/dead_units"] < 64


@pytest.mark.parametrize(
    ("channels", "options"),
    [
        (1, {"network": "conv", "hidden_sizes": (8,)}),
        (3, {}),
        (3, {"hidden_sizes": (32,), "tied": False, "output_activation": "sigmoid"}),
    ],
)
def test_every_kind_learns_to_draw_digits_better_than_their_mean(digits, channels, options):
    images = digits * torch.linspace(1, 0.5, channels).view(1, -1, 1, 1)
    model = KSparseAutoencoder((channels, 8, 8), latent_dim=64, k=8, learning_rate=1e-2, **options)
    fit(model, random_batches(images, 200, 128))
    assert evaluate(model, images)["val/squared_error"] < 0.6 * mean_image_error(images)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"k": 0}, "k is 0; expected 1 to latent_dim, which is 256"),
        ({"k": 11, "latent_dim": 10}, "k is 11; expected 1 to latent_dim, which is 10"),
        ({"k_start": 257}, "k_start is 257; expected 1 to latent_dim, which is 256"),
        ({"k_start": 0}, "k_start is 0; expected 1 to latent_dim, which is 256"),
        ({"alpha": 0.5}, r"alpha is 0\.5; expected 1 or more"),
        ({"alpha": float("nan")}, "alpha is nan; expected 1 or more"),
        ({"k_decay": 1.5}, r"k_decay is 1\.5; expected 0 to 1"),
        ({"k_decay": -0.1}, r"k_decay is -0\.1; expected 0 to 1"),
        ({"network": "conv", "tied": True}, "network is 'conv' with tied True .* expected tied False"),
        ({"optimizer": "lbfgs"}, "optimizer is 'lbfgs'; expected one of adam, sgd"),
    ],
)
def test_bad_option_is_named_with_its_value_and_what_was_expected(options, message):
    with pytest.raises(GenmodelsError, match=f"KSparseAutoencoder: {message}"):
        KSparseAutoencoder(SHAPE, **options)


# Two codes combined


def test_each_code_of_a_path_has_k_units_and_its_ends_are_the_reconstructions(digits):
    model = KSparseAutoencoder(SHAPE, latent_dim=40, k=4, alpha=3)
    with torch.no_grad():
        model.encoder.layer1.weight.mul_(10)
        z0, z1 = model.eval().encode(digits[:6]).chunk(2)
    assert (z0.count_nonzero(dim=1) == 12).all()
    seen = []
    decode, model.decode = model.decode, lambda codes: seen.append(codes) or decode(codes)
    images = model.interpolate(z0, z1, 5)
    assert (seen[0].count_nonzero(dim=1) == 4).all()
    torch.testing.assert_close(images[:, 0], model.reconstruct(digits[:3]))
    torch.testing.assert_close(images[:, -1], model.reconstruct(digits[3:6]))
    halfway = (z0 + z1) / 2
    assert all(h[c != 0].abs().min() > 0 for h, c in zip(halfway, seen[0].view(3, 5, 40)[:, 2], strict=True))


def test_ends_of_a_path_between_mostly_negative_codes_are_the_reconstructions_too(digits):
    model = KSparseAutoencoder(SHAPE, latent_dim=40, k=20, alpha=1.5).eval()
    with torch.no_grad():
        model.encoder.layer1.weight.mul_(10)
        model.encoder.layer1.bias.fill_(-0.5)
        z0, z1 = model.encode(digits[:6]).chunk(2)
    assert (z0 < 0).sum(1).min() > 10  # above them lie the zeros of what was dropped
    images = model.interpolate(z0, z1, 3)
    torch.testing.assert_close(images[:, 0], model.reconstruct(digits[:3]))
    torch.testing.assert_close(images[:, -1], model.reconstruct(digits[3:6]))


# Networks of one's own, and weights from elsewhere


class OwnDecoder(KSparseAutoencoder):
    def build_decoder(self):
        return nn.Sequential(nn.Linear(self.latent_dim, 64), nn.Unflatten(1, SHAPE))


class DeeperEncoder(KSparseAutoencoder):
    def build_encoder(self):
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 30), nn.ReLU(), nn.Linear(30, self.latent_dim))


class Normed(KSparseAutoencoder):
    def build_encoder(self):
        return nn.Sequential(nn.Flatten(), nn.BatchNorm1d(64), nn.Linear(64, self.latent_dim))


@pytest.mark.parametrize("model_class", [OwnDecoder, DeeperEncoder])
def test_networks_of_ones_own_train_untied(digits, model_class):
    model = model_class(SHAPE, latent_dim=64, k=8, tied=False, learning_rate=1e-2)
    fit(model, random_batches(digits, 400, 128))
    assert evaluate(model, digits)["val/squared_error"] < 0.35 * mean_image_error(digits)


def test_an_encoder_that_the_decoder_cannot_share_is_refused_at_once():
    message = (
        r"^DeeperEncoder: tied is True, but the weights of the encoder's linear layers have the shapes "
        r"\[\(30, 64\), \(20, 30\)\]; expected \[\(20, 64\)\], or tied False\.$"
    )
    with pytest.raises(GenmodelsError, match=message):
        DeeperEncoder(SHAPE, latent_dim=20, k=2)


def test_reconstructing_leaves_the_running_statistics_and_the_modes_alone(digits):
    model = Normed(SHAPE, latent_dim=20, k=2).train()
    model.decoder.eval()
    before = model.encoder[1].running_mean.clone()
    drawn = model.reconstruct(digits[:50])
    assert torch.equal(model.encoder[1].running_mean, before)
    assert (model.training, model.encoder[1].training, model.decoder.training) == (True, True, False)
    torch.testing.assert_close(model.reconstruct(digits[:1]), drawn[:1])  # no image depends on another


def test_biases_that_were_trained_elsewhere_are_not_centred_away(digits):
    options = {"hidden_sizes": (), "tied": True, "output_activation": "linear", "latent_dim": 20}
    other = Autoencoder(SHAPE, **options)
    with torch.no_grad():
        other.decoder.biases["layer1"].fill_(0.2)
    model = KSparseAutoencoder(SHAPE, latent_dim=20, k=4, learning_rate=1e-30, optimizer="sgd")
    model.load_state_dict(other.state_dict(), strict=False)
    fit(model, DataLoader([(digits[:50],)], batch_size=None))
    for name, value in other.named_parameters():
        torch.testing.assert_close(model.get_parameter(name), value, rtol=0, atol=1e-20)


def test_k_is_logged_while_it_comes_down(digits, tmp_path):
    model = KSparseAutoencoder(SHAPE, latent_dim=30, k=3, k_start=12, k_decay=1.0)
    logger = CSVLogger(tmp_path)
    quiet = {"enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = Trainer(accelerator="cpu", max_epochs=1, logger=logger, log_every_n_steps=2, **quiet)
    trainer.fit(model, random_batches(digits, 6, 32))
    with open(f"{logger.log_dir}/metrics.csv") as file:
        rows = [row["train/k"] for row in csv.DictReader(file)]
    assert [float(k) for k in rows if k] == [10, 8, 4]  # 12 - 1.5 i at every other batch, halves to the even
