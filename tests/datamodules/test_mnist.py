import gzip
import hashlib
import os
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
from miniature import write_idx, write_mnist
from sklearn.datasets import load_digits
from torchvision.datasets import MNIST

from datamodules import DataError, FashionMNISTDataModule, MNISTDataModule

REAL_DATA = Path(os.environ.get("GENMODELS_DATA", "none"))
FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
DOWNLOADER = "torchvision.datasets.mnist.download_and_extract_archive"


@pytest.fixture
def root(tmp_path):
    write_mnist(tmp_path)
    return tmp_path


@pytest.fixture
def no_network(monkeypatch):
    def refuse(url, *args, **kwargs):
        raise AssertionError(f"{url} was asked for")

    monkeypatch.setattr(DOWNLOADER, refuse)


@pytest.fixture
def zipped(root, monkeypatch):
    sums = []
    for name in FILES:
        path = root / "MNIST" / "raw" / name
        path.with_name(f"{name}.gz").write_bytes(gzip.compress(path.read_bytes(), mtime=0))
        path.unlink()
        sums.append((f"{name}.gz", hashlib.md5(path.with_name(f"{name}.gz").read_bytes()).hexdigest()))
    monkeypatch.setattr(MNIST, "resources", sums)
    return root


def read(root, **options):
    datamodule = MNISTDataModule(str(root), batch_size=10, **options)
    datamodule.prepare_data()
    datamodule.setup()
    return datamodule


def whole(loader):
    images, labels = zip(*loader, strict=True)
    return torch.cat(images), torch.cat(labels)


def flip_a_byte(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.usefixtures("no_network")
def test_idx_files_are_read_with_their_labels(root):
    datamodule = read(root, val_fraction=0.25)
    assert len(whole(datamodule.train_dataloader())[0]) == 150
    assert len(whole(datamodule.val_dataloader())[0]) == 50
    images, labels = whole(datamodule.test_dataloader())
    assert images.shape == (60, *datamodule.image_shape) == (60, 1, 28, 28)
    assert (images.dtype, labels.dtype) == (torch.uint8, torch.int64)
    assert labels.tolist() == load_digits().target[200:260].tolist()
    raw = np.fromfile(root / "MNIST" / "raw" / FILES[2], np.uint8, offset=16)
    assert images.numpy().tobytes() == raw.tobytes()


@pytest.mark.usefixtures("no_network")
def test_images_are_resized_to_image_size(root):
    datamodule = read(root, image_size=32)
    images, _ = whole(datamodule.test_dataloader())
    assert images.shape == (60, *datamodule.image_shape) == (60, 1, 32, 32)
    original = whole(read(root).test_dataloader())[0].float()
    assert images.float().mean((1, 2, 3)).numpy() == pytest.approx(original.mean((1, 2, 3)).numpy(), rel=0.05)


@pytest.mark.usefixtures("no_network")
def test_folder_of_archives_alone_is_read_and_nothing_written_there(zipped):
    raw = zipped / "MNIST" / "raw"
    before = sorted(zipped.rglob("*"))
    raw.chmod(0o555)
    try:
        images, labels = whole(read(zipped).test_dataloader())
    finally:
        raw.chmod(0o755)
    assert sorted(zipped.rglob("*")) == before
    assert len(images) == 60
    assert labels.tolist() == load_digits().target[200:260].tolist()


@pytest.mark.skipif(not (REAL_DATA / "MNIST").is_dir(), reason="the real MNIST is not at hand")
@pytest.mark.usefixtures("no_network")
def test_real_mnist_has_54000_training_6000_validation_and_10000_test_images():
    datamodule = read(REAL_DATA)
    loaders = (datamodule.train_dataloader(), datamodule.val_dataloader(), datamodule.test_dataloader())
    assert [10 * len(loader) for loader in loaders] == [54_000, 6_000, 10_000]
    images, labels = whole(loaders[2])
    assert len(images) == 10_000
    assert torch.bincount(labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]  # as published


def test_damaged_archive_is_named(zipped):
    archive = zipped / "MNIST" / "raw" / f"{FILES[1]}.gz"
    flip_a_byte(archive)
    with pytest.raises(DataError, match=f"{archive} is damaged"):
        read(zipped, download=False)


@pytest.mark.parametrize("unzipped_beside", [False, True])
def test_damaged_archive_is_fetched_again_where_download_is_allowed(zipped, monkeypatch, unzipped_beside):
    raw = zipped / "MNIST" / "raw"
    intact = {path.name: path.read_bytes() for path in raw.iterdir()}
    archive = raw / f"{FILES[3]}.gz"
    flip_a_byte(archive)

    def fetch(url, download_root, filename, md5):
        Path(download_root, filename).write_bytes(intact[filename])
        Path(download_root, filename).with_suffix("").write_bytes(gzip.decompress(intact[filename]))

    monkeypatch.setattr(DOWNLOADER, fetch)
    if unzipped_beside:
        write_mnist(zipped)
    assert len(whole(read(zipped).test_dataloader())[0]) == 60
    assert archive.read_bytes() == intact[archive.name]


@pytest.mark.parametrize("kept", [0, 3, 10, 16, 1000])
def test_truncated_idx_file_is_named(root, kept):
    path = root / "MNIST" / "raw" / FILES[0]
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(DataError, match=f"{path} is damaged; expected an idx file"):
        read(root)


def test_file_that_is_no_idx_is_named(root):
    path = root / "MNIST" / "raw" / FILES[1]
    path.write_bytes(b"<html>Not found</html>")
    with pytest.raises(DataError, match=f"{path} is damaged; expected an idx file"):
        read(root)


def test_number_of_labels_other_than_of_images_is_an_error(root):
    path = root / "MNIST" / "raw" / FILES[3]
    write_idx(path, np.zeros(59, np.uint8))
    with pytest.raises(DataError, match=f"{path} has 59 labels; expected 60"):
        read(root)


@pytest.mark.parametrize("missing", FILES)
def test_missing_file_without_download_is_named(root, missing):
    path = root / "MNIST" / "raw" / missing
    path.unlink()
    with pytest.raises(DataError, match=rf"{path} .*does not exist; expected the four .* download"):
        read(root, download=False)


def test_failed_download_is_one_line_with_the_reason_and_the_folder(tmp_path, monkeypatch):
    def fail(*args, **kwargs):
        raise URLError("no route to host")

    monkeypatch.setattr(DOWNLOADER, fail)
    with pytest.raises(DataError) as error:
        MNISTDataModule(str(tmp_path)).prepare_data()
    told = str(error.value)
    assert "\n" not in told
    assert told.startswith(
        f"{tmp_path / 'MNIST' / 'raw'} does not hold train-images-idx3-ubyte, and the download of MNIST failed ("
    )
    assert "no route to host" in told
    assert told.endswith("(give the folder above MNIST as data_dir), or a working network.")
    assert list(tmp_path.iterdir()) == []


def test_download_fetches_the_four_files_where_they_are_missing(tmp_path, monkeypatch):
    fetched = []

    def fetch(url, download_root, filename, md5):
        fetched.append(filename)
        assert Path(download_root) == tmp_path / "MNIST" / "raw"
        assert md5 == dict(MNIST.resources)[filename]
        write_mnist(tmp_path)

    monkeypatch.setattr(DOWNLOADER, fetch)
    datamodule = read(tmp_path)
    assert fetched == [f"{name}.gz" for name in FILES]
    assert len(whole(datamodule.test_dataloader())[0]) == 60


def test_download_false_leaves_the_network_alone(tmp_path, no_network):
    MNISTDataModule(str(tmp_path), download=False).prepare_data()
    assert list(tmp_path.iterdir()) == []


def test_data_dir_is_the_environments_unless_given(tmp_path, monkeypatch):
    monkeypatch.setenv("GENMODELS_DATA", str(tmp_path / "environment"))
    assert MNISTDataModule().raw_folder == tmp_path / "environment" / "MNIST" / "raw"
    assert MNISTDataModule(str(tmp_path / "given")).raw_folder == tmp_path / "given" / "MNIST" / "raw"
    monkeypatch.delenv("GENMODELS_DATA")
    assert MNISTDataModule().raw_folder == Path("data", "MNIST", "raw")


@pytest.mark.usefixtures("no_network")
def test_fashion_mnist_reads_its_own_folder_and_names_its_own_classes(tmp_path):
    write_mnist(tmp_path, "MNIST", train=50, test=10)
    write_mnist(tmp_path, "FashionMNIST", train=50, test=20)
    datamodule = FashionMNISTDataModule(str(tmp_path))
    datamodule.prepare_data()
    datamodule.setup("test")
    assert len(whole(datamodule.test_dataloader())[0]) == 20
    assert datamodule.num_classes == len(datamodule.class_names) == 10
    assert (datamodule.class_names[0], datamodule.class_names[9]) == ("T-shirt/top", "Ankle boot")


def test_batch_larger_than_the_training_split_is_an_error(root):
    datamodule = MNISTDataModule(str(root), batch_size=181)
    datamodule.setup("fit")
    with pytest.raises(DataError, match=r"batch_size is 181 .* training split has 180 images"):
        datamodule.train_dataloader()


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("batch_size", 0, "1 or more"),
        ("num_workers", -1, "0 or more"),
        ("image_size", 0, "1 or more"),
        ("seed", -1, "0 or more"),
        ("val_fraction", 1.0, "at least 0 and below 1"),
    ],
)
def test_option_out_of_its_range_is_named_with_its_value_and_what_was_expected(option, value, expected):
    with pytest.raises(DataError, match=f"{option} is {value}; expected {expected}"):
        MNISTDataModule(**{option: value})
