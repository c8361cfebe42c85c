"""A project of a user's own: our wheel in a fresh environment, and a folder called datamodules in the way."""

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

pytestmark = pytest.mark.documentation

ROOT = Path(__file__).parents[1]
SOURCES = ("lightning_genmodels", "datamodules", "pyproject.toml", "README.md", "LICENSE")
DATA = """\
import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader, TensorDataset


class MyFaces(LightningDataModule):
    image_shape = (1, 8, 8)

    def train_dataloader(self):
        return DataLoader(TensorDataset(torch.rand(64, *self.image_shape)), batch_size=16)
"""
PROJECT = {
    "my_gan.py": """\
from torch import nn

from lightning_genmodels import GAN


class MyGAN(GAN):
    def build_generator(self):
        return nn.Sequential(nn.Linear(self.latent_dim, 64), nn.Tanh(), nn.Unflatten(1, self.image_shape))
""",
    "my_gan.yaml": """\
model:
  class_path: my_gan.MyGAN
  init_args:
    latent_dim: 5
data:
  class_path: mypackage.datamodules.faces.MyFaces
trainer:
  max_epochs: 1
""",
    "mypackage/__init__.py": "",
    "mypackage/datamodules/__init__.py": "",
    "mypackage/datamodules/faces.py": DATA,
    "datamodules/__init__.py": "from datamodules.faces import MyFaces\n",
    "datamodules/faces.py": DATA,
    "train.py": """\
from lightning.pytorch import Trainer
from my_gan import MyGAN

from datamodules import MyFaces

model = MyGAN(image_shape=(1, 8, 8), latent_dim=5)
trainer = Trainer(max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False)
trainer.fit(model, datamodule=MyFaces())
trainer.save_checkpoint("trained.ckpt")
""",
    "ours.py": "from datamodules import DigitsDataModule\n",
}
HIDDEN = "datamodules is hidden by our package of that name; to use its classes, put it into a package of your own"


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """A virtual environment with our wheel, which finds torch and the others where this one has them."""
    folder = tmp_path_factory.mktemp("environment")
    source = folder / "source"  # a copy: a build leaves files beside what it builds
    source.mkdir()
    for name in SOURCES:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, source / name)
    isolation = ["--no-build-isolation"] if find_spec("setuptools") else []
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    wheels = ["wheel", "--no-deps", *isolation, "--wheel-dir", folder, source]
    subprocess.run([*pip, *wheels], check=True)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True)
    python = folder / "venv/bin/python"
    (wheel,) = folder.glob("*.whl")
    subprocess.run([*pip, "--python", python, "install", "--no-deps", wheel], check=True)
    (site,) = (folder / "venv/lib").glob("python*/site-packages")
    others = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
    (site / "torch_and_others.pth").write_text("\n".join(others))
    return python


@pytest.fixture
def project(tmp_path):
    for name, text in PROJECT.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def run(*command, **variables):
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    env = {**clean, "OMP_NUM_THREADS": "1", **variables}
    return subprocess.run([str(c) for c in command], env=env, capture_output=True, text=True, check=False)


def test_the_environment_has_the_wheel_and_not_the_clone(environment):
    code = "import datamodules, lightning_genmodels; print(datamodules.__file__, lightning_genmodels.__file__)"
    found = run(environment, "-c", code).stdout.split()
    assert len(found) == 2
    assert all(Path(path).is_relative_to(environment.parents[1] / "lib") for path in found)


def test_genmodels_trains_your_classes_and_says_that_datamodules_is_hidden(environment, project):
    done = run(environment.with_name("genmodels"), "fit", "--config", "my_gan.yaml", "--trainer.accelerator", "cpu")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count(f"{project}/{HIDDEN}") == 1
    checkpoint = torch.load("runs/my_gan/0/checkpoints/last.ckpt", weights_only=True)
    assert (checkpoint["model_class"], checkpoint["hyper_parameters"]["latent_dim"]) == ("my_gan.MyGAN", 5)
    assert checkpoint["global_step"] == 4


def test_the_module_is_the_same_command(environment, project):
    done = run(environment, "-m", "lightning_genmodels", "configs")
    assert done.returncode == 0, done.stderr
    assert f"{project}/{HIDDEN}" in done.stderr
    assert "gan_digits: GAN, DigitsDataModule" in done.stdout


def test_a_path_that_puts_yours_first_is_one_sentence(environment, project):
    done = run(environment.with_name("genmodels"), "fit", PYTHONPATH=str(project))
    assert done.returncode == 2
    assert done.stderr.startswith(f"genmodels: the package datamodules was found at {project}/datamodules/__init__.py")
    assert done.stderr.count("\n") == 1


def test_a_script_of_yours_trains_our_model_on_your_datamodules(environment, project):
    done = run(environment, "train.py")
    assert done.returncode == 0, done.stderr
    assert torch.load("trained.ckpt", weights_only=True)["model_class"] == "my_gan.MyGAN"
    ours = run(environment, "ours.py")
    assert ours.returncode == 1
    assert f"cannot import name 'DigitsDataModule' from 'datamodules' ({project}/datamodules" in ours.stderr
