import typing

import pytest
import torch
from torch import nn
from toy import fit

from lightning_genmodels import GAN, GenmodelsError
from lightning_genmodels.losses.adversarial import ADVERSARIAL_LOSSES
from lightning_genmodels.losses.penalties import r1_penalty
from lightning_genmodels.models.gan import NETWORKS, to_signed, to_unit
from lightning_genmodels.models.interpolation import spherical_path

SHAPE = (1, 8, 8)


def images(batches=4, batch_size=16, shape=SHAPE):
    draw = torch.Generator().manual_seed(3)
    batch = [(torch.rand(batch_size, *shape, generator=draw), torch.zeros(batch_size)) for _ in range(batches)]
    return torch.utils.data.DataLoader(batch, batch_size=None)


def gan(**options):
    torch.manual_seed(0)
    return GAN(**{"image_shape": SHAPE, **options})


def test_networks_are_those_that_the_option_names():
    assert typing.get_args(typing.get_type_hints(GAN.__init__)["network"]) == tuple(NETWORKS)
    for name, (generator, discriminator) in NETWORKS.items():
        model = gan(network=name, image_shape=(1, 16, 16))
        assert type(model.generator) is generator
        assert type(model.discriminator) is discriminator


def test_the_networks_see_minus_one_to_one_and_people_zero_to_one():
    assert torch.equal(to_signed(torch.tensor([0.0, 0.5, 1.0])), torch.tensor([-1.0, 0.0, 1.0]))
    assert torch.equal(to_unit(torch.tensor([-1.0, 0.0, 1.0])), torch.tensor([0.0, 0.5, 1.0]))
    seen = []

    class Looking(GAN):
        def build_discriminator(self):
            network = super().build_discriminator()
            network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach()))
            return network

    model = Looking(image_shape=SHAPE, penalty="none")
    loader = images(1)
    fit(model, loader)
    real, fake, _ = seen
    torch.testing.assert_close(real, loader.dataset[0][0] * 2 - 1)
    assert -1 <= fake.min() < 0 < fake.max() <= 1


@pytest.mark.parametrize("name", ADVERSARIAL_LOSSES)
def test_the_loss_is_the_one_asked_for(name):
    found = {}

    class Recording(GAN):
        def discriminator_loss(self, batch, fake):
            terms = super().discriminator_loss(batch, fake)
            self.eval()
            logits = self.discriminator(to_signed(batch[0])), self.discriminator(fake)
            self.train()
            found["discriminator"] = (terms["discriminator"], ADVERSARIAL_LOSSES[name].discriminator(*logits))
            return terms

        def generator_loss(self, batch, fake):
            terms = super().generator_loss(batch, fake)
            expected = ADVERSARIAL_LOSSES[name].generator(self.discriminator(fake), None)
            found["generator"] = (terms["generator"], expected)
            return terms

    fit(Recording(image_shape=SHAPE, adversarial_loss=name, penalty="none"), images(1))
    for own, expected in found.values():
        torch.testing.assert_close(own, expected)


def test_the_lazy_penalty_comes_on_every_nth_batch_n_times_as_strong():
    found = {}

    class Recording(GAN):
        def discriminator_loss(self, batch, fake):
            terms = super().discriminator_loss(batch, fake)
            if "r1" in terms:
                plain = r1_penalty(self.discriminator, to_signed(batch[0]), fake)
                found[self.trainer.global_step] = float((terms["r1"] / plain).detach())
            return terms

    fit(Recording(image_shape=SHAPE, penalty="r1", penalty_weight=0.5, penalty_interval=3), images(8))
    assert found.keys() == {0, 3, 6}
    assert list(found.values()) == pytest.approx([1.5] * 3, rel=1e-4)


def test_samples_are_drawn_by_the_average_where_there_is_one():
    for decay in (0.9, 0.0):
        model = gan(ema_decay=decay)
        fit(model, images())
        latents = torch.randn(4, model.latent_dim, generator=torch.Generator().manual_seed(1))
        expected = (model.generator_ema if decay else model.generator).eval()
        drawn = model.sample(4, generator=torch.Generator().manual_seed(1))
        torch.testing.assert_close(drawn, to_unit(expected(latents)).clamp(0, 1))
        torch.testing.assert_close(model(latents), to_unit(expected(latents)))
        assert (model.generator_ema is None) == (decay == 0)


def test_many_samples_in_parts_are_the_same_images():
    model = gan()
    whole = model.sample(1100, generator=torch.Generator().manual_seed(0))
    latents = torch.randn(1100, model.latent_dim, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(whole, to_unit(model.generator_ema.eval()(latents)), rtol=0, atol=1e-5)


@pytest.mark.parametrize("decay", [0.9, 0.0])
def test_interpolation_draws_the_great_circle_by_the_average_and_restores_the_mode(decay):
    model = gan(network="dcgan", image_shape=(1, 16, 16), ema_decay=decay, latent_dim=8).train()
    fit(model, images(2, 4, (1, 16, 16)))
    model.train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    z0, z1 = (torch.randn(3, 8, generator=torch.Generator().manual_seed(s)) for s in (1, 2))
    drawn = model.interpolate(z0, z1, 4)
    assert drawn.shape == (3, 4, 1, 16, 16)
    assert 0 <= drawn.min() < drawn.max() <= 1
    assert all(module.training for module in model.averaged_generator.modules())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())  # no statistics move
    model.eval()
    circle = spherical_path(z0, z1, 4)
    for step in range(4):
        torch.testing.assert_close(drawn[:, step], model(circle[:, step]), rtol=0, atol=1e-5)


def test_interpolation_of_one_step_is_an_error():
    with pytest.raises(GenmodelsError, match="interpolate: steps is 1; expected 2 or more"):
        gan().interpolate(torch.zeros(1, 64), torch.zeros(1, 64), 1)
    with pytest.raises(GenmodelsError, match="interpolate: the latents have 5 entries; expected 64"):
        gan().interpolate(torch.ones(1, 5), torch.zeros(1, 5), 3)


def test_ones_own_network_needs_one_method():
    class Own(GAN):
        def build_generator(self):
            return nn.Sequential(nn.Linear(self.latent_dim, 64), nn.Tanh(), nn.Unflatten(1, self.image_shape))

    model = Own(image_shape=SHAPE)
    fit(model, images())
    assert len(model.generator) == 3
    assert model.sample(2).shape == (2, *SHAPE)


def test_a_builder_that_returns_nothing_is_named():
    class Forgetful(GAN):
        def build_discriminator(self):
            super().build_discriminator()

    with pytest.raises(GenmodelsError, match=r"Forgetful.build_discriminator\(\) returned no nn.Module"):
        Forgetful(image_shape=SHAPE)


def test_a_loader_of_bare_images_is_told_what_was_expected():
    bare = torch.utils.data.DataLoader(torch.rand(16, *SHAPE), batch_size=8)
    with pytest.raises(GenmodelsError, match="as the first item of the batch"):
        fit(gan(), bare)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"network": "vgg"}, "network is 'vgg'; expected one of mlp, dcgan"),
        ({"adversarial_loss": "hing"}, "adversarial_loss is 'hing'; expected one of minimax, non_saturating"),
        ({"penalty": "r3"}, "penalty is 'r3'; expected one of none, r1"),
        ({"latent_dim": 0}, "latent_dim is 0; expected 1 or more"),
        ({"penalty_weight": -1.0}, "penalty_weight is -1.0; expected 0 or more"),
        ({"image_shape": (8, 8)}, r"image_shape is \(8, 8\); expected \(channels, height, width\)"),
        ({"network": "dcgan", "image_shape": (1, 16, 28)}, "the images are 16x28 pixels; expected a square of 16, 28"),
    ],
)
def test_an_option_out_of_range_is_named_with_its_value(options, message):
    with pytest.raises(GenmodelsError, match=f"GAN: .*{message}"):
        gan(**options)


@pytest.mark.parametrize("size", [16, 28, 32, 64])
def test_dcgan_trains_at_every_size_and_in_colour(size):
    model = gan(network="dcgan", image_shape=(3, size, size), latent_dim=8)
    fit(model, images(1, 4, (3, size, size)), limit_train_batches=1)
    assert model.sample(2).shape == (2, 3, size, size)
