import re

import pytest
from command import QUIET, fit, genmodels


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (
            "--model GANN",
            "--model is GANN; expected one of Autoencoder, ConditionalGAN, DenoisingAutoencoder, ",
        ),
        ("--data Digits --model GAN", "--data is Digits; expected one of CelebADataModule,"),
        ("--model GAN", "--data is missing; expected one of CelebADataModule,"),
        ("--modle GAN", "--modle: no such option; did you mean --model"),
        ("--model.adversarial_los x", "--model.adversarial_los: no such option of GAN; did you mean adversarial_loss"),
        ("--model.latent_dim x", "--model.latent_dim is x; expected a whole number."),
        ("--model.betas 1", "--model.betas is 1; expected a list, as [a,b]."),
        ("--data.batch_size 1.5", "--data.batch_size is 1.5; expected a whole number."),
        ("--data.batchsize 8", "--data.batchsize: no such option of DigitsDataModule; did you mean batch_size"),
        ("--model VAE --model.tied true --data DigitsDataModule", "--model.tied: no such option of VAE."),
        (
            "--model VAE --data.image_size 8 --data DigitsDataModule",
            "--data.image_size: nothing says before it whose option that is; expected --data CLA",
        ),
        ("--data DigitsDataModule --data.data_dir x", "--data.data_dir: no such option of DigitsDataModule."),
        ("--trainer.precision 17", "--trainer.precision is 17; expected 64 or 32 or 16 or transformer-engine"),
        ("--trainer.epochs 3", "--trainer.epochs: no such option"),
        ("--trainer.logger WandBLogger", "--trainer.logger is WandBLogger; expected the name of a class"),
        (
            "--trainer.logger TensorboardLogger",
            "--trainer.logger is TensorboardLogger; expected the name of a class, as package.module.Class; "
            "did you mean TensorBoardLogger.",
        ),
        (
            "--trainer.logger WandbLogger --trainer.logger.projet x",
            "--trainer.logger.projet: no such option of WandbLogger; did you mean project.",
        ),
        (
            "--trainer.callbacks PictureGird",
            "--trainer.callbacks is PictureGird; expected the name of a class, as package.module.Class; "
            "did you mean PictureGrid.",
        ),
        (
            "--trainer.callbacks+=FeatureProb",
            "--trainer.callbacks is FeatureProb; expected the name of a class, as "
            "package.module.Class; did you mean FeatureProbe.",
        ),
        (
            "--trainer.callbacks nothing.AtAll",
            "--trainer.callbacks is nothing.AtAll, but Python finds no module nothing; expected the name of a class, "
            "as package.module.Class.",
        ),
        (
            "--config callbacks.yaml",
            "--trainer.callbacks is EarlyStoping; expected the name of a class, as "
            "package.module.Class; did you mean EarlyStopping.",
        ),
        (
            "--trainer.callbacks CollapseWatch --trainer.callbacks.warmup 3",
            "--trainer.callbacks.warmup: no such option of CollapseWatch; did you mean warm_up.",
        ),
        ("--config bad.yaml", "--config bad.yaml: no valid YAML in line 2"),
        ("--config odd.yaml", "modle.class_path: no such option in the configuration; did you mean model"),
        ("--config wrong.yaml", "--model.netwrok: no such option of GAN; did you mean network"),
        ("--config", "--config"),
        (
            "--model nowhere.Mine --data DigitsDataModule",
            "--model is nowhere.Mine, but Python finds no module nowhere; expected one of Autoencoder, Condition",
        ),
        (
            "--model datamodules.Gone",
            "--model is datamodules.Gone, but datamodules has no Gone; expected one of Autoen",
        ),
        (
            "--config gone.yaml",
            "--model is datamodules.Gone, but datamodules has no Gone; expected one of Autoencoder,",
        ),
        ("--trainer.logger MLFlowLogger --trainer.logger.save_dir", "argument --trainer.logger"),
        (
            "--trainer.callbacks Timer --trainer.callbacks.interval 3",
            "Unsupported parameter value `Timer(interval=3)`. Possible choices",
        ),
        ("--trainer.callbacks EarlyStopping", "--trainer.callbacks.monitor is missing; expected a value."),
        ("extra", "extra: no such option."),
        (
            "--trainer.gradient_clip_val 1",
            "--trainer.gradient_clip_val: GAN steps by itself; expected --model.gradient",
        ),
        (
            "--trainer.accumulate_grad_batches 2",
            "--trainer.accumulate_grad_batches: GAN steps by itself; expected --model.accumulate 2.",
        ),
        ("--trainer.check_val_every_n_epoch 0", "--trainer.check_val_every_n_epoch is 0; expected 1 or more."),
        (
            "--config vae_digits --trainer.accumulate_grad_batches 0",
            "--trainer.accumulate_grad_batches is 0; expected 1 or more.",
        ),
        ("--init_from none.ckpt", "checkpoint none.ckpt does not exist"),
        (
            "--model toy.Toy --data DigitsDataModule --trainer.gradient_clip_val 1",
            "--trainer.gradient_clip_val: Toy steps by itself; expected gradient_clip=1.0 where it calls super().",
        ),
        ("--seed_everything -1", "--seed_everything is -1; expected 0 to 2^32 - 1."),
        ("--trainer.precision transformer-engine", "trainer: Requirement 'transformer_engine"),
    ],
)
def test_jsonargparses_reports_become_one_sentence(in_tmp, capsys, arguments, expected):
    (in_tmp / "bad.yaml").write_text("model: [1\ndata: 2\n")
    (in_tmp / "odd.yaml").write_text("modle:\n  class_path: GAN\n")
    (in_tmp / "wrong.yaml").write_text(
        "model:\n  class_path: GAN\n  init_args:\n    netwrok: mlp\ndata: DigitsDataModule\n"
    )
    (in_tmp / "gone.yaml").write_text(
        "model:\n  class_path: datamodules.Gone\n  init_args:\n    width: 3\ndata: DigitsDataModule\n"
    )
    (in_tmp / "callbacks.yaml").write_text(
        "model: GAN\ndata: DigitsDataModule\ntrainer:\n  callbacks:\n  - class_path: EarlyStoping\n"
    )
    assert genmodels("fit", *arguments.split()) == 2
    captured = capsys.readouterr().err.strip().splitlines()
    assert len(captured) == 1
    assert captured[0].startswith(f"genmodels: {expected}")
    assert not list(in_tmp.glob("runs/*/*")), "a run that did not start leaves no number behind"


def test_an_error_within_a_users_module_keeps_its_traceback(in_tmp, monkeypatch):
    monkeypatch.syspath_prepend(in_tmp)
    (in_tmp / "their_models.py").write_text("import a_package_they_lack\n")
    with pytest.raises(ModuleNotFoundError, match="a_package_they_lack"):
        genmodels("fit", "--model", "their_models.Mine", "--data", "DigitsDataModule")


def test_a_logger_whose_package_is_not_installed_is_one_sentence(in_tmp, monkeypatch, capsys):
    for package in ("TENSORBOARD", "TENSORBOARDX"):
        monkeypatch.setattr(f"lightning.fabric.loggers.tensorboard._{package}_AVAILABLE", False)
    assert genmodels("fit", "--trainer.logger", "TensorBoardLogger") == 2
    told = capsys.readouterr().err.strip()
    assert re.fullmatch(r"genmodels: TensorBoardLogger: Neither `tensorboard`.*Try `pip install`ing either\.", told), (
        told
    )
    assert not list((in_tmp / "runs").iterdir())


def test_early_stopping_by_a_metric_that_is_missing_is_one_sentence(in_tmp, capsys):
    stop = ("--trainer.callbacks", "EarlyStopping", "--trainer.callbacks.monitor", "val/x")
    short = ("--trainer.limit_train_batches", 1, "--trainer.check_val_every_n_epoch", 1, "--trainer.max_epochs", 1)
    assert genmodels("fit", "--config", "gan_digits", *stop, *short, *QUIET) == 2
    told = capsys.readouterr().err.strip().splitlines()[-1]
    assert told.startswith("genmodels: --trainer.callbacks: Early stopping conditioned on metric `val/x` which is not")


def test_training_without_checkpoints(in_tmp, capsys):
    fit("--trainer.max_steps", 1, "--trainer.enable_checkpointing", "false")
    assert not list(in_tmp.rglob("*.ckpt"))
    assert "heckpoint" not in capsys.readouterr().out


def test_data_without_validation_are_named_where_there_is_no_best_checkpoint(in_tmp, capsys):
    fit("--trainer.max_steps", 1, "--data.val_fraction", 0)
    assert "No best checkpoint: the data hold nothing out for validation.\n" in capsys.readouterr().out


def test_two_options_of_a_model_of_ones_own_that_are_missing_are_named(in_tmp, monkeypatch, capsys):
    monkeypatch.syspath_prepend(in_tmp)
    (in_tmp / "demanding.py").write_text(
        "from lightning_genmodels import GAN\nclass Mine(GAN):\n    def __init__(self, wide: int, deep: int): ...\n"
    )
    assert genmodels("fit", "--model", "demanding.Mine", "--data", "DigitsDataModule") == 2
    assert capsys.readouterr().err in (
        "genmodels: --model.wide and --model.deep are missing; expected values.\n",
        "genmodels: --model.deep is missing; expected a value.\n",  # older releases of jsonargparse name one
    )


def test_a_configuration_without_model_and_data_is_named_by_what_it_lacks(in_tmp, capsys):
    (in_tmp / "trainer.yaml").write_text("trainer:\n  max_epochs: 1\n")
    assert genmodels("fit", "--config", "trainer.yaml") == 2
    assert re.match(
        r"genmodels: --data (and --model are|is) missing; expected (the name|one of)", capsys.readouterr().err
    )


def test_an_option_of_a_logger_that_was_not_named_is_one_sentence(in_tmp, capsys):
    assert genmodels("fit", "--config", "vae_digits", "--trainer.logger.project", "digits") == 2
    assert capsys.readouterr().err in (
        "genmodels: --trainer.logger is digits; expected the name of a class, as package.module.Class, and its own "
        "options after it.\n",
        "genmodels: --trainer.logger.project: no such option of Logger.\n",  # by older releases of jsonargparse
    )


def test_a_users_data_that_cannot_be_counted_or_hold_nothing_out_end_well(in_tmp, monkeypatch, capsys):
    monkeypatch.syspath_prepend(in_tmp)
    (in_tmp / "own.py").write_text(
        "import torch\nfrom lightning.pytorch import LightningDataModule\n"
        "from torch.utils.data import DataLoader, IterableDataset\n"
        "class Stream(IterableDataset):\n"
        "    def __iter__(self):\n        return iter([(torch.rand(1, 8, 8),)] * 16)\n"
        "class Alone(LightningDataModule):\n    image_shape = (1, 8, 8)\n"
        "    def train_dataloader(self):\n        return DataLoader(Stream(), batch_size=8)\n"
        "class Streams(Alone):\n    val_dataloader = Alone.train_dataloader\n"
    )
    for name, said in (("Alone", "the data hold nothing out for validation."), ("Streams", "there was no validation")):
        fit("--model", "GAN", "--data", f"own.{name}", "--trainer.max_steps", 1)
        assert f"No best checkpoint: {said}" in capsys.readouterr().out


def test_a_best_checkpoint_of_another_run_is_not_said_to_lie_in_this_one(in_tmp, capsys):
    fit("--trainer.limit_train_batches", 1, "--trainer.check_val_every_n_epoch", 1, "--trainer.max_epochs", 1)
    assert "Best checkpoint: runs/gan_digits/0/checkpoints/best.ckpt" in capsys.readouterr().out
    fit("--ckpt_path", "runs/gan_digits/0/checkpoints/last.ckpt", "--trainer.max_epochs", 1)
    told = capsys.readouterr().out
    assert "Nothing was trained" in told
    assert "Best checkpoint" not in told
    assert "No best checkpoint: none was better than that of the run before (val/coverage" in told


@pytest.mark.parametrize("logger", ["CSVLogger", "lightning.pytorch.loggers.CSVLogger"])
def test_a_logger_of_files_needs_no_folder(in_tmp, logger):
    fit("--trainer.max_steps", 1, "--trainer.log_every_n_steps", 1, "--trainer.logger", logger)
    assert (in_tmp / "runs/gan_digits/0/csv/metrics.csv").exists()
    assert not (in_tmp / "lightning_logs").exists()
