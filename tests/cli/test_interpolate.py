from pathlib import Path

import numpy as np
import pytest
import torch
from command import fit, genmodels
from miniature import write_mnist
from PIL import Image, ImageSequence
from torch.utils.data import DataLoader
from toy import Toy
from toy import fit as fit_toy

from datamodules import DigitsDataModule
from lightning_genmodels import VAE, Autoencoder, load_model
from lightning_genmodels.pictures import image_grid, to_uint8

CELL, MARGIN = 32, 2  # an 8x8 image is drawn as 32x32, with two pixels between
DIGITS = ("--data", "DigitsDataModule")
LAST = "0/checkpoints/last.ckpt"


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A folder with a few runs, the autoencoders' long enough for images that differ."""
    folder = tmp_path_factory.mktemp("interpolate")
    long = ("--trainer.max_epochs", 8, "--trainer.check_val_every_n_epoch", 8, "--model.learning_rate", 5e-3)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        fit("--model", "Autoencoder", *DIGITS, *long)
        fit("--model", "VAE", *DIGITS, *long)
        fit("--config", "gan_digits", "--trainer.max_steps", 5, "--model.init_args.ema_decay", 0.1)
    return folder / "runs"


@pytest.fixture(scope="module")
def autoencoder(runs):
    return runs / "autoencoder_digits" / LAST


@pytest.fixture(scope="module")
def test_images():
    images, _ = DigitsDataModule().load(train=False)
    return images.float() / 255


def interpolate(checkpoint, *options, output="out.png"):
    assert genmodels("interpolate", "--checkpoint", checkpoint, "--output", output, *options) == 0
    return Path(output)


def read_cells(picture, cell=CELL):
    """(rows, columns, height, width) of one channel, each image in its own pixels."""
    picture = np.asarray(picture)[..., 0]
    rows, columns = ((side - MARGIN) // (cell + MARGIN) for side in picture.shape)
    corners = [
        [(MARGIN + r * (cell + MARGIN), MARGIN + c * (cell + MARGIN)) for c in range(columns)] for r in range(rows)
    ]
    return np.array([[picture[y : y + cell : 4, x : x + cell : 4] for y, x in row] for row in corners])


def read_png(path):
    return read_cells(Image.open(path))


def as_bytes(images):
    return to_uint8(images)[:, 0].numpy().astype(int)


def places_in(cells, images):
    """Which of the images each cell shows, within the rounding of another batch."""
    distances = np.abs(cells[:, None].astype(int) - as_bytes(images)[None]).max((2, 3))
    assert distances.min(1).max() <= 1
    return distances.argmin(1)


def save(model, path, batch=None):
    """A checkpoint without a run."""
    batch = (torch.rand(4, *model.image_shape),) if batch is None else batch
    fit_toy(model, DataLoader([batch], batch_size=None)).save_checkpoint(path)
    return path


# The picture


@pytest.mark.parametrize("name", ["autoencoder", "vae"])
def test_each_row_goes_from_the_reconstruction_of_one_test_image_to_that_of_another(runs, test_images, name):
    checkpoint = runs / f"{name}_digits" / LAST
    cells = read_png(interpolate(checkpoint, "--count", 5, "--steps", 7))
    assert cells.shape == (5, 7, 8, 8)
    model = load_model(checkpoint)
    drawn = model.reconstruct(test_images)
    first, last = places_in(cells[:, 0], drawn), places_in(cells[:, -1], drawn)
    assert len({*first, *last}) == 10
    with torch.no_grad():
        path = model.interpolate(model.encode(test_images[first]), model.encode(test_images[last]), 7)
    assert np.abs(cells.reshape(-1, 8, 8).astype(int) - as_bytes(path.flatten(0, 1))).max() <= 1
    # All the way they are as different as digits are.
    assert np.abs(np.diff(cells.astype(int), axis=1)).max((2, 3)).min() > 0


def test_a_gans_rows_go_from_one_sample_to_another(runs):
    checkpoint = runs / "gan_digits" / LAST
    cells = read_png(interpolate(checkpoint, "--count", 3, "--steps", 4, "--seed", 5))
    model = load_model(checkpoint)
    samples = model.sample(6, generator=torch.Generator().manual_seed(5))  # those of `genmodels sample --seed 5`
    assert [*places_in(cells[:, 0], samples)] == [0, 1, 2]
    assert [*places_in(cells[:, -1], samples)] == [3, 4, 5]
    assert len(np.unique(cells.reshape(12, -1), axis=0)) == 12


def test_eight_pairs_of_twelve_steps_are_drawn_unless_told(autoencoder, capsys):
    assert read_png(interpolate(autoencoder, output="new/folder/a.PNG")).shape == (8, 12, 8, 8)
    assert "8 pairs, 12 steps: new/folder/a.PNG" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["autoencoder", "gan"])
def test_the_seed_decides_and_nothing_else_is_drawn(runs, name):
    checkpoint = runs / f"{name}_digits" / LAST
    pictures = [interpolate(checkpoint, "--seed", seed, "--count", 3).read_bytes() for seed in (0, 0, 1)]
    assert pictures[0] == pictures[1] != pictures[2]


def test_all_test_images_can_be_used_in_pairs(autoencoder, test_images):
    cells = read_png(interpolate(autoencoder, "--count", 90, "--steps", 2))
    found = places_in(cells.reshape(180, 8, 8), load_model(autoencoder).reconstruct(test_images))
    assert sorted(found) == [*range(180)]


def test_an_animation_goes_there_and_back(autoencoder):
    cells = read_png(interpolate(autoencoder, "--count", 3, "--steps", 5))
    with Image.open(interpolate(autoencoder, "--count", 3, "--steps", 5, output="out.gif")) as image:
        assert image.info["loop"] == 0
        frames = [frame.convert("RGB") for frame in ImageSequence.Iterator(image)]
    assert len(frames) == 8
    for frame, step in zip(frames, [0, 1, 2, 3, 4, 3, 2, 1], strict=True):
        expected = image_grid(torch.from_numpy(cells[:, step]).unsqueeze(1) / 255)  # the three pairs at this step
        assert np.abs(np.asarray(frame).astype(int) - expected).max() <= 1


def test_a_webp_is_the_same_animation(autoencoder):
    with Image.open(interpolate(autoencoder, "--count", 3, "--steps", 5, output="out.webp")) as image:
        assert (image.format, image.n_frames) == ("WEBP", 8)


def test_an_animation_of_two_steps_has_two_frames(autoencoder):
    with Image.open(interpolate(autoencoder, "--count", 1, "--steps", 2, output="out.gif")) as image:
        assert image.n_frames == 2


# Which data


def test_the_data_are_those_of_the_runs_own_configuration(in_tmp):
    fit("--model", "Autoencoder", *DIGITS, "--data.image_size", 16, "--trainer.max_steps", 1)
    Path("runs").rename("elsewhere")
    path = interpolate(f"elsewhere/autoencoder_digits/{LAST}", "--count", 2, "--steps", 3)
    assert Image.open(path).size == (3 * 34 + 2, 2 * 34 + 2)


def test_other_data_can_be_named_by_a_configuration_and_their_folder(in_tmp):
    write_mnist(in_tmp / "all_data", train=20, test=8)
    Path("mine.yaml").write_text(
        "data:\n  class_path: MNISTDataModule\n  init_args:\n    download: false\n    data_dir: nowhere\n"
    )
    model = Autoencoder((1, 28, 28), latent_dim=3, hidden_sizes=())
    save(model, "alone.ckpt")
    path = interpolate("alone.ckpt", "--config", "mine.yaml", "--data_dir", "all_data", "--count", 4, "--steps", 2)
    assert Image.open(path).size == (2 * 58 + 2, 4 * 58 + 2)  # 28 pixels, enlarged twice


# Images of one's own


def write(name, pixels, mode="L"):
    image = Image.fromarray(pixels)
    image.convert(mode).save(name)
    return name


@pytest.fixture
def two_files(test_images):
    return [write(f"{n}.png", as_bytes(test_images)[n].astype(np.uint8)) for n in (0, 1)]


def test_the_two_files_are_the_ends_of_one_row(autoencoder, test_images, two_files):
    cells = read_png(interpolate(autoencoder, "--images", *two_files, "--steps", 4))
    assert cells.shape == (1, 4, 8, 8)
    drawn = load_model(autoencoder).reconstruct(test_images[:2])
    assert [*places_in(cells[0, [0, -1]], drawn)] == [0, 1]
    back = read_png(interpolate(autoencoder, "--images", *two_files[::-1], "--steps", 4))
    assert np.abs(back[0, ::-1].astype(int) - cells[0]).max() <= 1


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "P", "CMYK"])
def test_files_in_colour_or_with_an_opaque_alpha_channel_are_read_as_grey(autoencoder, test_images, two_files, mode):
    if mode == "CMYK":
        names = [str(Path(name).with_suffix(".tif")) for name in two_files]
    else:
        names = [f"{mode}-{name}" for name in two_files]
    for name, image in zip(names, as_bytes(test_images)[:2], strict=True):
        write(name, image.astype(np.uint8), mode)
        assert Image.open(name).mode == mode
    plain = read_png(interpolate(autoencoder, "--images", *two_files))
    assert np.abs(read_png(interpolate(autoencoder, "--images", *names)).astype(int) - plain).max() <= 2


def test_a_file_of_another_size_is_resized(autoencoder):
    slope = torch.linspace(0, 1, 8).expand(1, 1, 8, 8)
    large = np.broadcast_to(
        (np.arange(40) - 2).clip(0, 35) / 35 * 255, (24, 40)
    )  # its pixels' centres at the same places
    names = [
        write("small.png", as_bytes(slope)[0].astype(np.uint8)),
        write("large.png", large.round().astype(np.uint8)),
    ]
    cells = read_png(interpolate(autoencoder, "--images", *names, "--steps", 2)).astype(int)
    assert np.abs(cells[0, 0] - cells[0, 1]).max() <= 8
    assert np.abs(cells[0, 0] - as_bytes(load_model(autoencoder).reconstruct(slope))[0]).max() <= 1


def test_a_model_of_colours_takes_them_and_grey_files_too(in_tmp):
    torch.manual_seed(0)
    # Ends that are the images themselves: the code is the pixels.
    model = Autoencoder((3, 4, 6), 72, hidden_sizes=(), output_activation="linear", learning_rate=1e-30)
    with torch.no_grad():
        for layer in (model.encoder.layer1, model.decoder.layer1):
            layer.weight.copy_(torch.eye(72))
            layer.bias.zero_()
    save(model, "colours.ckpt")
    pixels = np.random.default_rng(0).integers(256, size=(4, 6, 3), dtype=np.uint8)
    Image.fromarray(pixels).save("colour.png")
    Image.fromarray(pixels[..., 0]).save("grey.png")
    picture = np.asarray(Image.open(interpolate("colours.ckpt", "--images", "colour.png", "grey.png", "--steps", 2)))
    scale = 6  # the longer side reaches 32 pixels
    assert picture.shape == (4 * scale + 4, 2 * (6 * scale + 2) + 2, 3)
    found = [picture[2 : 2 + 4 * scale : scale, left : left + 6 * scale : scale] for left in (2, 4 + 6 * scale)]
    np.testing.assert_array_equal(found[0], pixels)
    np.testing.assert_array_equal(found[1], np.repeat(pixels[..., :1], 3, axis=2))


def test_a_file_of_sixteen_bits_keeps_its_greys(autoencoder, test_images, two_files):
    names = [f"wide-{name}" for name in two_files]
    for name, image in zip(names, as_bytes(test_images)[:2], strict=True):
        Image.fromarray((image * 257).astype(np.uint16)).save(name)
        assert Image.open(name).mode.startswith("I")
    plain = read_png(interpolate(autoencoder, "--images", *two_files))
    assert np.abs(read_png(interpolate(autoencoder, "--images", *names)).astype(int) - plain).max() <= 2


# What is wrong with the input


def error_of(capsys, *arguments):
    assert genmodels("interpolate", *arguments) == 2
    captured = capsys.readouterr().err.strip().splitlines()
    assert len(captured) == 1, captured
    return captured[0]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--output", "a.bmp"), "--output is a.bmp; expected a file name that ends in .png, .gif or .webp."),
        (("--output", "a"), "--output is a; expected a file name that ends in .png, .gif or .webp."),
        (("--output", "folder.png"), "--output is folder.png; expected a file name that ends in .png, .gif or .webp."),
        ((), "interpolate: the following arguments are required: --output."),
        (("--output", "text.png/a.png"), "--output text.png/a.png cannot be written (File exists)."),
        (("--output", "text.png/a.gif"), "--output text.png/a.gif cannot be written (File exists)."),
        (("--output", "a.png", "--count", 0), "--count is 0; expected 1 or more."),
        (("--output", "a.png", "--count", 91), "--count is 91; expected 90 or less, half the test images."),
        (("--output", "a.png", "--count", "x"), "interpolate: argument --count: invalid int value: 'x'."),
        (("--output", "a.png", "--steps", 1), "--steps is 1; expected 2 or more."),
        (("--output", "a.png", "--colour", "red"), "interpolate: unrecognized arguments: --colour red."),
        (("--output", "a.png", "--images", "a.png"), "interpolate: argument --images: expected 2 arguments."),
        (
            ("--output", "a.png", "--images", "text.png", "text.png"),
            "text.png is damaged or no picture (of no known format).",
        ),
        (
            ("--output", "a.png", "--images", "none.png", "text.png"),
            "none.png cannot be read (No such file or directory); expected a picture.",
        ),
        (
            ("--output", "a.png", "--images", "half.png", "half.png"),
            "half.png is damaged or no picture (image",
        ),
        (("--output", "a.png", "--device", "gpu9"), "--device gpu9 cannot be used ("),
        (
            ("--output", "a.png", "--config", "nowhere"),
            "--config nowhere: neither a file nor a packaged configuration;",
        ),
        (("--output", "a.png", "--config", "bad.yaml"), "--config bad.yaml: no valid YAML in line 2 ("),
        (
            ("--output", "a.png", "--config", "nodata.yaml"),
            "nodata.yaml names no data; expected the configuration of a training.",
        ),
        (
            ("--output", "a.png", "--config", "unknown.yaml"),
            "unknown.yaml: --data is Nowhere; expected one of CelebADataModule,",
        ),
        (
            ("--output", "a.png", "--config", "mnist.yaml"),
            "nowhere/MNIST/raw/train-images-idx3-ubyte (or its .gz) does not",
        ),
        (
            ("--output", "a.png", "--config", "mnist.yaml", "--data_dir", "other"),
            "other/MNIST/raw/train-images-idx3-ubyte (or its .gz) does not exist; expected the four original files of",
        ),
        (("--output", "a.png", "--config", "size.yaml"), "DigitsDataModule: image_size is 9;"),
        (("--output", "a.png", "--config", "empty.yaml"), "empty.yaml"),
        (("--output", "a.png", "--config", "larger.yaml"), "(1, 16, 16)"),
        (
            ("--output", "a.png", "--config", "short.yaml", "--data_dir", "other"),
            "short.yaml: --data.data_dir: no such option",
        ),
        (("--output", "a.png", "--seed", 2**70), "--seed is 1180591620717411303424; expected 0 to 2^63 - 1."),
        (
            ("--output", "a.png", "--images", "huge.png", "huge.png"),
            "huge.png is damaged or no picture (Image size (20000 pixels) exceeds limit",
        ),
    ],
)
def test_what_is_wrong_is_one_sentence(autoencoder, in_tmp, capsys, monkeypatch, arguments, expected):
    Path("folder.png").mkdir()
    Path("text.png").write_text("no picture")
    Image.fromarray(np.random.default_rng(0).integers(256, size=(30, 30), dtype=np.uint8)).save("whole.png")
    Path("half.png").write_bytes(Path("whole.png").read_bytes()[:300])
    Image.new("1", (20000, 1)).save("huge.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 5000)  # of these pixels Pillow refuses twice as many
    Path("bad.yaml").write_text("model: [1\ndata: 2\n")
    Path("nodata.yaml").write_text("model: GAN\n")
    Path("empty.yaml").write_text("model: GAN\ndata:\n")
    Path("short.yaml").write_text("data: DigitsDataModule\n")
    Path("unknown.yaml").write_text("data: Nowhere\n")
    for name, size in (("size", 9), ("larger", 16)):
        Path(f"{name}.yaml").write_text(
            f"data:\n  class_path: DigitsDataModule\n  init_args:\n    image_size: {size}\n"
        )
    Path("mnist.yaml").write_text(
        "data:\n  class_path: MNISTDataModule\n  init_args:\n    download: false\n    data_dir: nowhere\n"
    )
    error = error_of(capsys, "--checkpoint", autoencoder, *arguments)
    assert error.startswith("genmodels: ")
    assert expected in error
    assert not Path("a.png").exists()


def test_a_checkpoint_has_to_be_given_and_to_exist(in_tmp, capsys):
    error = error_of(capsys, "--output", "a.png")
    assert error == "genmodels: interpolate: the following arguments are required: --checkpoint."
    error = error_of(capsys, "--output", "a.png", "--checkpoint", "none.ckpt")
    assert error == "genmodels: checkpoint none.ckpt does not exist; expected a .ckpt file."


def test_a_checkpoint_without_its_runs_configuration_needs_another(autoencoder, in_tmp, capsys):
    Path("alone.ckpt").write_bytes(autoencoder.read_bytes())
    assert error_of(capsys, "--checkpoint", "alone.ckpt", "--output", "a.png") == (
        "genmodels: --checkpoint alone.ckpt lies in no run's folder, so nothing says which data to take; expected "
        "--config with a packaged name or a path."
    )
    interpolate("alone.ckpt", "--config", "gan_digits", "--count", 1)


def test_neither_images_nor_a_gan_need_data(autoencoder, runs, in_tmp, two_files):
    for source, options in ((autoencoder, ("--images", *two_files)), (runs / "gan_digits" / LAST, ())):
        Path("alone.ckpt").write_bytes(source.read_bytes())
        interpolate("alone.ckpt", *options)


def test_a_gan_encodes_no_images(runs, capsys, two_files):
    checkpoint = runs / "gan_digits" / LAST
    assert error_of(capsys, "--checkpoint", checkpoint, "--output", "a.png", "--images", *two_files) == (
        "genmodels: --images: GAN cannot encode them; expected an autoencoder's checkpoint."
    )


def test_images_of_two_channels_are_in_no_file(in_tmp, capsys, two_files):
    save(VAE((2, 4, 4), 2, hidden_sizes=()), "odd.ckpt")
    assert error_of(capsys, "--checkpoint", "odd.ckpt", "--output", "a.png", "--images", *two_files) == (
        "genmodels: --images: the model's images have 2 channels; expected 1 or 3."
    )


def test_a_model_that_combines_no_codes_is_named(in_tmp, capsys):
    save(Toy(), "toy.ckpt", (torch.randn(8, 3), torch.randn(8, 4)))
    assert error_of(capsys, "--checkpoint", "toy.ckpt", "--output", "a.png") == (
        "genmodels: --checkpoint toy.ckpt cannot interpolate: its model is Toy; expected an autoencoder or a GAN."
    )
