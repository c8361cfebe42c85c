import numpy as np
import pytest
import torch
from command import genmodels
from made_files import coordinates, save
from made_sets import small_module
from PIL import Image

from lightning_genmodels.cli.datasets import draw
from lightning_genmodels.pictures.plots import COLOURS


def check(*arguments):
    return genmodels("data", "check", *arguments)


def preview(*arguments):
    return genmodels("data", "preview", *arguments)


def error(capsys):
    told = capsys.readouterr().err.strip()
    assert told.startswith("genmodels: ")
    assert "\n" not in told
    return told.removeprefix("genmodels: ")


def drawn(path):
    return np.asarray(Image.open(path))


def test_check_of_a_set_without_a_fault(in_tmp, capsys):
    small_module("ImageFolderDataModule", in_tmp / "set")
    assert check("--data", "ImageFolderDataModule", "--data.data_dir", in_tmp / "set") == 0
    assert capsys.readouterr().out.splitlines()[-1] == (
        "ImageFolderDataModule: nothing is wrong with it: 10 train, 1 val, 1 test, 2 classes."
    )


def test_check_names_every_bad_file_in_a_sentence_of_its_own(in_tmp, capsys):
    small_module("ImageFolderDataModule", in_tmp / "set")
    (in_tmp / "set/a/4.png").write_bytes(b"")
    (in_tmp / "set/b/7.png").write_bytes(b"<html>")
    assert check("--data", "ImageFolderDataModule", "--data.data_dir", in_tmp / "set") == 2
    captured = capsys.readouterr()
    assert captured.out.splitlines() == [
        f"{in_tmp}/set/a/4.png is empty; expected a picture.",
        f"{in_tmp}/set/b/7.png is damaged or no picture (of no known format).",
    ]
    assert captured.err.splitlines()[-1] == ("genmodels: data check: 2 fault(s) in ImageFolderDataModule, named above.")


def test_check_of_a_missing_folder_says_so_once(in_tmp, capsys):
    assert check("--data", "ImageFolderDataModule", "--data.data_dir", "none") == 2
    assert capsys.readouterr().out.splitlines() == ["none is no folder; expected pictures in it."]


def test_set_smaller_than_a_batch_can_be_looked_at(in_tmp, capsys):
    arguments = ("--data", "ShapePairsDataModule", "--data.train_count", "5", "--output", "a.png")
    assert genmodels("data", "preview", *arguments) == 0
    assert "5 pairs of 64x64" in capsys.readouterr().out


def test_check_does_not_fetch_a_set(in_tmp, capsys, monkeypatch):
    monkeypatch.setattr("datamodules.facades.fetch_archive", lambda *args: pytest.fail("the network was asked"))
    assert check("--data", "FacadesDataModule", "--data.data_dir", in_tmp) == 2
    assert [line.split(";")[0] for line in capsys.readouterr().out.splitlines()] == [
        f"{in_tmp}/facades/{split} holds no pictures" for split in ("train", "val", "test")
    ]


@pytest.mark.parametrize("form", ["name", "path"])
def test_config_names_the_data(in_tmp, capsys, form):
    config = "gan_digits"
    if form == "path":
        config = in_tmp / "mine.yaml"
        config.write_text("data: {class_path: DigitsDataModule, init_args: {batch_size: 32}}\n")
    assert check("--config", config) == 0
    assert (
        "DigitsDataModule: nothing is wrong with it: 1,258 train, 359 val, 180 test, 10 classes."
        in capsys.readouterr().out
    )


def test_options_of_the_data_override_those_of_the_config(in_tmp, capsys):
    (in_tmp / "mine.yaml").write_text("data: {class_path: DigitsDataModule, init_args: {batch_size: 32}}\n")
    assert preview("--config", "mine.yaml", "--data.image_size", 16, "--count", 4, "--output", "a.png") == 0
    assert "4 images of 16x16" in capsys.readouterr().out


def test_preview_writes_a_grid_with_a_caption(in_tmp, capsys):
    assert preview("--data", "DigitsDataModule", "--data.image_size", 32, "--count", 9, "--output", "out/a.png") == 0
    assert capsys.readouterr().out.strip() == "9 images of 32x32: out/a.png"
    picture = drawn("out/a.png")
    assert picture.shape[0] == 3 * 34 + 2 + 20
    assert picture.shape[1] >= 3 * 34 + 2
    assert picture[2:34, 2:34].std() > 20


def test_preview_shows_pairs_side_by_side_as_the_model_sees_them(in_tmp, capsys):
    side = 32
    for number in range(8):
        a, b = coordinates(side, side, 0), coordinates(side, side, 200)
        save(in_tmp / f"set/train/{number}.png", torch.cat([a, b], 2))
    options = ("--data", "PairedImagesDataModule", "--data.data_dir", in_tmp / "set", "--data.image_size", 24,
               "--data.load_size", side, "--data.val_fraction", 0)  # fmt: skip
    assert preview(*options, "--count", 2, "--output", "a.png") == 0
    assert capsys.readouterr().out.splitlines()[-1] == "2 pairs of 24x24: a.png"
    picture = drawn("a.png")
    scale, cell = 2, 2 * 24 + 2
    assert picture.shape[0] == 2 * cell + 2 + 20
    source = picture[2 : 2 + 48 : scale, 2 : 2 + 48 : scale]
    target = picture[2 : 2 + 48 : scale, 2 + cell : 2 + cell + 48 : scale]
    assert (source[..., :2] == target[..., :2]).all()  # the same window and mirroring
    assert (set(source[..., 2].flat), set(target[..., 2].flat)) == ({0}, {200})


def test_preview_of_depth_says_its_range_in_metres(in_tmp, capsys):
    options = ("--data", "DepthScenesDataModule", "--data.train_count", 20, "--data.image_size", "[16, 32]")
    assert preview(*options, "--count", 4, "--output", "a.png") == 0
    told = capsys.readouterr().out.strip()
    assert told.startswith("4 pairs of 32x16, depth ")
    low, high = (float(word) for word in told.replace(" m", "").split() if word[0].isdigit() and "." in word)
    assert 0.3 < low < 3 < 6 < high <= 9
    assert drawn("a.png").shape[1] > 250  # as wide as its caption


def test_preview_of_classes_says_which_there_are(in_tmp, capsys):
    options = ("--data", "ShapePairsDataModule", "--data.direction", "AtoB", "--data.labels", "classes",
               "--data.train_count", 20)  # fmt: skip
    assert preview(*options, "--count", 6, "--output", "a.png") == 0
    assert capsys.readouterr().out.strip() == "6 pairs of 64x64, classes 0 to 5: a.png"


def test_preview_of_fewer_than_asked_for_shows_all(in_tmp, capsys):
    options = ("--data", "ShapePairsDataModule", "--data.train_count", 5, "--data.batch_size", 5)
    assert preview(*options, "--count", 50, "--output", "a.png") == 0
    assert capsys.readouterr().out.strip() == "5 pairs of 64x64: a.png"


@pytest.mark.parametrize(("options", "count"), [((), 2500), (("--count", 40), 40)])
def test_preview_of_points_draws_them_in_the_unit_square_by_mode(in_tmp, capsys, options, count):
    assert preview("--data", "RingDataModule", *options, "--output", "a.png") == 0
    assert capsys.readouterr().out.strip() == f"{count} points in the unit square: a.png"
    picture = drawn("a.png")[:512, :512]
    low, side = 0.05 * 512, 0.9 * 512  # of the square's frame
    assert (picture[round(low), round(low) : round(low + side)] == picture[round(low), round(low)]).all()
    inside = picture[30:480, 30:480]
    assert (inside != 255).any(-1).mean() < 0.04  # eight small heaps
    for mode in range(8):
        angle = mode * np.pi / 4
        row, column = (round(low + side * (0.5 + part / 3)) for part in (-np.sin(angle), np.cos(angle)))
        near = picture[row - 9 : row + 10, column - 9 : column + 10].reshape(-1, 3)
        assert (near == COLOURS[mode]).all(-1).any()


@pytest.mark.parametrize("others", [[], [torch.rand(3, 4)]], ids=["nothing", "attributes"])
def test_points_without_classes_are_drawn_in_one_colour(others):
    picture, text = draw([torch.full((3, 2, 1, 1), 0.5), *others], paired=False)
    assert text == "3 points in the unit square"
    assert tuple(picture[256, 256]) == COLOURS[0]


def test_depth_below_a_metre_is_depth():
    _, text = draw([torch.rand(2, 3, 8, 8), torch.full((2, 1, 8, 8), 0.5)], paired=True)
    assert text == "2 pairs of 8x8, depth 0.50 m (dark) to 0.50 m (bright), black: none"


def test_depth_without_any_measurement_is_drawn_black():
    picture, text = draw([torch.ones(1, 3, 32, 32), torch.zeros(1, 1, 32, 32)], paired=True)
    assert text == "1 pairs of 32x32, depth 0.00 m (dark) to 0.00 m (bright), black: none"
    assert (picture[2:34, 36:68] == 0).all()


def test_grey_pairs_are_pictures():
    picture, text = draw([torch.zeros(1, 1, 32, 32), torch.full((1, 1, 32, 32), 0.5)], paired=True)
    assert text == "1 pairs of 32x32"
    assert (picture[2:34, 36:68] == 128).all()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((), "data: nothing is no task; expected data check or data preview."),
        (("look",), "data: look is no task; expected data check or data preview."),
        (("check",), "data check: expected --data CLASS or --config NAME."),
        (("check", "--config", "none"), "--config none: neither a file nor a packaged configuration"),
        (("check", "--data", "Digits"), "data check: --data is Digits; expected one of "),
        (("check", "--data", "DigitsDataModule", "--data.image_sise", "8"),
         "data check: --data.image_sise: no such option of DigitsDataModule; did you mean image_size."),
        (("check", "--data", "DigitsDataModule", "--data.image_size", "9"),
         "DigitsDataModule: image_size is 9; expected 8, 16, 28 or 32."),
        (("check", "--data", "DigitsDataModule", "--data.image_size", "big"),
         "data check: --data.image_size is big; expected a whole number."),
        (("check", "--data", "DigitsDataModule", "--colour", "red"), "data check: --colour: no such option"),
        (("preview", "--data", "DigitsDataModule"), "preview: the following arguments are required: --output."),
        (("preview", "--data", "DigitsDataModule", "--output", "a.jpg"),
         "--output is a.jpg; expected a file name that ends in .png."),
        (("preview", "--data", "DigitsDataModule", "--output", "folder.png"),
         "--output is folder.png; expected a file name that ends in .png."),
        (("preview", "--data", "DigitsDataModule", "--output", "file/a.png"),
         "--output file/a.png cannot be written ("),
        (("preview", "--data", "DigitsDataModule", "--output", "a.png", "--count", "0"),
         "--count is 0; expected 1 or more."),
        (("preview", "--data", "DigitsDataModule", "--output", "a.png", "--count", "x"),
         "preview: argument --count: invalid int value: 'x'."),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_sentence_and_nothing_is_written(in_tmp, capsys, arguments, sentence):
    (in_tmp / "folder.png").mkdir()
    (in_tmp / "file").write_text("")
    assert genmodels("data", *arguments) == 2
    told = error(capsys)
    assert told.startswith(sentence) if not sentence.endswith(".") else told == sentence
    assert not (in_tmp / "a.png").exists()


def test_help_of_data_names_its_tasks(capsys):
    assert genmodels("data", "--help") == 0
    assert "genmodels data check | preview" in capsys.readouterr().out
