import csv
import io
import json
import re
import subprocess
import sys
import time
from urllib.request import urlopen

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import IMAGES, SCALARS, TENSORS, EventAccumulator

from lightning_genmodels.cli import main

OPTIONS = [
    *("--trainer.logger", "TensorBoardLogger"),
    *("--trainer.max_epochs", "2", "--trainer.check_val_every_n_epoch", "1", "--trainer.limit_train_batches", "6"),
    *("--trainer.log_every_n_steps", "3", "--trainer.accelerator", "cpu", "--trainer.enable_progress_bar", "false"),
]
FIT = ["fit", "--config", "gan_digits", *OPTIONS]
FIT_AUTOENCODER = ["fit", "--model", "SparseAutoencoder", "--data", "DigitsDataModule", *OPTIONS]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tensorboard")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main([*FIT, "--trainer.logger.save_dir", "."]) == 0
    return folder / "runs" / "gan_digits" / "0"


def read_events(run):
    everything = {IMAGES: 0, SCALARS: 0, TENSORS: 0}
    accumulator = EventAccumulator(str(run / "tensorboard"), size_guidance=everything)
    return accumulator.Reload()


@pytest.fixture(scope="module")
def events(run):
    return read_events(run)


def assert_pictures_are_the_files(run, events, names):
    assert {*events.Tags()["images"]} - {"labelled"} == names
    assert len(list((run / "pictures").iterdir())) == 2 * len(names)
    for name in names:
        pictures = events.Images(name)
        assert [p.step for p in pictures] == [5, 11]
        for picture in pictures:
            logged = np.asarray(Image.open(io.BytesIO(picture.encoded_image_string)))
            saved = np.asarray(Image.open(run / "pictures" / f"{name}-{picture.step:08d}.png"))
            np.testing.assert_array_equal(logged, saved)
            assert saved.std() > 0


def test_the_grid_is_pixel_equal_to_the_png_at_the_same_step(run, events):
    assert_pictures_are_the_files(run, events, {"samples"})


def test_an_autoencoders_pictures_are_pixel_equal_to_the_png_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main([*FIT_AUTOENCODER, "--model.latent_dim", "2"]) == 0
    run = tmp_path / "runs" / "sparseautoencoder_digits" / "0"
    names = {"reconstructions", "filters", "codes", "manifold", "activations"}
    events = read_events(run)
    assert_pictures_are_the_files(run, events, names)
    assert_the_table_is_the_files(run, events)


def test_a_conditional_models_table_is_the_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["fit", "--model", "ConditionalGAN", "--data", "DigitsDataModule", *OPTIONS]) == 0
    run = tmp_path / "runs" / "conditionalgan_digits" / "0"
    assert_the_table_is_the_files(run, read_events(run))


def assert_the_table_is_the_files(run, events):
    pictures, texts = events.Images("labelled"), events.Tensors("labelled/text_summary")
    assert [p.step for p in pictures] == [t.step for t in texts] == [5, 11]
    for picture, text in zip(pictures, texts, strict=True):
        path = run / "tables" / f"labelled-{picture.step:08d}.png"
        logged = np.asarray(Image.open(io.BytesIO(picture.encoded_image_string)))
        np.testing.assert_array_equal(logged, np.asarray(Image.open(path)))
        with path.with_suffix(".csv").open() as file:
            rows = [f"| {row['row']} | {row['label']} |" for row in csv.DictReader(file)]
        assert text.tensor_proto.string_val[0].decode().splitlines()[2:] == rows
        assert len(rows) == 32


def test_the_grid_stands_at_the_step_of_the_validation_scalars(events):
    assert [e.step for e in events.Images("samples")] == [e.step for e in events.Scalars("val/coverage")]


def test_the_models_hyperparameters_are_written(run):
    written = (run / "tensorboard" / "hparams.yaml").read_text().splitlines()
    assert {"latent_dim: 64", "adversarial_loss: non_saturating"} <= {*written}


def test_the_scalars_are_those_of_metrics_csv(run, events):
    with (run / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    for key in ("train/discriminator", "train/generator", "val/coverage"):
        expected = [(int(row["step"]), float(row[key])) for row in rows if row[key]]
        assert [(event.step, np.float32(event.value)) for event in events.Scalars(key)] == [
            (step, np.float32(value)) for step, value in expected
        ]
        assert len(expected) >= 2


def test_the_logger_can_be_chosen_without_a_folder_and_writes_into_the_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main([*FIT, "--trainer.max_epochs", "1"]) == 0
    assert list((tmp_path / "runs" / "gan_digits" / "0" / "tensorboard").glob("events.out.tfevents.*"))


def test_the_program_serves_what_a_run_logged(run):
    """`tensorboard --logdir runs`, as the documentation has it, at a port of its own."""
    command = [
        sys.executable,
        "-m",
        "tensorboard.main",
        "--logdir",
        run.parents[1],
        "--port",
        "0",
        "--load_fast",
        "false",
    ]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as server:
        try:
            address = next(found[0] for line in server.stderr if (found := re.search(r"http://\S+/", line)))
            end, tags = time.monotonic() + 60, {}
            while not tags and time.monotonic() < end:  # it reads the files after it has started
                with urlopen(f"{address}data/plugin/scalars/tags", timeout=60) as answer:
                    tags = json.load(answer)
                time.sleep(0.2)
        finally:
            server.terminate()
    assert {"train/generator", "val/coverage"} <= tags["gan_digits/0/tensorboard"].keys()
