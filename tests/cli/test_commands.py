import os

import numpy as np
import pytest
import torch
from command import QUIET, fit, genmodels
from made_sets import small_module
from PIL import Image

from lightning_genmodels import __version__, load_model
from lightning_genmodels.cli.configs import read_header
from lightning_genmodels.cli.main import COMMANDS, SMALL
from lightning_genmodels.configs import packaged_configs
from lightning_genmodels.pictures import picture_of

CHECKPOINT = "runs/gan_digits/0/checkpoints/last.ckpt"


@pytest.fixture
def trained(in_tmp):
    fit("--trainer.max_steps", 2)


def test_help_lists_every_command(capsys):
    for word in ("--help", "-h", "help"):
        assert genmodels(word) == 0
        told = capsys.readouterr().out
        assert all(f"  {name} " in told for name in COMMANDS)
    assert genmodels() == 0


def test_version(capsys):
    assert genmodels("--version") == 0
    assert capsys.readouterr().out.strip() == __version__


@pytest.mark.parametrize(
    ("word", "advice"),
    [("train", "genmodels fit"), ("generate", "genmodels sample"), ("fti", "genmodels fit"), ("evaluate", "validate"),
     ("smaple", "genmodels sample"), ("xyzzy", "expected one of fit, validate")],
)  # fmt: skip
def test_another_word_suggests_the_right_one(capsys, word, advice):
    assert genmodels(word) == 2
    assert advice in capsys.readouterr().err


@pytest.mark.parametrize("width", [40, 80, 1000])
def test_configs_tells_of_every_packaged_one_and_fits_the_terminal(capsys, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    assert genmodels("configs") == 0
    told = capsys.readouterr().out
    assert max(map(len, told.splitlines())) <= width
    assert [line.split(":")[0] for line in told.splitlines() if line[0] != " "] == list(packaged_configs())
    words = " ".join(told.split())
    for path in packaged_configs().values():
        header = read_header(path.read_text())
        assert f"score: {header['score']} budget: {header['budget']}; {header['machine']}" in words
    assert "gan_digits: GAN, DigitsDataModule score: coverage .94" in words


def test_configs_may_be_read_in_part(monkeypatch):
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as pipe:
        monkeypatch.setattr("sys.stdout", pipe)
        assert genmodels("configs") == 0


def test_sample_draws_the_count_asked_for_and_the_seed_decides(trained, capsys):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        assert genmodels("sample", "--checkpoint", CHECKPOINT, "--count", 9, "--output", f"out/{name}.png",
                         "--seed", seed) == 0  # fmt: skip
    a, b, c = (np.asarray(Image.open(f"out/{name}.png")) for name in "abc")
    assert a.shape == (3 * 34 + 2, 3 * 34 + 2, 3)  # 8 pixels, enlarged four times, two between
    assert (a == b).all()
    assert (a != c).any()
    assert "9 samples: out/a.png" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--output", "a.png"), "sample: the following arguments are required: --checkpoint"),
        (("--checkpoint", CHECKPOINT), "sample: the following arguments are required: --output"),
        (
            ("--checkpoint", CHECKPOINT, "--output", "a.bmp"),
            "--output is a.bmp; expected a file name that ends in .png",
        ),
        (("--checkpoint", CHECKPOINT, "--output", "a.png", "--count", "0"), "--count is 0; expected 1 or more"),
        (("--checkpoint", CHECKPOINT, "--output", "a.png", "--count", "x"), "--count: invalid int value: 'x'"),
        (("--checkpoint", "none.ckpt", "--output", "a.png"), "checkpoint none.ckpt does not exist"),
        (("--checkpoint", CHECKPOINT, "--output", "a.png", "--device", "gpu9"), "--device gpu9 cannot be used"),
        (("--checkpoint", CHECKPOINT, "--output", CHECKPOINT + "/a.png"), "cannot be written"),
        (("--checkpoint", CHECKPOINT, "--output", "a.png", "--colour", "red"), "unrecognized arguments: --colour red"),
    ],
)
def test_sample_names_what_is_wrong(trained, capsys, arguments, expected):
    assert genmodels("sample", *arguments) == 2
    captured = capsys.readouterr().err.strip()
    assert expected in captured
    assert "\n" not in captured


@pytest.mark.parametrize("command", [c for c in SMALL if c not in ("data", "configs")])
def test_every_small_command_knows_lightnings_name_of_a_checkpoint(capsys, command):
    assert genmodels(command, "--ckpt_path=a.ckpt") == 2
    assert "--ckpt_path a.ckpt: an option of fit, validate, test and predict; expected" in capsys.readouterr().err


def test_sample_of_a_model_that_draws_none_is_an_error(in_tmp, capsys):
    fit("--model", "Autoencoder", "--data", "DigitsDataModule", "--trainer.max_steps", 1)
    path = "runs/autoencoder_digits/0/checkpoints/last.ckpt"
    assert genmodels("sample", "--checkpoint", path, "--output", "a.png") == 2
    assert "does not draw samples: its model is Autoencoder" in capsys.readouterr().err


def test_labels_are_columns_and_a_row_has_one_latent(in_tmp, capsys):
    fit("--model", "ConditionalGAN", "--data", "DigitsDataModule", "--trainer.max_steps", 2)
    path = "runs/conditionalgan_digits/0/checkpoints/last.ckpt"
    assert genmodels("sample", "--checkpoint", path, "--labels", "3,0,3", "--count", 8, "--output", "a.png") == 0
    assert "6 samples: a.png" in capsys.readouterr().out
    picture = np.asarray(Image.open("a.png"))
    assert picture.shape == (2 * 34 + 2, 3 * 34 + 2, 3)
    first, second, third = (picture[2:, 2 + 34 * column : 34 + 34 * column] for column in range(3))
    assert (first == third).all()
    assert (first != second).any()
    for words, expected in (
        ("3, ten", "ten is no label; expected one of 0, 1, 2"),
        ("no-3", "no-3 is no label"),
        ("0,,1", "--labels is '0,,1'; expected names, or numbers of classes, between commas"),
    ):
        assert genmodels("sample", "--checkpoint", path, "--labels", words, "--output", "a.png") == 2
        assert expected in capsys.readouterr().err


def test_names_of_labels_must_be_those_of_the_data(in_tmp, capsys):
    options = ("fit", "--model", "ConditionalGAN", "--data", "DigitsDataModule", "--trainer.max_steps", 1, *QUIET)
    assert genmodels(*options, "--model.label_names", "[a,b,c]") == 2
    message = capsys.readouterr().err
    assert "label_names is ('a', 'b', 'c') for the model, but DigitsDataModule has ('0', '1', '2'" in message
    assert not list(in_tmp.glob("runs/*/0"))
    names = "[" + ",".join(f"'{digit}'" for digit in range(10)) + "]"
    assert genmodels(*options, "--model.label_names", names) == 0
    (in_tmp / "mine_of_labels.py").write_text(
        "from torch.utils.data import DataLoader\n"
        "import lightning.pytorch as pl, torch\n"
        "class Unnamed(pl.LightningDataModule):\n"
        "    image_shape = (1, 8, 8)\n"
        "    def train_dataloader(self):\n"
        "        return DataLoader([(torch.rand(1, 8, 8), 1)] * 8, batch_size=4)\n"
    )
    own = ("fit", "--model", "ConditionalGAN", "--data", "mine_of_labels.Unnamed", "--trainer.max_steps", 1, *QUIET)
    assert genmodels(*own, "--model.label_names", "[a,b,c]") == 0
    assert load_model("runs/conditionalgan_unnamed/0/checkpoints/last.ckpt").label_names == ("a", "b", "c")


def test_faces_are_drawn_by_the_attributes_that_one_names(in_tmp, capsys):
    small_module("CelebADataModule", in_tmp)
    fit("--model", "ConditionalGAN", "--model.network", "dcgan", "--data", "CelebADataModule", "--data.data_dir", ".",
        "--data.image_size", 16, "--data.batch_size", 2, "--data.val_fraction", 0.5, "--data.download", "false",
        "--data.attributes", "[Smiling,Male,Young]", "--trainer.max_steps", 2)  # fmt: skip
    path = "runs/conditionalgan_celeba/0/checkpoints/last.ckpt"
    model = load_model(path)
    assert model.label_names == ("Smiling", "Male", "Young")
    trained_on = {tuple(labels.tolist()) for labels in model.recent_labels[:4]}
    assert trained_on <= {tuple(float((number + a) % 3 > 0) for a in (31, 20, 39)) for number in range(3)}
    assert genmodels("sample", "--checkpoint", path, "--labels", "Smiling,no-Male", "--output", "a.png") == 0
    assert Image.open("a.png").size[0] == 2 * 34 + 2
    assert genmodels("sample", "--checkpoint", path, "--labels", "Bald", "--output", "a.png") == 2
    assert "Bald is no label; expected one of Smiling, Male, Young, or no-NAME." in capsys.readouterr().err


def test_labels_of_a_model_that_takes_none_are_an_error(trained, capsys):
    assert genmodels("sample", "--checkpoint", CHECKPOINT, "--labels", "3", "--output", "a.png") == 2
    assert "--labels: GAN takes none; expected a conditional model's checkpoint." in capsys.readouterr().err


def test_points_are_drawn_in_the_plane(in_tmp, capsys):
    fit("--model", "GAN", "--data", "RingDataModule", "--trainer.max_steps", 2, "--trainer.limit_val_batches", 2)
    path = "runs/gan_ring/0/checkpoints/last.ckpt"
    assert genmodels("sample", "--checkpoint", path, "--output", "a.png") == 0
    assert "2500 samples" in capsys.readouterr().out
    assert Image.open("a.png").size == (512, 512)
    assert Image.open("runs/gan_ring/0/pictures/samples-00000001.png").size == (512, 512)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_cpu_seed_gives_the_same_latents_on_a_gpu(trained):
    for device in ("cpu", "cuda"):
        assert genmodels("sample", "--checkpoint", CHECKPOINT, "--output", f"{device}.png", "--device", device) == 0
    a, b = (np.asarray(Image.open(f"{d}.png")).astype(int) for d in ("cpu", "cuda"))
    assert abs(a - b).max() <= 2


@pytest.fixture
def styled(in_tmp):
    """A StyleGAN whose noise shows."""
    fit("--model", "StyleGAN", "--model.width", 8, "--data", "DigitsDataModule", "--data.image_size", 16,
        "--trainer.max_steps", 2)  # fmt: skip
    checkpoint = torch.load("runs/stylegan_digits/0/checkpoints/last.ckpt", weights_only=True)
    for name, value in checkpoint["state_dict"].items():
        if name.endswith("noise_weight"):  # of a layer beyond those of a flat constant, which noise alone would fill
            value.fill_(0.2 if "layers.5" in name else 0.0)
    torch.save(checkpoint, "style.ckpt")
    return "style.ckpt"


def cells(path, rows, columns):
    picture = np.asarray(Image.open(path)).astype(int)
    side = (picture.shape[0] - 2) // rows - 2
    return np.stack([[picture[2 + (side + 2) * r :, 2 + (side + 2) * c :][:side, :side] for c in range(columns)]
                     for r in range(rows)])  # fmt: skip


def test_truncation_is_the_models_and_noises_vary_one_sample_of_a_row(styled, capsys):
    for name, options in (("short", ("--truncation", 0.3)), ("noises", ("--noises", 4)),
                          ("still", ("--noises", 4, "--truncation", 0))):  # fmt: skip
        assert genmodels("sample", "--checkpoint", styled, *options, "--count", 16, "--output", f"{name}.png") == 0
    assert "16 samples: still.png" in capsys.readouterr().out
    drawn = load_model(styled).sample(16, generator=torch.Generator().manual_seed(0), truncation=0.3)
    assert np.array_equal(np.asarray(Image.open("short.png")), picture_of(drawn))
    noises, still = cells("noises.png", 4, 4), cells("still.png", 4, 4)
    assert 0 < noises.std(1).mean() < noises.mean(1).std(0).mean()  # within a row, and from row to row
    assert still.std(1).mean() > 0
    assert still.mean(1).std(0).mean() < still.std(1).mean()
    for options, expected in (
        (("--noises", 0), "--noises is 0; expected 1 or more."),
        (("--truncation", 7), "--truncation is 7.0; expected 0 to 1."),
        (("--truncation", "nan"), "--truncation is nan; expected 0 to 1."),
        (("--labels", "1"), "--labels: StyleGAN takes none; expected a conditional model's checkpoint."),
    ):
        assert genmodels("sample", "--checkpoint", styled, *options, "--output", "a.png") == 2
        assert expected in capsys.readouterr().err


def test_a_walk_is_truncated_as_asked_for(styled):
    assert genmodels("interpolate", "--checkpoint", styled, "--truncation", 0.3, "--count", 2, "--output", "a.png") == 0
    model, latents = load_model(styled), torch.randn(4, 64, generator=torch.Generator().manual_seed(0))
    path = model.interpolate(latents[:2], latents[2:], 12, truncation=0.3)
    expected = picture_of(path.flatten(0, 1), columns=12).astype(int)
    assert np.abs(np.asarray(Image.open("a.png")) - expected).max() <= 1


@pytest.mark.parametrize(
    ("command", "option"), [("sample", "truncation"), ("sample", "noises"), ("interpolate", "truncation")]
)
def test_what_a_stylegan_alone_takes(trained, capsys, command, option):
    assert genmodels(command, "--checkpoint", CHECKPOINT, f"--{option}", 1, "--output", "a.png") == 2
    assert f"--{option}: GAN takes none; expected a StyleGAN's checkpoint." in capsys.readouterr().err
