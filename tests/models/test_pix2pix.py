import pytest
import torch
from command import QUIET, genmodels
from lightning.pytorch import Trainer, seed_everything
from published import published_discriminator_state, published_unet_state
from torch import nn
from torch.nn.functional import softplus
from toy import fit

from datamodules import ShapePairsDataModule
from lightning_genmodels import GenmodelsError, Pix2Pix
from lightning_genmodels.metrics import SlicedWasserstein
from lightning_genmodels.models import translation
from lightning_genmodels.models.translation import at_any_size

SHAPE = (3, 16, 16)


def model(**options):
    torch.manual_seed(0)
    return Pix2Pix(**{"image_shape": SHAPE, "width": 8, **options})


def pair(n=4, channels=3, size=16):
    draw = torch.Generator().manual_seed(1)
    return torch.rand(n, 3, size, size, generator=draw), torch.rand(n, channels, size, size, generator=draw)


def signed(images):
    return 2 * images - 1


# The losses


@pytest.mark.parametrize("scales", [1, 2])
@pytest.mark.parametrize("loss", ["non_saturating", "least_squares"])
def test_the_losses_are_the_papers(loss, scales):
    subject = model(adversarial_loss=loss, discriminator_scales=scales, patch_size=1, l1_weight=7.0, dropout=0.0)
    batch = source, target = pair()
    fake = subject.generate(batch)
    torch.testing.assert_close(fake, subject.generator(signed(source)))

    def logits(images):
        maps = torch.cat([signed(source), images], 1)
        for number, scale in enumerate(subject.discriminator.scales):
            if number:
                maps = nn.functional.avg_pool2d(maps, 3, 2, 1, count_include_pad=False)
            yield scale(maps)[-1]

    real, made = list(logits(signed(target))), list(logits(fake))
    if loss == "non_saturating":
        judged = sum((softplus(-r).mean() + softplus(f).mean()) / 2 for r, f in zip(real, made, strict=True))
        fooled = sum(softplus(-f).mean() for f in made)
    else:
        judged = sum(((r - 1) ** 2).mean() / 2 + (f**2).mean() / 2 for r, f in zip(real, made, strict=True))
        fooled = sum(((f - 1) ** 2).mean() / 2 for f in made)
    terms = subject.discriminator_loss(batch, fake.detach())
    assert terms.keys() == {"discriminator"}
    torch.testing.assert_close(terms["discriminator"], judged)
    terms = subject.generator_loss(batch, fake)
    assert terms.keys() == {"generator", "l1"}
    torch.testing.assert_close(terms["generator"], fooled)
    torch.testing.assert_close(terms["l1"], 7 * (fake - signed(target)).abs().mean())


def test_the_adversarial_loss_has_its_weight_and_without_it_the_generator_is_trained_alone():
    batch = pair()
    half, whole, none = (model(adversarial_weight=weight, dropout=0.0) for weight in (0.5, 1.0, 0.0))
    fake = half.generate(batch)
    terms, doubled = half.generator_loss(batch, fake), whole.generator_loss(batch, fake)
    torch.testing.assert_close(2 * terms["generator"], doubled["generator"])
    torch.testing.assert_close(terms["l1"], doubled["l1"])
    assert none.generator_loss(batch, fake).keys() == {"l1"}
    assert not list(none.discriminator.parameters())
    start = none.generator_loss(batch, none.generate(batch))["l1"].item()
    fit(none, torch.utils.data.DataLoader([batch] * 30, batch_size=None))
    assert none.generator_loss(batch, none.generate(batch))["l1"].item() < 0.95 * start


def test_features_are_matched_by_pix2pixhds_formula_and_the_targets_are_left_alone():
    subject = model(discriminator_scales=2, patch_size=16, feature_weight=10.0, image_shape=(3, 32, 32), dropout=0.0)
    batch = source, target = pair(size=32)
    target.requires_grad_()
    fake = subject.generate(batch)
    real_maps, fake_maps = (
        subject.discriminator(torch.cat([signed(source), i], 1)) for i in (signed(target.detach()), fake)
    )
    expected = 0
    for ours, theirs in zip(fake_maps, real_maps, strict=True):
        layers = 1  # of stride 2
        for a, b in zip(ours[:-1], theirs[:-1], strict=True):
            expected = expected + 10 * 4 / (layers + 1) / 2 * (a - b).abs().mean()
    found = subject.generator_loss(batch, fake)["features"]
    torch.testing.assert_close(found, expected)
    found.backward()
    assert target.grad is None
    assert subject.generator.down[0].weight.grad.abs().sum() > 0


def test_the_discriminator_sees_the_source_beside_the_picture():
    subject = model()
    seen = []
    subject.discriminator.register_forward_pre_hook(lambda module, arguments: seen.append(arguments[0]))
    batch = source, target = pair()
    fake = subject.generate(batch)
    subject.discriminator_loss(batch, fake.detach())
    torch.testing.assert_close(seen[0], signed(torch.cat([source, target], 1)))
    torch.testing.assert_close(seen[1], torch.cat([signed(source), fake.detach()], 1))


# Translation


def test_a_translation_is_as_sharp_in_eval_mode_as_in_training_and_draws_its_dropout():
    subject = model(image_shape=(3, 64, 64), width=8)
    source, _ = pair(2, size=64)
    trained = torch.cat([subject.generator(signed(s), g) for g in [torch.Generator().manual_seed(3)]
                         for s in source.split(1)])  # fmt: skip
    made = subject.eval().translate(source, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(made, (trained + 1) / 2)
    assert not torch.equal(made, subject.translate(source, generator=torch.Generator().manual_seed(4)))
    assert not torch.equal(subject.translate(source), subject.translate(source))


def test_sizes_in_between_are_continued_by_their_last_pixels_and_cut_back():
    images = torch.rand(2, 1, 5, 7)
    seen = []

    def network(padded):
        seen.append(padded)
        return padded.expand(-1, 3, -1, -1)

    made = at_any_size(network, images, 4)
    assert seen[0].shape == (2, 1, 8, 8)
    assert torch.equal(seen[0][..., :5, :7], images)
    assert torch.equal(seen[0][..., :5, 7], images[..., 6])
    assert torch.equal(seen[0][..., 7, :7], images[..., 4, :])
    assert torch.equal(made, images.expand(-1, 3, -1, -1))
    assert at_any_size(network, torch.rand(1, 1, 4, 8), 4).shape == (1, 3, 4, 8)
    assert seen[-1].shape == (1, 1, 4, 8)


def test_the_average_translates_where_there_is_one():
    subject = model(ema_decay=0.9, dropout=0.0)
    source, _ = pair()
    before = subject.translate(source)
    for parameter in subject.generator.parameters():
        parameter.data.add_(1.0)
    assert torch.equal(subject.translate(source), before)
    assert torch.equal(subject(source), before)


# Training


def test_what_is_logged_is_of_the_translations_by_hand():
    data = ShapePairsDataModule(image_size=16, train_count=20, batch_size=4)
    subject = model(dropout=0.0)
    trainer = Trainer(accelerator="cpu", logger=False, enable_progress_bar=False)
    found = trainer.validate(subject, data, verbose=False)[0]
    batch = data.to_float(next(iter(data.val_dataloader())))
    made = subject.translate(batch.source)
    assert found["val/l1"] == pytest.approx((made - batch.target).abs().mean().item(), rel=1e-4)
    psnr = -10 * (made - batch.target).square().mean((1, 2, 3)).log10()
    assert found["val/psnr"] == pytest.approx(psnr.mean().item(), rel=1e-4)
    swd = SlicedWasserstein()
    swd.update(batch.target, real=True)
    swd.update(made, real=False)
    assert found["val/swd"] == pytest.approx(swd.compute()["swd"].item(), rel=1e-4)
    tested = trainer.test(subject, data, verbose=False)[0]
    assert {key.replace("test/", "val/") for key in tested} == found.keys()


def test_it_learns_to_draw_facades_from_their_maps():
    """Beside the mean picture of the training set, and the source itself."""
    seed_everything(0, verbose=False)
    data = ShapePairsDataModule(image_size=32, train_count=150, batch_size=4)
    subject = Pix2Pix((3, 32, 32), width=16)
    quiet = {"accelerator": "cpu", "logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    Trainer(max_epochs=4, limit_val_batches=0, enable_model_summary=False, **quiet).fit(subject, data)
    learned = Trainer(**quiet).validate(subject, data, verbose=False)[0]
    train, val = ([data.to_float(b) for b in loader] for loader in (data.train_dataloader(), data.val_dataloader()))
    mean = torch.cat([b.target for b in train]).mean(0, keepdim=True)
    targets, sources = torch.cat([b.target for b in val]), torch.cat([b.source for b in val])
    for other in (mean.expand_as(targets), sources):
        assert learned["val/l1"] < 0.9 * (other - targets).abs().mean().item()
        swd = SlicedWasserstein()
        swd.update(targets, real=True)
        swd.update(other, real=False)
        assert learned["val/swd"] < 0.85 * swd.compute()["swd"].item()


def test_one_validation_image_has_no_distance_and_ends_no_training(in_tmp):
    data = ("--data", "ShapePairsDataModule", "--data.image_size", 16, "--data.train_count", 4, "--data.batch_size", 1)
    one = ("--trainer.limit_val_batches", 1, "--trainer.max_epochs", 1)
    assert genmodels("fit", "--model", "Pix2Pix", "--model.width", 2, *data, *one, *QUIET) == 0
    assert "nan" in (in_tmp / "runs/pix2pix_shapepairs/0/metrics.csv").read_text()
    assert (in_tmp / "runs/pix2pix_shapepairs/0/checkpoints/best.ckpt").is_file()


def test_no_more_images_than_a_thousand_are_compared(monkeypatch):
    monkeypatch.setattr(translation, "SCORED", 6)
    subject, data = model(), ShapePairsDataModule(image_size=16, train_count=50, batch_size=4)
    seen = []

    def compute():
        seen.extend(sum(len(part) for part in parts) for parts in (subject.swd.real, subject.swd.fake))
        return {}

    monkeypatch.setattr(subject.swd, "compute", compute)
    Trainer(accelerator="cpu", logger=False, enable_progress_bar=False).validate(subject, data, verbose=False)
    assert seen == [6, 6]


MINE = """
import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader

class Mine(LightningDataModule):
    image_shape = (3, 16, 16)

    def train_dataloader(self):
        return DataLoader([(torch.rand(3, 16, 16), torch.rand(1, 16, 16)) for _ in range(4)], batch_size=2)

    val_dataloader = train_dataloader

class Told(Mine):
    target_channels = 1
"""


def test_a_users_target_channels_count_where_the_data_tell_none_and_must_be_theirs(in_tmp, capsys):
    (in_tmp / "mine_of_pix2pix.py").write_text(MINE)
    own = ("fit", "--model", "Pix2Pix", "--model.width", 2, "--trainer.max_epochs", 1, *QUIET)
    assert genmodels(*own, "--data", "mine_of_pix2pix.Mine", "--model.target_channels", 1) == 0
    assert genmodels(*own, "--data", "mine_of_pix2pix.Told") == 0
    assert genmodels(*own, "--data", "mine_of_pix2pix.Told", "--model.target_channels", 2) == 2
    assert "target_channels is 2 for the model, but Told has 1; expected the same." in capsys.readouterr().err


def test_target_channels_are_the_datas_on_the_command_line(in_tmp, capsys):
    """Depth has one channel, which fits, and metres, which do not."""
    arguments = ("--model", "Pix2Pix", "--model.width", 4, "--data", "DepthScenesDataModule",
                 "--data.image_size", "[16, 16]", "--data.train_count", 8, *QUIET)  # fmt: skip
    assert genmodels("fit", *arguments) == 2
    assert "the batch's targets reach from" in capsys.readouterr().err


# What is wrong


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image_shape": (3, 8, 16)}, "image_shape is (3, 8, 16); expected (channels, height, width) of 16 pixels or"),
        ({"network_depth": 5}, "network_depth is 5; expected 2 or more, 4 at most for 16x16 pixels"),
        ({"network_depth": 1}, "network_depth is 1; expected 2 or more, 4 at most"),
        ({"image_shape": (3, 17, 16)}, "image_shape is (3, 17, 16); expected height and width divisible by 4"),
        ({"l1_weight": float("inf")}, "l1_weight is inf; expected 0 or more, and finite"),
        ({"target_channels": 0}, "target_channels is 0; expected 1 or more"),
        ({"width": 0}, "width is 0; expected 1 or more"),
        ({"dropout": 1.0}, "dropout is 1.0; expected at least 0 and below 1"),
        ({"discriminator_scales": 4}, "discriminator_scales is 4; expected 1, 2 or 3"),
        ({"adversarial_loss": "hinge"}, "adversarial_loss is 'hinge'; expected one of non_saturating, least_squares"),
        ({"l1_weight": -1.0}, "l1_weight is -1.0; expected 0 or more"),
        ({"adversarial_weight": -1.0}, "adversarial_weight is -1.0; expected 0 or more, and finite"),
        ({"adversarial_weight": 0.0, "l1_weight": 0.0}, "l1_weight is 0.0; expected above 0 with adversarial_weight 0"),
        (
            {"adversarial_weight": 0.0, "feature_weight": 1.0},
            "feature_weight is 1.0; expected 0 with adversarial_weight 0, which has no discriminator",
        ),
        ({"feature_weight": float("nan")}, "feature_weight is nan; expected 0 or more"),
        (
            {"patch_size": 70},
            "patch_size is 70, discriminator_scales 1 and the images have 16x16 pixels; expected one of 1, 16, 34",
        ),
        ({"patch_size": 16, "discriminator_scales": 3}, "16x16 pixels; expected one of 1."),
        ({"learning_rate": 0.0}, "learning_rate is (0.0, 0.0); expected above 0"),
    ],
)
def test_an_option_out_of_its_range_is_one_sentence(options, message):
    with pytest.raises(GenmodelsError) as error:
        model(**options)
    assert str(error.value).startswith("Pix2Pix: ")
    assert message in str(error.value)


@pytest.mark.parametrize(("size", "patch_size"), [(16, 34), (24, 70), (256, 70)])
def test_the_patch_is_the_papers_or_the_largest_that_there_is_room_for(size, patch_size):
    assert Pix2Pix((3, size, size), width=1).patch_size == patch_size


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (torch.zeros(4), r"the batch's second item is of the shape \(4,\); expected target images \(N, 3, 16, 16\)"),
        (None, r"the batch's second item is no tensor; expected target images"),
        (
            torch.rand(4, 1, 16, 16),
            r"targets have the shape \(4, 1, 16, 16\); expected \(N, 3, 16, 16\), the model's t",
        ),
        (torch.rand(4, 3, 16, 16) + 1, r"the batch's targets reach from 1[.\d]* to [12][.\d]*; expected \[0, 1\]"),
    ],
)
def test_what_is_no_target_is_one_sentence(second, message):
    batch = (pair()[0],) if second is None else (pair()[0], second)
    with pytest.raises(GenmodelsError, match=message):
        fit(model(), torch.utils.data.DataLoader([batch], batch_size=None))


# Published weights


def test_published_weights_that_are_none_are_one_sentence(tmp_path):
    paths = {name: tmp_path / f"{name}.pth" for name in ("text", "list", "none", "numbered", "expanded", "cut")}
    torch.save({0: torch.zeros(1)}, paths["numbered"])
    torch.save({"model.model.0.weight": torch.zeros(1).expand(10, 3, 4, 4)}, paths["expanded"])
    torch.save({"a": torch.zeros(10_000)}, paths["cut"])
    paths["cut"].write_bytes(paths["cut"].read_bytes()[:2000])
    paths["text"].write_text("weights")
    torch.save([1], paths["list"])
    for name, message in (
        ("none", "none.pth do not exist; expected a .pth file"),
        ("text", "text.pth cannot be read as a checkpoint"),
        ("list", "list.pth holds other things than weights; expected a state dict alone"),
        ("numbered", "numbered.pth holds other things than weights"),
        ("expanded", "expanded.pth holds other things than weights"),
        ("cut", r"cut.pth cannot be read as a checkpoint (.*); expected a whole state dict"),
    ):
        with pytest.raises(GenmodelsError, match=message):
            Pix2Pix.from_published(paths[name])


def test_published_weights_come_into_a_model_that_can_be_trained_on(tmp_path):
    from_file, published = tmp_path / "net_G.pth", published_unet_state(7, 8, (3, 3))
    torch.save(published, from_file)
    found = Pix2Pix.from_published(from_file)
    assert (found.image_shape, found.target_channels, found.width, found.network_depth) == ((3, 128, 128), 3, 8, 7)
    assert torch.equal(found.generator.up[0].bias, published["model.model.3.bias"])
    assert dict(found.hparams)["image_shape"] == (3, 128, 128)


def test_a_published_discriminator_comes_with_its_generator_and_both_go_on_learning(tmp_path):
    judge = published_discriminator_state()
    for name, state in (("net_G", published_unet_state(7, 4)), ("net_D", judge)):
        torch.save(state, tmp_path / f"{name}.pth")
    found = Pix2Pix.from_published(tmp_path / "net_G.pth", tmp_path / "net_D.pth")
    first, second = found.discriminator.scales[0].layers[:2]
    assert torch.equal(first[0].weight, judge["model.0.weight"])
    assert torch.equal(second[1].weight, judge["model.3.weight"])
    before = {name: value.clone() for name, value in found.state_dict().items()}
    fit(found, torch.utils.data.DataLoader([pair(1, 2, 128)], batch_size=None))
    moved = {name for name, value in found.state_dict().items() if not torch.equal(value, before[name])}
    assert {"generator.up.0.bias", "discriminator.scales.0.layers.0.0.weight"} <= moved
    Trainer(accelerator="cpu", logger=False, enable_progress_bar=False).validate(
        found, torch.utils.data.DataLoader([pair(2, 2, 128)], batch_size=None), verbose=False
    )
    again = Pix2Pix(**found.hparams)
    again.load_state_dict(found.state_dict())
