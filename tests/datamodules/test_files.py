from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from datamodules import DataError, ImageFolderDataModule, files
from datamodules.cache import cache_key
from datamodules.files import DecodedSplit, MappedSplit
from datamodules.folders import holds_pictures, natural_order, pictures_in
from datamodules.in_memory import MemorySplit

ROOT = Path("pictures")
SMALL = 1e-5  # GiB: 10 KiB, three pictures of 3x32x32


def write_pictures(folder, count, seed=0):
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        pixels = np.random.default_rng((seed, number)).integers(0, 256, (40, 36 + number % 3, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")


@pytest.fixture
def root():
    for seed, name in enumerate(("cat", "dog")):
        write_pictures(ROOT / name, 15, seed)
    return ROOT


def read(**options):
    datamodule = ImageFolderDataModule(str(ROOT), **{"image_size": 32, "batch_size": 4, "flip": True, **options})
    datamodule.setup()
    return datamodule


def batches(datamodule):
    loaders = (datamodule.train_dataloader(), datamodule.val_dataloader(), datamodule.test_dataloader())
    return [batch for loader in loaders for batch in loader]


def same(ones, others):
    return len(ones) == len(others) and all(
        torch.equal(a, b) for one, other in zip(ones, others, strict=True) for a, b in zip(one, other, strict=True)
    )


@pytest.mark.usefixtures("root")
@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize(
    ("options", "split"),
    [
        ({"cache": True}, MemorySplit),
        ({"cache": True, "memory_budget": SMALL}, MappedSplit),
        ({"cache": True, "memory_budget": float("inf")}, MemorySplit),
        ({"cache": False}, DecodedSplit),
    ],
    ids=["in memory", "mapped", "no limit", "decoded"],
)
def test_batches_are_the_same_however_they_are_kept_and_fetched(options, split, num_workers):
    expected = batches(read(cache=False))
    datamodule = read(num_workers=num_workers, **options)
    assert isinstance(datamodule.split("train"), split)
    found = batches(datamodule)
    assert same(found, expected)
    assert [len(batch.image) for batch in found] == [4] * 6 + [3, 3]
    assert all(batch.image.dtype == torch.uint8 for batch in found)


@pytest.mark.usefixtures("root")
@pytest.mark.parametrize(("options", "workers"), [({}, 0), ({"memory_budget": SMALL}, 0), ({"cache": False}, 2)])
def test_workers_are_for_decoding(options, workers):
    datamodule = read(num_workers=2, **options)
    assert datamodule.train_dataloader().num_workers == datamodule.test_dataloader().num_workers == workers


@pytest.mark.usefixtures("root")
def test_files_that_splits_share_are_looked_at_once(monkeypatch):
    looked = []

    def key(paths, options):
        looked.extend(paths)
        return cache_key(paths, options)

    monkeypatch.setattr(files, "cache_key", key)
    read()
    assert len(looked) == len(set(looked)) == 30


@pytest.mark.usefixtures("root")
def test_images_of_a_split_are_the_files_it_names():
    datamodule = read()
    source = datamodule.find("val")
    image, label = datamodule.split("val").fetch(torch.tensor([2, 0]))
    for place, row in enumerate(source.rows[[2, 0]].tolist()):
        assert torch.equal(image[place], source.decode(source.items[row])[0])
        assert datamodule.class_names[label[place]] == Path(source.items[row][0]).parent.name


@pytest.mark.usefixtures("root")
def test_three_splits_share_one_cache_and_the_second_run_decodes_nothing(monkeypatch):
    expected = batches(read())
    assert len([path for path in Path("cache").iterdir() if path.is_dir()]) == 1

    def fail(path, channels):
        raise AssertionError(path)

    monkeypatch.setattr("datamodules.image_folder.read_image", fail)
    assert same(batches(read()), expected)


@pytest.mark.parametrize("change", ["file", "size", "channels"])
def test_cache_of_other_files_or_options_is_not_taken(root, change):
    read()
    if change == "file":
        Image.new("RGB", (32, 32), "red").save(root / "cat/0.png")
    options = {"size": {"image_size": 16}, "channels": {"channels": 1}}.get(change, {})
    assert same(batches(read(**options)), batches(read(cache=False, **options)))


@pytest.mark.usefixtures("root")
def test_cache_lies_in_the_folder_given():
    read(cache_dir="elsewhere")
    assert not Path("cache").exists()
    assert [path.name.split("-")[0] for path in Path("elsewhere").iterdir() if path.is_dir()] == [
        "ImageFolderDataModule"
    ]


@pytest.mark.usefixtures("root")
def test_set_that_is_read_whole_is_mapped_bit_by_bit(monkeypatch):
    budgets = []

    class Noted(MappedSplit):
        def __init__(self, source, folder, budget):
            budgets.append(budget)
            super().__init__(source, folder, budget)

    monkeypatch.setattr(files, "MappedSplit", Noted)
    read(memory_budget=1000.0)
    assert set(budgets) == {2**26}


@pytest.mark.usefixtures("root")
def test_workers_are_not_sent_the_names_of_a_cached_sets_files():
    assert len(read(memory_budget=SMALL).split("train").source.items) == 0


def test_bad_file_is_named_before_the_first_batch(root):
    (root / "dog/7.png").write_bytes(b"?")
    with pytest.raises(DataError) as error:
        read()
    assert str(error.value) == "pictures/dog/7.png is damaged or no picture (of no known format)."
    assert not any(path.is_dir() for path in Path("cache").iterdir())


def test_faults_names_every_bad_file_once_and_nothing_else(root):
    (root / "cat/3.png").write_bytes((root / "cat/3.png").read_bytes()[:900])
    (root / "dog/7.png").write_bytes(b"?")
    (root / "dog/8.png").write_bytes(b"")
    faults = list(ImageFolderDataModule(str(root), image_size=32).faults())
    assert sorted(fault.split(" ")[0] for fault in faults) == [
        "pictures/cat/3.png",
        "pictures/dog/7.png",
        "pictures/dog/8.png",
    ]
    assert not Path("cache").exists()


def test_faults_of_a_whole_set_are_none(root, capfd):
    assert list(ImageFolderDataModule(str(root), image_size=32).faults()) == []
    assert "Checking train: 100%" in capfd.readouterr().err


def test_fault_of_all_splits_is_said_once():
    assert list(ImageFolderDataModule("none").faults()) == ["none is no folder; expected pictures in it."]


def test_fault_of_one_split_does_not_hide_those_of_the_others():
    for split in ("train", "val", "test"):
        write_pictures(ROOT / split, 4)
    for path in (ROOT / "val").iterdir():
        path.unlink()
    (ROOT / "test/2.png").write_bytes(b"")
    first, second = ImageFolderDataModule(str(ROOT)).faults()
    assert first.startswith("pictures/val holds no pictures; expected files that end in .bmp, ")
    assert second == "pictures/test/2.png is empty; expected a picture."


@pytest.mark.parametrize("budget", [0.0, -1.0, float("nan")])
def test_memory_budget_has_to_be_above_0(budget):
    with pytest.raises(DataError) as error:
        ImageFolderDataModule("pictures", memory_budget=budget)
    assert str(error.value) == f"ImageFolderDataModule: memory_budget is {budget}; expected above 0."


def test_numbers_in_names_are_ordered_as_numbers():
    names = ["10.jpg", "9.jpg", "a2b10.jpg", "a2b9.jpg", "a10b1.jpg", "b.jpg", "1².jpg", "²1.jpg"]
    ordered = sorted(names, key=natural_order)
    assert [name for name in ordered if "²" not in name] == [
        "9.jpg", "10.jpg", "a2b9.jpg", "a2b10.jpg", "a10b1.jpg", "b.jpg"
    ]  # fmt: skip


def test_order_of_equal_numbers_is_not_the_disks():
    assert len({str(natural_order(name)) for name in ("01.png", "1.png", "001.png")}) == 3


def test_hidden_files_are_no_pictures():
    write_pictures(ROOT / "cat", 3)
    for folder in (ROOT, ROOT / "cat"):
        (folder / "._0.png").write_bytes(b"a Mac's")
    assert [path.name for path in pictures_in(ROOT / "cat")] == ["0.png", "1.png", "2.png"]
    assert not holds_pictures(ROOT)
    assert ImageFolderDataModule(str(ROOT)).class_names == ("cat",)


def test_folder_that_cannot_be_opened_is_named(monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied")

    ROOT.mkdir()
    monkeypatch.setattr(Path, "iterdir", refuse)
    for find in (pictures_in, holds_pictures):
        with pytest.raises(DataError) as error:
            find(ROOT)
        assert str(error.value) == "pictures cannot be read (Permission denied); expected a folder of pictures."
