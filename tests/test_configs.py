"""Every packaged configuration runs through the real command line."""

import csv
from pathlib import Path

import pytest
from command import QUIET, genmodels
from miniature import write_mnist

from lightning_genmodels import load_model
from lightning_genmodels.cli.configs import read_header
from lightning_genmodels.configs import packaged_configs

CONFIGS = packaged_configs()


def test_configs_are_found():
    assert {"gan_digits", "dcgan_mnist", "autoencoder_digits"} <= CONFIGS.keys()


@pytest.mark.parametrize("name", CONFIGS)
def test_a_config_trains_validates_tests_and_predicts(name, in_tmp, monkeypatch, recwarn):
    monkeypatch.setenv("GENMODELS_DATA", str(in_tmp / "sets"))
    write_mnist(in_tmp / "sets")
    short = ("--trainer.limit_train_batches", 2, "--trainer.max_epochs", 2, "--trainer.check_val_every_n_epoch", 1,
             "--trainer.log_every_n_steps", 1, "--data.batch_size", 32)  # fmt: skip
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
