import math

import numpy as np
import pytest
import torch
from command import QUIET, genmodels
from lightning.pytorch import Trainer, seed_everything
from PIL import Image
from torch import nn
from toy import fit, same_weights

from datamodules import DepthScenesDataModule
from lightning_genmodels import DepthEstimation, GenmodelsError
from lightning_genmodels.cli.weights import copy_matching_weights
from lightning_genmodels.losses.depth import l1
from lightning_genmodels.metrics import DepthErrors
from lightning_genmodels.models import depth as module
from lightning_genmodels.networks.d3net import D3Net
from lightning_genmodels.pictures import depth_colours

SHAPE = (3, 16, 24)
QUIETLY = {"accelerator": "cpu", "logger": False, "enable_checkpointing": False, "enable_progress_bar": False,
           "enable_model_summary": False}  # fmt: skip


def model(**options):
    torch.manual_seed(0)
    return DepthEstimation(**{"image_shape": SHAPE, "network_depth": 2, "width": 4, **options})


def scenes(**options):
    return DepthScenesDataModule(**{"image_size": SHAPE[1:], "train_count": 40, "batch_size": 8, **options})


def batch(n=4):
    draw = torch.Generator().manual_seed(1)
    target = 1 + 5 * torch.rand(n, 1, *SHAPE[1:], generator=draw)
    target[:, :, :3] = 0
    return torch.rand(n, *SHAPE, generator=draw), target


# The network


def test_d3net_has_the_papers_size_and_keeps_an_images():
    network = D3Net()
    assert sum(p.numel() for p in network.parameters()) == pytest.approx(24.21e6, rel=1e-3)
    assert network(torch.rand(2, 3, 32, 64)).shape == (2, 1, 32, 64)


def test_d3nets_decoder_is_given_what_the_encoder_has_at_every_size():
    network = D3Net().eval()
    seen = []
    for block in network.decoder:
        block.register_forward_pre_hook(lambda block, arguments: seen.append(tuple(arguments[0].shape[1:])))
    network(torch.rand(1, 3, 64, 96))
    assert seen == [(1024, 2, 3), (1024, 4, 6), (512, 8, 12), (256, 16, 24), (128, 32, 48)]
    dropped = [block.layers[2].p for block in network.decoder]
    assert dropped == [0, 0, 0, 0.5, 0.5]


def test_d3net_takes_the_encoders_weights_but_for_the_convolution_in_place_of_its_pooling():
    network = D3Net()
    own = network.encoder.pool0.weight.clone()
    published = {
        k: torch.randn_like(v.float()).to(v) for k, v in network.encoder.state_dict().items() if "pool0" not in k
    }
    network.load_encoder(published)
    assert all(torch.equal(network.encoder.state_dict()[name], value) for name, value in published.items())
    assert torch.equal(network.encoder.pool0.weight, own)


# Losses


@pytest.mark.parametrize("weight", [0.0, 0.01])
def test_the_generators_loss_is_the_error_and_the_weighted_least_squares(weight):
    subject = model(adversarial_weight=weight)
    images, target = pair = batch()
    fake = subject.generate(pair)
    terms = subject.generator_loss(pair, fake)
    torch.testing.assert_close(terms["l1"], l1(fake, target))
    assert terms.keys() == ({"l1", "generator"} if weight else {"l1"})
    if not weight:
        assert not list(subject.discriminator.parameters())
        return

    def logits(depth):
        shown = 2 * torch.where(target > 0, depth, 0) / 10 - 1
        return subject.discriminator(torch.cat([2 * images - 1, shown], 1))[-1]

    torch.testing.assert_close(terms["generator"], weight * (logits(fake) - 1).square().mean() / 2)
    judged = ((logits(target) - 1) ** 2).mean() / 2 + (logits(fake) ** 2).mean() / 2
    torch.testing.assert_close(subject.discriminator_loss(pair, fake.detach())["discriminator"], judged)


def test_the_papers_discriminator_has_78_by_62_logits_of_320_by_256_pixels():
    subject = DepthEstimation((3, 256, 320), width=1, adversarial_weight=0.01)
    assert subject.discriminator(torch.rand(1, 4, 256, 320))[-1].shape == (1, 1, 62, 78)


def test_where_nothing_is_measured_the_discriminator_cannot_tell():
    subject = model(adversarial_weight=1.0).eval()
    images, target = batch()
    other = torch.where(target > 0, target, 7.0)
    assert torch.equal(subject._judge((images, target), target), subject._judge((images, target), other))


# Scores and results


def test_what_is_logged_is_of_the_translations_by_hand():
    data, subject = scenes(), model(cap=6.0, crop="garg")
    found = Trainer(**QUIETLY).validate(subject, data, verbose=False)[0]
    errors = DepthErrors(6.0, "garg")
    for each in data.val_dataloader():
        images, target = data.to_float(each)
        errors.update(subject.translate(images), target)
    expected = {f"val/{name}": pytest.approx(value.item(), rel=1e-5) for name, value in errors.compute().items()}
    assert found == expected


def test_depth_is_in_metres_from_a_millimetre_to_the_cap_and_begins_at_a_quarter_of_it():
    subject = model(cap=20.0)
    nn.init.zeros_(subject.generator.last.weight)
    assert subject.translate(batch()[0]).unique().tolist() == [5.0]
    nn.init.constant_(subject.generator.last.bias, 50.0)
    assert subject.translate(batch()[0]).unique().tolist() == [20.0]
    nn.init.constant_(subject.generator.last.bias, -1.0)
    assert subject.translate(batch()[0]).unique().tolist() == pytest.approx([1e-3])


@pytest.mark.parametrize("loss", ["l1", "eigen"])
def test_it_learns_more_than_the_best_map_that_sees_no_picture(loss):
    seed_everything(0, verbose=False)
    data = scenes(image_size=(32, 40), train_count=300, batch_size=8)
    subject = DepthEstimation((3, 32, 40), network_depth=3, width=8, loss=loss, learning_rate=1e-2, schedule="linear")
    trainer = Trainer(max_epochs=6, **QUIETLY)
    trainer.fit(subject, data)
    blind = DepthErrors()
    mean = torch.cat([data.to_float(each).target for each in data.train_dataloader()]).mean(0, keepdim=True)
    for each in data.val_dataloader():
        blind.update(mean.expand_as(each.target), each.target)
    assert trainer.callback_metrics["val/rms"] < 0.9 * blind.compute()["rms"]
    assert trainer.callback_metrics["val/rel"] < 0.9 * blind.compute()["rel"]


def test_depth_becomes_pictures_of_millimetres_and_a_panel_with_its_scales(in_tmp):
    arguments = ("--model", "DepthEstimation", "--model.width", 4, "--data", "DepthScenesDataModule",
                 "--data.image_size", "[16, 24]", "--data.train_count", 40, "--trainer.max_epochs", 1)  # fmt: skip
    assert genmodels("fit", *arguments, *QUIET) == 0
    run = "runs/depthestimation_depthscenes/0"
    panel = Image.open(next(iter(in_tmp.glob(f"{run}/pictures/translations-*.png"))))
    assert panel.height == 8 * (32 + 2) + 2 + 20  # a row for each validation pair, and the caption
    assert genmodels("predict", "--ckpt_path", f"{run}/checkpoints/best.ckpt") == 0
    found = np.asarray(Image.open(f"{run}/predictions/000000.png"))
    assert Image.open(f"{run}/predictions/000000.png").mode in ("I;16", "I")  # by Pillow's age
    assert found.shape == (16, 24)
    assert 1 <= found.min() <= found.max() <= 10_000
    colours = np.asarray(Image.open(f"{run}/predictions/000000_color.png"))
    depth = torch.from_numpy(found.astype(np.float32) / 1000)[None, None]
    expected = depth_colours(depth, depth.min().item(), depth.max().item())[0].permute(1, 2, 0).numpy()
    assert abs(colours / 255 - expected).mean() < 0.1  # millimetres are coarse where all is 2.5 m away
    Image.new("RGB", (21, 17), (200, 80, 60)).save("photo.png")
    checkpoint = f"{run}/checkpoints/last.ckpt"
    assert genmodels("translate", "--checkpoint", checkpoint, "--input", "photo.png", "--output", "depth.png") == 0
    assert np.asarray(Image.open("depth.png")).shape == (17, 21)
    assert Image.open("depth_color.png").size == (21, 17)


# Published weights


@pytest.fixture
def published(monkeypatch):
    """In place of what torchvision downloads."""
    torch.manual_seed(5)
    made, asked = module.densenet121(weights=None), []

    def download(weights, progress):
        asked.append(weights)
        return made

    monkeypatch.setattr(module, "densenet121", download)
    made.asked = asked
    return made


def train(subject, ckpt_path=None):
    trainer = Trainer(max_steps=(0 if ckpt_path is None else 1), limit_val_batches=0, **QUIETLY)
    data = DepthScenesDataModule(image_size=(40, 40), train_count=8, batch_size=4)
    trainer.fit(subject, data, ckpt_path=ckpt_path, weights_only=True)
    return trainer


def d3net(**options):
    torch.manual_seed(0)
    return DepthEstimation((3, 40, 40), network="d3net", **options)


def test_a_new_training_begins_with_the_published_weights(published):
    subject = d3net(pretrained=True, ema_decay=0.9)
    assert not published.asked
    train(subject)
    assert published.asked == [module.DenseNet121_Weights.IMAGENET1K_V1]
    state = published.features.state_dict()
    for network in (subject.generator, subject.generator_ema):
        assert all(torch.equal(network.encoder.state_dict()[name], value) for name, value in state.items())
    nn.init.zeros_(subject.generator.encoder.conv0.weight)
    train(subject)
    assert len(published.asked) == 1  # a second training goes on
    assert not subject.generator.encoder.conv0.weight.any()


def test_nothing_is_downloaded_for_another_stage_a_resume_or_without_the_option(published, in_tmp):
    train(d3net())
    subject = d3net(pretrained=True)
    data = DepthScenesDataModule(image_size=(40, 40), train_count=8, batch_size=4)
    Trainer(limit_val_batches=1, **QUIETLY).validate(subject, data, verbose=False)
    assert not published.asked
    trainer = train(subject)
    trainer.save_checkpoint("run.ckpt")
    published.asked.clear()
    DepthEstimation.load_from_checkpoint("run.ckpt", weights_only=True)
    train(d3net(pretrained=True), ckpt_path="run.ckpt")
    assert not published.asked


def test_weights_that_one_starts_from_stay(published, in_tmp):
    train(d3net()).save_checkpoint("run.ckpt")
    first, second = d3net(), d3net(pretrained=True)
    copy_matching_weights(second, "run.ckpt")
    train(second)
    assert not published.asked
    assert same_weights(first, second)


def test_a_failed_download_is_one_sentence(monkeypatch):
    def download(**options):
        raise OSError("<urlopen error\nno network>")

    subject = d3net(pretrained=True)
    monkeypatch.setattr(module, "densenet121", download)
    with pytest.raises(GenmodelsError, match=r"published weights failed \(<urlopen error no network>\); expected a"):
        train(subject)


# What is wrong


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image_shape": (1, 16, 16)}, "image_shape is (1, 16, 16); expected (3, height, width) of 3 pixels or more"),
        ({"network": "resnet"}, "network is 'resnet'; expected one of unet, d3net"),
        ({"network_depth": 0}, "network_depth is 0; expected 1 or more, 3 at most for this size"),
        ({"network_depth": 4}, "network_depth is 4; expected 1 or more, 3 at most for this size"),
        ({"network": "d3net"}, "image_shape is (3, 16, 24); expected (3, height, width) of 33 pixels or more"),
        ({"width": 0}, "width is 0; expected 1 or more"),
        ({"pretrained": True}, "pretrained is True; expected False, but for 'd3net'"),
        ({"loss": "l3"}, "loss is 'l3'; expected one of l1, l2, huber, berhu, eigen, eigen_grad"),
        ({"adversarial_weight": -1.0}, "adversarial_weight is -1.0; expected 0 or more, and finite"),
        ({"cap": math.inf}, "cap is inf; expected above 0.001 metres, and finite"),
        ({"crop": "nyu"}, "crop is 'nyu'; expected one of none, eigen, garg"),
        (
            {"image_shape": (3, 8, 16), "adversarial_weight": 1.0},
            "image_shape is (3, 8, 16); expected 12 pixels or more with adversarial_weight above 0",
        ),
    ],
)
def test_an_option_out_of_its_range_is_one_sentence(options, message):
    with pytest.raises(GenmodelsError) as error:
        model(**options)
    assert str(error.value) == f"DepthEstimation: {message}."


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (torch.zeros(4), r"second item is torch.float32 \(4,\); expected depth in metres, float32 \(4, 1, 16, 24\)"),
        (torch.zeros(4, 1, 16, 24).int(), r"second item is torch.int32 \(4, 1, 16, 24\); expected depth in metres"),
        (torch.full((4, 1, 16, 24), -1.0), "depth reaches from -1 to -1; expected metres, 0 where there is no"),
        (torch.full((4, 1, 16, 24), math.nan), "depth reaches from nan to nan; expected metres"),
        (torch.full((4, 1, 16, 24), math.inf), "depth reaches from inf to inf; expected metres"),
        (None, "second item is no tensor; expected depth in metres"),
    ],
)
def test_what_is_no_depth_is_one_sentence(second, message):
    given = (batch()[0],) if second is None else (batch()[0], second)
    with pytest.raises(GenmodelsError, match=message):
        fit(model(), torch.utils.data.DataLoader([given], batch_size=None))


def test_pictures_that_are_cropped_already_are_not_scored_in_a_crop_again():
    data = scenes()
    data.crop = "eigen"
    with pytest.raises(
        GenmodelsError, match=r"crop is 'garg', of whole pictures, and DepthScenes.* already, by 'eigen'"
    ):
        Trainer(**QUIETLY).validate(model(crop="garg"), data, verbose=False)
    Trainer(**QUIETLY).validate(model(), data, verbose=False)
    data.crop = "none"
    Trainer(**QUIETLY).validate(model(crop="garg"), data, verbose=False)
