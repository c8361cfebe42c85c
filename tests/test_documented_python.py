"""Every block of Python in the pages is executed, with what it takes for granted and for fewer epochs."""

import pytest
import torch
import wandb
from command import QUIET, genmodels
from documents import blocks, pages
from lightning.pytorch import Trainer
from miniature import write_mnist
from torch.utils.data import DataLoader, TensorDataset

from datamodules import DigitsDataModule
from lightning_genmodels import GAN, Autoencoder
from lightning_genmodels.models.base import AdversarialModel

ELSEWHERE = {"docs/recipes.md", "docs/adding_a_model.md"}  # which have tests of their own
CODES = [
    (page, block.code)
    for page, text in pages().items()
    if page not in ELSEWHERE and not page.endswith(".py")  # the notebooks' answers are run by their own tests
    for block in blocks(text)
    if block.language == "python"
]


def images_and_labels():
    return DataLoader(TensorDataset(torch.rand(16, 1, 28, 28), torch.arange(16)), batch_size=8)


def a_trainer():
    return Trainer(accelerator="cpu", max_steps=2, logger=False, enable_checkpointing=False, limit_val_batches=1)


# What a block does not define -> how a reader has come to it.
GIVEN = {
    "loader": images_and_labels,
    "trainer": a_trainer,
    "your_module": lambda: Autoencoder((1, 28, 28), 4),
    "model": lambda: GAN((1, 8, 8)),
    "data": lambda: DigitsDataModule(batch_size=512),
    "AdversarialModel": lambda: AdversarialModel,
}


def test_there_are_such_blocks():
    assert {page for page, _ in CODES} == {"README.md", "docs/index.md", "docs/data.md", "docs/tracking.md"}


@pytest.mark.parametrize(("page", "code"), CODES, ids=[f"{page}-{number}" for number, (page, _) in enumerate(CODES)])
def test_a_block_of_python_runs(in_tmp, monkeypatch, page, code):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    write_mnist("data")
    if "runs/gan_digits/0" in code:
        short = ("--trainer.max_epochs", 1, "--trainer.check_val_every_n_epoch", 1, "--trainer.limit_train_batches", 2)
        assert genmodels("fit", "--config", "gan_digits", *short, *QUIET) == 0
    names = {name: give() for name, give in GIVEN.items()}
    try:
        exec(compile(code.replace("max_epochs=20", "max_epochs=2"), page, "exec"), names)
    finally:
        wandb.finish()
    if "rows = " in code:
        assert names["rows"]
    if "images = model.sample" in code:
        assert names["images"].shape == (64, 1, 28, 28)
    if "LabelledTable()" in code:
        assert (in_tmp / "last.ckpt").is_file()
        assert list(in_tmp.glob("logs/**/events*"))
        assert list(in_tmp.glob("wandb/offline-run-*"))
