"""StyleGAN's training and its use."""

import copy
from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from torch.nn.functional import softplus
from toy import fit

from datamodules import DigitsDataModule
from lightning_genmodels import GenmodelsError, StyleGAN
from lightning_genmodels.callbacks import BestCheckpoint
from lightning_genmodels.losses.penalties import path_lengths
from lightning_genmodels.metrics import DensityCoverage, PrecisionRecall
from lightning_genmodels.models.growing import faded
from lightning_genmodels.models.splitting import parts_of_groups

SIZE = 16


def model(seed=0, **options):
    torch.manual_seed(seed)
    return StyleGAN(**{"image_shape": (1, SIZE, SIZE), "latent_dim": 16, "width": 8, "mapping_depth": 2, **options})


def loader(batches=4, batch_size=8, channels=1):
    torch.manual_seed(1)
    images = torch.rand(batches * batch_size, channels, SIZE, SIZE)
    return torch.utils.data.DataLoader(images.split(batch_size), batch_size=None, collate_fn=lambda b: (b,))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"image_shape": (1, 28, 28)},
            r"image_shape is \(1, 28, 28\); expected 1 or 3 channels and a square of 16, 32",
        ),
        ({"image_shape": (2, 16, 16)}, r"image_shape is \(2, 16, 16\); expected 1 or 3 channels"),
        ({"growing": True, "start_size": 12}, "start_size is 12; expected one of 4, 8, 16"),
        ({"growing": True, "start_size": 32}, "start_size is 32; expected one of 4, 8, 16"),
        ({"style_mixing": 1.1}, r"style_mixing is 1.1; expected in \[0, 1\]"),
        ({"augmentation": "always"}, "augmentation is 'always'; expected one of none, fixed, adaptive"),
        ({"output_activation": "relu"}, "output_activation is 'relu'; expected one of linear, tanh"),
        ({"path_length_weight": float("inf")}, "path_length_weight is inf; expected 0 or more, and finite"),
        ({"ema_images": -1}, "ema_images is -1; expected 0 or more"),
        ({"penalty_interval": 0}, "penalty_interval is 0; expected 1 or more"),
        ({"score_count": 5}, "score_count is 5; expected 6 or more"),
    ],
)
def test_an_option_out_of_its_range_is_one_sentence(options, message):
    with pytest.raises(GenmodelsError, match="^StyleGAN: " + message):
        model(**options)


def test_the_mean_style_converges_to_the_mean_of_w():
    gan = model(learning_rate=1e-8)  # the networks all but stand still
    with torch.no_grad():
        expected = gan.generator.styles(torch.randn(20_000, 16)).mean(0)
    for seed in range(1000):
        gan.noise.manual_seed(seed)
        gan._mixed_styles(64)
    error = (gan.generator.style_average - expected).norm() / expected.norm()
    assert error < 0.03


def test_a_truncation_of_0_draws_one_image_and_less_truncation_more_varied_ones():
    gan = model()
    fit(gan, loader())
    noisy = gan.sample(8, truncation=0)
    assert not torch.equal(noisy, noisy[:1].expand_as(noisy))
    for layer in gan.generator_ema.synthesis.layers:
        layer.noise_weight.data.zero_()
    mean_image = gan.sample(8, truncation=0)
    assert torch.equal(mean_image, mean_image[:1].expand_as(mean_image))
    torch.testing.assert_close(mean_image[0], gan.synthesize(gan.style_average[None])[0].clamp(0, 1))
    spread = [
        gan.sample(64, generator=torch.Generator().manual_seed(0), truncation=t).std(0).mean() for t in (0.2, 0.6, 1)
    ]
    assert 0 < spread[0] < spread[1] < spread[2]


def test_samples_are_not_truncated_where_nothing_says_so():
    gan = model()
    fit(gan, loader())
    source = torch.Generator().manual_seed(0)
    images, truncated = (gan.sample(4, generator=source.manual_seed(0), **t) for t in ({}, {"truncation": 0.7}))
    torch.testing.assert_close(images, gan.sample(4, generator=source.manual_seed(0), truncation=1))
    assert not torch.allclose(images, truncated, atol=1e-3)
    gan.on_predict_epoch_start()
    noise = gan.scores.noise.clone_state()
    torch.testing.assert_close(
        gan.predict_step((torch.zeros(4, 1, SIZE, SIZE),), 0), gan.sample(4, generator=noise, truncation=1)
    )
    with pytest.raises(GenmodelsError, match="truncation is nan; expected a share"):
        gan.sample(1, truncation=float("nan"))


def test_a_truncated_path_lies_between_truncated_images():
    gan = model()
    gan.style_average.normal_()
    z0, z1 = torch.randn(2, 3, 16)
    path = gan.interpolate(z0, z1, 3, truncation=0.5)
    torch.testing.assert_close(path[:, 0], gan.synthesize(gan.styles(z0, 0.5)).clamp(0, 1))


def test_a_tanh_keeps_images_within_their_range():
    torch.manual_seed(2)
    latents = 3 * torch.randn(64, 16)
    bounded, linear = (model(output_activation=name)(latents) for name in ("tanh", "linear"))
    assert 0 <= bounded.min() < bounded.max() <= 1
    assert linear.min() < 0
    assert linear.max() > 1


def test_styles_are_mixed_from_a_drawn_layer_on_for_that_share_of_the_images():
    gan = model(style_mixing=0.75)
    gan.noise.manual_seed(0)
    styles = gan._mixed_styles(4000)
    changes = (styles[:, 1:] != styles[:, :-1]).any(2)  # where a style differs from that of the layer below
    assert changes.sum(1).max() == 1
    assert changes.any(1).float().mean().item() == pytest.approx(0.75, abs=0.03)
    per_layer = changes.float().mean(0)
    torch.testing.assert_close(per_layer, torch.full((5,), 0.15), rtol=0, atol=0.03)


def test_the_average_has_half_of_its_weight_from_the_last_so_many_images():
    gan = model(ema_images=16)
    before = copy.deepcopy(gan.generator_ema.state_dict())
    fit(gan, loader(batches=1, batch_size=16))
    for name, value in gan.generator_ema.named_parameters():
        torch.testing.assert_close(value, (before[name] + gan.generator.get_parameter(name)) / 2)
    torch.testing.assert_close(gan.generator_ema.style_average, gan.generator.style_average)
    assert model(ema_images=0).generator_ema is None


def test_a_generator_that_steps_on_every_nth_batch_is_averaged_over_as_many_images():
    gan = model(ema_images=16, discriminator_steps=4)
    fit(gan, loader(batches=4, batch_size=16))
    assert gan.ema_decay == 0.5**4


def test_a_lazy_penalty_changes_the_discriminators_adam():
    gan = model(penalty_interval=16, learning_rate=1e-3, betas=(0.5, 0.99))
    share = 16 / 17
    trainer = fit(gan, loader())
    generator, discriminator = (optimizer.param_groups[0] for optimizer in trainer.optimizers)
    assert (generator["lr"], *generator["betas"]) == pytest.approx((1e-3, 0.5, 0.99))
    assert (discriminator["lr"], *discriminator["betas"]) == pytest.approx((share * 1e-3, 0.5**share, 0.99**share))
    eager = fit(model(penalty_interval=1), loader()).optimizers[1].param_groups[0]
    assert eager["lr"] == 1e-3


def test_growing_follows_the_images_and_begins_adam_anew_at_each_size():
    gan = model(growing=True, start_size=4, fade_images=8, stable_images=8)
    seen, ages = [], []

    class Watched(StyleGAN):
        pass

    def note(self, *_):
        seen.append(self.discriminator.detail.item())
        ages.append(max(int(s["step"]) for s in self.trainer.optimizers[1].state.values()))

    gan.__class__ = Watched
    Watched.on_train_batch_end = note
    fit(gan, loader(batches=6))
    assert seen == pytest.approx([0, 1 / 9, 1, 1 + 1 / 9, 2, 2])
    assert ages == [1, 1, 2, 1, 2, 3]
    assert gan.images_seen == 48
    assert gan.generator_ema.synthesis.detail == 2
    assert gan.sample(2).shape == (2, 1, SIZE, SIZE)


def test_falling_rates_keep_the_factor_of_their_size():
    rates = []

    class Watched(StyleGAN):
        def on_train_batch_end(self, *_):
            rates.append([optimizer.param_groups[0]["lr"] for optimizer in self.trainer.optimizers])

    gan = Watched((1, 128, 128), 4, 2, 1, growing=True, start_size=64, fade_images=0, stable_images=2,
                  penalty_interval=1, learning_rate=0.01, discriminator_learning_rate=0.02, schedule="linear",
                  decay_start=0.5)  # fmt: skip
    images = torch.rand(4, 2, 1, 128, 128)
    fit(gan, torch.utils.data.DataLoader(images, batch_size=None, collate_fn=lambda b: (b,)), max_epochs=1)
    factors = (1, 1.5, 1.5, 0.75)  # of four batches: 64 pixels, then 128, and half of the rate before the end
    assert rates == [pytest.approx([0.01 * factor, 0.02 * factor]) for factor in factors]


def test_the_best_checkpoint_is_of_grown_images(tmp_path):
    gan = model(growing=True, start_size=8, fade_images=8, stable_images=8)
    found = []

    class Watch(Callback):
        def on_train_batch_end(self, *_):  # after the validation of the batch before
            found.append((tmp_path / "best.ckpt").exists())

    best = BestCheckpoint(tmp_path, "val/coverage", "max")
    fit(gan, loader(batches=5), val_loader=loader(batches=1), val_check_interval=1, enable_checkpointing=True,
        callbacks=[Watch(), best])  # fmt: skip
    assert found == [False, False, False, True, True]  # batches of 8 pixels, of the fade, and of 16 pixels


def test_a_metric_that_is_missing_is_said_before_the_images_have_grown(tmp_path):
    best = BestCheckpoint(tmp_path, "val/missing", "max")
    with pytest.raises(MisconfigurationException, match="val/missing"):
        fit(model(growing=True, start_size=8), loader(batches=1), val_loader=loader(batches=1),
            enable_checkpointing=True, callbacks=[best])  # fmt: skip


@pytest.mark.parametrize(("pixels", "expected"), [(4 * 64, [1, 2, 8]), (300, [1, 2, 7])])
def test_large_batches_are_split_as_the_images_grow(pixels, expected):
    gan = model(growing=True, start_size=4, fade_images=0, stable_images=8, pixels_at_once=pixels)
    parts = []

    class Watched(StyleGAN):
        pass

    gan.__class__ = Watched
    Watched.on_train_batch_end = lambda self, *_: parts.append(self.accumulate)
    fit(gan, loader(batches=3))
    assert parts == expected


@pytest.mark.parametrize(
    ("length", "least", "parts"), [(32, 1, 1), (32, 3, 4), (32, 8, 8), (32, 16, 16), (124, 2, 2), (36, 2, 3)]
)
def test_parts_are_of_whole_groups_where_not_many_more_are_needed_for_it(length, least, parts):
    assert parts_of_groups(length, least, 4) == parts


def test_a_split_keeps_the_groups_that_the_discriminator_compares():
    """32 images in three parts would be 11, 11 and 10, which have no deviation."""
    gan = model(pixels_at_once=3000)
    fit(gan, loader(batches=1, batch_size=32))
    assert gan.accumulate == 4


def test_r1_is_of_real_images_and_as_much_larger_as_it_is_rarer():
    """Of a critic whose slope is the image itself, so that the penalty is half its squared length."""
    gan, found = model(penalty_weight=0.5, penalty_interval=4), []
    gan.discriminator.forward = lambda images: images.square().flatten(1).sum(1) / 2

    class Watched(StyleGAN):
        def discriminator_loss(self, batch, fake):
            terms = super().discriminator_loss(batch, fake)
            real = (2 * batch[0] - 1).square().flatten(1).sum(1).mean() / 2
            found.append("r1" in terms and (terms["r1"] / real).item())
            untouched = sum(p.sum() for p in self.discriminator.parameters()) * 0  # which backward wants
            return {name: term + untouched for name, term in terms.items()}

        def generator_loss(self, batch, fake):
            return {"generator": fake.mean()}

    gan.__class__ = Watched
    fit(gan, loader(batches=9))
    assert [bool(ratio) for ratio in found] == [n % 4 == 0 for n in range(9)]
    assert found[::4] == pytest.approx([0.5 * 4] * 3)


def test_both_losses_are_the_non_saturating_ones_of_augmented_images():
    gan = model(penalty_weight=0, augmentation="fixed", augmentation_probability=1.0)
    gan.trainer = SimpleNamespace(global_step=0)
    seen = []
    gan.augment.forward = lambda images, noise: seen.append(images) or images / 2
    images, fake = torch.rand(8, 1, SIZE, SIZE), torch.rand(8, 1, SIZE, SIZE) - 0.5
    real, made = gan.discriminator((2 * images - 1) / 2), gan.discriminator(fake / 2)
    terms = gan.discriminator_loss((images,), fake)
    torch.testing.assert_close(terms, {"discriminator": softplus(-real).mean() + softplus(made).mean()})
    torch.testing.assert_close(gan.generator_loss((images,), fake), {"generator": softplus(-made).mean()})
    torch.testing.assert_close(seen, [2 * images - 1, fake, fake])


def test_real_images_fade_in_with_the_generated_ones():
    gan = model(penalty_weight=0, growing=True, start_size=4)
    gan._grow_to(1.25)
    images, fake = torch.rand(8, 1, SIZE, SIZE), torch.rand(8, 1, SIZE, SIZE)
    real = gan.discriminator(faded(2 * images - 1, 1.25, SIZE))
    expected = softplus(-real).mean() + softplus(gan.discriminator(fake)).mean()
    torch.testing.assert_close(gan.discriminator_loss((images,), fake)["discriminator"], expected)


def test_styles_are_mixed_within_the_layers_in_use():
    gan = model(growing=True, start_size=4, style_mixing=1.0)
    gan.noise.manual_seed(0)
    styles = gan._mixed_styles(500)
    changes = (styles[:, 1:] != styles[:, :-1]).any(2)
    assert changes.any(0).tolist() == [True, False, False, False, False]


def test_fixed_networks_learn_by_the_rate_that_was_asked_for():
    gan = StyleGAN((1, 128, 128), 4, 2, 1, learning_rate=0.01, penalty_interval=1)
    images = torch.rand(1, 2, 1, 128, 128)
    trainer = fit(gan, torch.utils.data.DataLoader(images, batch_size=None, collate_fn=lambda b: (b,)))
    assert [optimizer.param_groups[0]["lr"] for optimizer in trainer.optimizers] == [0.01, 0.01]


def test_the_mean_style_has_half_a_percent_from_each_batch():
    gan = model()
    gan.generator.style_average.fill_(1.0)
    gan.noise.manual_seed(0)
    latents = gan._latents(16, gan.noise)[:8]
    gan.noise.manual_seed(0)
    gan._mixed_styles(8)
    expected = 0.995 + 0.005 * gan.generator.styles(latents).mean(0)
    torch.testing.assert_close(gan.generator.style_average, expected.detach())


def test_path_lengths_of_a_linear_generator():
    torch.manual_seed(0)
    weight, styles = torch.randn(16 * 16, 12), torch.randn(500, 3, 12, requires_grad=True)
    images = (styles.sum(1) @ weight.T).view(500, 1, 16, 16)
    lengths = path_lengths(images, styles, torch.Generator().manual_seed(0))
    # Each of the three layers has the slope J^T y, whose mean square is |J|^2 / (H W).
    assert lengths.square().mean().item() == pytest.approx(weight.square().sum().item() / 256, rel=0.1)


def test_the_penalty_on_path_lengths_by_hand():
    gan = model(path_length_weight=2.0)
    gan.path_length_mean.fill_(0.5)
    gan.noise.manual_seed(3)
    styles = gan._mixed_styles(4)
    lengths = path_lengths(gan.generator(styles), styles, gan.noise)
    gan.noise.manual_seed(3)
    penalty = gan._path_length_penalty((torch.zeros(8, 1, SIZE, SIZE),))
    mean = 0.99 * 0.5 + 0.01 * lengths.mean()
    torch.testing.assert_close(gan.path_length_mean, mean.detach())
    torch.testing.assert_close(penalty, (lengths - mean).square().mean())
    penalty.backward()
    assert all(p.grad is not None for p in gan.generator.mapping.parameters())


def test_path_lengths_are_penalised_on_every_fourth_step_of_the_generator():
    gan, steps = model(path_length_weight=2.0, discriminator_steps=2), []
    gan._path_length_penalty = lambda batch: steps.append(gan.trainer.global_step) or torch.tensor(3.0)
    terms = []

    class Watched(StyleGAN):
        def generator_loss(self, batch, fake):
            terms.append(super().generator_loss(batch, fake))
            return terms[-1]

    gan.__class__ = Watched
    fit(gan, loader(batches=20))
    assert steps == [1, 9, 17]
    assert terms[0]["path_length"].item() == 2 * 4 * 3  # as much larger as it is rarer
    assert "path_length" not in terms[1]


def test_adaptive_augmentation_rises_while_real_images_are_told_apart_and_falls_again():
    gan = model(augmentation="adaptive", augmentation_probability=0.5, augmentation_images=100)
    found = []
    for sign in (1.0, -1.0):

        class Judging(StyleGAN):
            def discriminator_loss(self, batch, fake, sign=sign):
                terms = super().discriminator_loss(batch, fake)
                self.augment.signs.clear()
                self.augment.note(torch.full((8,), sign))
                return terms

        gan.__class__ = Judging
        fit(gan, loader(batches=2))
        found.append(gan.augment.share.item())
    assert found == pytest.approx([0.66, 0.5])


def test_what_changes_is_logged_and_nothing_constant():
    def logged(**options):
        return set(fit(model(**options), loader(), log_every_n_steps=1, logger=True).logged_metrics)

    both = {"train/size", "train/augmentation"}
    assert logged() & both == set()
    assert logged(growing=True, start_size=4) & both == {"train/size"}
    assert logged(augmentation="adaptive") & both == {"train/augmentation"}


def test_a_path_of_latents_begins_and_ends_at_its_own_images():
    gan = model()
    z0, z1 = torch.randn(2, 3, 16)
    path = gan.interpolate(z0, z1, 5)
    assert path.shape == (3, 5, 1, SIZE, SIZE)
    torch.testing.assert_close(path[:, 0], gan(z0).clamp(0, 1))
    torch.testing.assert_close(path[:, -1], gan(z1).clamp(0, 1))
    with pytest.raises(GenmodelsError, match="the latents have 15 entries; expected 16"):
        gan.interpolate(z0[:, 1:], z1[:, 1:], 5)


def test_one_style_for_all_layers_is_that_style_in_each():
    gan = model()
    styles = gan.styles(torch.randn(2, 16))
    noises = gan.draw_noises(2, torch.Generator().manual_seed(0))
    each = styles[:, None].expand(-1, gan.style_layers, -1)
    torch.testing.assert_close(gan.synthesize(styles, noises), gan.synthesize(each, noises))


def test_it_learns_digits():
    gan = model(width=16, latent_dim=32, mapping_depth=4, output_activation="tanh", learning_rate=3e-3, ema_images=2000)
    data = DigitsDataModule(image_size=SIZE, batch_size=32)
    data.setup()
    real = torch.cat([data.to_float(batch).image for batch in data.train_dataloader()])
    floors = {"precision_digits": 0.15, "coverage_digits": 0.12}

    def scores():
        found = {}
        fake = gan.sample(len(real), generator=torch.Generator().manual_seed(0))
        for metric in (PrecisionRecall(k=3, features="digits"), DensityCoverage(k=5, features="digits")):
            metric.update(real, real=True)
            metric.update(fake, real=False)
            found |= metric.compute()
        return found

    untrained = scores()
    trainer = Trainer(accelerator="cpu", max_steps=200, max_epochs=-1, logger=False, enable_checkpointing=False,
                      enable_progress_bar=False, enable_model_summary=False, limit_val_batches=0)  # fmt: skip
    trainer.fit(gan, datamodule=data)
    found = scores()
    assert all(untrained[name] < floor < found[name] for name, floor in floors.items())
