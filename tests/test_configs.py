"""Every packaged configuration runs through the real command line."""

import csv
from pathlib import Path

import pytest
import yaml
from command import QUIET, genmodels
from made_sets import write_sets

from lightning_genmodels import load_model
from lightning_genmodels.cli.configs import read_header
from lightning_genmodels.configs import packaged_configs

CONFIGS = packaged_configs()
DRAWN = ("DepthScenesDataModule", "ShapePairsDataModule")  # anew in every test
FEW = ("DFDIndoorDataModule", "FacadesDataModule", "NYUDepthDataModule")  # of which the made sets have 12 items


def test_configs_are_found():
    assert {"gan_digits", "dcgan_mnist", "autoencoder_digits"} <= CONFIGS.keys()


@pytest.mark.parametrize("name", CONFIGS)
def test_a_config_trains_validates_tests_and_predicts(name, in_tmp, monkeypatch, recwarn):
    monkeypatch.setenv("GENMODELS_DATA", str(in_tmp / "sets"))
    write_sets(in_tmp / "sets")
    config = yaml.safe_load(CONFIGS[name].read_text())
    short = ["--trainer.limit_train_batches", 2, "--trainer.log_every_n_steps", 1]
    short += ["--data.batch_size", 4 if config["data"]["class_path"] in FEW else 32]
    if "max_steps" in config["trainer"]:
        short += ["--trainer.max_steps", 4, "--trainer.val_check_interval", 2]
    else:
        short += ["--trainer.max_epochs", 2, "--trainer.check_val_every_n_epoch", 1]
    if config["data"]["class_path"] in DRAWN:
        short += ["--data.train_count", 100]
    if config["model"].get("init_args", {}).get("growing"):  # what has not grown has no best.ckpt
        short += ["--model.fade_images", 0, "--model.stable_images", 0]
    if "facades" in name:  # 54 million parameters at 256 pixels
        short += ["--data.image_size", 32, "--model.network_depth", 4, "--model.width", 8]
    if "stacked" in name:  # 10,000 stacks to validate with, and 26,000 to test
        short += [a for stage in ("val", "test", "predict") for a in (f"--trainer.limit_{stage}_batches", 2)]
    assert genmodels("fit", "--config", name, *short, *QUIET) == 0
    run = Path("runs", name, "0")
    checkpoint = run / "checkpoints/best.ckpt"
    metric, _ = load_model(checkpoint).best_metric
    assert [r["step"] for r in csv.DictReader((run / "metrics.csv").read_text().splitlines()) if r[metric]] == [
        "1",
        "3",
    ]
    assert {p.name.rpartition("-")[2] for p in (run / "pictures").iterdir()} == {"00000001.png", "00000003.png"}
    before = {p: p.read_bytes() for p in run.rglob("*") if p.is_file()}
    for command in ("validate", "test", "predict"):
        assert genmodels(command, "--ckpt_path", checkpoint) == 0
    assert any((run / "predictions").iterdir())
    assert {p: p.read_bytes() for p in before} == before, "an evaluation changed the run's files"
    shown = [str(w.message) for w in recwarn if not issubclass(w.category, DeprecationWarning)]
    # Lightning's of its own use of torch, and of what the test cut short.
    known = ("LeafSpec", "val/", "limit_train_batches")
    assert [message for message in shown if not any(k in message for k in known)] == []


@pytest.mark.parametrize("name", CONFIGS)
def test_a_config_states_score_budget_and_machine(name):
    header = read_header(CONFIGS[name].read_text())
    assert header.keys() == {"score", "budget", "machine"}
    assert not any("TODO" in line for line in header.values())
    assert any(c.isdigit() for c in header["score"])
    assert any(c.isdigit() for c in header["budget"])
