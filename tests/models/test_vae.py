import math
import typing

import pytest
import torch
from drawing import all_digits, evaluate, mean_image_error
from torch.distributions import Bernoulli, Independent, MultivariateNormal, Normal, kl_divergence
from torch.utils.data import DataLoader
from toy import fit

from lightning_genmodels import VAE, GenmodelsError
from lightning_genmodels.losses.likelihood import DecoderDistributionName
from lightning_genmodels.models import vae
from lightning_genmodels.models.interpolation import linear_path, spherical_path

SHAPE = (1, 8, 8)
SMALL = (1, 2, 3)


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def binary():
    return (torch.rand(all_digits().shape, generator=seeded()) < all_digits()).float()


def small(**options):
    return VAE(SHAPE, **{"latent_dim": 4, "hidden_sizes": (16,), **options})


# A linear decoder with orthogonal columns: every quantity has its closed form


def linear_gaussian(**options):
    """x = Wz + b + scale * noise, with the exact posterior for an encoder."""
    model = VAE(
        SMALL,
        latent_dim=2,
        hidden_sizes=(),
        decoder_distribution="gaussian",
        decoder_scale=0.3,
        output_activation="linear",
        **options,
    )
    columns = torch.linalg.qr(torch.randn(6, 2, generator=seeded(1))).Q * torch.tensor([0.8, 0.3])
    bias = torch.rand(6, generator=seeded(2))
    variance = 1 / (1 + columns.square().sum(0) / 0.3**2)
    gain = variance[:, None] * columns.t() / 0.3**2
    with torch.no_grad():
        model.decoder.layer1.weight.copy_(columns)
        model.decoder.layer1.bias.copy_(bias)
        model.encoder.layer1.weight.copy_(torch.cat([gain, torch.zeros(2, 6)]))
        model.encoder.layer1.bias.copy_(torch.cat([-gain @ bias, variance.log()]))
    return model


def marginal(model, images):
    weight, bias = model.decoder.layer1.weight.detach().double(), model.decoder.layer1.bias.detach().double()
    covariance = weight @ weight.t() + model.decoder_scale**2 * torch.eye(6).double()
    return MultivariateNormal(bias, covariance).log_prob(images.flatten(1).double()).float()


def some_images(n=7):
    return torch.rand(n, *SMALL, generator=seeded(3))


@pytest.mark.parametrize("samples", [1, 2, 50])
def test_with_the_exact_posterior_the_likelihood_is_exact_for_any_number_of_samples(samples):
    model, images = linear_gaussian(), some_images()
    torch.testing.assert_close(model.log_likelihood(images, samples), marginal(model, images), rtol=1e-4, atol=1e-3)


def test_the_likelihood_in_parts_is_that_in_one(monkeypatch):
    model, images = linear_gaussian(), some_images()
    with torch.no_grad():
        model.encoder.layer1.bias += 0.1  # no longer exact, so that every sample's weight counts
    whole = model.log_likelihood(images, 20_000)
    for at_once in (3, 1000, 9999):  # less than the images, and leaving a rest
        monkeypatch.setattr(vae, "PIXELS_AT_ONCE", at_once * images[0].numel())
        samples = 200 if at_once == 3 else 20_000
        found = model.log_likelihood(images, samples)
        torch.testing.assert_close(found, whole, rtol=0, atol=0.3 if at_once == 3 else 0.02)


def test_with_the_exact_posterior_the_bound_is_tight_in_expectation():
    model, images = linear_gaussian(), some_images(1)
    terms, _ = model.loss_terms(images.expand(40_000, -1, -1, -1))
    # The noise of log p(x|z): at most 3 nats for each draw.
    assert -sum(terms.values()).item() == pytest.approx(marginal(model, images).item(), abs=5 * 3 / 200)


def test_with_another_encoder_the_bound_is_below_by_its_divergence_and_the_estimate_rises_with_the_samples():
    model, image = linear_gaussian(), some_images(1)
    truth = marginal(model, image).item()
    with torch.no_grad():
        mean, log_variance = model.posterior(image)
        model.encoder.layer1.bias += torch.tensor([0.3, -0.5, 0.6, -0.4])  # means, then log-variances
        wrong_mean, wrong_log_variance = model.posterior(image)
        q, posterior = (Normal(m, (v / 2).exp()) for m, v in ((wrong_mean, wrong_log_variance), (mean, log_variance)))
        gap = kl_divergence(q, posterior).sum().item()
        bound = -sum(model.loss_terms(image.expand(40_000, -1, -1, -1))[0].values()).item()
        estimates = {k: model.log_likelihood(image.expand(3000, -1, -1, -1), k).mean().item() for k in (1, 4, 16, 64)}
    assert gap > 0.5
    assert bound == pytest.approx(truth - gap, abs=0.05)
    assert estimates[1] == pytest.approx(truth - gap, abs=0.15)
    assert estimates[1] < estimates[4] < estimates[16] < estimates[64] < truth + 0.01
    assert estimates[64] == pytest.approx(truth, abs=0.1)


def test_tested_nll_is_the_exact_one_of_all_images():
    model, images = linear_gaussian(importance_samples=3), some_images(50)
    result = evaluate(model, images, batch_size=20, stage="test")
    assert result["test/nll"] == pytest.approx(-marginal(model, images).mean().item(), abs=1e-3)


# The loss


@pytest.mark.parametrize("beta", [1.0, 0.0, 4.0])
@pytest.mark.parametrize("distribution", ["bernoulli", "gaussian"])
def test_the_loss_is_made_of_the_textbook_terms(binary, distribution, beta):
    model, images = small(decoder_distribution=distribution, decoder_scale=0.5, beta=beta), binary[:20]
    terms, output = model.loss_terms(images, seeded(4))
    mean, log_variance = model.encoder(images).double().chunk(2, 1)
    q = Normal(mean, (log_variance / 2).exp())
    latents = mean + q.scale * torch.randn(20, 4, generator=seeded(4))
    raw = model.decoder(latents.float()).double()
    pixels = Bernoulli(logits=raw) if distribution == "bernoulli" else Normal(raw.sigmoid(), 0.5)
    expected = {
        "reconstruction": -Independent(pixels, 3).log_prob(images.double()).mean().item(),
        "kl": beta * kl_divergence(q, Normal(torch.zeros(20, 4).double(), 1.0)).sum(1).mean().item(),
    }
    assert {name: value.item() for name, value in terms.items()} == pytest.approx(expected, rel=1e-5)
    torch.testing.assert_close(output, raw.sigmoid().float(), rtol=1e-5, atol=1e-6)


def test_the_gradient_passes_through_the_drawn_latents(binary):
    model = small(beta=0.0)
    model.loss_terms(binary[:20])[0]["reconstruction"].backward()
    means, log_variances = model.encoder.layer2.bias.grad.chunk(2)
    assert means.all()
    assert log_variances.all()


def test_beta_weighs_training_and_validation_alike_and_leaves_the_bound(binary):
    results, trained = [], []
    for beta in (1.0, 4.0):
        torch.manual_seed(0)
        model = small(beta=beta, learning_rate=1e-12)
        results.append(evaluate(model, binary[:100]))
        loader = DataLoader([(binary[:100],)], batch_size=None)
        trained.append(fit(model, loader, log_every_n_steps=1).callback_metrics)
    one, four = results
    assert four["val/kl"] == pytest.approx(4 * one["val/kl"], rel=1e-5)
    assert trained[1]["train/kl"].item() == pytest.approx(4 * trained[0]["train/kl"].item(), rel=1e-4)
    assert trained[1]["train/kl"].item() == pytest.approx(four["val/kl"], rel=1e-4)
    assert four["val/reconstruction"] == one["val/reconstruction"]
    assert four["val/elbo"] == pytest.approx(one["val/elbo"], rel=1e-6)
    assert four["val/loss"] == pytest.approx(four["val/reconstruction"] + four["val/kl"], rel=1e-6)
    assert one["val/elbo"] == pytest.approx(-one["val/loss"], rel=1e-6)


# Validation and test


def test_scores_are_the_same_each_time_with_other_draws_in_each_batch(binary):
    model, images = small(importance_samples=5).eval(), binary[:1].expand(20, -1, -1, -1)
    first = evaluate(model, images, batch_size=10, stage="test")
    torch.rand(1)
    assert evaluate(model, images, batch_size=10, stage="test") == first
    alone = evaluate(model, images[:10], stage="test")
    assert alone["test/nll"] != first["test/nll"]
    assert alone["test/elbo"] != first["test/elbo"]


def test_nll_is_of_the_test_only_and_of_importance_samples_above_0(binary):
    images = binary[:20]
    assert "test/nll" in evaluate(small(importance_samples=1), images, stage="test")
    assert "test/nll" not in evaluate(small(importance_samples=0), images, stage="test")
    names = {"reconstruction", "kl", "loss", "elbo", "squared_error"}
    assert {*evaluate(small(), images)} == {f"val/{name}" for name in names}


# Use


def test_samples_are_the_decoders_means_at_latents_from_the_prior(monkeypatch):
    monkeypatch.setattr(vae, "PIXELS_AT_ONCE", 6 * 64)
    model = small().eval()
    latents = torch.randn(20, 4, generator=seeded(1))
    torch.testing.assert_close(model.sample(20, generator=seeded(1)), model.decode(latents), rtol=1e-5, atol=1e-6)


def test_samples_of_a_linear_output_are_clamped():
    model = small(decoder_distribution="gaussian", output_activation="linear")
    with torch.no_grad():
        model.decoder.layer1.bias.copy_(torch.linspace(-5, 5, 64))
    images = model.sample(10)
    assert (images.min(), images.max()) == (0, 1)


def test_codes_are_the_means_and_the_rest_the_log_variances(binary):
    model = small()
    mean, log_variance = model.posterior(binary[:5])
    raw = model.encoder(binary[:5])
    assert torch.equal(torch.cat([mean, log_variance], 1), raw)
    assert torch.equal(model.encode(binary[:5]), mean)
    assert mean.shape == (5, 4)
    torch.testing.assert_close(model.reconstruct(binary[:5]), model.decode(mean))  # at the mean: nothing is drawn


def test_interpolation_follows_the_great_circle():
    model = small()
    z0, z1 = torch.randn(3, 4), torch.randn(3, 4)
    images = model.interpolate(z0, z1, 5)
    circle, line = (model.decode(path(z0, z1, 5).flatten(0, 1)) for path in (spherical_path, linear_path))
    torch.testing.assert_close(images.flatten(0, 1), circle, rtol=1e-5, atol=1e-6)
    assert not torch.allclose(images.flatten(0, 1), line, atol=1e-3)


# Learning


def batches(binary, steps):
    generator = seeded(0)
    parts = [(binary[torch.randperm(len(binary), generator=generator)[:256]],) for _ in range(steps)]
    return DataLoader(parts, batch_size=None)


def independent_pixels(binary):
    """-log p(x) where every pixel has its own probability, the best that no latent can give."""
    p = binary.mean(0).double().clamp(1e-4, 1 - 1e-4)
    return -(binary * p.log() + (1 - binary) * (1 - p).log()).flatten(1).sum(1).mean().item()


def test_digits_are_likelier_than_by_independent_pixels_and_likelier_than_the_bound_says(binary):
    model = small(latent_dim=8, hidden_sizes=(64,), learning_rate=5e-3, importance_samples=50)
    fit(model, batches(binary, 300))
    result = evaluate(model, binary[:600], stage="test")
    assert result["test/nll"] < independent_pixels(binary) - 3
    assert 0.2 < -result["test/elbo"] - result["test/nll"] < 3
    assert result["test/kl"] > 2


@pytest.mark.parametrize(
    ("options", "precision"),
    [
        ({}, "bf16-mixed"),
        ({"network": "conv", "hidden_sizes": (8,)}, "bf16-mixed"),
        ({"decoder_distribution": "gaussian", "decoder_scale": 0.3}, "32-true"),
        ({"decoder_distribution": "gaussian", "decoder_scale": 0.3, "output_activation": "linear"}, "bf16-mixed"),
    ],
)
def test_every_kind_learns_to_draw_digits_better_than_their_mean(options, precision):
    images = all_digits().expand(-1, 3, -1, -1) * torch.tensor([1.0, 0.8, 0.5]).view(1, 3, 1, 1)
    model = VAE((3, 8, 8), **{"latent_dim": 8, "hidden_sizes": (64,), "learning_rate": 5e-3, **options})
    fit(model, batches(images, 120), precision=precision)
    drawn = model.reconstruct(images)
    assert (drawn - images).square().flatten(1).sum(1).mean().item() < 0.8 * mean_image_error(images)
    assert all(p.dtype == torch.float32 and p.isfinite().all() for p in model.parameters())


def test_in_half_precision_the_figures_are_still_those_of_single(binary):
    model = small(importance_samples=50)
    single = evaluate(model, binary[:100], stage="test")
    half = evaluate(model, binary[:100], stage="test", precision="bf16-mixed")
    assert half == pytest.approx(single, rel=0.01, abs=0.02)


def test_likelihood_of_no_samples_is_an_error():
    with pytest.raises(GenmodelsError, match="log_likelihood: samples is 0; expected 1 or more"):
        linear_gaussian().log_likelihood(some_images(), 0)


def test_likelihood_of_what_is_no_image_is_an_error(binary):
    with pytest.raises(GenmodelsError, match=r"reach from 0 to 255; expected \[0, 1\]"):
        small().log_likelihood(255 * binary[:5])


def test_the_named_distributions_are_those_of_the_option():
    assert typing.get_type_hints(VAE.__init__)["decoder_distribution"] == DecoderDistributionName


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"decoder_distribution": "laplace"}, "decoder_distribution is 'laplace'; expected one of bernoulli, gaussian"),
        ({"decoder_scale": 0.0}, r"decoder_scale is 0\.0; expected above 0"),
        ({"decoder_scale": math.nan}, "decoder_scale is nan; expected above 0"),
        ({"decoder_scale": math.inf}, "decoder_scale is inf; expected above 0, and finite"),
        ({"beta": -1.0}, r"beta is -1\.0; expected 0 or more"),
        ({"importance_samples": -1}, "importance_samples is -1; expected 0 or more"),
        (
            {"output_activation": "linear"},
            "output_activation is 'linear'; expected 'sigmoid' for a 'bernoulli' decoder_distribution",
        ),
        ({"latent_dim": 0}, "latent_dim is 0 .* expected 1 or more"),
    ],
)
def test_bad_option_is_named_with_its_value_and_what_was_expected(options, message):
    with pytest.raises(GenmodelsError, match=f"VAE: {message}"):
        VAE(SHAPE, **options)
