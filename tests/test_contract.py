"""What every exported model promises; a new one joins by being exported."""

import inspect

import pytest
import torch
from command import QUIET, process
from lightning.pytorch import Callback, LightningModule, Trainer
from toy import fit, same_weights

import lightning_genmodels
from datamodules import DepthScenesDataModule, DigitsDataModule, ShapePairsDataModule
from lightning_genmodels import (
    Autoencoder,
    DepthEstimation,
    GenmodelsError,
    Pix2Pix,
    StyleGAN,
    SuperResolution,
    load_model,
)
from lightning_genmodels.callbacks import ExactResume, LabelledTable, LastCheckpoint, PictureGrid
from lightning_genmodels.models.base import AdversarialModel

MODELS = [m for m in vars(lightning_genmodels).values() if isinstance(m, type) and issubclass(m, LightningModule)]
ADVERSARIAL = [m for m in MODELS if issubclass(m, AdversarialModel)]
PAIRED = [m for m in MODELS if "target_channels" in inspect.signature(m).parameters]
DEPTH = [m for m in MODELS if m.__name__ == "DepthEstimation"]
TRANSLATING = [m for m in MODELS if hasattr(m, "translate")]
OPTIONAL = [m for m in MODELS if "adversarial_weight" in inspect.signature(m).parameters]  # above 0 with an adversary
SMALL = {StyleGAN: {"width": 8}, SuperResolution: {"width": 8, "blocks": 2}}  # the others are so by default


def test_there_are_models():
    assert {m.__name__ for m in MODELS} >= {
        "GAN", "Autoencoder", "KSparseAutoencoder", "SparseAutoencoder", "DenoisingAutoencoder", "VAE", "Pix2Pix"
    }  # fmt: skip


def shape_of(model_class):
    if model_class in (*PAIRED, *DEPTH):
        return (3, 16, 16)
    if model_class is StyleGAN:
        return (1, 16, 16)
    return (1, 28, 28) if model_class in OPTIONAL else (1, 8, 8)


def data_for(model_class):
    if model_class in PAIRED:
        return ShapePairsDataModule(image_size=16, train_count=96)
    if model_class in DEPTH:
        return DepthScenesDataModule(image_size=(16, 16), train_count=96)
    return DigitsDataModule(batch_size=128, image_size=shape_of(model_class)[1])


class StopAt(Callback):
    def __init__(self, step):
        self.step = step

    def on_train_batch_end(self, trainer, *_):
        trainer.should_stop = trainer.global_step == self.step


def train(model, steps, folder=None, stop_at=None, data=None, **options):
    callbacks = [ExactResume(), StopAt(stop_at)] + (
        [LastCheckpoint(folder / "last.ckpt", every_n_steps=4)] if folder else []
    )
    defaults = {"accelerator": "cpu", "max_epochs": -1, "max_steps": steps, "logger": False,
                "enable_checkpointing": folder is not None, "enable_progress_bar": False,
                "enable_model_summary": False, "callbacks": callbacks}  # fmt: skip
    ckpt_path = options.pop("ckpt_path", None)
    trainer = Trainer(**{**defaults, **options})
    trainer.fit(model, datamodule=data or data_for(type(model)), ckpt_path=ckpt_path, weights_only=True)
    return trainer


def build(model_class, seed=0, **options):
    torch.manual_seed(seed)
    return model_class(**{"image_shape": shape_of(model_class), **SMALL.get(model_class, {}), **options})


@pytest.mark.parametrize("model_class", MODELS)
def test_arguments_are_typed_plain_data_with_defaults(model_class):
    for name, parameter in list(inspect.signature(model_class.__init__).parameters.items())[1:]:
        assert parameter.kind is parameter.POSITIONAL_OR_KEYWORD, name
        assert parameter.annotation is not parameter.empty, name
        assert name == "image_shape" or isinstance(parameter.default, str | int | float | tuple | None), name
    for line in inspect.signature(model_class.__init__).parameters:
        assert line == "self" or f"{line}:" in inspect.getdoc(model_class), f"{line} is not documented"


@pytest.mark.parametrize("model_class", MODELS)
def test_fit_checkpoint_and_reload_give_the_same_model_back(model_class, tmp_path):
    model = build(model_class)
    trainer = train(model, 5, tmp_path)
    assert all(v.isfinite().all() for v in model.state_dict().values())
    assert not same_weights(model, build(model_class))
    assert model.best_metric[0] in trainer.validate(model, data_for(type(model)), verbose=False)[0]
    loaded = load_model(tmp_path / "last.ckpt")
    assert type(loaded) is model_class
    assert not loaded.training
    assert same_weights(model, loaded)
    assert dict(loaded.hparams) == dict(model.hparams)
    assert {*model.hparams} == {*inspect.signature(model_class).parameters}
    model_class(**model.hparams)


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
@pytest.mark.parametrize("model_class", MODELS)
def test_a_resumed_run_ends_with_the_same_weights(model_class, precision, tmp_path):
    whole = build(model_class)
    train(whole, 18, precision=precision)
    train(build(model_class), 18, tmp_path, precision=precision, stop_at=4)  # what depends on the end knows it
    resumed = build(model_class, seed=7)
    train(resumed, 18, ckpt_path=tmp_path / "last.ckpt", precision=precision)
    assert same_weights(whole, resumed)


@pytest.mark.parametrize(
    ("model_class", "options"),
    [
        (Pix2Pix, {"image_shape": (3, 64, 64), "width": 2}),  # large enough for dropout
        (SuperResolution, {"adversarial_weight": 1.0, "ema_decay": 0.9}),
        (DepthEstimation, {"adversarial_weight": 1.0, "generator_steps": 2}),
        (DepthEstimation, {"image_shape": (3, 40, 40), "network": "d3net"}),  # dropout too
        (
            StyleGAN,  # 8 pixels fade in from the first step on, 16 from the fourth: the run is cut within
            {
                "growing": True,
                "start_size": 4,
                "fade_images": 24,
                "stable_images": 0,
                "pixels_at_once": 128,
                "path_length_weight": 2.0,
                "augmentation": "adaptive",
                "augmentation_probability": 0.5,
                "augmentation_images": 64,
            },
        ),
    ],
)
def test_a_run_with_what_is_drawn_or_played_by_option_is_resumed_exactly(model_class, options, tmp_path):
    def data():
        shape = options.get("image_shape", shape_of(model_class))
        if model_class is Pix2Pix:
            return ShapePairsDataModule(image_size=shape[1], train_count=16, batch_size=2)
        if model_class is DepthEstimation:
            return DepthScenesDataModule(image_size=shape[1:], train_count=16, batch_size=2)
        return DigitsDataModule(batch_size=8, image_size=shape[1])

    quick = {"limit_train_batches": 3, "limit_val_batches": 1}
    whole = build(model_class, **options)
    train(whole, 6, data=data(), **quick)
    train(build(model_class, **options), 6, tmp_path, stop_at=4, data=data(), **quick)
    resumed = build(model_class, seed=7, **options)
    train(resumed, 6, ckpt_path=tmp_path / "last.ckpt", data=data(), **quick)
    assert same_weights(whole, resumed)


@pytest.mark.parametrize("precision", ["bf16-true", "64-true"])
@pytest.mark.parametrize("model_class", [m for m in MODELS if issubclass(m, Autoencoder)])
def test_an_autoencoder_learns_in_one_precision_throughout(model_class, precision):
    model = build(model_class)
    before = model.to({"bf16-true": torch.bfloat16, "64-true": torch.float64}[precision]).decoder.state_dict()
    before = {name: value.clone() for name, value in before.items()}
    trainer = train(model, 12, precision=precision)
    assert all(
        v.dtype == before[n].dtype and not torch.equal(v, before[n]) for n, v in model.decoder.state_dict().items()
    )
    assert all(v.isfinite().all() for v in model.state_dict().values())
    assert "val/squared_error" in trainer.validate(model, data_for(type(model)), verbose=False)[0]


@pytest.mark.parametrize("precision", ["bf16-true", "64-true"])
@pytest.mark.parametrize("model_class", [m for m in MODELS if not issubclass(m, Autoencoder)])
def test_any_other_model_learns_in_one_precision_throughout(model_class, precision):
    options = {"adversarial_weight": 1.0} if model_class in OPTIONAL else {}
    if model_class is StyleGAN:  # its constant begins at 1, beside which a small step is nothing in bfloat16
        options = {"learning_rate": 1e-2, "ema_images": 10}
    model = build(model_class, **options)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    data = DigitsDataModule(batch_size=8, image_size=28) if model_class is SuperResolution else data_for(model_class)
    trainer = train(model, 3, data=data, precision=precision, limit_val_batches=2)
    assert all(v.isfinite().all() for v in model.state_dict().values())
    # StyleGAN's mapping network has weights of a hundred, beside which a step is nothing in bfloat16.
    small = [n for n, v in model.named_parameters() if v.ndim > 1 and "mapping" not in n]
    assert not [n for n in small if torch.equal(model.get_parameter(n).to(before[n]), before[n])]
    assert model.best_metric[0] in trainer.validate(model, data, verbose=False)[0]


@pytest.mark.parametrize("model_class", MODELS)
def test_a_users_own_loader_of_pairs_works_in_a_plain_trainer(model_class):
    images = torch.rand(64, *shape_of(model_class))
    second = torch.zeros(64, dtype=torch.long)
    if model_class in (*PAIRED, *DEPTH):
        second = (1 - images)[:, : 1 if model_class in DEPTH else 3]
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(images, second), batch_size=16)
    model = build(model_class)
    trainer = fit(model, loader, val_loader=loader)
    assert trainer.global_step == 4
    assert model.best_metric[0] in trainer.callback_metrics


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda images: (255 * images).byte(), "torch.uint8; expected floating point in"),
        (lambda images: images - 1, r"reach from -1 to -1; expected \[0, 1\]"),
        (lambda images: images + torch.nan, r"reach from nan to nan; expected \[0, 1\]"),
        (lambda images: images[:, :, 1:], r"have the shape \(16, {0}, \d+, {1}\); expected \(N, {0}, {1}, {1}\)"),
    ],
)
@pytest.mark.parametrize("model_class", MODELS)
def test_a_batch_out_of_range_or_shape_stops_training_with_one_sentence(model_class, change, message):
    shape = shape_of(model_class)
    images = change(torch.zeros(16, *shape))
    with pytest.raises(GenmodelsError, match=message.format(shape[0], shape[2]) if "{0}" in message else message):
        fit(build(model_class), torch.utils.data.DataLoader([(images, torch.zeros(16))], batch_size=None))


@pytest.mark.parametrize("model_class", MODELS)
def test_a_loader_of_bare_images_is_asked_for_tuples(model_class):
    images = torch.rand(32, *shape_of(model_class))
    first = r"the batch's first item is one image \({}, {}, {}\)".format(*shape_of(model_class))
    with pytest.raises(GenmodelsError, match=f"^{first}.*bare images; expected a tuple"):
        fit(build(model_class), torch.utils.data.DataLoader(images, batch_size=16))


@pytest.mark.parametrize("model_class", MODELS)
def test_a_loader_of_dicts_is_asked_for_tuples(model_class):
    images = torch.rand(32, *shape_of(model_class))
    loader = torch.utils.data.DataLoader([{"image": image, "label": 0} for image in images], batch_size=16)
    told = r"^the batch is a dict of 'image', 'label'; expected a tuple whose"
    with pytest.raises(GenmodelsError, match=told):
        fit(build(model_class), loader)
    quiet = {"accelerator": "cpu", "logger": False, "enable_progress_bar": False}
    with pytest.raises(GenmodelsError, match=told):
        Trainer(callbacks=[PictureGrid(), LabelledTable()], **quiet).validate(build(model_class), loader)


@pytest.mark.parametrize("model_class", MODELS)
def test_a_divergence_is_one_sentence(model_class):
    with pytest.raises(
        GenmodelsError, match=r"training diverged: the loss train/\w+ is (nan|inf) at step \d+; no check"
    ):
        train(build(model_class, learning_rate=1e38), 50)


@pytest.mark.parametrize("model_class", [m for m in MODELS if hasattr(m, "sample")])
def test_samples_are_repeatable_in_range_and_leave_the_model_as_it_was(model_class):
    model = build(model_class).train()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    draws = [model.sample(5, generator=torch.Generator().manual_seed(s)) for s in (1, 1, 2)]
    assert draws[0].shape == (5, *shape_of(model_class))
    assert draws[0].dtype == torch.float32
    assert 0 <= draws[0].min() <= draws[0].max() <= 1
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
    assert all(m.training for m in model.modules())
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert model.sample(0).shape == (0, *shape_of(model_class))
    with pytest.raises(GenmodelsError, match="n is -1"):
        model.sample(-1)


@pytest.mark.parametrize("model_class", TRANSLATING)
def test_translations_are_repeatable_in_range_of_any_size_and_leave_the_model_as_it_was(model_class):
    model = build(model_class).train()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    source = torch.rand(3, shape_of(model_class)[0], 21, 40)
    draws = [model.translate(source, generator=torch.Generator().manual_seed(s)) for s in (1, 1)]
    channels, scale = getattr(model, "target_channels", 1), getattr(model, "scale", 1)
    assert draws[0].shape == (3, channels, scale * 21, scale * 40)
    assert draws[0].dtype == torch.float32
    assert 0 <= draws[0].min() < draws[0].max() <= getattr(model, "depth_cap", 1)
    assert torch.equal(draws[0], draws[1])
    alone = torch.Generator().manual_seed(1)
    alone = torch.cat([model.translate(image, generator=alone) for image in source.split(1)])
    torch.testing.assert_close(draws[0], alone, rtol=0, atol=1e-5)
    assert all(m.training for m in model.modules())
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert model.translate(source[:0]).shape == (0, *draws[0].shape[1:])


@pytest.mark.parametrize("model_class", ADVERSARIAL)
def test_the_discriminators_step_leaves_the_generator_untouched(model_class):
    adversary = {"adversarial_weight": 1.0} if model_class in OPTIONAL else {}
    model = build(model_class, discriminator_steps=100, **adversary)
    before = [p.detach().clone() for p in model.generator.parameters()]
    discriminator = [p.detach().clone() for p in model.discriminator.parameters()]
    train(model, 3)
    assert all(torch.equal(a, b) for a, b in zip(before, model.generator.parameters(), strict=True))
    assert all(p.grad is None for p in model.generator.parameters())
    assert not any(torch.equal(a, b) for a, b in zip(discriminator, model.discriminator.parameters(), strict=True))


@pytest.mark.parametrize("model_class", MODELS)
def test_two_processes_train_from_the_command_line(model_class, tmp_path):
    name = model_class.__name__
    data = ["DigitsDataModule", "--data.image_size", shape_of(model_class)[1]]
    if model_class in PAIRED:
        data = ["ShapePairsDataModule", "--data.image_size", 16, "--data.train_count", 96]
    if model_class in DEPTH:
        data = ["DepthScenesDataModule", "--data.image_size", "[16, 16]", "--data.train_count", 96]
    options = ["--model.adversarial_weight", 1] if model_class in OPTIONAL else []
    options += [part for name, value in SMALL.get(model_class, {}).items() for part in (f"--model.{name}", value)]
    done = process("fit", "--model", name, *options, "--data", *data, "--trainer.max_epochs", 1, *QUIET,
                   "--trainer.limit_train_batches", 6, "--trainer.limit_val_batches", 2,
                   "--trainer.strategy", "ddp", "--trainer.devices", 2, cwd=tmp_path)  # fmt: skip
    assert done.returncode == 0, done.stderr
    run = tmp_path / f"runs/{name.lower()}_{data[0].lower().removesuffix('datamodule')}/0"
    assert all(v.isfinite().all() for v in load_model(run / "checkpoints/last.ckpt").state_dict().values())
    header, *rows = (run / "metrics.csv").read_text().splitlines()
    assert build(model_class).best_metric[0] in header
    assert rows
    assert "warn" not in done.stderr.lower(), done.stderr
