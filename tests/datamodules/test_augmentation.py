import math

import numpy as np
import pytest
import torch
from drawing import all_digits
from lightning.pytorch import LightningModule, Trainer
from miniature import write_mnist

from datamodules import DataError, DigitsDataModule, FashionMNISTDataModule, MNISTDataModule, augmentation
from datamodules.augmentation import distort, draw_binary
from datamodules.seeding import batch_generator, draw

SPREADS = ("ROTATION", "SCALE", "SHEAR", "SHIFT")


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def bars(n=2000):
    """(n, 1, 28, 28): a soft bar, lying, in the middle."""
    y, x = torch.meshgrid(torch.arange(28.0) - 13.5, torch.arange(28.0) - 13.5, indexing="ij")
    return (-(x.square() / (2 * 4.0**2)) - y.square() / (2 * 1.5**2)).exp().expand(n, 1, 28, 28)


def moments(images):
    """Centre (x, y), variance along x and y, and covariance of the ink, in pixels."""
    ink = images.squeeze(1).double()
    ink = ink / ink.sum((1, 2), keepdim=True)
    y, x = torch.meshgrid(torch.arange(28.0) - 13.5, torch.arange(28.0) - 13.5, indexing="ij")
    mean_x, mean_y = (ink * x).sum((1, 2)), (ink * y).sum((1, 2))
    dx, dy = x - mean_x.view(-1, 1, 1), y - mean_y.view(-1, 1, 1)
    second = [(ink * a * b).sum((1, 2)) for a, b in ((dx, dx), (dy, dy), (dx, dy))]
    return (mean_x, mean_y, *second)


def only(monkeypatch, **spreads):
    for name in SPREADS:
        monkeypatch.setattr(augmentation, name, spreads.get(name, 0.0))


# Distortions


def test_a_share_of_0_leaves_the_images_as_they_are():
    assert torch.equal(distort(all_digits(), 0.0, seeded()), all_digits())


def test_a_share_of_1_changes_nearly_all_and_a_half_every_other():
    for share in (1.0, 0.5):
        moved = distort(all_digits(), share, seeded())
        changed = (moved != all_digits()).flatten(1).any(1).float().mean().item()
        assert changed == pytest.approx(share, abs=0.05)


@pytest.mark.parametrize("shape", [(3, 28, 20), (1, 8, 8)])
def test_range_shape_and_type_stay(shape):
    images = torch.rand(50, *shape, generator=seeded(1)).round()
    moved = distort(images, 1.0, seeded())
    assert moved.shape == images.shape
    assert moved.dtype == torch.float32
    assert (moved.min(), moved.max()) == (0, 1)


def test_the_generator_alone_decides():
    one, same, other = (distort(all_digits(), 1.0, seeded(s)) for s in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    before = torch.get_rng_state()
    distort(all_digits(), 1.0, seeded())
    assert torch.equal(torch.get_rng_state(), before)


def test_each_image_is_changed_in_its_own_way_and_all_its_channels_alike():
    images = bars(20).expand(-1, 3, -1, -1)
    moved = distort(images, 1.0, seeded())
    assert torch.equal(moved[:, 0], moved[:, 2])
    assert len({image.numpy().tobytes() for image in moved}) == 20


def test_draws_of_no_spread_are_the_images_themselves(monkeypatch):
    only(monkeypatch)
    torch.testing.assert_close(distort(all_digits(), 1.0, seeded()), all_digits(), rtol=0, atol=1e-5)


def test_shifts_have_the_stated_spread_about_no_shift(monkeypatch):
    only(monkeypatch, SHIFT=augmentation.SHIFT)
    mean_x, mean_y, *_ = moments(distort(bars(), 1.0, seeded()))
    for centre in (mean_x, mean_y):
        assert centre.mean().item() == pytest.approx(0, abs=5 * 0.28 / math.sqrt(2000))
        # Of half the side; bicubic interpolation moves a centre only nearly by its shift.
        assert centre.std().item() == pytest.approx(augmentation.SHIFT * 14, rel=0.1)


def test_rotations_have_the_stated_spread_about_upright(monkeypatch):
    only(monkeypatch, ROTATION=augmentation.ROTATION)
    _, _, across, down, both = moments(distort(bars(), 1.0, seeded()))
    angle = 0.5 * torch.atan2(2 * both, across - down)
    assert angle.mean().item() == pytest.approx(0, abs=5 * 0.15 / math.sqrt(2000))
    assert angle.std().item() == pytest.approx(augmentation.ROTATION, rel=0.06)
    assert math.degrees(augmentation.ROTATION) == pytest.approx(9, abs=1)


def test_scales_have_the_stated_spread_and_the_sides_their_own(monkeypatch):
    only(monkeypatch, SCALE=augmentation.SCALE)
    original, moved = moments(bars(1)), moments(distort(bars(), 1.0, seeded()))
    factors = [(original[i] / moved[i]).sqrt() for i in (2, 3)]  # a larger grid makes the bar smaller
    for factor in factors:
        assert factor.mean().item() == pytest.approx(1, abs=0.02)
        assert factor.std().item() == pytest.approx(augmentation.SCALE, rel=0.2)
    assert abs(torch.corrcoef(torch.stack(factors))[0, 1].item()) < 0.1


def test_distorted_digits_are_still_those_digits():
    digits = all_digits()
    moved = distort(digits, 1.0, seeded()).flatten(1)
    correlations = torch.nn.functional.cosine_similarity(moved, digits.flatten(1), dim=1)
    others = torch.nn.functional.cosine_similarity(moved, digits.flatten(1).roll(1, 0), dim=1)
    assert correlations.mean() > 0.9 > others.mean() + 0.2


# Binary pixels


def test_pixels_are_drawn_with_their_value_as_the_probability():
    values = torch.linspace(0, 1, 11).view(11, 1, 1, 1).expand(-1, 1, 100, 100)
    drawn = draw_binary(values, seeded())
    assert {*drawn.unique().tolist()} == {0, 1}
    assert drawn.dtype == torch.float32
    assert drawn.mean((1, 2, 3)).tolist() == pytest.approx(torch.linspace(0, 1, 11).tolist(), abs=0.025)
    assert (drawn[0].max(), drawn[-1].min()) == (0, 1)  # black and white for certain
    assert torch.equal(draw_binary(values, seeded()), drawn)
    assert not torch.equal(draw_binary(values, seeded(1)), drawn)


def test_generators_of_neighbouring_seeds_and_batches_draw_differently():
    draws = {tuple(torch.rand(4, generator=batch_generator(*key)).tolist()) for key in np.ndindex(3, 3)}
    assert len(draws) == 9
    assert torch.equal(torch.rand(4, generator=batch_generator(1, 2)), torch.rand(4, generator=batch_generator(1, 2)))


@pytest.mark.parametrize("function", [torch.rand, torch.randn])
def test_processes_draw_their_rows_of_what_one_draws(function):
    whole = draw(function, batch_generator(1, 2), 30, 3)
    parts = [draw(function, batch_generator(1, 2, rank, 3), 10, 3) for rank in range(3)]
    assert torch.equal(torch.cat(parts), whole)
    assert len({part[0, 0].item() for part in parts}) == 3
    assert draw(function, torch.Generator().manual_seed(0), 5).shape == (5,)


# The data modules


@pytest.mark.parametrize("module", [MNISTDataModule, FashionMNISTDataModule])
def test_mnist_takes_the_same_options(module, tmp_path):
    write_mnist(tmp_path, module.dataset_class.__name__)
    for binarize in ("threshold", "static"):
        datamodule = module(str(tmp_path), batch_size=10, binarize=binarize)
        datamodule.setup()
        images = torch.cat([batch.image for batch in datamodule.train_dataloader()])
        assert images.unique().tolist() == [0, 255]
    datamodule = module(str(tmp_path), batch_size=10, augment=0.5, binarize="dynamic")
    assert (datamodule.augment, datamodule.binarize) == (0.5, "dynamic")


# In a Trainer


class Looking(LightningModule):
    """Keeps the batches that a model is given."""

    def __init__(self, save_at=None):
        super().__init__()
        self.automatic_optimization = False
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.train_images, self.val_images, self.test_images = {}, {}, {}
        self.save_at = save_at

    def training_step(self, batch, batch_idx):
        self.train_images[self.trainer.global_step] = batch.image
        optimizer = self.optimizers()
        optimizer.step()

    def on_train_batch_end(self, outputs, batch, batch_idx):
        if self.trainer.global_step == self.save_at:
            self.trainer.save_checkpoint("middle.ckpt")

    def validation_step(self, batch, batch_idx):
        self.val_images.setdefault((self.trainer.sanity_checking, self.current_epoch), []).append(batch.image)

    def test_step(self, batch, batch_idx):
        self.test_images[batch_idx] = batch.image

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def run(save_at=None, ckpt_path=None, epochs=2, module=DigitsDataModule, **options):
    model = Looking(save_at)
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}
    trainer = Trainer(accelerator="cpu", devices=1, logger=False, max_epochs=epochs, **quiet)
    data = module(**{"batch_size": 200, "val_fraction": 0.1, **options})  # 7 batches
    trainer.fit(model, data, ckpt_path=ckpt_path, weights_only=True)
    trainer.test(model, data, verbose=False)
    return model


CHANGING = [
    {"augment": 0.5},
    {"augment": 0.5, "binarize": "static"},
    {"binarize": "dynamic"},
    {"augment": 1.0, "binarize": "dynamic"},
]


@pytest.mark.parametrize("options", CHANGING)
def test_training_images_change_in_every_epoch_and_the_others_never(options):
    plain, changed = run(), run(**options)
    static = run(binarize="static") if "binarize" in options else plain
    assert len(changed.train_images) == 14
    for step, image in changed.train_images.items():
        assert image.shape == plain.train_images[step].shape
        assert 0 <= image.min() <= image.max() <= 1
        assert not torch.equal(image, plain.train_images[step])
        if "binarize" in options:
            assert image.unique().tolist() == [0, 1]
    for where, images in changed.val_images.items():
        assert torch.equal(torch.cat(images), torch.cat(static.val_images[where]))
    assert torch.equal(changed.test_images[0], static.test_images[0])


class Grey(DigitsDataModule):
    """Images that are all the same, so that batches differ by what is drawn for them alone."""

    def load(self, train):
        images, labels = super().load(train)
        return torch.where(images == 0, 0, 128)[:1].to(torch.uint8).expand_as(images).contiguous(), labels


@pytest.mark.parametrize("options", CHANGING)
def test_every_batch_of_every_epoch_and_seed_is_drawn_anew(options):
    drawn = [
        batch.numpy().tobytes()
        for seed in (0, 1)
        for batch in run(module=Grey, seed=seed, **options).train_images.values()
    ]
    assert len({*drawn}) == len(drawn) == 28


@pytest.mark.parametrize("options", CHANGING)
def test_a_resumed_training_sees_the_same_images_as_one_never_interrupted(options):
    whole = run(save_at=3, **options)
    torch.rand(1)
    resumed = run(ckpt_path="middle.ckpt", **options)
    assert [*resumed.train_images] == [*range(3, 14)]
    for step, image in resumed.train_images.items():
        assert torch.equal(image, whole.train_images[step])


def test_draws_leave_the_models_random_numbers_alone():
    numbers = []
    for options in ({}, {"augment": 0.5, "binarize": "dynamic"}):
        torch.manual_seed(3)
        run(epochs=1, **options)
        numbers.append(torch.rand(3).tolist())
    assert numbers[0] == numbers[1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"binarize": "random"}, "binarize is 'random'; expected one of none, threshold, static, dynamic"),
        ({"augment": 1.5}, r"augment is 1\.5; expected 0 to 1, a share of the images"),
        ({"augment": -0.1}, r"augment is -0\.1; expected 0 to 1, a share of the images"),
    ],
)
@pytest.mark.parametrize("module", [DigitsDataModule, MNISTDataModule])
def test_bad_option_is_named_with_its_value_and_what_was_expected(module, options, message):
    with pytest.raises(DataError, match=f"{module.__name__}: {message}"):
        module(**options)


def test_binary_images_stay_binary_and_move_as_the_greys_do():
    greys = torch.rand(200, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    binary = (torch.nn.functional.avg_pool2d(greys, 9, 1, 4) > 0.5).float()  # blobs, not single pixels
    moved = distort(binary, 1.0, batch_generator(0, 0, 0), binary=True)
    assert set(moved.unique().tolist()) == {0.0, 1.0}
    assert (moved != binary).flatten(1).any(1).float().mean() > 0.95
    smooth = distort(binary, 1.0, batch_generator(0, 0, 0))
    assert ((smooth > 0.5) == (moved > 0.5)).float().mean() > 0.97
