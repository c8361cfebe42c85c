import math

import pytest
import torch
from lightning.pytorch import Trainer, seed_everything
from PIL import Image
from torch.nn import functional
from toy import same_weights

from datamodules import SamplePhotosDataModule, ShapePairsDataModule
from lightning_genmodels import GenmodelsError, SuperResolution
from lightning_genmodels.callbacks import ExactResume, LastCheckpoint, PictureGrid
from lightning_genmodels.cli.weights import copy_matching_weights
from lightning_genmodels.metrics import SlicedWasserstein
from lightning_genmodels.networks.srresnet import SRDiscriminator, SRResNet

SHAPE = (3, 16, 16)
QUIETLY = {"accelerator": "cpu", "logger": False, "enable_progress_bar": False, "enable_model_summary": False}


def model(**options):
    torch.manual_seed(0)
    return SuperResolution(**{"image_shape": SHAPE, "blocks": 2, "width": 8, **options})


def photos(size=16, **options):
    return SamplePhotosDataModule(image_size=size, **{"train_count": 40, "batch_size": 8, **options})


def images(n=4, size=16):
    return torch.rand(n, 3, size, size, generator=torch.Generator().manual_seed(1))


# The networks


@pytest.mark.parametrize("scale", [2, 4])
def test_the_generator_begins_with_the_bicubic_enlargement(scale):
    small = images(size=9)
    expected = functional.interpolate(small, scale_factor=scale, mode="bicubic")
    assert torch.equal(SRResNet(3, scale, blocks=1, width=4)(small), expected)


def test_the_papers_generator_has_16_blocks_and_shuffles_twice():
    network = SRResNet(3, 4, batch_norm=True)
    assert len([name for name, _ in network.blocks.named_children()]) == 16 + 2
    # The paper's 1.54 million at a scale of 4, less the biases that normalisation makes idle.
    assert sum(p.numel() for p in network.parameters()) == pytest.approx(1.54e6, rel=0.01)


@pytest.mark.parametrize("size", [16, 17, 40])
def test_the_discriminator_judges_any_size(size):
    assert SRDiscriminator(3, width=2)(torch.rand(2, 3, size, size + 3)).shape == (2,)


# The small images


@pytest.mark.parametrize("scale", [2, 4])
def test_the_small_images_are_bicubic_and_antialiased(scale):
    subject = model(scale=scale)
    large = images(1, 16)
    weights = torch.zeros(16 // scale, 16)
    for place in range(16 // scale):  # Keys' kernel, widened by the scale, with a = -.5
        centre = (place + 0.5) * scale - 0.5
        for pixel in range(16):
            x = abs(pixel - centre) / scale
            weights[place, pixel] = (1.5 * x**3 - 2.5 * x**2 + 1 if x < 1 else
                                     -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x < 2 else 0)  # fmt: skip
    weights = weights / weights.sum(1, keepdim=True)
    expected = (weights @ large @ weights.T).clamp(0, 1)
    torch.testing.assert_close(subject.degrade(large), expected, rtol=0, atol=1e-5)
    source, target = subject.pair((large,))
    assert torch.equal(source, subject.degrade(large))
    assert torch.equal(target, large)


def test_stripes_of_one_pixel_become_grey():
    stripes = torch.tensor([0.0, 1.0]).repeat(8).expand(1, 3, 16, 16)
    assert (model().degrade(stripes)[..., 2:-2] - 0.5).abs().max() < 0.05


# Losses and scores


def test_without_an_adversary_there_is_one_optimizer_and_one_term():
    subject = model()
    assert not list(subject.discriminator.parameters())
    trainer = Trainer(max_steps=5, enable_checkpointing=False, **QUIETLY)
    trainer.fit(subject, photos())
    assert len(trainer.optimizers) == 1
    assert trainer.global_step == 5
    terms = subject.generator_loss((images(),), 1 - images())
    assert terms.keys() == {"l1"}
    assert terms["l1"].item() == pytest.approx((1 - 2 * images()).abs().mean().item(), rel=1e-5)


def test_an_adversary_judges_large_images_and_weighs_in_the_loss():
    options = {"adversarial_weight": 0.25, "adversarial_loss": "least_squares", "reconstruction_loss": "l2"}
    subject = model(image_shape=(3, 24, 24), **options).eval()
    batch, fake = (images(size=24),), 1 - images(size=24)
    real_logits, fake_logits = subject.discriminator(2 * batch[0] - 1), subject.discriminator(2 * fake - 1)
    judged = ((real_logits - 1) ** 2).mean() / 2 + (fake_logits**2).mean() / 2
    torch.testing.assert_close(subject.discriminator_loss(batch, fake)["discriminator"], judged)
    terms = subject.generator_loss(batch, fake)
    torch.testing.assert_close(terms["generator"], 0.25 * ((fake_logits - 1) ** 2).mean() / 2)
    torch.testing.assert_close(terms["l2"], (fake - batch[0]).square().mean())


@pytest.mark.parametrize("weight", [0.0, 0.1])
def test_the_scores_are_of_the_inner_pixels_of_each_image(weight):
    data = photos(24)
    subject = model(image_shape=(3, 24, 24), scale=4, adversarial_weight=weight)
    subject.generator.last.weight.data.normal_(0, 0.05)
    found = Trainer(**QUIETLY).validate(subject, data, verbose=False)[0]
    target = torch.cat([data.to_float(batch).image for batch in data.val_dataloader()])
    source = subject.degrade(target)
    made = subject.translate(source)
    smooth = functional.interpolate(source, 24, mode="bicubic").clamp(0, 1)

    def psnr(image):
        error = (image - target)[..., 4:-4, 4:-4].square().mean((1, 2, 3))
        return (-10 * error.log10()).mean().item()

    assert found["val/psnr"] == pytest.approx(psnr(made), rel=1e-4)
    assert found["val/psnr_bicubic"] == pytest.approx(psnr(smooth), rel=1e-4)
    assert psnr(made) < psnr(smooth) - 0.1
    swd = SlicedWasserstein()
    swd.update(target, real=True)
    swd.update(made, real=False)
    assert found.get("val/swd") == (pytest.approx(swd.compute()["swd"].item(), rel=1e-3) if weight else None)
    assert subject.best_metric == (("val/swd", "min") if weight else ("val/psnr", "max"))


# What is learned


def test_it_learns_to_enlarge_better_than_bicubic_interpolation():
    seed_everything(0, verbose=False)
    data = ShapePairsDataModule(direction="AtoB", image_size=32, train_count=200, batch_size=4)
    subject = SuperResolution((3, 32, 32), blocks=2, width=16, learning_rate=1e-3, schedule="linear")
    trainer = Trainer(max_epochs=4, enable_checkpointing=False, **QUIETLY)
    trainer.fit(subject, data)
    scores = trainer.callback_metrics
    assert scores["val/psnr"] > scores["val/psnr_bicubic"] + 0.3


def test_the_adversarial_stage_starts_from_the_first_and_is_resumed_exactly(tmp_path):
    shape = {"image_shape": (3, 24, 24)}
    first = model(**shape)
    trainer = Trainer(max_steps=4, enable_checkpointing=False, **QUIETLY)
    trainer.fit(first, photos(24))
    trainer.save_checkpoint(tmp_path / "first.ckpt")

    def second():
        subject = model(adversarial_weight=0.1, **shape)
        copy_matching_weights(subject, tmp_path / "first.ckpt")
        return subject

    assert same_weights(first.generator, second().generator)

    def train(subject, steps, *callbacks, ckpt_path=None):
        trainer = Trainer(max_steps=steps, callbacks=[ExactResume(), *callbacks], **QUIETLY)
        trainer.fit(subject, photos(24), ckpt_path=ckpt_path, weights_only=True)
        return subject

    whole = train(second(), 8)
    train(second(), 4, LastCheckpoint(tmp_path / "last.ckpt", every_n_steps=4))
    resumed = train(model(adversarial_weight=0.1, **shape), 8, ckpt_path=tmp_path / "last.ckpt")
    assert same_weights(whole, resumed)
    assert not same_weights(whole.generator, first.generator)


def test_the_small_image_is_shown_as_large_as_what_is_made_of_it(tmp_path):
    trainer = Trainer(max_epochs=1, limit_train_batches=1, enable_checkpointing=False, default_root_dir=tmp_path,
                      callbacks=[PictureGrid(count=8)], **QUIETLY)  # fmt: skip
    trainer.fit(model(scale=4), photos())
    picture = Image.open(tmp_path / "pictures/translations-00000000.png")
    assert picture.size == (3 * 34 + 2, 2 * 34 + 2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scale": 3}, "scale is 3; expected 2 or 4"),
        (
            {"image_shape": (3, 18, 16), "scale": 4},
            "image_shape is (3, 18, 16); expected (channels, height, width) of ",
        ),
        (
            {"image_shape": (3, 4, 4)},
            "image_shape is (3, 4, 4); expected (channels, height, width) of 16 pixels or",
        ),
        ({"blocks": 0}, "blocks is 0; expected 1 or more"),
        ({"width": 0}, "width is 0; expected 1 or more"),
        ({"reconstruction_loss": "bce"}, "reconstruction_loss is 'bce'; expected one of l1, l2, huber, ssim"),
        ({"adversarial_weight": math.nan, "image_shape": (3, 24, 24)}, "adversarial_weight is nan; expected 0 or more"),
        ({"adversarial_loss": "hinge"}, "adversarial_loss is 'hinge'; expected one of non_saturating, least_squares"),
        ({"adversarial_weight": 1.0}, "image_shape is (3, 16, 16); expected (channels, height, width) of 24 pixels or"),
    ],
)
def test_an_option_out_of_its_range_is_one_sentence(options, message):
    with pytest.raises(GenmodelsError) as error:
        model(**options)
    assert str(error.value).startswith("SuperResolution: ")
    assert message in str(error.value)
