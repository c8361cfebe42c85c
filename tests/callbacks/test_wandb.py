import base64
import csv
import hashlib
import json
import os
import re
import struct
import subprocess
import sys
import time

import numpy as np
import pytest
import wandb
import yaml
from command import wait_until
from google.protobuf.message import DecodeError
from PIL import Image
from wandb.proto.wandb_internal_pb2 import Record

from lightning_genmodels.cli import main

MODEL = {"learning_rate": 2e-3, "ema_decay": 0.5, "betas": [0.0, 0.99]}  # learns at once, so that scores are not all 0
OPTIONS = [
    *("--trainer.logger", "WandbLogger", "--trainer.logger.project", "test"),
    *("--trainer.max_epochs", "2", "--trainer.check_val_every_n_epoch", "1", "--trainer.limit_train_batches", "10"),
    *("--trainer.log_every_n_steps", "5", "--trainer.accelerator", "cpu", "--trainer.enable_progress_bar", "false"),
]
FIT = [
    *("fit", "--config", "gan_digits", *OPTIONS, "--trainer.logger.log_model", "all"),
    *(f"--model.init_args.{name}={value}" for name, value in MODEL.items()),
]


def work_offline(patch, folder):
    patch.chdir(folder)
    patch.setenv("WANDB_MODE", "offline")
    patch.setenv("WANDB_SILENT", "true")
    for name in ("DIR", "CACHE_DIR", "CONFIG_DIR", "DATA_DIR"):
        patch.setenv(f"WANDB_{name}", str(folder))


def wait_for(run, count):
    """W&B's own process writes the last of its run files a little after `finish()`."""
    wait_until(lambda: sum(map(has_ended, run.glob("wandb/offline-run-*/*.wandb"))) >= count, seconds=30)


def has_ended(path):
    try:
        return any(record.WhichOneof("record_type") == "exit" for record in read_records(path))
    except (AssertionError, DecodeError):  # half a header, or half a record
        return False


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of two epochs, and a third after `--resume`."""
    folder = tmp_path_factory.mktemp("wandb_run")
    with pytest.MonkeyPatch.context() as patch:
        work_offline(patch, folder)
        path = folder / "runs" / "gan_digits" / "0"
        try:
            assert main(FIT) == 0
            (path / "config.yaml").rename(folder / "first_config.yaml")
            (path / "config.yaml").write_text((folder / "first_config.yaml").read_text())
            wandb.finish()  # as the end of the process would
            time.sleep(1.1)  # W&B names an offline run's folder by the second
            assert main(["fit", "--resume", str(path.relative_to(folder)), "--trainer.max_epochs", "3"]) == 0
        finally:
            wandb.finish()
    wait_for(path, 2)
    return path


@pytest.fixture(scope="module")
def run_files(run):
    """The run files of the first fit and of the resumed one."""
    return sorted(run.glob("wandb/offline-run-*/*.wandb"), key=lambda path: path.stat().st_ctime)


@pytest.fixture(scope="module")
def history(run_files):
    """The rows of both run files: dicts as they were given to W&B."""
    return [{**row, "file": path} for path in run_files for row in read_history(path)]


def read_records(path):
    """The records of a run file: LevelDB's log format, in blocks of 32 KiB, around W&B's protobuf."""
    data = path.read_bytes()
    assert data[:4] == b":W&B"
    position, record = 7, b""
    while position + 7 <= len(data):
        left = 32768 - position % 32768
        if left < 7:  # too short for a header: padding
            position += left
            continue
        length, kind = struct.unpack_from("<HB", data, position + 4)  # behind the checksum
        record += data[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):  # the whole record, or its last part
            yield Record.FromString(record)
            record = b""


def read_items(items):
    """Key and JSON value, keys nested in one or the other way, as a dict."""
    found = {}
    for item in items:
        *parents, key = [*item.nested_key] or [item.key]
        place = found
        for parent in parents:
            place = place.setdefault(parent, {})
        place[key] = json.loads(item.value_json)
    return found


def read_history(path):
    return [read_items(r.history.item) for r in read_records(path) if r.WhichOneof("record_type") == "history"]


def read_artifacts(path):
    return [record.artifact for record in read_records(path) if record.WhichOneof("record_type") == "artifact"]


def read_config(path):
    updates = [read_items(r.config.update) for r in read_records(path) if r.WhichOneof("record_type") == "config"]
    return {name: value for update in updates for name, value in update.items()}


def read_csv(run):
    with (run / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    return {(int(row["step"]), k): float(v) for row in rows for k, v in row.items() if "/" in k and v}


def test_the_scalars_are_those_of_metrics_csv_at_the_same_steps(run, history):
    logged = {
        (row["trainer/global_step"], key): value
        for row in history
        for key, value in row.items()
        if key.startswith(("train/", "val/"))
    }
    for key in ("train/discriminator", "train/generator", "val/coverage"):
        assert {step for step, k in logged if k == key} >= {9, 19, 29}
    assert any(value > 0 for (_, key), value in logged.items() if key == "val/coverage")
    assert logged == read_csv(run)


def test_the_configuration_holds_the_models_hyperparameters(run_files):
    for path in run_files:
        config = read_config(path)
        expected = {**MODEL, "image_shape": [1, 8, 8], "network": "mlp", "latent_dim": 64}
        assert {name: config.get(name) for name in expected} == expected


def test_the_configuration_holds_model_data_trainer_and_seed(run_files):
    first, second = (read_config(path) for path in run_files)
    assert first["model"] == "lightning_genmodels.GAN"
    assert first["data"]["class_path"] == "datamodules.DigitsDataModule"
    assert first["data"]["init_args"]["batch_size"] == 64
    assert first["seed_everything"] == 0
    assert (first["trainer"]["max_epochs"], second["trainer"]["max_epochs"]) == (2, 3)


def test_checkpoints_are_artifacts_with_aliases(run, run_files):
    models = [artifact for path in run_files for artifact in read_artifacts(path) if artifact.type == "model"]
    assert len({artifact.name for artifact in models}) == 1
    assert all("latest" in artifact.aliases for artifact in models)  # a server moves an alias to the newest
    best = [artifact for artifact in models if "best" in artifact.aliases]
    for artifact, name in ((models[-1], "last.ckpt"), (best[-1], "best.ckpt")):
        (file,) = artifact.manifest.contents
        content = (run / "checkpoints" / name).read_bytes()
        assert file.digest == base64.b64encode(hashlib.md5(content).digest()).decode()
        assert json.loads(artifact.metadata)["original_filename"] == name
        with open(file.local_path, "rb") as kept_copy:  # until `wandb sync` sends it
            assert kept_copy.read() == content


def test_the_pictures_are_pixel_equal_to_the_png_files_at_the_step_of_their_names(run, history):
    rows = [row for row in history if "samples" in row]
    saved = {int(re.search(r"\d+", path.stem)[0]): path for path in run.glob("pictures/samples-*.png")}
    assert [row["trainer/global_step"] for row in rows] == sorted(saved) == [9, 19, 29]
    pictures = []
    for row in rows:
        (name,) = row["samples"]["filenames"]
        logged = np.asarray(Image.open(row["file"].parent / "files" / name))
        np.testing.assert_array_equal(logged, np.asarray(Image.open(saved[row["trainer/global_step"]])))
        pictures.append(logged.tobytes())
    assert len(set(pictures)) == 3  # the same latents, a generator that learns


def fit_offline(folder, model, *options):
    """A run of one epoch on digits."""
    with pytest.MonkeyPatch.context() as patch:
        work_offline(patch, folder)  # once more: W&B's own process stays where it began
        try:
            assert main(["fit", "--model", model, "--data", "DigitsDataModule", *OPTIONS, *options]) == 0
        finally:
            wandb.finish()
    path = folder / "runs" / f"{model.lower()}_digits" / "0"
    wait_for(path, 1)
    return path


@pytest.fixture(scope="module")
def autoencoder(run):
    return fit_offline(run.parents[2], "SparseAutoencoder", "--trainer.max_epochs", "1", "--model.latent_dim", "2")


@pytest.fixture(scope="module")
def conditional(run):
    return fit_offline(
        run.parents[2], "ConditionalGAN", "--trainer.max_epochs", "1", "--trainer.logger.log_model", "true"
    )


def test_an_autoencoders_pictures_are_pixel_equal_to_the_png_files(autoencoder):
    (run_file,) = autoencoder.glob("wandb/offline-run-*/*.wandb")
    names = {"reconstructions", "filters", "codes", "manifold", "activations"}
    logged = {name: row for row in read_history(run_file) for name in names & {*row}}
    assert {*logged} == names
    for name, row in logged.items():
        (file,) = row[name]["filenames"]
        assert row["trainer/global_step"] == 9
        picture = np.asarray(Image.open(run_file.parent / "files" / file))
        saved = autoencoder / "pictures" / f"{name}-00000009.png"
        np.testing.assert_array_equal(picture, np.asarray(Image.open(saved)))


@pytest.mark.parametrize(
    ("name", "columns"), [("autoencoder", ["image", "reconstruction"]), ("conditional", ["sample", "image"])]
)
def test_a_table_has_the_labels_and_images_of_the_files(name, columns, request):
    run = request.getfixturevalue(name)
    (run_file,) = run.glob("wandb/offline-run-*/*.wandb")
    (row,) = [row for row in read_history(run_file) if "labelled" in row]
    assert row["trainer/global_step"] == 9
    (kept,) = [artifact for artifact in read_artifacts(run_file) if artifact.type != "model"]
    files = {file.path: file.local_path for file in kept.manifest.contents}
    with open(files["labelled.table.json"]) as file:
        table = json.load(file)
    assert table["columns"] == ["label", *columns]
    with (run / "tables/labelled-00000009.csv").open() as file:
        assert [row[0] for row in table["data"]] == [row["label"] for row in csv.DictReader(file)]
    picture = np.asarray(Image.open(run / "tables/labelled-00000009.png"))
    for _, *images in table["data"][:2]:
        cell, picture = picture[:36, :70], picture[:, 78:]  # two images of 32 pixels, with margins; then a gap
        for found, left in zip(images, (2, 36), strict=True):
            shown = np.asarray(Image.open(files[found["path"]]))
            np.testing.assert_array_equal(shown, cell[2:34, left : left + 32])


def test_checkpoints_are_artifacts_at_the_end_of_the_training_too(conditional):
    (run_file,) = conditional.glob("wandb/offline-run-*/*.wandb")
    kept = [artifact for artifact in read_artifacts(run_file) if artifact.type == "model"]
    models = {json.loads(artifact.metadata)["original_filename"]: {*artifact.aliases} for artifact in kept}
    assert models.keys() == {"best.ckpt", "last.ckpt"}
    assert "best" in models["best.ckpt"]
    assert "latest" in models["last.ckpt"]


def test_the_pictures_stand_at_the_step_of_the_validation_scalars(history):
    steps = {key: [row["trainer/global_step"] for row in history if key in row] for key in ("samples", "val/coverage")}
    assert steps["samples"] == steps["val/coverage"]


def test_every_metric_is_plotted_over_the_trainers_step(run_files):
    metrics = [r.metric for r in read_records(run_files[0]) if r.WhichOneof("record_type") == "metric"]
    assert {m.glob_name: m.step_metric for m in metrics}.get("*") == "trainer/global_step"


def test_a_resumed_run_goes_on_under_the_same_id(run, run_files):
    config_id = yaml.safe_load((run / "config.yaml").read_text())["trainer"]["logger"]["init_args"]["id"]
    first_config = yaml.safe_load((run.parents[2] / "first_config.yaml").read_text())
    ids = [r.run.run_id for path in run_files for r in read_records(path) if r.WhichOneof("record_type") == "run"]
    assert len(run_files) == 2
    assert first_config["trainer"]["logger"]["init_args"]["id"] == config_id
    assert ids == [config_id, config_id]
    steps = [[row["trainer/global_step"] for row in read_history(path)] for path in run_files]
    assert steps[0][0] < max(steps[0]) < min(steps[1])


FIT_WITHOUT_LOGGER = """
import json, sys, torchmetrics
theirs = {"matplotlib"} & set(sys.modules)  # where it is installed, torchmetrics imports it
import lightning_genmodels, datamodules
after_import = sorted(set(sys.modules) - theirs)
from lightning_genmodels.cli import main
status = main(["fit", "--config", "gan_digits", "--trainer.max_epochs", "1", "--trainer.check_val_every_n_epoch", "1",
               "--trainer.limit_train_batches", "2", "--trainer.accelerator", "cpu",
               "--trainer.enable_progress_bar", "false"])
json.dump([status, after_import, sorted(set(sys.modules) - theirs)], open("modules.json", "w"))
"""


@pytest.fixture(scope="module")
def modules(tmp_path_factory):
    """What a fresh process has imported after `import lightning_genmodels, datamodules`, and after a plain fit."""
    folder = tmp_path_factory.mktemp("imports")
    subprocess.run([sys.executable, "-c", FIT_WITHOUT_LOGGER], cwd=folder, check=True, capture_output=True)
    status, after_import, after_fit = json.loads((folder / "modules.json").read_text())
    assert status == 0
    assert os.listdir(folder / "runs" / "gan_digits") == ["0"]
    return {"import": after_import, "fit": after_fit}


@pytest.mark.parametrize("package", ["wandb", "sklearn", "matplotlib", "gradio", "tensorboard"])
def test_importing_the_packages_does_not_import(modules, package):
    assert package not in modules["import"]


@pytest.mark.parametrize("package", ["wandb", "matplotlib", "tensorboard"])
def test_a_fit_with_the_plain_logger_does_not_import(modules, package):
    assert package not in modules["fit"]
    assert "sklearn" in modules["fit"]  # the digits come from it: the list is of a fit that ran
