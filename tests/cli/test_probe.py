import re
from pathlib import Path

import pytest
import torch
from command import fit, genmodels
from miniature import write_mnist
from torch.utils.data import DataLoader
from toy import fit as fit_toy

from datamodules import DigitsDataModule
from lightning_genmodels import Autoencoder, load_model
from lightning_genmodels.metrics import probe_codes

LAST = "0/checkpoints/last.ckpt"
OPTIONS = {"batch_size": 100, "seed": 3, "augment": 0.5}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("probe")
    long = ("--trainer.max_epochs", 10, "--trainer.check_val_every_n_epoch", 10, "--model.learning_rate", 3e-3)
    data = ("--data", "DigitsDataModule", *(word for name, v in OPTIONS.items() for word in (f"--data.{name}", v)))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        fit("--model", "Autoencoder", *data, *long)
        fit("--model", "VAE", *data, *long)
        fit("--config", "gan_digits", "--trainer.max_steps", 1)
    return folder / "runs"


@pytest.fixture(scope="module")
def autoencoder(runs):
    return runs / "autoencoder_digits" / LAST


def probe(capsys, checkpoint, *options, split="test"):
    """The numbers of a report: how many were tested and trained on, the errors in per cent, and the neighbours."""
    capsys.readouterr()
    assert genmodels("probe", "--checkpoint", checkpoint, *options) == 0
    told = capsys.readouterr().out
    form = (
        rf"(\d+) {split} images, classifiers trained on (\d+) codes\n"
        r"logistic regression: (\d+\.\d\d) % wrong\n"
        r"(\d+) nearest neighbours: (\d+\.\d\d) % wrong\n"
    )
    tested, trained, logistic, neighbours, knn = re.fullmatch(form, told).groups()
    return {"tested": int(tested), "trained": int(trained), "logistic": float(logistic), "knn": float(knn),
            "neighbours": int(neighbours)}  # fmt: skip


def by_hand(checkpoint, count=None, data=OPTIONS, neighbours=5, inverse_penalty=0.1, split="test"):
    module, model = DigitsDataModule(**data), load_model(checkpoint)
    module.setup()
    splits = []
    for loader in (module.train_dataloader(), getattr(module, f"{split}_dataloader")()):
        images, labels = (torch.cat(parts) for parts in zip(*map(module.to_float, loader), strict=True))
        with torch.no_grad():
            splits.append((model.encode(images), labels))
    (codes, labels), judged = splits
    errors = probe_codes(codes[:count], labels[:count], *judged, neighbours=neighbours, inverse_penalty=inverse_penalty)
    return {"tested": len(judged[0]), "trained": len(codes[:count]), "neighbours": neighbours,
            **{name: pytest.approx(100 * error, abs=0.0051) for name, error in errors.items()}}  # fmt: skip


@pytest.mark.parametrize("name", ["autoencoder", "vae"])
def test_the_errors_are_those_of_the_runs_own_splits_without_augmentation(runs, capsys, name):
    checkpoint = runs / f"{name}_digits" / LAST
    found = probe(capsys, checkpoint)
    assert found == by_hand(checkpoint)
    assert found != by_hand(checkpoint, data={**OPTIONS, "seed": 0})
    assert max(found["logistic"], found["knn"]) < 30  # chance is 90


def test_count_neighbours_and_penalty_can_be_chosen(autoencoder, capsys):
    options = ("--train_count", 150, "--neighbours", 9, "--inverse_penalty", 1e-3)
    found = probe(capsys, autoencoder, *options)
    assert found == by_hand(autoencoder, 150, neighbours=9, inverse_penalty=1e-3)
    plain = probe(capsys, autoencoder, "--train_count", 150)
    assert found["logistic"] != plain["logistic"]
    assert found["knn"] != plain["knn"]


def test_choices_can_be_made_on_the_validation_split(autoencoder, capsys):
    found = probe(capsys, autoencoder, "--split", "val", split="val")
    assert found == by_hand(autoencoder, split="val")
    assert found["tested"] == 359


def test_more_training_images_than_there_are_mean_all_of_them(autoencoder, capsys):
    assert probe(capsys, autoencoder, "--train_count", 9999) == probe(capsys, autoencoder)


def test_a_run_that_was_moved_and_a_checkpoint_of_it_by_name_are_found(runs, in_tmp, capsys):
    source = runs / "autoencoder_digits" / "0"
    for path in ("config.yaml", "checkpoints/best.ckpt"):
        Path("moved", path).parent.mkdir(parents=True, exist_ok=True)
        Path("moved", path).write_bytes((source / path).read_bytes())
    assert probe(capsys, "moved/checkpoints/best.ckpt") == probe(capsys, source / "checkpoints/best.ckpt")


def test_a_configuration_names_other_data(autoencoder, in_tmp, capsys):
    Path("mine.yaml").write_text("data:\n  class_path: DigitsDataModule\n  init_args:\n    val_fraction: 0.6\n")
    assert probe(capsys, autoencoder, "--config", "mine.yaml") == by_hand(autoencoder, data={"val_fraction": 0.6})


def save(model, path):
    batch = (torch.rand(4, *model.image_shape),)
    fit_toy(model, DataLoader([batch], batch_size=None)).save_checkpoint(path)


def test_data_dir_is_the_folder_of_the_data(in_tmp, capsys):
    write_mnist(in_tmp / "all_data", train=150, test=40)
    Path("mine.yaml").write_text(
        "data:\n  class_path: MNISTDataModule\n  init_args:\n    download: false\n    batch_size: 50\n"
    )
    save(Autoencoder((1, 28, 28), latent_dim=3, hidden_sizes=()), "alone.ckpt")
    found = probe(capsys, "alone.ckpt", "--config", "mine.yaml", "--data_dir", "all_data")
    assert (found["tested"], found["trained"]) == (40, 100)  # of 135, the incomplete batch is left out


def error_of(capsys, *arguments):
    assert genmodels("probe", *arguments) == 2
    captured = capsys.readouterr().err.strip().splitlines()
    assert len(captured) == 1, captured
    return captured[0]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--train_count", 4), "--train_count is 4; expected 5 or more, the number of neighbours."),
        (("--inverse_penalty", "inf"), "--inverse_penalty is inf; expected above 0, and finite."),
        (("--neighbours", 0), "--neighbours is 0; expected 1 or more."),
        (("--inverse_penalty", 0), "--inverse_penalty is 0.0; expected above 0, and finite."),
        (("--inverse_penalty", "nan"), "--inverse_penalty is nan; expected above 0, and finite."),
        (("--inverse_penalty", "x"), "probe: argument --inverse_penalty: invalid float value: 'x'."),
        (("--output", "a.png"), "probe: unrecognized arguments: --output a.png."),
        (
            ("--train_count", 30, "--neighbours", 31),
            "--train_count is 30; expected 31 or more, the number of neighbours.",
        ),
        (
            ("--config", "nowhere"),
            "--config nowhere: neither a file nor a packaged configuration; expected a path or one",
        ),
        (
            ("--config", "Unlabelled.yaml"),
            "probe: the data hold no classes; expected batches of images and whole-number l",
        ),
        (("--config", "OneHot.yaml"), "probe: the data hold no classes; expected batches of images and whole-number l"),
        (
            ("--config", "Numbers.yaml"),
            "probe: the data hold no classes; expected batches of images and whole-number l",
        ),
        (("--data_dir", "other"), "config.yaml: --data.data_dir: no such option"),  # the digits lie in no folder
        (
            ("--config", "mnist.yaml", "--data_dir", "other"),
            "other/MNIST/raw/train-images-idx3-ubyte (or its .gz) does not exist; expected the four original files of",
        ),
        (("--device", "gpu9"), "--device gpu9 cannot be used ("),
        (("--config", "larger.yaml"), "(1, 16, 16)"),
        (("--config", "size.yaml"), "image_size is 9; expected 8,"),
    ],
)
def test_what_is_wrong_is_one_sentence(autoencoder, in_tmp, capsys, arguments, expected):
    classes = {"Unlabelled": "()", "OneHot": "(eye(10).long()[label],)", "Numbers": "(label / 10,)"}
    code = "from datamodules import DigitsDataModule\nfrom torch import eye\n"
    for name, rest in classes.items():
        code += f"class {name}(DigitsDataModule):\n    def to_float(self, batch):\n"
        code += f"        image, label = super().to_float(batch)\n        return (image, *{rest})\n"
        Path(f"{name}.yaml").write_text(f"data: data_without_classes.{name}\n")
    Path("data_without_classes.py").write_text(code)
    Path("mnist.yaml").write_text("data:\n  class_path: MNISTDataModule\n  init_args:\n    download: false\n")
    for name, size in (("size", 9), ("larger", 16)):
        Path(f"{name}.yaml").write_text(
            f"data:\n  class_path: DigitsDataModule\n  init_args:\n    image_size: {size}\n"
        )
    error = error_of(capsys, "--checkpoint", autoencoder, *arguments)
    assert error.startswith("genmodels: ")
    assert expected in error


def test_the_checkpoint_has_to_be_given_and_to_exist(in_tmp, capsys):
    assert error_of(capsys) == "genmodels: probe: the following arguments are required: --checkpoint."
    error = error_of(capsys, "--checkpoint", "none.ckpt")
    assert error == "genmodels: checkpoint none.ckpt does not exist; expected a .ckpt file."
    Path("folder").mkdir()
    error = error_of(capsys, "--checkpoint", "folder")
    assert error == "genmodels: checkpoint folder is a folder; expected a .ckpt file."
    Path("folder/last.ckpt").touch()
    assert genmodels("probe", "--checkpoint", "folder/best.ckpt") == 2
    (error,) = capsys.readouterr().err.strip().splitlines()
    told = "folder/best.ckpt does not exist; in that folder there is last.ckpt; expected a .ckpt file."
    assert error == f"genmodels: checkpoint {told}"


def test_a_run_without_its_configuration_needs_another(autoencoder, in_tmp, capsys):
    Path("run/checkpoints").mkdir(parents=True)
    Path("run/checkpoints/last.ckpt").write_bytes(autoencoder.read_bytes())
    assert error_of(capsys, "--checkpoint", "run/checkpoints/last.ckpt") == (
        "genmodels: --checkpoint run/checkpoints/last.ckpt lies in no run's folder, so nothing says which data to "
        "take; expected --config with a packaged name or a path."
    )
    found = probe(capsys, "run/checkpoints/last.ckpt", "--config", "autoencoder_digits")
    assert found == by_hand(autoencoder, data={})


def test_a_model_without_codes_is_named(runs, capsys):
    path = runs / "gan_digits" / LAST
    assert error_of(capsys, "--checkpoint", path) == (
        f"genmodels: --checkpoint {path} has no codes: its model is GAN; expected an autoencoder."
    )
