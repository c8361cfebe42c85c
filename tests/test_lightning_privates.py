"""Each private of Lightning that `_lightning.py` touches is still what it was."""

import csv

import torch
from command import genmodels
from lightning.pytorch import Trainer
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy

from lightning_genmodels._lightning import (
    CheckpointNeutralCLI,
    allow_unused_parameters,
    keep_counts_whole,
    keep_metrics,
)


def test_allow_unused_parameters_reaches_ddp_and_leaves_a_users_choice():
    plain, chosen = DDPStrategy(), DDPStrategy(find_unused_parameters=False)
    for strategy in (plain, chosen, SingleDeviceStrategy()):
        allow_unused_parameters(strategy)
    assert plain._ddp_kwargs["find_unused_parameters"] is True
    assert chosen._ddp_kwargs["find_unused_parameters"] is False


def test_keep_metrics_goes_on_behind_the_checkpoint(tmp_path, recwarn):
    first = CSVLogger(tmp_path, "", "")
    for step in range(5):
        first.log_metrics({"train/a": float(step)}, step)
    first.save()
    second = CSVLogger(tmp_path, "", "", flush_logs_every_n_steps=1)
    keep_metrics(second, before_step=3)
    second.log_metrics({"train/a": 30.0, "val/b": 1.0}, 3)
    second.save()
    rows = list(csv.DictReader((tmp_path / "metrics.csv").open()))
    assert [(r["step"], r["train/a"], r["val/b"]) for r in rows] == [
        ("0", "0.0", ""), ("1", "1.0", ""), ("2", "2.0", ""), ("3", "30.0", "1.0")]  # fmt: skip
    assert not [w for w in recwarn if "not empty" in str(w.message)]


def test_keep_metrics_without_an_earlier_file_starts_one(tmp_path):
    logger = CSVLogger(tmp_path, "", "")
    keep_metrics(logger, before_step=3)
    logger.log_metrics({"a": 1.0}, 0)
    logger.save()
    assert "a" in (tmp_path / "metrics.csv").read_text()


def test_keep_counts_whole_tells_one_batch_from_all():
    parser = LightningArgumentParser()
    parser.add_lightning_class_args(Trainer, "trainer")
    keep_counts_whole(parser)
    for word, value in (("1", 1), ("3", 3), ("1.0", 1.0), ("0.25", 0.25)):
        found = parser.parse_args(["--trainer.limit_val_batches", word]).trainer.limit_val_batches
        assert found == value
        assert type(found) is type(value)


def test_checkpoint_neutral_cli_lets_the_options_of_the_line_win(in_tmp):
    assert hasattr(LightningCLI, "_parse_ckpt_path")
    assert CheckpointNeutralCLI._parse_ckpt_path is not LightningCLI._parse_ckpt_path
    short = ("--trainer.max_steps", 2, "--trainer.accelerator", "cpu", "--trainer.enable_progress_bar", "false")
    assert genmodels("fit", *short) == 0
    last = "runs/gan_digits/0/checkpoints/last.ckpt"
    assert (
        genmodels(
            "fit",
            "--ckpt_path",
            last,
            "--model.latent_dim",
            64,
            "--model.ema_decay",
            0.5,
            *short,
            "--trainer.max_steps",
            4,
        )
        == 0
    )
    saved = torch.load("runs/gan_digits/1/checkpoints/last.ckpt", weights_only=True)
    assert saved["hyper_parameters"]["ema_decay"] == 0.5
