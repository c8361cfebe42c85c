import numpy as np
import pytest
import torch
from drawing import all_digits, evaluate, mean_image_error, random_batches
from lightning.pytorch import Callback
from torch import nn
from torch.utils.data import DataLoader
from toy import fit

from datamodules import DigitsDataModule
from lightning_genmodels import GenmodelsError, SparseAutoencoder

SHAPE = (1, 8, 8)


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@pytest.fixture(scope="module")
def digits():
    return all_digits()


def with_biases(model):
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "bias" in name:
                nn.init.normal_(parameter)
    return model


class Recorder(Callback):
    """Keeps, of each training batch, the logged terms, the gradients and the running mean; no step is taken."""

    def __init__(self):
        self.terms, self.gradients, self.running = [], [], []

    def on_after_backward(self, trainer, pl_module):
        self.gradients.append({name: p.grad.clone() for name, p in pl_module.named_parameters()})
        pl_module.zero_grad()

    def on_train_batch_end(self, trainer, pl_module, *_):
        metrics = trainer.callback_metrics.items()
        self.terms.append({n.removeprefix("train/"): v.item() for n, v in metrics if n.startswith("train/")})
        self.running.append(pl_module.mean_activation.clone())


def record(model, *batches):
    recorder = Recorder()
    loader = DataLoader([(images,) for images in batches], batch_size=None)
    fit(model, loader, callbacks=[recorder], log_every_n_steps=1)
    return recorder


def batch_means(model, images):
    return model.encode(images).detach().double().mean(0)


def divergence(rho, means):
    return rho * np.log(rho / means) + (1 - rho) * np.log((1 - rho) / (1 - means))


# The cost


def lecture_notes(model, images):
    """The cost and its gradient by backpropagation as CS294A writes them out, in float64; images are columns."""

    def sigmoid(z):
        return 1 / (1 + np.exp(-z))

    state = {name: value.double().numpy() for name, value in model.state_dict().items()}
    W1, b1 = state["encoder.layer1.weight"], state["encoder.layer1.bias"][:, None]
    W2, b2 = state["decoder.layer1.weight"], state["decoder.layer1.bias"][:, None]
    rho, beta, decay = model.rho, model.beta, model.weight_decay
    x = images.flatten(1).double().numpy().T
    m = x.shape[1]
    a2 = sigmoid(W1 @ x + b1)
    a3 = sigmoid(W2 @ a2 + b2)
    means = a2.mean(1, keepdims=True)
    terms = {
        "reconstruction": (0.5 * ((a3 - x) ** 2).sum(0)).mean(),
        "weight_decay": decay / 2 * ((W1**2).sum() + (W2**2).sum()),
        "sparsity": beta * divergence(rho, means).sum(),
    }
    delta3 = -(x - a3) * a3 * (1 - a3)
    delta2 = (W2.T @ delta3 + beta * (-rho / means + (1 - rho) / (1 - means))) * a2 * (1 - a2)
    gradient = {
        "encoder.layer1.weight": delta2 @ x.T / m + decay * W1,
        "encoder.layer1.bias": delta2.mean(1),
        "decoder.layer1.weight": delta3 @ a2.T / m + decay * W2,
        "decoder.layer1.bias": delta3.mean(1),
    }
    return terms, gradient


@pytest.mark.parametrize("options", [{}, {"rho": 0.02, "beta": 0.5, "weight_decay": 0.2}])
def test_cost_and_gradient_are_those_of_the_lecture_notes(digits, options):
    model = with_biases(SparseAutoencoder(SHAPE, latent_dim=20, activation_decay=0.0, **options))
    terms, gradient = lecture_notes(model, digits[:50])
    recorder = record(model, digits[:50])
    assert recorder.terms[0] == pytest.approx(terms, rel=1e-5)
    for name, value in gradient.items():
        np.testing.assert_allclose(recorder.gradients[0][name].numpy(), value, rtol=1e-3, atol=1e-6, err_msg=name)


@pytest.mark.parametrize(
    ("options", "kernels"),
    [
        ({"tied": True, "hidden_sizes": (12,)}, ["encoder.layer1", "encoder.layer2"]),  # each counts once
        ({"tied": False}, ["encoder.layer1", "decoder.layer1"]),
        ({"network": "conv", "hidden_sizes": (3, 4)}, ["encoder.0", "encoder.2", "encoder.5",
                                                       "decoder.0", "decoder.4", "decoder.7"]),
    ],
)  # fmt: skip
def test_every_weight_decays_once_and_no_bias(digits, options, kernels):
    model = with_biases(SparseAutoencoder(SHAPE, latent_dim=9, weight_decay=0.2, **options))
    weights = [model.get_submodule(name).weight for name in kernels]
    expected = 0.1 * sum(w.double().square().sum().item() for w in weights)
    assert model.eval().loss_terms(digits[:5])[0]["weight_decay"].item() == pytest.approx(expected, rel=1e-5)
    assert len(weights) == sum(p.ndim > 1 for p in model.parameters())


# The running mean


def test_the_running_mean_begins_as_the_plain_mean_and_then_forgets(digits):
    model = SparseAutoencoder(SHAPE, latent_dim=20, rho=0.9, activation_decay=0.6, learning_rate=1e-12)
    batches = digits[:200].split([10, 40, 30, 60, 60])
    means = [batch_means(model, images) for images in batches]
    recorder = record(model, *batches)
    expected = [means[0], (means[0] + means[1]) / 2]  # nothing of where it started
    for mean in means[2:]:
        expected.append(0.6 * expected[-1] + 0.4 * mean)
    for found, value in zip(recorder.running, expected, strict=True):
        torch.testing.assert_close(found, value.float(), rtol=1e-4, atol=1e-6)


def test_the_divergence_is_taken_at_the_running_mean_with_the_gradient_of_the_batchs(digits):
    options = {"latent_dim": 20, "rho": 0.2, "beta": 2.0, "weight_decay": 0.0, "learning_rate": 1e-12}
    model = with_biases(SparseAutoencoder(SHAPE, activation_decay=0.6, **options))
    batches = digits[:90].split(30)
    means = [batch_means(model, images).numpy() for images in batches]
    recorder = record(model, *batches)
    running = 0.6 * (means[0] + means[1]) / 2 + 0.4 * means[2]
    assert recorder.terms[2]["sparsity"] == pytest.approx(2 * divergence(0.2, running).sum(), rel=1e-4)

    # What the divergence adds to the gradient of the squared error: its slope at the running mean, for each image.
    x, code = batches[2], model.encode(batches[2])
    slope = torch.from_numpy(2 * (-0.2 / running + 0.8 / (1 - running))).float()
    loss = 0.5 * (model.decode(code) - x).square().flatten(1).sum(1).mean() + (slope * code.mean(0)).sum()
    expected = torch.autograd.grad(loss, [*model.parameters()])
    for (name, found), value in zip(recorder.gradients[2].items(), expected, strict=True):
        torch.testing.assert_close(found, value, rtol=1e-3, atol=1e-6, msg=name)


def test_validation_is_at_the_running_mean_and_leaves_it(digits):
    model = SparseAutoencoder(SHAPE, latent_dim=20, rho=0.2, beta=2.0)
    record(model, digits[:50], digits[50:90])
    before = {name: value.clone() for name, value in model.state_dict().items()}
    result = evaluate(model, digits[500:600])
    expected = 2 * divergence(0.2, before["mean_activation"].double().numpy()).sum()
    assert result["val/sparsity"] == pytest.approx(expected, rel=1e-4)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


class SaveAt(Callback):
    def on_train_batch_end(self, trainer, pl_module, *_):
        if trainer.global_step == 5:
            trainer.save_checkpoint("middle.ckpt")


def test_a_resumed_training_goes_on_with_the_running_mean():
    ends = []
    for seed, options in ((0, {}), (1, {"ckpt_path": "middle.ckpt"})):
        torch.manual_seed(seed)
        model = SparseAutoencoder(SHAPE, latent_dim=20)
        fit(model, DigitsDataModule(batch_size=128), callbacks=[SaveAt()], limit_val_batches=0, **options)
        ends.append(model)
    assert torch.equal(ends[0].mean_activation, ends[1].mean_activation)
    assert ends[0].batches_seen == ends[1].batches_seen == 9


# What validation says of the units


@pytest.mark.parametrize(("stage", "prefix"), [("validate", "val"), ("test", "test")])
def test_the_units_activations_are_those_over_all_images(digits, stage, prefix):
    model, images = with_biases(SparseAutoencoder(SHAPE, latent_dim=40, rho=0.5)), digits[:70]
    means = batch_means(model, images)
    near = ((means >= 0.4) & (means <= 0.6)).double().mean().item()
    assert 0 < near < 1
    for _ in range(2):  # the second time shows that the first is forgotten
        result = evaluate(model, images, batch_size=32, stage=stage)
        found = {name: result[f"{prefix}/activation_{name}"] for name in ("mean", "min", "max", "near")}
        expected = {"mean": means.mean(), "min": means.min(), "max": means.max(), "near": near}
        assert found == pytest.approx({name: float(value) for name, value in expected.items()}, rel=1e-5)
        torch.testing.assert_close(model.unit_activations, means.float(), rtol=1e-5, atol=1e-6)


def test_val_loss_is_the_sum_of_the_three_terms(digits):
    result = evaluate(SparseAutoencoder(SHAPE, latent_dim=40), digits[:70])
    terms = [result[f"val/{name}"] for name in ("reconstruction", "weight_decay", "sparsity")]
    assert result["val/loss"] == pytest.approx(sum(terms), rel=1e-6)
    assert result["val/reconstruction"] == pytest.approx(result["val/squared_error"] / 2, rel=1e-5)


# Learning


def test_trained_units_are_active_rho_of_the_time_and_tell_digits_apart(digits):
    model = SparseAutoencoder(SHAPE, latent_dim=49, weight_decay=1e-4, learning_rate=5e-3)
    untrained = evaluate(model, digits)
    fit(model, random_batches(digits, 600, 128))
    result = evaluate(model, digits)
    assert untrained["val/activation_near"] == 0
    assert result["val/activation_near"] >= 0.9
    assert model.encode(digits).std(0).min() > 0.01  # of 0.1: no unit says the same of every image
    assert result["val/squared_error"] < 0.75 * mean_image_error(digits)


@pytest.mark.parametrize(
    "options", [{"network": "conv", "hidden_sizes": (8,)}, {"tied": True, "output_activation": "linear"}]
)
def test_other_kinds_learn_to_be_sparse_too(digits, options):
    images = digits.expand(-1, 3, -1, -1)
    model = SparseAutoencoder(
        (3, 8, 8), latent_dim=25, beta=2.0, weight_decay=1e-4, activation_decay=0.0, learning_rate=1e-2, **options
    )
    fit(model, random_batches(images, 200, 128))
    result = evaluate(model, images)
    assert 0.05 < result["val/activation_min"] < result["val/activation_max"] < 0.2
    assert result["val/squared_error"] < 0.8 * mean_image_error(images)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rho": 0.0}, r"rho is 0\.0; expected above 0 and below 1"),
        ({"rho": 1.0}, r"rho is 1\.0; expected above 0 and below 1"),
        ({"rho": float("nan")}, "rho is nan; expected above 0 and below 1"),
        ({"beta": -1.0}, r"beta is -1\.0; expected 0 or more"),
        ({"weight_decay": -1.0}, r"weight_decay is -1\.0; expected 0 or more"),
        ({"activation_decay": 1.0}, r"activation_decay is 1\.0; expected at least 0 and below 1"),
        ({"activation_decay": -0.1}, r"activation_decay is -0\.1; expected at least 0 and below 1"),
        ({"code_activation": "tanh"}, r"code_activation is 'tanh', whose values .* \(0, 1\) .* expected 'sigmoid'"),
        ({"code_activation": "sigmoi"}, "code_activation is 'sigmoi'; expected one of linear, relu"),
        ({"latent_dim": 0}, "latent_dim is 0 .* expected 1 or more"),
    ],
)
def test_bad_option_is_named_with_its_value_and_what_was_expected(options, message):
    with pytest.raises(GenmodelsError, match=f"SparseAutoencoder: {message}"):
        SparseAutoencoder(SHAPE, **options)
