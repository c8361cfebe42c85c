"""The recipes of docs/recipes.md, run as they are printed."""

import io
import re
import runpy
import sys
from pathlib import Path

import pytest
import torch
import yaml
from command import genmodels
from documents import ROOT, blocks, commands_of
from PIL import Image

from datamodules import DigitsDataModule
from lightning_genmodels import VAE, load_model

PAGE = (ROOT / "docs/recipes.md").read_text()
SECTIONS = {text.splitlines()[0]: blocks(text) for text in PAGE.split("\n## ")[1:]}
CODES = [block.code for found in SECTIONS.values() for block in found if block.language == "python"]


def write_files(section):
    for block in SECTIONS[section]:
        if block.file:
            Path(block.file).write_text(block.code)


@pytest.fixture
def run(in_tmp, monkeypatch):
    """Runs a section as a reader would: a block that names its file is written there, the others are executed."""
    monkeypatch.syspath_prepend(str(in_tmp))
    monkeypatch.delitem(sys.modules, "my_gan", raising=False)

    def run(section):
        torch.manual_seed(0)
        spaces = []
        write_files(section)
        for block in SECTIONS[section]:
            if block.language == "python" and not block.file:
                Path("block.py").write_text(block.code)
                spaces.append(runpy.run_path("block.py", run_name="__main__"))
            for command, *words in commands_of(block):
                assert command == "genmodels"
                assert genmodels(*words) == 0, words
        return spaces

    yield run
    sys.modules.pop("my_gan", None)


def digits(split):
    data = DigitsDataModule(batch_size=100)
    data.setup()
    parts = [data.to_float(batch) for batch in getattr(data, f"{split}_dataloader")()]
    return [torch.cat(part) for part in zip(*parts, strict=True)]


def test_the_recipes_are_found():
    assert len(CODES) >= 9
    assert len({text for text, found in SECTIONS.items() if found}) == 8


@pytest.mark.parametrize("code", CODES, ids=range(len(CODES)))
def test_a_recipe_has_fewer_than_20_lines(code):
    assert len([line for line in code.splitlines() if line.strip()]) < 20


def test_our_model_learns_from_your_data(run):
    (space,) = run("Our model, your data")
    model, images = space["model"], space["images"]
    assert model.trainer.global_step == 5 * (1797 // 64)
    assert images.shape == (16, 1, 8, 8)
    assert 0 <= images.min() < images.max() <= 1
    real, _ = digits("train")
    untrained = VAE(image_shape=(1, 8, 8)).sample(500)
    nearness = [(drawn.mean(0) - real.mean(0)).abs().mean() for drawn in (model.sample(500), untrained)]
    assert nearness[0] < 0.2 * nearness[1]


def test_your_data_gives_the_command_line_its_image_shape(run):
    (block,) = SECTIONS["Our model, your data"]
    head = "class MyDigits(LightningDataModule):\n"
    lines = block.code.partition("\n\n\nmodel = ")[0].replace(head, f"{head}    image_shape = (1, 8, 8)\n\n")
    Path("my_digits.py").write_text(lines)
    assert "--data my_digits.MyDigits" in PAGE
    assert genmodels("fit", "--model", "VAE", "--data", "my_digits.MyDigits", "--trainer.max_steps", 2) == 0
    assert load_model("runs/vae_mydigits/0/checkpoints/last.ckpt").image_shape == (1, 8, 8)


def test_your_model_learns_from_our_data(run):
    trained, looped = run("Our data, your model")
    images, labels = digits("test")
    assert (trained["model"].network(images).argmax(1) == labels).float().mean() > 0.85
    assert looped["images"].shape == (100, 1, 8, 8)
    assert 0 <= looped["images"].min() < looped["images"].max() <= 1
    assert looped["labels"].dtype == torch.int64


def test_our_loss_teaches_your_generator(run):
    (space,) = run("Our loss in your loop")
    points = space["generator"](torch.randn(2000, 2))
    assert (points.mean(0) - 2).abs().max() < 0.35
    assert ((points.std(0) - 0.5).abs() < 0.35).all()


def test_our_metrics_are_collected(run):
    generated, depth = run("Our metric in a collection of torchmetrics")
    scores = generated["scores"].compute()
    assert set(scores) == {"fid_digits", "precision", "recall", "density", "coverage"}
    assert scores["fid_digits"] > 0
    # Two draws of the same noise cannot be told apart.
    assert scores["coverage"] > 0.9
    errors = depth["errors"].compute()
    assert errors["MeanAbsoluteError"] == pytest.approx(0.1, abs=1e-5)
    assert errors["rms"] == pytest.approx(0.1, abs=1e-5)


def test_a_generator_of_your_own_from_python_and_from_a_yaml(run):
    (space,) = run("A generator of your own")
    made_in_python = load_model("my_gan.ckpt")
    for model in (space["model"], made_in_python, load_model("runs/my_gan/0/checkpoints/last.ckpt"),
                  load_model("runs/mygan_digits/0/checkpoints/last.ckpt")):  # fmt: skip
        assert type(model).__name__ == "MyGAN"
        assert model.generator[0].out_features == 64
        assert model.sample(3).shape == (3, 1, 8, 8)
    options = yaml.safe_load(Path("runs/my_gan/0/config.yaml").read_text())["model"]["init_args"]
    assert (options["width"], options["adversarial_loss"]) == (64, "least_squares")
    assert Image.open("grid.png").size == (8 * 34 + 2, 8 * 34 + 2)
    assert genmodels("fit", "--resume", "runs/my_gan/0", "--trainer.max_epochs", 3) == 0
    assert torch.load("runs/my_gan/0/checkpoints/last.ckpt", weights_only=True)["epoch"] == 2


def test_our_pictures_of_your_model(run):
    run("Our pictures of your model")
    (path,) = Path("pictures").iterdir()
    assert re.fullmatch(r"samples-\d{8}\.png", path.name)
    assert Image.open(path).size == (4 * 34 + 2, 4 * 34 + 2)


def test_a_service_draws_from_a_checkpoint(run):
    write_files("A generator of your own")
    assert genmodels("fit", "--config", "my_gan.yaml", "--trainer.max_steps", 2) == 0
    (space,) = run("A checkpoint in a service")
    assert not space["model"].training
    first, again, other = (space["png_of"](9, seed) for seed in (0, 0, 1))
    assert Image.open(io.BytesIO(first)).size == (3 * 34 + 2, 3 * 34 + 2)
    assert first == again
    assert first != other
