import os
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from made_files import coordinates, save, stacked
from scipy.io import savemat

from datamodules import DataError, NYUDepthDataModule, nyu

HEIGHT, WIDTH = 24, 32
COUNT = 12
TRAIN, TEST = (1, 3, 4, 6, 8, 9, 11, 12), (2, 5, 7, 10)  # as MATLAB counts, from 1
REAL = Path(os.environ.get("GENMODELS_DATA", "none"), "nyu")


def pair(number):
    """An image with its number as its blue, and depth in metres that is a function of the place and the number."""
    place = coordinates(HEIGHT, WIDTH, number)
    return place, 1 + place[0].float() / 100 + place[1].float() / 10 + number / 1000


def write_labelled(root, count=COUNT, splits=True):
    """The file in MATLAB's layout, which as HDF5 is (N, 3, W, H) and (N, W, H)."""
    folder = root / "nyu"
    folder.mkdir(parents=True, exist_ok=True)
    images, depths = zip(*(pair(number) for number in range(count)), strict=True)
    with h5py.File(folder / nyu.LABELLED, "w") as file:
        file["images"] = torch.stack(images).transpose(2, 3).numpy()
        file["depths"] = torch.stack(depths).transpose(1, 2).numpy()
    if splits:
        savemat(folder / nyu.SPLITS_FILE, {"trainNdxs": np.array(TRAIN, np.uint16)[:, None],
                                           "testNdxs": np.array(TEST, np.uint16)[:, None]})  # fmt: skip
    return folder


def write_folders(root, numbers):
    folder = root / "nyu"
    for number in numbers:
        save(folder / f"images/{number}.png", coordinates(HEIGHT, WIDTH, number))
        save(folder / f"depths/{number}.png", np.full((HEIGHT, WIDTH), 10 + number, np.uint8))
    return folder


def module(root, **options):
    defaults = {"image_size": (HEIGHT, WIDTH), "crop": "none", "batch_size": 1, "val_fraction": 0.25, "download": False}
    return NYUDepthDataModule(str(root), **{**defaults, **options})


def members(datamodule):
    datamodule.setup()
    loaders = (datamodule.train_dataloader(), datamodule.val_dataloader(), datamodule.test_dataloader())
    return [sorted(stacked(loader)[0][:, 2, 0, 0].tolist()) for loader in loaders]


def fails(sentence, root, split="train", **options):
    with pytest.raises(DataError) as caught:
        module(root, **options).read_splits((split,))
    assert str(caught.value) == sentence


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(nyu, "COUNT", COUNT)


def test_columns_first_of_matlab_become_rows_first(tmp_path):
    write_labelled(tmp_path)
    datamodule = module(tmp_path)
    datamodule.setup("test")
    for number, batch in zip((1, 4, 6, 9), datamodule.test_dataloader(), strict=True):
        image, depth = pair(number)
        assert batch.source.shape == (1, *datamodule.image_shape)
        assert torch.equal(batch.source[0], image)
        assert torch.equal(batch.target[0, 0], depth)


@pytest.mark.parametrize("cache", [True, False])
def test_split_is_the_official_one_with_validation_drawn_from_its_training_pairs(tmp_path, cache):
    write_labelled(tmp_path)
    train, val, test = members(module(tmp_path, cache=cache))
    assert (len(train), len(val)) == (6, 2)
    assert sorted(train + val) == [number - 1 for number in TRAIN]
    assert test == [number - 1 for number in TEST]
    assert [members(module(tmp_path, seed=seed))[2] for seed in (1, 2)] == [test, test]
    assert any(members(module(tmp_path, seed=seed))[1] != val for seed in (1, 2))


def test_both_lists_take_the_place_of_the_official_split(tmp_path):
    folder = write_labelled(tmp_path, splits=False)
    (folder / "train.txt").write_text("0\n2\n10\n11\n")
    (folder / "test.txt").write_text("1 kitchen_0004\n5 bath_0001\n")
    train, val, test = members(module(tmp_path))
    assert (sorted(train + val), test) == ([0, 2, 10, 11], [1, 5])


@pytest.mark.parametrize("form", ["labelled", "folders"])
def test_one_list_alone_is_named(tmp_path, form):
    folder = write_labelled(tmp_path) if form == "labelled" else write_folders(tmp_path, range(COUNT))
    (folder / "train.txt").write_text("0\n2\n")
    fails(f"{folder} holds only one of train.txt and test.txt; expected both or neither.", tmp_path)


def test_folder_form_has_the_official_split_too_and_none_is_made_up(tmp_path):
    folder = write_folders(tmp_path, range(COUNT))
    with pytest.raises(DataError, match=r"splits\.mat cannot be read as the official split"):
        module(tmp_path).setup("fit")
    (tmp_path / "other").mkdir()
    (write_labelled(tmp_path / "other") / nyu.SPLITS_FILE).rename(folder / nyu.SPLITS_FILE)
    train, val, test = members(module(tmp_path))
    assert sorted(train + val) == [number - 1 for number in TRAIN]
    assert test == [number - 1 for number in TEST]


@pytest.mark.parametrize("wrong", [{"trainNdxs": (1, 2), "testNdxs": (2, 3)}, {"trainNdxs": (1, 1), "testNdxs": (3,)}])
def test_pair_in_two_splits_or_twice_is_named(tmp_path, wrong):
    folder = write_labelled(tmp_path)
    savemat(folder / nyu.SPLITS_FILE, {name: np.array(numbers) for name, numbers in wrong.items()})
    fails(
        f"{folder}/splits.mat is damaged: it names a pair twice; expected each once in one split.", tmp_path
    )  # fmt: skip


@pytest.mark.parametrize(
    ("field", "values", "told"),
    [
        (
            "depths",
            np.ones((COUNT, WIDTH, HEIGHT // 2), np.float32),
            "(3, 24, 32) torch.uint8 with a depth of (12, 32)",
        ),
        (
            "images",
            np.ones((COUNT, 3, WIDTH, HEIGHT), np.float64),
            "(3, 24, 32) torch.float64 with a depth of (24, 32)",
        ),
        ("images", np.ones((COUNT, 1, WIDTH, HEIGHT), np.uint8), "(1, 24, 32) torch.uint8 with a depth of (24, 32)"),
    ],
    ids=["size", "type", "channels"],
)
@pytest.mark.parametrize("cache", [True, False])
def test_pair_that_does_not_fit_is_named(tmp_path, field, values, told, cache):
    path = write_labelled(tmp_path) / nyu.LABELLED
    with h5py.File(path, "a") as file:
        del file[field]
        file[field] = values
    with pytest.raises(DataError) as caught:
        members(module(tmp_path, cache=cache))
    assert f"is an image of {told}; expected 3 channels of bytes and as many pixels." in str(caught.value)


def test_official_split_is_needed_beside_the_labelled_file(tmp_path):
    folder = write_labelled(tmp_path, splits=False)
    with pytest.raises(DataError) as caught:
        module(tmp_path).setup("fit")
    assert str(caught.value).startswith(f"{folder}/splits.mat cannot be read as the official split (")
    assert str(caught.value).endswith("); expected the published file, or train.txt and test.txt beside it.")


@pytest.mark.parametrize("content", [b"", b"MATLAB 5.0 MAT-file", b"<html>Not found</html>" * 20])
def test_damaged_split_is_named(tmp_path, content):
    folder = write_labelled(tmp_path)
    (folder / nyu.SPLITS_FILE).write_bytes(content)
    with pytest.raises(DataError) as caught:
        module(tmp_path).setup("fit")
    assert str(caught.value).startswith(f"{folder}/splits.mat cannot be read as the official split (")
    assert "\n" not in str(caught.value)


def test_split_without_its_names_is_named(tmp_path):
    folder = write_labelled(tmp_path)
    savemat(folder / nyu.SPLITS_FILE, {"trainNdxs": np.array(TRAIN)})
    with pytest.raises(DataError, match=r"cannot be read as the official split \('testNdxs'\)"):
        module(tmp_path).setup("fit")


@pytest.mark.parametrize("wrong", [[0], [COUNT + 1], []], ids=str)
def test_split_with_numbers_of_no_pair_is_named(tmp_path, wrong):
    folder = write_labelled(tmp_path)
    savemat(folder / nyu.SPLITS_FILE, {"trainNdxs": np.array(TRAIN), "testNdxs": np.array(wrong)})
    fails(f"{folder}/splits.mat is damaged: testNdxs is not numbers from 1 to {COUNT}.", tmp_path)


def test_labelled_file_with_too_few_pairs_is_named(tmp_path):
    folder = write_labelled(tmp_path, count=COUNT - 1)
    with pytest.raises(DataError) as caught:
        module(tmp_path).setup("fit")
    assert str(caught.value).startswith(f"{folder}/{nyu.LABELLED} is damaged: pair {COUNT - 1} cannot be read (")
    assert "\n" not in str(caught.value)


def test_truncated_labelled_file_is_named(tmp_path):
    path = write_labelled(tmp_path) / nyu.LABELLED
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DataError) as caught:
        module(tmp_path).setup("fit")
    assert str(caught.value).startswith(f"{path} is damaged: pair 0 cannot be read (")
    assert "\n" not in str(caught.value)


def test_depth_that_is_not_a_number_is_named_with_its_pair(tmp_path):
    folder = write_labelled(tmp_path)
    with h5py.File(folder / nyu.LABELLED, "r+") as file:
        file["depths"][3, 0, 0] = np.nan
    fails(f"{folder}/{nyu.LABELLED}, pair 3 holds 1 values that are not finite; expected numbers.", tmp_path)


def test_eigen_crop_leaves_the_white_border_out(tmp_path):
    write_labelled(tmp_path)
    datamodule = module(tmp_path, crop="eigen", image_size=(21, 28))
    datamodule.setup("test")
    batch = next(iter(datamodule.test_dataloader()))
    assert torch.equal(batch.source[0], pair(1)[0][:, 2:23, 2:30])  # 45/480 of 24 is 2.25; 601/640 of 32 is 30.05
    assert torch.equal(batch.target[0, 0], pair(1)[1][2:23, 2:30])


def test_folder_form_is_read_with_its_lists(tmp_path):
    folder = write_folders(tmp_path, (0, 2, 4, 10, 12, 14))
    (folder / "train.txt").write_text("0\n4\n10\n14\n")
    (folder / "test.txt").write_text("2 kitchen_0004\n12 bath_0001\n")
    datamodule = module(tmp_path)
    train, val, test = members(datamodule)
    assert (sorted(train + val), len(val), test) == ([0, 4, 10, 14], 1, [2, 12])
    batch = next(iter(datamodule.test_dataloader()))
    assert torch.allclose(batch.target, torch.tensor((12 + 0.5) * 9.99547 / 255))


def test_zero_is_a_depth_in_the_folder_form(tmp_path):
    folder = write_folders(tmp_path, (0,))
    save(folder / "depths/0.png", np.zeros((HEIGHT, WIDTH), np.uint8))
    datamodule = module(tmp_path, val_fraction=0)
    (folder / "train.txt").write_text("0\n")
    save(folder / "images/1.png", coordinates(HEIGHT, WIDTH, 1))
    save(folder / "depths/1.png", np.ones((HEIGHT, WIDTH), np.uint8))
    (folder / "test.txt").write_text("1\n")
    datamodule.setup("fit")
    assert torch.allclose(next(iter(datamodule.train_dataloader())).target, torch.tensor(0.5 * 9.99547 / 255))


def test_neither_form_is_one_sentence(tmp_path):
    fails(
        f"{tmp_path}/nyu holds neither nyu_depth_v2_labeled.mat nor images and depths; expected either: give the "
        "folder above nyu as data_dir, or set download to true.",
        tmp_path,
    )


def test_download_is_verified_and_says_what_was_not(tmp_path, monkeypatch, capsys):
    published = write_labelled(tmp_path / "published")
    monkeypatch.setattr(nyu, "URLS", {name: (published / name).as_uri() for name in nyu.URLS})
    datamodule = module(tmp_path / "data", download=True)
    datamodule.prepare_data()
    said = capsys.readouterr().out.splitlines()
    assert said == [
        f"{tmp_path}/data/nyu/{name}: there is no published checksum; verifying that it can be read."
        for name in (nyu.SPLITS_FILE, nyu.LABELLED)
    ]
    assert members(datamodule)[2] == [number - 1 for number in TEST]
    assert sorted(p.name for p in (tmp_path / "data/nyu").iterdir()) == [nyu.LABELLED, nyu.SPLITS_FILE]


def test_half_a_labelled_file_from_the_network_is_not_kept_as_the_set(tmp_path, monkeypatch):
    published = write_labelled(tmp_path / "published")
    path = published / nyu.LABELLED
    path.write_bytes(path.read_bytes()[:5000])
    monkeypatch.setattr(nyu, "URLS", {name: (published / name).as_uri() for name in nyu.URLS})
    with pytest.raises(DataError, match=r"is damaged: pair 0 cannot be read"):
        module(tmp_path / "data", download=True).prepare_data()
    assert not (tmp_path / "data/nyu" / nyu.LABELLED).exists()


def test_failed_download_is_one_sentence(tmp_path, monkeypatch):
    urls = {name: (tmp_path / "none" / name).as_uri() for name in nyu.URLS}
    monkeypatch.setattr(nyu, "URLS", urls)
    with pytest.raises(DataError) as caught:
        module(tmp_path / "data", download=True).prepare_data()
    told = str(caught.value)
    assert told.startswith(
        f"{tmp_path}/data/nyu holds neither images nor {nyu.SPLITS_FILE}, and {urls[nyu.SPLITS_FILE]} could not be"
    )
    assert told.endswith("expected the set there (give the folder above nyu as data_dir), or a working network.")
    assert "\n" not in told
    assert not (tmp_path / "data").exists()


def test_folder_form_is_not_downloaded_over(tmp_path, monkeypatch):
    folder = write_folders(tmp_path, (0,))
    monkeypatch.setattr(nyu, "URLS", {})
    module(tmp_path, download=True).prepare_data()
    assert sorted(path.name for path in folder.iterdir()) == ["depths", "images"]


@pytest.mark.skipif(not REAL.is_dir(), reason="GENMODELS_DATA names no folder with the real NYU Depth")
def test_real_pairs_have_depths_of_rooms():
    datamodule = NYUDepthDataModule(cache=False, download=False, batch_size=4)
    datamodule.setup()
    listed = [len((REAL / f"{name}.txt").read_text().splitlines()) for name in ("train", "test")]
    assert len(datamodule.split("train")) + len(datamodule.split("val")) == listed[0]
    assert len(datamodule.split("test")) == listed[1]
    batch = datamodule.to_float(next(iter(datamodule.test_dataloader())))
    assert 0 < batch.target.min() <= batch.target.max() <= 10
    assert 1 < batch.target.mean() < 6
