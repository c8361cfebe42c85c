import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from command import genmodels
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch.utils.data import DataLoader
from toy import Toy
from toy import fit as fit_toy

import lightning_genmodels.cli.edit as command
from datamodules.painted_digits import ATTRIBUTES
from lightning_genmodels import StyleGAN, load_model
from lightning_genmodels.editing import (
    attribute_direction,
    conditioned,
    deviation_along,
    draw_styles,
    images_of,
    move,
    train_classifier,
)
from lightning_genmodels.pictures import image_grid

# Colours are learned within a pass over the images, and are what an untrained generator's images differ in.
NAME = "ink_red"
CONFIG = "data:\n  class_path: PaintedDigitsDataModule\n  init_args:\n    copies: 1\n"
DIGITS = ("--data", "PaintedDigitsDataModule", "--data.copies", 1)
SAVED = "run/checkpoints/last.attributes.safetensors"
SAMPLES = 300
NAMES = ", ".join(ATTRIBUTES)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run whose checkpoint was edited once: its folder, the picture, and what was said."""
    folder = tmp_path_factory.mktemp("edit")
    run = folder / "run"
    (run / "checkpoints").mkdir(parents=True)
    (run / "config.yaml").write_text(CONFIG)
    torch.manual_seed(0)
    model = StyleGAN((3, 32, 32), latent_dim=16, width=8, mapping_depth=2)
    batch = (torch.rand(8, 3, 32, 32),)
    fit_toy(model, DataLoader([batch], batch_size=None)).save_checkpoint(run / "checkpoints/last.ckpt")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(command, "IMAGES_SHOWN", 1200)
        assert edit("--strength", 2) == 0
    return folder


@pytest.fixture
def run(finished, in_tmp, monkeypatch):
    """A copy of the run, in which training anew is a fault unless a test allows it."""
    shutil.copytree(finished / "run", in_tmp / "run")
    monkeypatch.setattr(command, "IMAGES_SHOWN", 1200)
    monkeypatch.setattr(command, "train_classifier", None)
    return in_tmp / "run"


def edit(*options, checkpoint="run/checkpoints/last.ckpt", output="out.png", name=NAME):
    words = ("--checkpoint", checkpoint, "--attribute", name, "--output", output, "--samples", SAMPLES)
    return genmodels("edit", *words, *options)


def read(path="out.png"):
    return np.asarray(Image.open(path)).astype(int)


def direction_of(*names, saved=SAVED):
    """The model, and the samples' directions of attributes as the file has them."""
    model = load_model("run/checkpoints/last.ckpt")
    samples = draw_styles(model, SAMPLES, torch.Generator().manual_seed(0))
    scores = load_file(saved)["scores"]
    assert scores.shape == (SAMPLES, len(ATTRIBUTES))
    return model, samples, *(attribute_direction(samples, scores[:, ATTRIBUTES.index(name)])[0] for name in names)


def drawn(model, styles, direction, deviation, strength):
    moved = [move(styles, direction, strength * column / 4, deviation) for column in range(5)]
    return image_grid(images_of(model, torch.stack(moved, 1).flatten(0, 1)), 5).astype(int)


# The picture


def test_each_row_goes_from_a_drawn_image_along_the_direction_of_the_attribute(finished, run):
    model, samples, direction = direction_of(NAME)
    styles = draw_styles(model, 8, torch.Generator().manual_seed(0))
    picture = read(finished / "out.png")
    assert picture.shape == (8 * 34 + 2, 5 * 34 + 2, 3)
    expected = drawn(model, styles, direction, deviation_along(samples, direction), 2)
    assert np.abs(picture - expected).max() <= 1
    assert np.abs(picture[:, 2:34] - picture[:, 138:170]).max() > 5


def test_the_attribute_comes_with_a_positive_strength_and_goes_with_a_negative_one(run, capsys):
    found = []
    for strength in (3, -3):
        assert edit("--strength", strength) == 0
        told = capsys.readouterr().out
        found.append([float(x) for x in re.search(
            r"reads it: (.*) in the first column, (.*) in the last", told).groups()])  # fmt: skip
        assert f"8 images, strength 0 to {strength}: out.png" in told
    assert found[0][0] == found[1][0]
    assert found[1][1] < found[1][0] < found[0][1]


def test_seed_count_and_truncation_choose_the_images_and_not_the_direction(run):
    assert edit("--strength", 1, "--seed", 5, "--count", 3, "--truncation", 0.5) == 0
    model, samples, direction = direction_of(NAME)
    styles = draw_styles(model, 3, torch.Generator().manual_seed(5), 0.5)
    expected = drawn(model, styles, direction, deviation_along(samples, direction), 1)
    assert np.abs(read() - expected).max() <= 1


@pytest.mark.parametrize("layered", [False, True])
def test_styles_of_a_file_are_edited_all_of_them_unless_told(run, layered):
    model, samples, direction = direction_of(NAME)
    styles = draw_styles(model, 3, torch.Generator().manual_seed(9))
    if layered:
        styles = styles[:, None] + 0.1 * torch.randn(3, model.style_layers, 16)
    save_file({"styles": styles}, "mine.safetensors")
    assert edit("--strength", 1, "--styles", "mine.safetensors") == 0
    expected = drawn(model, styles, direction, deviation_along(samples, direction), 1)
    assert np.abs(read() - expected).max() <= 1
    assert edit("--strength", 1, "--styles", "mine.safetensors", "--count", 2) == 0
    assert np.abs(read() - expected[: 2 * 34 + 2]).max() <= 1


def test_attributes_can_be_kept(run):
    assert edit("--strength", 2, "--keep", "ground_red,ink_green") == 0
    model, samples, direction, *others = direction_of(NAME, "ground_red", "ink_green")
    kept = conditioned(direction, others)
    styles = draw_styles(model, 8, torch.Generator().manual_seed(0))
    expected = drawn(model, styles, kept, deviation_along(samples, kept), 2)
    assert np.abs(read() - expected).max() <= 1
    assert np.abs(read() - drawn(model, styles, direction, deviation_along(samples, direction), 2)).max() > 5


# The file beside the checkpoint


def test_the_file_says_what_it_holds(run):
    with safe_open(SAVED, "pt") as file:
        metadata = file.metadata()
    assert json.loads(metadata["names"]) == list(ATTRIBUTES)
    assert json.loads(metadata["image_shape"]) == [3, 32, 32]
    assert metadata["data"] == "the run's data"
    tensors = load_file(SAVED)
    right, frequent = (tensors[key][ATTRIBUTES.index(NAME)] for key in ("right", "frequent"))
    assert frequent < 0.7 < 0.9 < right


def test_a_second_call_neither_trains_nor_reads_samples_nor_needs_data(finished, run, capsys, monkeypatch):
    (run / "config.yaml").unlink()
    before = Path(SAVED).read_bytes()
    monkeypatch.setattr(command, "data_of", None)
    assert edit("--strength", 2) == 0
    told = capsys.readouterr().out
    assert f"{SAVED}: a classifier of 9 attributes, which learned from the run's data" in told
    assert "Read" not in told
    assert "learns" not in told
    assert Path(SAVED).read_bytes() == before
    assert np.array_equal(read(), read(finished / "out.png"))


def test_samples_of_another_checkpoint_or_number_are_read_anew_by_the_same_classifier(run, capsys):
    before = load_file(SAVED)
    checkpoint = torch.load("run/checkpoints/last.ckpt", weights_only=True)
    for name, weight in checkpoint["state_dict"].items():
        if "to_image" in name:
            weight.mul_(1.1)
    torch.save(checkpoint, "run/checkpoints/last.ckpt")
    assert edit("--strength", 2) == 0
    assert f"Read {SAMPLES} samples" in capsys.readouterr().out
    after = load_file(SAVED)
    assert not torch.equal(after["scores"], before["scores"])
    assert all(torch.equal(after[key], before[key]) for key in before if key != "scores")
    assert edit("--strength", 2, "--samples", SAMPLES + 1) == 0
    assert f"Read {SAMPLES + 1} samples" in capsys.readouterr().out
    torch.testing.assert_close(load_file(SAVED)["scores"][:SAMPLES], after["scores"], rtol=0, atol=1e-3)


def test_other_data_train_anew_and_the_same_ones_do_not(run, capsys, monkeypatch, finished):
    trained = []

    def count(*arguments, **options):
        trained.append(options["epochs"])
        return train_classifier(*arguments, **options)

    monkeypatch.setattr(command, "train_classifier", count)
    for _ in range(2):
        assert edit("--strength", 2, *DIGITS) == 0
        assert trained == [1]
    told = capsys.readouterr().out
    assert re.search(r"A classifier learns 9 attributes of 1\d\d\d images\nIt took \d+ s, and \d\d.\d % of all", told)
    assert "which learned from --data PaintedDigitsDataModule --data.copies 1" in told
    assert np.array_equal(read(), read(finished / "out.png"))  # these are the run's own data


def test_where_the_file_cannot_be_written_the_picture_still_is(finished, run, capsys, monkeypatch):
    monkeypatch.setattr(command, "train_classifier", train_classifier)
    Path(SAVED).unlink()
    Path(SAVED).mkdir()
    assert edit("--strength", 2) == 0
    assert f"{SAVED} cannot be written (Is a directory): the next call will begin anew" in capsys.readouterr().out
    assert np.array_equal(read(), read(finished / "out.png"))
    assert {path.name for path in Path("run/checkpoints").iterdir()} == {"last.ckpt", Path(SAVED).name}


# What is wrong with the input


def error_of(capsys, *arguments, **options):
    assert edit(*arguments, **options) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert not Path("a.png").exists()
    return line.removeprefix("genmodels: ")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--strength", 0), "--strength is 0; expected a number above or below 0, such as 2."),
        (("--strength", "nan"), "--strength is nan; expected a number above or below 0, such as 2."),
        (("--strength", 1, "--output", "a.gif"), "--output is a.gif; expected a file name that ends in .png."),
        (("--strength", 1, "--count", 0), "--count is 0; expected 1 or more."),
        (("--strength", 1, "--samples", 99), "--samples is 99; expected 100 or more."),
        (("--strength", 1, "--truncation", -1), "--truncation is -1.0; expected 0 to 1."),
        (
            ("--strength", 1, "--truncation", 0.5, "--styles", "a.safetensors"),
            "--truncation is of drawn styles, and --styles names others; expected one of them.",
        ),
        (("--strength", 1, "--colour", "red"), "edit: unrecognized arguments: --colour red."),
        (("--strength", 1, "--data.copies", 1), "edit: unrecognized arguments: --data.copies 1."),
        (
            ("--strength", 1, "--config", "run/config.yaml", *DIGITS),
            "--data and --config both say which data to take; expected one of them.",
        ),
        (
            ("--strength", 1, "--attribute", "Ink_red"),
            "--attribute has 'Ink_red' (did you mean ink_red?); expected what last.attributes.safetensors has: "
            f"{NAMES}.",
        ),
        (
            ("--strength", 1, "--attribute", "Bald", *DIGITS, "--data.val_fraction", 0.2),
            f"--attribute has 'Bald'; expected what PaintedDigitsDataModule has: {NAMES}.",
        ),
        (
            ("--strength", 1, "--keep", "slant,Bald"),
            f"--keep has 'Bald'; expected what last.attributes.safetensors has: {NAMES}.",
        ),
        (("--strength", 1, "--keep", NAME), f"--keep has '{NAME}', the --attribute to change; expected others."),
        (
            ("--strength", 1, "--data", "DigitsDataModule"),
            "DigitsDataModule holds no attributes; expected attribute_names, and batches of images and attributes, "
            "float (N, A).",
        ),
        (("--strength", 1, *DIGITS, "--data.colour", "red"), "edit: --data.colour: no such option"),
        (
            ("--strength", 1, "--attribute", "slant", "--output", "a.png"),
            "slant is there in 0 of 300 samples; expected at least 10 with it and 10 without it.",
        ),
        (("--strength", 1, "--styles", "none"), "--styles none cannot be read ("),
        (("--strength", 1, "--styles", "run/config.yaml"), "--styles run/config.yaml cannot be read ("),
        (
            ("--strength", 1, "--styles", "other"),
            "--styles other holds no styles; expected (N, 16) or (N, 8, 16), as this checkpoint has them.",
        ),
        (
            ("--strength", 1, "--styles", "short"),
            "--styles short holds styles of (2, 8); expected (N, 16) or (N, 8, 16), as this checkpoint has them.",
        ),
        (
            ("--strength", 1, "--styles", "broken"),
            "--styles broken holds styles that are not finite; expected numbers.",
        ),
        (("--strength", 1, "--output", "text/a.png"), "--output text/a.png cannot be written (File exists)."),
    ],
)
def test_what_is_wrong_is_one_sentence(run, capsys, arguments, expected):
    Path("text").write_text("no folder")
    save_file({"latents": torch.zeros(2, 16)}, "other")
    save_file({"styles": torch.zeros(2, 8)}, "short")
    save_file({"styles": torch.full((2, 16), torch.nan)}, "broken")
    error = error_of(capsys, *arguments)
    assert error.startswith(expected)
    assert len(error) == len(expected) or not expected.endswith(".")


def test_a_damaged_file_is_named(run, capsys):
    expected = f"{SAVED} is damaged or not of genmodels edit; expected what it writes: without the file it trains anew."
    whole = Path(SAVED).read_bytes()
    for content in (b"", whole[: len(whole) // 2]):
        Path(SAVED).write_bytes(content)
        assert error_of(capsys, "--strength", 1) == expected
    save_file({"styles": torch.zeros(2)}, SAVED)
    assert error_of(capsys, "--strength", 1) == expected


def test_data_whose_batches_hold_classes_have_no_attributes(run, capsys):
    Path("classes_only.py").write_text(
        "from datamodules import PaintedDigitsDataModule\n"
        "class Classes(PaintedDigitsDataModule):\n"
        "    def to_float(self, batch):\n"
        "        return batch.image.float() / 255, batch.label[:, 0].long()\n"
    )
    assert error_of(capsys, "--strength", 1, "--data", "classes_only.Classes") == (
        "the data hold no attributes; expected batches of images and attributes, float (N, A)."
    )


def test_a_checkpoint_alone_needs_data(run, capsys):
    shutil.copy("run/checkpoints/last.ckpt", "alone.ckpt")
    assert error_of(capsys, "--strength", 1, checkpoint="alone.ckpt") == (
        "--checkpoint alone.ckpt lies in no run's folder, so nothing says which data to take; expected --config with a "
        "packaged name or a path."
    )


def test_a_model_without_styles_is_named(capsys):
    fit_toy(Toy(), DataLoader([(torch.randn(8, 3), torch.randn(8, 4))], batch_size=None)).save_checkpoint("toy.ckpt")
    assert error_of(capsys, "--strength", 1, checkpoint="toy.ckpt") == (
        "--checkpoint toy.ckpt has no styles: its model is Toy; expected a StyleGAN."
    )
