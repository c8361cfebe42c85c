from pathlib import Path

import numpy as np
import pytest
import torch
from command import genmodels
from made_files import coordinates, save
from PIL import Image
from safetensors.torch import load_file
from toy import checkpoint_of

from lightning_genmodels import GAN, StyleGAN, load_model
from lightning_genmodels.editing import images_of, project
from lightning_genmodels.metrics import DISTANCES, pyramid_distance
from lightning_genmodels.pictures import to_uint8

CELL, MARGIN = 32, 2  # an image of 16 pixels is drawn twice as large
STEPS = 4


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("project")
    return checkpoint_of(StyleGAN((3, 16, 16), latent_dim=8, width=8), folder / "styles.ckpt")


@pytest.fixture
def photo(in_tmp):
    save("photo.png", coordinates(40, 64, blue=200))
    return "photo.png"


def run(checkpoint, source, *options, output="out.png"):
    return genmodels(
        "project", "--checkpoint", checkpoint, "--input", source, "--output", output, "--steps", STEPS, *options
    )


def read_cells(path):
    """(rows, columns, 16, 16, 3)."""
    picture = np.asarray(Image.open(path))
    rows, columns = ((side - MARGIN) // (CELL + MARGIN) for side in picture.shape[:2])
    bands = [picture[MARGIN + row * (CELL + MARGIN) :][:CELL:2] for row in range(rows)]
    return np.array(
        [[band[:, MARGIN + column * (CELL + MARGIN) :][:, :CELL:2] for column in range(columns)] for band in bands]
    )


def as_cells(images):
    return to_uint8(images).permute(0, 2, 3, 1).numpy()


@pytest.mark.parametrize(("options", "shape"), [((), (1, 8)), (("--per_layer",), (1, 6, 8))])
def test_the_picture_stands_beside_its_projection_whose_style_is_in_a_file(checkpoint, photo, capsys, options, shape):
    assert run(checkpoint, photo, *options, output="new/out.PNG") == 0
    model = load_model(checkpoint)
    styles = load_file("new/out.safetensors")
    assert styles.keys() == {"styles"}
    assert styles["styles"].shape == shape
    cells = read_cells("new/out.PNG")
    assert cells.shape == (1, 2, 16, 16, 3)
    made = images_of(model, styles["styles"])
    assert np.abs(cells[:, 1].astype(int) - as_cells(made)).max() <= 1
    first, last = capsys.readouterr().out.splitlines()
    assert last == "1 picture: new/out.PNG, new/out.safetensors"
    assert first.startswith("photo.png: pyramid distance ")
    square = torch.from_numpy(cells[:, 0].copy()).permute(0, 3, 1, 2) / 255
    assert float(first.split()[-1]) == pytest.approx(pyramid_distance(made, square).item(), rel=1e-3)
    # The seed and the steps are the ones asked for.
    again = project(model, square, steps=STEPS, per_layer=bool(options), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(again.styles, styles["styles"], rtol=1e-4, atol=1e-4)


def test_a_picture_is_cut_to_the_square_in_its_middle(checkpoint, photo):
    assert run(checkpoint, photo) == 0
    (cell,) = read_cells("out.png")[:, 0].astype(int)
    centres = (np.arange(16) + 0.5) * 40 / 16 - 0.5  # in pixels of the square
    inner = slice(1, 15)
    assert np.abs(cell[0, inner, 0] - (12 + centres[inner])).max() <= 1  # red is the column
    assert np.abs(cell[inner, 0, 1] - centres[inner]).max() <= 1  # green the row
    assert (cell[..., 2] == 200).all()


def test_each_picture_of_a_folder_becomes_what_it_becomes_alone(checkpoint, in_tmp, capsys):
    for number in range(10):  # more than are projected at a time
        save(f"faces/{number}.png", coordinates(16, 16, blue=25 * number))
    assert run(checkpoint, "faces", "--seed", 3) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == [*(f"faces/{number}.png" for number in range(10)), "10 pictures"]
    cells = read_cells("out.png")
    assert cells.shape[:2] == (10, 2)
    assert cells[:, 0, 0, 0, 2].tolist() == [25 * number for number in range(10)]
    styles = load_file("out.safetensors")["styles"]
    assert styles.shape == (10, 8)
    assert run(checkpoint, "faces/9.png", "--seed", 3, output="alone.png") == 0
    torch.testing.assert_close(load_file("alone.safetensors")["styles"], styles[9:], rtol=1e-3, atol=1e-3)
    assert run(checkpoint, "faces/9.png", "--seed", 4, output="other.png") == 0
    assert not torch.allclose(load_file("other.safetensors")["styles"], styles[9:], rtol=1e-3, atol=1e-3)


def test_the_distance_is_the_one_asked_for(checkpoint, photo, capsys, monkeypatch):
    monkeypatch.setitem(DISTANCES, "lpips", lambda x, y: (x - y).square().mean((1, 2, 3)) + 7)
    assert run(checkpoint, photo, "--distance", "lpips") == 0
    line = capsys.readouterr().out.splitlines()[0]
    assert line.startswith("photo.png: lpips distance 7.")


def test_a_grey_model_sees_a_colour_picture_in_grey(photo):
    torch.manual_seed(0)
    checkpoint_of(StyleGAN((1, 16, 16), latent_dim=8, width=8), "grey.ckpt")
    assert run("grey.ckpt", photo) == 0
    assert load_file("out.safetensors")["styles"].shape == (1, 8)


def error_of(capsys, *arguments):
    assert run(*arguments) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    return line.removeprefix("genmodels: ")


@pytest.mark.parametrize(
    ("source", "options", "said"),
    [
        ("photo.png", ("--steps", 0), "--steps is 0; expected 1 or more."),
        ("photo.png", ("--output", "a.jpg"), "--output is a.jpg; expected a file name that ends in .png."),
        ("photo.png", ("--output", "folder.png"), "--output is folder.png; expected a file name that ends in .png."),
        ("none.png", (), "--input none.png does not exist; expected a picture or a folder."),
        ("", (), "--input '' does not exist; expected a picture or a folder."),
        ("text.png", (), "text.png is damaged or no picture (of no known format)."),
        (
            "photo.png",
            ("--output", "photo.png"),
            "photo.png would be written over the picture photo.png; expected names of their own for all files.",
        ),
        ("photo.png", ("--output", "text.png/a.png"), "--output text.png/a.png cannot be written (File exists)."),
        ("photo.png", ("--output", "taken.png"), "taken.safetensors cannot be written (Is a directory)."),
        ("photo.png", ("--seed", -1), "--seed is -1; expected 0 to 2^63 - 1."),
    ],
)
def test_what_is_wrong_is_one_sentence(checkpoint, photo, capsys, source, options, said):
    for folder in ("folder.png", "taken.safetensors"):
        Path(folder).mkdir()
    Path("text.png").write_text("no picture")
    assert error_of(capsys, checkpoint, source, *options) == said


def test_a_place_that_cannot_be_written_is_named_before_the_search(checkpoint, photo, capsys, monkeypatch):
    monkeypatch.setattr("lightning_genmodels.cli.project.project_images", lambda *_, **__: pytest.fail("searched"))
    Path("text").write_text("no folder")
    said = "--output text/a.png cannot be written (File exists)."
    assert error_of(capsys, checkpoint, photo, "--output", "text/a.png") == said


def test_a_folder_without_pictures_and_an_unknown_distance_are_named(checkpoint, photo, capsys):
    Path("empty").mkdir()
    assert error_of(capsys, checkpoint, "empty").startswith("empty holds no pictures; expected files that end in .bmp,")
    assert error_of(capsys, checkpoint, photo, "--distance", "pixels").startswith(
        "project: argument --distance: invalid choice: 'pixels'"
    )


def test_a_model_without_styles_is_named(photo, capsys):
    checkpoint_of(GAN((1, 8, 8), network="mlp"), "gan.ckpt")
    assert error_of(capsys, "gan.ckpt", photo) == (
        "--checkpoint gan.ckpt has no styles: its model is GAN; expected a StyleGAN."
    )
