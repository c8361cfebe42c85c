from types import SimpleNamespace

import numpy as np
import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from PIL import Image
from torch.utils.data import DataLoader, TensorDataset

from datamodules import DigitsDataModule
from lightning_genmodels import GenmodelsError, load_model
from lightning_genmodels.callbacks import PredictionWriter
from lightning_genmodels.cli import main

TINY_FIT = [
    *("--trainer.max_epochs", "1", "--trainer.limit_train_batches", "2", "--trainer.limit_val_batches", "0"),
    *("--trainer.accelerator", "cpu", "--trainer.enable_progress_bar", "false"),
]


@pytest.fixture
def predict(tmp_path, monkeypatch):
    """Trains a tiny model by the command line and returns the run's folder, predictions included."""
    monkeypatch.chdir(tmp_path)

    def run(name, *options, evaluate=()):
        assert main(["fit", *options, *TINY_FIT]) == 0
        folder = tmp_path / "runs" / name / "0"
        assert main(["predict", "--ckpt_path", str(folder / "checkpoints" / "last.ckpt"), *evaluate]) == 0
        return folder

    return run


@pytest.fixture(scope="module")
def test_split():
    images, labels = DigitsDataModule().load(train=False)
    return images.float() / 255, labels


def test_an_autoencoders_predictions_are_codes_labels_and_indices_in_the_order_of_the_test_split(predict, test_split):
    run = predict("autoencoder_digits", "--model", "Autoencoder", "--data", "DigitsDataModule")
    with np.load(run / "predictions" / "codes.npz", allow_pickle=False) as file:
        arrays = dict(file)
    images, labels = test_split
    with torch.no_grad():
        codes = load_model(run / "checkpoints" / "last.ckpt").encode(images)
    assert sorted(arrays) == ["code", "index", "label"]
    np.testing.assert_allclose(arrays["code"], codes.numpy(), rtol=0, atol=1e-5)
    np.testing.assert_array_equal(arrays["label"], labels.numpy())
    np.testing.assert_array_equal(arrays["index"], np.arange(180))


@pytest.mark.parametrize("asked", [False, True])
def test_codes_are_computed_in_half_precision_only_if_the_line_asks_for_it(predict, test_split, asked):
    half = ("--trainer.precision", "bf16-mixed")
    run = predict("vae_digits", "--model", "VAE", "--data", "DigitsDataModule", *half, evaluate=half if asked else ())
    with np.load(run / "predictions" / "codes.npz", allow_pickle=False) as file:
        arrays = dict(file)
    images, labels = test_split
    with torch.no_grad():
        codes = load_model(run / "checkpoints" / "last.ckpt").encode(images).numpy()
    assert {name: array.dtype.name for name, array in arrays.items()} == {
        "code": "float32", "label": "int64", "index": "int64"
    }  # fmt: skip
    tolerance = 0.05 if asked else 1e-5
    np.testing.assert_allclose(arrays["code"], codes, rtol=tolerance, atol=tolerance * codes.std())
    assert asked == (torch.from_numpy(arrays["code"]).bfloat16().float().numpy() == arrays["code"]).all()
    np.testing.assert_array_equal(arrays["label"], labels.numpy())
    np.testing.assert_array_equal(arrays["index"], np.arange(180))


def test_a_gans_predictions_are_as_many_pictures_as_there_are_test_images(predict):
    run = predict("gan_digits", "--config", "gan_digits")
    paths = sorted((run / "predictions").iterdir())
    assert [path.name for path in paths] == [f"{number:06d}.png" for number in range(180)]
    pictures = [np.asarray(Image.open(path)) for path in paths]
    assert {picture.shape[:2] for picture in pictures} == {(8, 8)}
    assert len({picture.tobytes() for picture in pictures}) == 180


class Copier(LightningModule):
    """Predicts the batch itself."""

    def predict_step(self, batch, batch_idx):
        return batch[0]


def predict_in_python(model, writer, images):
    quiet = {"enable_progress_bar": False, "logger": False, "enable_checkpointing": False}
    loader = DataLoader(TensorDataset(images), batch_size=3)
    Trainer(accelerator="cpu", callbacks=[writer], **quiet).predict(model, loader)


@pytest.mark.parametrize("channels", [1, 3])
def test_pictures_hold_the_predicted_pixels_under_their_index(tmp_path, channels):
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (5, channels, 4, 6), dtype=torch.uint8, generator=generator)
    writer = PredictionWriter(tmp_path / "predictions")
    for _ in range(2):  # a second pass writes the same files
        predict_in_python(Copier(), writer, pixels.float() / 255)
    assert len(list((tmp_path / "predictions").iterdir())) == 5
    for number, image in enumerate(pixels):
        picture = np.asarray(Image.open(tmp_path / "predictions" / f"{number:06d}.png"))
        np.testing.assert_array_equal(picture, image.permute(1, 2, 0).expand(4, 6, 3).numpy())


def test_a_prediction_on_several_processes_is_refused(tmp_path):
    with pytest.raises(GenmodelsError, match=r"2 processes; expected one: add --trainer\.devices 1"):
        PredictionWriter(tmp_path).on_predict_start(SimpleNamespace(world_size=2), Copier())
