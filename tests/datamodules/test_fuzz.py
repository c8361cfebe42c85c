"""Damaged files of every kind: each loads with the right shape and type, or is named in one sentence."""

import io
import shutil
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from datamodules import CelebADataModule, DataError, MNISTDataModule
from datamodules.celeba import ATTRIBUTES
from datamodules.decoding import read_image, read_numbers
from datamodules.download import unpack
from datamodules.image_folder import read_square

EXIF = Image.Exif()
EXIF[0x0112] = 6
PIXELS = np.random.default_rng(0).integers(0, 256, (13, 11, 4), np.uint8)
SMOOTH = Image.fromarray(PIXELS[:4, :4, :3]).resize((20, 28))
TREE = {"set/a.txt": b"one " * 50, "set/b/c.bin": bytes(PIXELS), "set/d.txt": b""}

places = st.integers(0, 2**16)  # beyond the end they start again
edits = st.lists(
    st.one_of(
        st.tuples(st.just("set"), places, st.integers(0, 255)),
        st.tuples(st.just("flip"), places, st.integers(0, 7)),
        st.tuples(st.just("truncate"), places),
        st.tuples(st.just("cut"), places, st.integers(1, 40)),
        st.tuples(st.just("insert"), places, st.binary(min_size=1, max_size=8)),
        st.tuples(st.just("splice"), places, places, st.integers(1, 40)),
    ),
    min_size=1,
    max_size=4,
)


def damaged(content, changes):
    content = bytearray(content)
    for kind, place, *rest in changes:
        at = place % (len(content) + 1)
        if kind == "set":
            content[at : at + 1] = bytes(rest)
        elif kind == "flip" and at < len(content):
            content[at] ^= 1 << rest[0]
        elif kind == "truncate":
            del content[at:]
        elif kind == "cut":
            del content[at : at + rest[0]]
        elif kind == "insert":
            content[at:at] = rest[0]
        elif kind == "splice":
            start = rest[0] % (len(content) + 1)
            content[at:at] = content[start : start + rest[1]]
    return bytes(content)


def fuzz(examples):
    def decorate(test):
        unhurried = settings(
            max_examples=examples,
            derandomize=True,
            database=None,
            deadline=None,
            suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
        )
        return unhurried(given(changes=edits)(test))

    return decorate


def check_sentence(error, path):
    message = str(error)
    assert message.startswith((f"{path} ", f"{path}: ")), message
    assert len(message.splitlines()) == 1, message
    assert message.endswith("."), message
    assert ". " not in message.removeprefix(str(path)), message


def picture(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


PICTURES = {
    "jpeg": picture(SMOOTH, "JPEG", exif=EXIF),
    "progressive jpeg": picture(SMOOTH, "JPEG", progressive=True),
    "grey jpeg": picture(SMOOTH.convert("L"), "JPEG"),
    "cmyk jpeg": picture(SMOOTH.convert("CMYK"), "JPEG"),
    "png": picture(Image.fromarray(PIXELS[..., :3]), "PNG", exif=EXIF),
    "transparent png": picture(Image.fromarray(PIXELS), "PNG"),
    "palette png": picture(Image.fromarray(PIXELS[..., :3]).quantize(16), "PNG", transparency=3),
    "16-bit png": picture(Image.fromarray(PIXELS[..., 0].astype(np.uint16) * 199), "PNG", exif=EXIF),
    "webp": picture(SMOOTH, "WEBP"),
    "gif": picture(SMOOTH, "GIF"),
    "tiff": picture(SMOOTH, "TIFF", compression="tiff_lzw"),
    "bmp": picture(SMOOTH, "BMP"),
}


@pytest.fixture(autouse=True)
def small_limit(monkeypatch):
    """What claims to have more pixels than 2 million is refused: damaged headers shall cost no gigabytes here."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10**6)


@pytest.mark.parametrize("kind", PICTURES)
@pytest.mark.filterwarnings("ignore")
@fuzz(60)
def test_damaged_picture_loads_or_is_named(kind, changes):
    path = Path("picture")
    path.write_bytes(damaged(PICTURES[kind], changes))
    for channels in (1, 3):
        try:
            image = read_image(path, channels)
            (square,) = read_square((str(path),), channels, 8)
        except DataError as error:
            check_sentence(error, path)
        else:
            assert image.dtype == square.dtype == torch.uint8
            assert image.shape[0] == channels
            assert image.numel() > 0
            assert square.shape == (channels, 8, 8)


NUMBERS = {
    8: picture(Image.fromarray(PIXELS[..., 0]), "PNG"),
    16: picture(Image.fromarray(PIXELS[..., 0].astype(np.uint16) * 199), "PNG"),
    32: picture(Image.fromarray(PIXELS[..., 0].astype(np.float32) / 7), "TIFF"),
}


@pytest.mark.parametrize("bits", NUMBERS)
@pytest.mark.filterwarnings("ignore")
@fuzz(80)
def test_damaged_numbers_load_or_are_named(bits, changes):
    path = Path("numbers")
    path.write_bytes(damaged(NUMBERS[bits], changes))
    try:
        numbers = read_numbers(path, bits)
    except DataError as error:
        check_sentence(error, path)
    else:
        assert numbers.dtype == {8: torch.uint8, 16: torch.int32, 32: torch.float32}[bits]
        assert numbers.ndim == 3
        assert len(numbers) == 1
        assert numbers.numel() > 0
        assert bits != 16 or 0 <= numbers.min() <= numbers.max() < 2**16


IDX = {
    "t10k-images-idx3-ubyte": np.array([0x0803, 5, 12, 11], ">u4").tobytes() + PIXELS.tobytes() + bytes(88),
    "t10k-labels-idx1-ubyte": np.array([0x0801, 5], ">u4").tobytes() + bytes([1, 2, 3, 4, 5]),
}


@pytest.mark.parametrize("name", IDX)
@pytest.mark.filterwarnings("ignore")
@fuzz(80)
def test_damaged_idx_file_loads_or_is_named(name, changes):
    raw = Path("MNIST/raw")
    raw.mkdir(parents=True, exist_ok=True)
    for other, content in IDX.items():
        (raw / other).write_bytes(damaged(content, changes) if other == name else content)
    datamodule = MNISTDataModule(".", download=False, batch_size=5)
    try:
        datamodule.setup("test")
        ((image, label),) = datamodule.test_dataloader()
    except DataError as error:
        named = str(error).split(" ")[0]  # the labels, where the images are fewer
        assert named in [str(raw / other) for other in IDX]
        check_sentence(error, named)
    else:
        assert image.dtype == torch.uint8
        assert image.shape == (5, 1, 28, 28)
        assert label.dtype == torch.int64
        assert label.shape == (5,)


NAMES = [f"{number:06d}.jpg" for number in range(1, 7)]
SIGNS = np.where(PIXELS.flatten()[:240].reshape(6, 40) < 128, "-1", "1")
LISTS = {
    "list_attr_celeba.txt": "\n".join(
        ["6", " ".join(ATTRIBUTES), *(f"{name} {' '.join(row)}" for name, row in zip(NAMES, SIGNS, strict=True)), ""]
    ),
    "list_eval_partition.txt": "".join(f"{name} {number // 2}\n" for number, name in enumerate(NAMES)),
}


@pytest.mark.parametrize("name", LISTS)
@fuzz(100)
def test_damaged_list_of_celeba_loads_or_a_file_is_named(name, changes):
    folder = Path("celeba")
    if not folder.exists():
        for image in NAMES:
            (folder / "img_align_celeba").mkdir(parents=True, exist_ok=True)
            SMOOTH.save(folder / "img_align_celeba" / image)
    for other, content in LISTS.items():
        (folder / other).write_bytes(damaged(content.encode(), changes) if other == name else content.encode())
    datamodule = CelebADataModule(".", image_size=8, batch_size=6, download=False, cache=False)
    try:
        datamodule.setup()
        splits = [datamodule.split(split) for split in ("train", "val", "test")]
        batches = [split.fetch(torch.arange(len(split))) for split in splits if len(split)]
    except DataError as error:
        named = str(error).split(" ")[0]
        assert named.startswith(f"{folder}/")
        check_sentence(error, named)
    else:
        for image, label in batches:
            assert (image.dtype, label.dtype) == (torch.uint8, torch.uint8)
            assert image.shape == (len(label), 3, 8, 8)
            assert label.shape == (len(image), 40)


def tar():
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        for name, content in TREE.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return file.getvalue()


def zipped():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in TREE.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return file.getvalue()


ARCHIVES = {"set.tar.gz": tar(), "set.zip": zipped()}


@pytest.mark.parametrize("name", ARCHIVES)
@pytest.mark.filterwarnings("ignore")
@fuzz(120)
def test_damaged_archive_unpacks_what_it_held_or_is_named(name, changes):
    path, folder = Path(name), Path("unpacked")
    path.write_bytes(damaged(ARCHIVES[name], changes))
    try:
        unpack(path, folder)
    except DataError as error:
        check_sentence(error, path)
        assert not folder.exists()
    else:
        for found in folder.rglob("*"):
            assert found.is_dir() or found.read_bytes() == TREE[str(found.relative_to(folder))]
        shutil.rmtree(folder, ignore_errors=True)
    assert {entry.name for entry in Path().iterdir()} == {name}
