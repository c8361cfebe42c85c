from pathlib import Path

import numpy as np
import pytest
import torch
from command import genmodels
from PIL import Image
from torch.utils.data import DataLoader
from toy import Toy, checkpoint_of
from toy import fit as fit_toy

from lightning_genmodels import StyleGAN, load_model
from lightning_genmodels.editing import mixing_grid
from lightning_genmodels.pictures import image_grid


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    torch.manual_seed(0)
    model = StyleGAN((3, 16, 16), latent_dim=8, width=8, mapping_depth=2)
    return checkpoint_of(model, tmp_path_factory.mktemp("mix") / "stylegan.ckpt")


def mix(checkpoint, *options, output="new/mixed.png"):
    assert genmodels("mix", "--checkpoint", checkpoint, "--output", output, *options) == 0
    return np.asarray(Image.open(output)).astype(int)


def by_hand(checkpoint, rows, columns, crossover, seed=0, truncation=1.0):
    generator = torch.Generator().manual_seed(seed)
    images = mixing_grid(load_model(checkpoint), rows, columns, crossover, generator=generator, truncation=truncation)
    return image_grid(images, columns + 1).astype(int)


def test_four_rows_and_six_columns_cross_at_half_of_the_layers(checkpoint, capsys):
    picture = mix(checkpoint)
    assert picture.shape == (5 * 34 + 2, 7 * 34 + 2, 3)
    assert np.abs(picture - by_hand(checkpoint, 4, 6, 3)).max() <= 1
    assert "4 coarse and 6 fine sources, crossover 3 of 6: new/mixed.png" in capsys.readouterr().out


def test_all_of_it_can_be_chosen(checkpoint):
    options = ("--rows", 2, "--columns", 1, "--crossover", 1, "--seed", 4, "--truncation", 0.5)
    assert np.abs(mix(checkpoint, *options) - by_hand(checkpoint, 2, 1, 1, 4, 0.5)).max() <= 1


def error_of(capsys, *arguments):
    assert genmodels("mix", *arguments) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    return line.removeprefix("genmodels: ")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--output", "a.gif"), "--output is a.gif; expected a file name that ends in .png."),
        (("--output", "a.png", "--rows", 0), "--rows is 0; expected 1 or more."),
        (("--output", "a.png", "--columns", -1), "--columns is -1; expected 1 or more."),
        (("--output", "a.png", "--crossover", 7), "--crossover is 7; expected 0 to 6, the number of layers."),
        (("--output", "a.png", "--crossover", -1), "--crossover is -1; expected 0 to 6, the number of layers."),
        (("--output", "a.png", "--truncation", 1.5), "--truncation is 1.5; expected 0 to 1."),
        (("--output", "text/a.png"), "--output text/a.png cannot be written (File exists)."),
    ],
)
def test_what_is_wrong_is_one_sentence(checkpoint, capsys, arguments, expected):
    Path("text").write_text("no folder")
    assert error_of(capsys, "--checkpoint", checkpoint, *arguments) == expected
    assert not Path("a.png").exists()


def test_a_model_without_styles_is_named(capsys):
    fit_toy(Toy(), DataLoader([(torch.randn(8, 3), torch.randn(8, 4))], batch_size=None)).save_checkpoint("toy.ckpt")
    assert error_of(capsys, "--checkpoint", "toy.ckpt", "--output", "a.png") == (
        "--checkpoint toy.ckpt has no styles: its model is Toy; expected a StyleGAN."
    )
