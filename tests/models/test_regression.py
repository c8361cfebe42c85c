import math

import pytest
import torch
from command import QUIET, genmodels
from drawing import all_digits
from lightning.pytorch import Trainer, seed_everything
from PIL import Image
from torch.nn import functional
from torch.utils.data import DataLoader
from toy import fit

from datamodules import DigitsDataModule, SamplePhotosDataModule, ShapePairsDataModule
from lightning_genmodels import GenmodelsError, ImageRegression, load_model

SHAPE = (3, 16, 16)
QUIETLY = {"accelerator": "cpu", "logger": False, "enable_checkpointing": False, "enable_progress_bar": False,
           "enable_model_summary": False}  # fmt: skip


def model(**options):
    torch.manual_seed(0)
    return ImageRegression(**{"image_shape": SHAPE, "width": 4, **options})


def images(n=4, channels=3, size=16):
    return torch.rand(n, channels, size, size, generator=torch.Generator().manual_seed(1))


CLASSES = torch.randint(0, 5, (4, 16, 16), generator=torch.Generator().manual_seed(2))


# Noise


def test_noise_has_its_deviation_on_the_scale_of_0_to_255_and_is_not_clamped():
    grey = torch.full((64, 3, 32, 32), 0.05)
    noise = model().degrade(grey, generator=torch.Generator().manual_seed(0)) - grey
    assert 255 * noise.std().item() == pytest.approx(25, rel=0.02)
    assert noise.mean().item() == pytest.approx(0, abs=1e-3)
    assert (grey + noise).min() < 0


def test_blind_noise_is_drawn_evenly_for_each_image():
    subject = model(noise_sigma=(10.0, 50.0))
    noise = subject.degrade(torch.zeros(400, 3, 16, 16), generator=torch.Generator().manual_seed(0))
    sigmas = 255 * noise.flatten(1).std(1)
    assert 9 < sigmas.min() < 12
    assert 48 < sigmas.max() < 55
    assert sigmas.mean().item() == pytest.approx(30, abs=1.5)
    assert sigmas.std().item() == pytest.approx(40 / math.sqrt(12), rel=0.1)


def test_noise_is_repeatable_and_its_own_in_every_batch():
    subject = model()
    one, same = (subject.degrade(images(), generator=torch.Generator().manual_seed(1)) for _ in range(2))
    assert torch.equal(one, same)
    assert not torch.equal(subject.degrade(images()), subject.degrade(images()))


@pytest.mark.parametrize("network", ["unet", "dncnn"])
def test_a_denoiser_takes_away_what_its_network_draws(network):
    subject = model(network=network).eval()
    source = images(size=16) * 2 - 0.5
    drawn = subject.network(source)
    torch.testing.assert_close(subject.output(source), source - drawn)
    torch.testing.assert_close(subject.translate(source), (source - drawn).clamp(0, 1))


# Losses


def test_losses_are_added_with_their_weights():
    subject = model(task="paired", losses=("l1", "ssim", "l2"), loss_weights=(0.5, 2.0, 3.0))
    output, target = images(), 1 - images()
    terms = subject.loss_terms(output, target)
    assert list(terms) == ["l1", "ssim", "l2"]
    assert terms["l1"].item() == pytest.approx(0.5 * (output - target).abs().mean().item())
    assert terms["l2"].item() == pytest.approx(3 * (output - target).square().mean().item())
    assert terms["ssim"] > 2  # negatively correlated
    assert list(model(task="paired").loss_terms(output, target)) == ["l1"]


def test_classes_are_learned_by_their_cross_entropy():
    subject = model(task="segmentation", target_channels=5)
    logits = subject.output(images())
    assert logits.shape == (4, 5, 16, 16)
    expected = -logits.log_softmax(1).gather(1, CLASSES[:, None]).mean()
    terms = subject.loss_terms(logits, CLASSES)
    assert terms.keys() == {"cross_entropy"}
    torch.testing.assert_close(terms["cross_entropy"], expected)
    assert torch.equal(subject.eval().translate(images()), subject.output(images()).argmax(1))


# What is logged


def test_the_scores_of_a_denoiser_are_the_mean_of_each_images_psnr():
    data = DigitsDataModule(batch_size=50)
    subject = model(image_shape=(1, 8, 8), network_depth=2)
    found = Trainer(**QUIETLY).validate(subject, data, verbose=False)[0]
    batches = [data.to_float(batch) for batch in data.val_dataloader()]
    pairs = [subject.pair(batch, generator=subject._generator(number)) for number, batch in enumerate(batches)]
    source, target = (torch.cat(parts) for parts in zip(*pairs, strict=True))

    def psnr(made):
        return (-10 * (made - target).square().mean((1, 2, 3)).log10()).mean().item()

    assert found["val/psnr"] == pytest.approx(psnr(subject.translate(source)), rel=1e-4)
    assert found["val/psnr_noisy"] == pytest.approx(psnr(source), rel=1e-4)
    assert found["val/psnr_noisy"] == pytest.approx(20 * math.log10(255 / 25), abs=0.2)
    assert found["val/loss"] == pytest.approx((subject.eval().output(source) - target).abs().mean().item(), rel=1e-3)


def test_the_scores_of_classes_are_over_all_pixels():
    data = ShapePairsDataModule(direction="AtoB", labels="classes", image_size=16, train_count=40, batch_size=3)
    subject = model(task="segmentation", target_channels=6, network_depth=2)
    found = Trainer(**QUIETLY).test(subject, data, verbose=False)[0]
    batches = [data.to_float(batch) for batch in data.test_dataloader()]
    target, made = torch.cat([b.target for b in batches]), torch.cat([subject.translate(b.source) for b in batches])
    assert found["test/accuracy"] == pytest.approx((made == target).float().mean().item(), abs=1e-5)
    unions = [((made == c) | (target == c)).sum() for c in range(6)]
    ratios = [((made == c) & (target == c)).sum() / u for c, u in enumerate(unions) if u]
    assert found["test/mean_iou"] == pytest.approx(torch.stack(ratios).mean().item(), abs=1e-5)
    assert found.keys() == {"test/loss", "test/mean_iou", "test/accuracy"}


# What is learned


def test_it_learns_to_denoise_better_than_any_blur():
    seed_everything(0, verbose=False)
    data = SamplePhotosDataModule(image_size=32, train_count=300, batch_size=4)
    options = {"network_depth": 2, "width": 16, "batch_norm": False, "learning_rate": 3e-3, "schedule": "cosine"}
    subject = ImageRegression((3, 32, 32), **options)
    trainer = Trainer(max_epochs=6, **QUIETLY)
    trainer.fit(subject, data)
    learned = trainer.callback_metrics["val/psnr"].item()
    batches = [data.to_float(batch) for batch in data.val_dataloader()]
    pairs = [subject.pair(batch, generator=subject._generator(number)) for number, batch in enumerate(batches)]
    source, target = (torch.cat(parts) for parts in zip(*pairs, strict=True))

    def blurred(sigma):
        line = torch.exp(-(torch.arange(-4, 5.0) ** 2) / (2 * sigma**2))
        line = line / line.sum()
        window = line.outer(line).expand(3, 1, 9, 9)
        return functional.conv2d(functional.pad(source, (4, 4, 4, 4), mode="reflect"), window, groups=3)

    best = max((-10 * (blurred(s) - target).square().mean((1, 2, 3)).log10()).mean() for s in (0.4, 0.5, 0.6, 0.8, 1.0))
    assert learned > best.item() + 0.3 > 21


def test_it_learns_the_maps_of_facades():
    seed_everything(0, verbose=False)
    data = ShapePairsDataModule(direction="AtoB", labels="classes", image_size=32, train_count=200, batch_size=8)
    options = {"task": "segmentation", "target_channels": 6, "network_depth": 2, "width": 8, "learning_rate": 1e-2}
    subject = ImageRegression((3, 32, 32), **options)
    trainer = Trainer(max_epochs=4, **QUIETLY)
    trainer.fit(subject, data)
    target = torch.cat([data.to_float(batch).target for batch in data.val_dataloader()])
    commonest = (target == target.flatten().mode().values).float().mean().item()
    assert trainer.callback_metrics["val/accuracy"] > max(0.9, commonest + 0.2)
    assert trainer.callback_metrics["val/mean_iou"] > 0.7


@pytest.mark.parametrize("network", ["unet", "dncnn"])
def test_any_pair_is_learned_by_every_network(network):
    """A picture's negative."""
    options = {"task": "paired", "network": network, "network_depth": 2 if network == "unet" else 4, "width": 8,
               "batch_norm": False, "losses": ("huber", "l2"), "learning_rate": 5e-3}  # fmt: skip
    subject = model(image_shape=(1, 8, 8), target_channels=1, **options)
    digits = all_digits()[:512]
    loader = DataLoader([(x, 1 - x) for x in digits], batch_size=16)
    Trainer(max_epochs=8, **QUIETLY).fit(subject, loader)
    assert (subject.translate(digits) - (1 - digits)).abs().mean() < 0.05


# From the command line


def test_classes_become_indexed_pictures_and_panels(in_tmp):
    data = ("--data", "ShapePairsDataModule", "--data.direction", "AtoB", "--data.labels", "classes",
            "--data.image_size", 16, "--data.train_count", 32)  # fmt: skip
    arguments = ("--model", "ImageRegression", "--model.task", "segmentation", "--model.width", 4, *data)
    assert genmodels("fit", *arguments, "--trainer.max_epochs", 1, *QUIET) == 0
    checkpoint = "runs/imageregression_shapepairs/0/checkpoints/best.ckpt"
    assert load_model(checkpoint).target_channels == 6
    assert Image.open("runs/imageregression_shapepairs/0/pictures/translations-00000001.png").size[0] > 3 * 32
    assert genmodels("predict", "--ckpt_path", checkpoint) == 0
    assert Image.open("runs/imageregression_shapepairs/0/predictions/000000.png").mode == "P"
    Image.new("RGB", (21, 17), (200, 80, 60)).save("photo.png")
    assert genmodels("translate", "--checkpoint", checkpoint, "--input", "photo.png", "--output", "map.png") == 0
    with Image.open("map.png") as found:
        assert (found.mode, found.size) == ("P", (21, 17))
        assert max(found.getdata()) < 6


# What is wrong


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"task": "draw"}, "task is 'draw'; expected one of denoise, paired, segmentation"),
        ({"network": "mlp"}, "network is 'mlp'; expected one of unet, dncnn"),
        ({"schedule": "linear"}, "schedule is 'linear'; expected one of none, cosine"),
        ({"losses": ("l1", "l3")}, "losses is 'l3'; expected one of l1, l2, huber, ssim"),
        ({"losses": ()}, "losses is (); expected 1 or more"),
        ({"losses": ("l1",), "task": "segmentation"}, "losses is ('l1',); expected None, the cross-entropy"),
        ({"loss_weights": (1.0, 2.0)}, "loss_weights is (1.0, 2.0); expected 1 finite numbers above 0"),
        ({"loss_weights": (0.0,)}, "loss_weights is (0.0,); expected 1 finite numbers above 0"),
        ({"image_shape": (3, 16)}, "image_shape is (3, 16); expected (channels, height, width)"),
        ({"network_depth": 0}, "network_depth is 0; expected 1 or more, 3 at most for this size"),
        ({"network_depth": 4}, "network_depth is 4; expected 1 or more, 3 at most for this size"),
        (
            {"network_depth": 1, "network": "dncnn"},
            "network_depth is 1; expected 2 or more, 1000 at most for this size",
        ),
        (
            {"losses": ("ssim",), "image_shape": (3, 5, 8)},
            "losses is ('ssim',); expected none of 'ssim' for images of less than 6 pixels",
        ),
        ({"target_channels": 300, "task": "segmentation"}, "target_channels is 300; expected 2 to 256 classes"),
        ({"width": 0}, "width is 0; expected 1 or more"),
        ({"target_channels": 1, "task": "segmentation"}, "target_channels is 1; expected 2 to 256 classes"),
        ({"noise_sigma": (25.0, 5.0)}, "noise_sigma is (25.0, 5.0); expected two numbers from 0 on, the smaller first"),
        ({"learning_rate": math.nan}, "learning_rate is nan; expected above 0, and finite"),
    ],
)
def test_an_option_out_of_its_range_is_one_sentence(options, message):
    with pytest.raises(GenmodelsError) as error:
        model(**options)
    assert str(error.value) == f"ImageRegression: {message}."


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (CLASSES + 1, "the batch's classes reach from 1 to 5; expected 0 to 4, by target_channels"),
        (CLASSES - 1, "the batch's classes reach from -1 to 3; expected 0 to 4"),
        (
            CLASSES.float(),
            r"second item is torch.float32 \(4, 16, 16\); expected a map of classes, torch.int64",
        ),
        (CLASSES[:, None], r"second item is torch.int64 \(4, 1, 16, 16\); expected a map of classes"),
        (None, "second item is no tensor; expected a map of classes"),
        (CLASSES.int(), r"second item is torch.int32 \(4, 16, 16\); expected a map of classes"),
        (
            CLASSES[:3],
            r"second item is torch.int64 \(3, 16, 16\); expected a map of classes, torch.int64 \(4, 16, 16\)",
        ),
    ],
)
def test_what_is_no_map_of_classes_is_one_sentence(classes, message):
    batch = (images(),) if classes is None else (images(), classes)
    with pytest.raises(GenmodelsError, match=message):
        fit(model(task="segmentation", target_channels=5), DataLoader([batch], batch_size=None))


def test_images_that_are_no_sources_are_one_sentence():
    with pytest.raises(GenmodelsError, match=r"are torch\.uint8; expected floating point"):
        model().translate(torch.zeros(1, 3, 8, 8, dtype=torch.uint8))
    with pytest.raises(GenmodelsError, match="reach from 2 to 2"):
        model(task="paired").translate(torch.full((1, 3, 8, 8), 2.0))
    with pytest.raises(GenmodelsError, match=r"the source is \(1, 1, 8, 8\); expected \(N, 3, height, width\)"):
        model().translate(torch.zeros(1, 1, 8, 8))
    with pytest.raises(GenmodelsError, match=r"the source is \(3, 8, 8\); expected \(N, 3, height, width\)"):
        model().translate(torch.zeros(3, 8, 8))
    with pytest.raises(GenmodelsError, match=r"reach from 0 to 255; expected \[0, 1\]"):
        model().translate(torch.linspace(0, 255, 192).view(1, 3, 8, 8))


def test_fewer_targets_than_images_are_one_sentence():
    with pytest.raises(GenmodelsError, match="the batch holds 4 images and 1 targets; expected as many"):
        model(task="paired").pair((images(), images(1)))


def test_a_batch_of_one_small_image_can_be_trained_on():
    subject = ImageRegression((1, 8, 8))
    assert subject.network_depth == 2
    Trainer(max_epochs=1, **QUIETLY).fit(subject, DataLoader([(x, 0) for x in all_digits()[:3]], batch_size=1))
