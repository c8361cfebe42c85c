import typing

import pytest
import torch
from lightning.pytorch import Trainer
from torch import nn
from toy import fit

from lightning_genmodels import GAN, GenmodelsError
from lightning_genmodels.losses.adversarial import ADVERSARIAL_LOSSES
from lightning_genmodels.losses.penalties import PENALTIES
from lightning_genmodels.models.interpolation import spherical_path
from lightning_genmodels.models.ranges import to_signed, to_unit
from lightning_genmodels.networks.dcgan import STAGES
from lightning_genmodels.networks.pairs import GENERATORS

SHAPE = (1, 8, 8)


def images(batches=4, batch_size=16, shape=SHAPE):
    draw = torch.Generator().manual_seed(3)
    batch = [(torch.rand(batch_size, *shape, generator=draw), torch.zeros(batch_size)) for _ in range(batches)]
    return torch.utils.data.DataLoader(batch, batch_size=None)


def gan(**options):
    torch.manual_seed(0)
    return GAN(**{"image_shape": SHAPE, **options})


def test_networks_are_those_that_the_option_names():
    assert typing.get_args(typing.get_type_hints(GAN.__init__)["network"]) == tuple(GENERATORS)
    for name, generator in GENERATORS.items():
        model = gan(network=name, image_shape=(1, 16, 16))
        assert type(model.generator) is generator
        assert type(model.discriminator).__name__ == generator.__name__.replace("Generator", "Discriminator")


@pytest.mark.parametrize("network", ["mlp", "dcgan", "resnet"])
def test_a_generator_without_batch_norm_draws_each_image_by_itself(network):
    z = torch.randn(4, 64)
    for batch_norm in (True, False):
        generator = gan(network=network, image_shape=(1, 16, 16), generator_batch_norm=batch_norm).generator
        both = generator(z[:2])
        assert torch.allclose(both, generator(z)[:2], atol=1e-5) is not batch_norm
        assert not torch.allclose(both[0], both[1])


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
            real_logits = self.discriminator(to_signed(batch[0]))
            expected = ADVERSARIAL_LOSSES[name].generator(self.discriminator(fake), real_logits)
            found["generator"] = (terms["generator"], expected)
            return terms

    fit(Recording(image_shape=SHAPE, adversarial_loss=name, penalty="none"), images(1))
    for side in ("discriminator", "generator"):
        torch.testing.assert_close(*found[side])


@pytest.mark.parametrize("packing", [1, 2])
@pytest.mark.parametrize("name", PENALTIES)
def test_the_penalty_is_the_one_asked_for_and_its_draws_are_the_batchs_own(name, packing):
    found = []

    class Recording(GAN):
        def discriminator_loss(self, batch, fake):
            state = self.noise.get_state()
            terms = super().discriminator_loss(batch, fake)
            again = torch.Generator()
            again.set_state(state)
            packs = (pair.view(-1, packing, 8, 8) for pair in (to_signed(batch[0]), fake))
            expected = PENALTIES[name](self.discriminator, *packs, again)
            found.append((terms[name], 2.0 * expected))
            return terms

    fit(Recording(image_shape=SHAPE, penalty=name, penalty_weight=2.0, penalty_interval=1, packing=packing), images(2))
    assert len(found) == 2
    for own, expected in found:
        torch.testing.assert_close(own, expected)


def test_weights_are_clipped_after_every_step_of_the_discriminator_and_the_generators_are_not():
    seen = []

    class Recording(GAN):
        def generator_loss(self, batch, fake):
            seen.append(max(p.abs().max().item() for p in self.discriminator.parameters()))
            return super().generator_loss(batch, fake)

    model = Recording(image_shape=SHAPE, penalty="weight_clipping", penalty_weight=0.01, adversarial_loss="wasserstein")
    fit(model, images(3))
    assert seen == pytest.approx([0.01] * 3)
    assert max(p.abs().max().item() for p in model.generator.parameters()) > 0.1


def test_a_batch_of_one_image_is_one_sentence_where_it_cannot_be_normalised_over():
    with pytest.raises(
        GenmodelsError, match=r"^GAN: a batch has 1 image, which .*; expected 2 or more, by a larger batch"
    ):
        fit(gan(), images(1, batch_size=1))
    fit(gan(generator_batch_norm=False), images(1, batch_size=1))
    fit(gan(network="dcgan", image_shape=(1, 16, 16)), images(1, batch_size=1, shape=(1, 16, 16)))


def test_packs_are_neighbours_on_the_channels_and_a_remainder_is_left_out():
    model = gan(packing=2, image_shape=(3, 8, 8))
    batch = torch.rand(5, 3, 8, 8)
    packs = model.pack(batch)
    assert packs.shape == (2, 6, 8, 8)
    assert torch.equal(packs[1, :3], batch[2])
    assert torch.equal(packs[1, 3:], batch[3])
    assert gan().pack(batch) is batch
    with pytest.raises(GenmodelsError, match=r"^GAN: packing is 2 and a batch has 1 images; expected 2 or more.$"):
        model.pack(batch[:1])


@pytest.mark.parametrize(("network", "size"), [("mlp", 8), ("dcgan", 16), ("resnet", 16)])
def test_the_discriminator_judges_packs_of_real_images_and_of_fresh_ones(network, size):
    shapes = []

    class Looking(GAN):
        def build_discriminator(self):
            judge = super().build_discriminator()
            judge.register_forward_pre_hook(lambda _, inputs: shapes.append(tuple(inputs[0].shape)))
            return judge

    fit(
        Looking(image_shape=(1, size, size), network=network, packing=3, penalty="none"),
        images(1, 12, (1, size, size)),
    )
    assert shapes == [(4, 3, size, size)] * 3


def test_the_discriminator_of_dcgan_normalises_over_the_batch_only_where_no_single_image_is_meant():
    def normalises(**options):
        judge = gan(network="dcgan", image_shape=(1, 16, 16), **options).discriminator
        return any(isinstance(module, nn.BatchNorm2d) for module in judge.modules())

    found = {name: normalises(penalty=name) for name in ("none", "weight_clipping", *PENALTIES)}
    assert [name for name, value in found.items() if value] == ["none", "weight_clipping"]
    assert not normalises(penalty="none", spectral_norm=True)


@pytest.mark.parametrize(("network", "size"), [("mlp", 8), ("dcgan", 16), ("resnet", 16)])
def test_spectral_norm_bounds_the_slope_of_the_discriminators_layers_alone(network, size):
    model = gan(network=network, image_shape=(1, size, size), spectral_norm=True, penalty="none")
    fit(model, images(4, 8, (1, size, size)))
    layers = [m for m in model.discriminator.modules() if isinstance(m, (nn.Linear, nn.Conv2d))]
    model.discriminator.train()
    for _ in range(30):  # power iterations, one in each forward pass
        model.discriminator(torch.rand(2, 1, size, size))
    model.discriminator.eval()
    assert len(layers) >= 3
    for layer in layers:
        assert torch.linalg.matrix_norm(layer.weight.flatten(1), 2).item() == pytest.approx(1, abs=0.02)
    assert not any("parametrizations" in name for name, _ in model.generator.named_parameters())


def test_no_more_images_are_scored_than_asked_for():
    counted = []
    model = gan(score_count=40)
    model.scores.metrics.update = lambda given, real: counted.append((len(given), real))
    model.scores.metrics.compute = dict
    Trainer(accelerator="cpu", logger=False).validate(model, images(8), verbose=False)
    assert [n for n, real in counted if real] == [n for n, real in counted if not real] == [16, 16, 8]


def test_the_lazy_penalty_comes_on_every_nth_batch_n_times_as_strong():
    found = {}

    class Recording(GAN):
        def discriminator_loss(self, batch, fake):
            terms = super().discriminator_loss(batch, fake)
            if "r1" in terms:
                plain = PENALTIES["r1"](self.discriminator, to_signed(batch[0]), fake, None)
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


@pytest.mark.parametrize("penalty", ["r1_r2", "gradient_penalty"])
@pytest.mark.parametrize("precision", ["64-true", "bf16-true", "bf16-mixed"])
def test_penalties_keep_to_the_precision_of_the_training(precision, penalty):
    model = gan(penalty=penalty, penalty_interval=1)
    before = [parameter.clone() for parameter in model.discriminator.parameters()]
    fit(model, images(2), precision=precision)
    assert all(parameter.isfinite().all() for parameter in model.parameters())
    assert not any(
        torch.equal(old, new.float()) for old, new in zip(before, model.discriminator.parameters(), strict=True)
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"network": "vgg"}, "network is 'vgg'; expected one of mlp, dcgan, resnet."),
        ({"adversarial_loss": "hing"}, "adversarial_loss is 'hing'; expected one of minimax, non_saturating"),
        ({"penalty": "r3"}, "penalty is 'r3'; expected one of none, weight_clipping, gradient_penalty"),
        ({"latent_dim": 0}, "latent_dim is 0; expected 1 or more"),
        ({"score_count": 0}, "score_count is 0; expected 6 or more"),
        ({"packing": 0}, "packing is 0; expected 1 or more"),
        ({"network": "resnet", "image_shape": (1, 8, 8)}, "the images are 8x8 pixels; expected a square of 16, 28"),
        ({"penalty_weight": -1.0}, "penalty_weight is -1.0; expected 0 or more"),
        ({"penalty_weight": float("nan")}, "penalty_weight is nan; expected 0 or more"),
        (
            {"penalty": "weight_clipping", "penalty_weight": 0},
            "the bound that weights are clipped to; expected above 0",
        ),
        ({"image_shape": (8, 8)}, r"image_shape is \(8, 8\); expected \(channels, height, width\)"),
        ({"network": "dcgan", "image_shape": (1, 16, 28)}, "the images are 16x28 pixels; expected a square of 16, 28"),
    ],
)
def test_an_option_out_of_range_is_named_with_its_value(options, message):
    with pytest.raises(GenmodelsError, match=f"GAN: .*{message}"):
        gan(**options)


@pytest.mark.parametrize(
    ("network", "size"), [("dcgan", size) for size in STAGES] + [("resnet", size) for size in (16, 28, 32, 64, 128)]
)
def test_convolutional_networks_train_at_every_size_and_in_colour(network, size):
    model = gan(network=network, image_shape=(3, size, size), latent_dim=8)
    fit(model, images(1, 2, (3, size, size)), limit_train_batches=1)
    assert model.sample(2).shape == (2, 3, size, size)
