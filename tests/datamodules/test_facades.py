import os
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from made_files import coordinates, save, stacked
from PIL import Image

from datamodules import DataError, FacadesDataModule, facades

COUNTS = {"train": 3, "val": 2, "test": 1}
PALETTE = torch.tensor(FacadesDataModule.PALETTE, dtype=torch.uint8)
REAL = Path(os.environ.get("GENMODELS_DATA", "none"), "facades")


def stripes(side):
    """(side, side) classes: twelve stripes."""
    return (torch.arange(side) * 12 // side).expand(side, side)


def write_facades(root, counts=COUNTS, side=48, suffix="png"):
    for split, count in counts.items():
        for i in range(1, count + 1):
            labels = PALETTE[stripes(side)].permute(2, 0, 1)
            save(root / "facades" / split / f"{i}.{suffix}", torch.cat([coordinates(side, side, i), labels], 2))


def module(root, **options):
    return FacadesDataModule(str(root), **{"image_size": 48, "load_size": 48, "download": False, **options})


@pytest.fixture
def published(tmp_path, monkeypatch):
    """An archive of a small set, where the module looks for the real one."""

    def publish(counts=COUNTS, damaged=None, inside="facades"):
        write_facades(tmp_path / "made", counts)
        if damaged:
            path = tmp_path / "made/facades" / damaged
            path.write_bytes(path.read_bytes()[:100])
        with tarfile.open(tmp_path / "facades.tar.gz", "w:gz") as archive:
            archive.add(tmp_path / "made/facades", inside)
        monkeypatch.setattr(facades, "URL", (tmp_path / "facades.tar.gz").as_uri())
        monkeypatch.setattr(facades, "COUNTS", COUNTS)
        return tmp_path / "data"

    return publish


def test_from_labels_to_photograph_unless_told_otherwise(tmp_path):
    write_facades(tmp_path)
    labels = PALETTE[stripes(48)].permute(2, 0, 1)
    for options, photograph, drawing in (({}, 1, 0), ({"direction": "AtoB"}, 0, 1)):
        datamodule = module(tmp_path, **options)
        datamodule.setup("test")
        batch = next(iter(datamodule.test_dataloader()))
        assert torch.equal(batch[photograph][0], coordinates(48, 48, 1))
        assert torch.equal(batch[drawing][0], labels)


def test_official_splits_stay_whatever_the_seed(tmp_path):
    write_facades(tmp_path, {"train": 5, "val": 3, "test": 2})
    for seed in (0, 1):
        datamodule = module(tmp_path, seed=seed)
        datamodule.setup()
        loaders = (datamodule.train_dataloader(), datamodule.val_dataloader(), datamodule.test_dataloader())
        numbers = [stacked(loader)[1][:, 2, 0, 0].tolist() for loader in loaders]
        assert sorted(numbers[0]) == [1, 2, 3, 4, 5]
        assert numbers[1:] == [[1, 2, 3], [1, 2]]


def test_label_map_blurred_by_jpeg_gives_the_nearest_class(tmp_path):
    write_facades(tmp_path, {"train": 1, "val": 1, "test": 1}, side=96, suffix="jpg")
    drawn = torch.from_numpy(np.array(Image.open(tmp_path / "facades/test/1.jpg")))[:, 96:]
    assert not torch.equal(drawn, PALETTE[stripes(96)])  # it is blurred
    datamodule = module(tmp_path, labels="classes", direction="AtoB", image_size=96, load_size=96)
    datamodule.setup("test")
    target = datamodule.to_float(next(iter(datamodule.test_dataloader()))).target[0]
    assert datamodule.target_channels == 12
    assert target.dtype == torch.int64
    assert (target == stripes(96)).float().mean() > 0.95
    inner = torch.arange(96) % 8 == 4  # the middles of the stripes
    assert torch.equal(target[:, inner], stripes(96)[:, inner])


def test_classes_go_with_the_other_direction_only():
    with pytest.raises(DataError) as caught:
        FacadesDataModule(labels="classes")
    assert str(caught.value) == (
        "FacadesDataModule: labels is 'classes' with direction 'BtoA', which makes them the source; expected direction "
        "'AtoB'."
    )


def test_other_labels_are_named():
    with pytest.raises(DataError, match=r"^FacadesDataModule: labels is 'map'; expected one of colours, classes\.$"):
        FacadesDataModule(labels="map")


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_missing_split_is_named_and_nothing_takes_its_place(tmp_path, split):
    write_facades(tmp_path)
    for path in (tmp_path / "facades" / split).iterdir():
        path.unlink()
    with pytest.raises(DataError) as caught:
        module(tmp_path).setup()
    published = {"train": 400, "val": 100, "test": 106}
    assert str(caught.value) == (
        f"{tmp_path}/facades/{split} holds no pictures; expected {published[split]} pairs as published: give the "
        "folder above facades as data_dir; or remove it, and set download to true."
    )


def test_download_is_verified_and_says_what_was_not(published, capsys):
    root = published()
    datamodule = module(root, download=True)
    datamodule.prepare_data()
    assert capsys.readouterr().out.strip() == (
        f"{root}/facades: the archive has no published checksum; verifying that its files are whole."
    )
    datamodule.setup()
    assert len(datamodule.split("train")) == 3
    assert [path.name for path in root.iterdir()] == ["facades"]


def test_set_that_is_there_is_not_fetched_again(published, capsys):
    root = published()
    write_facades(root, {"train": 1})
    module(root, download=True).prepare_data()
    assert capsys.readouterr().out == ""
    assert not (root / "facades/val").exists()


def test_download_false_leaves_the_network_alone(published):
    root = published()
    module(root, download=False).prepare_data()
    assert not root.exists()


def test_wrong_number_of_files_in_the_archive_is_named_and_nothing_is_kept(published):
    root = published({**COUNTS, "val": 1})
    with pytest.raises(DataError) as caught:
        module(root, download=True).prepare_data()
    assert str(caught.value) == f"{facades.URL}: val holds 1 pictures; expected 2."
    assert not root.exists()


def test_damaged_file_in_the_archive_is_named_and_nothing_is_kept(published):
    root = published(damaged="train/2.png")
    with pytest.raises(DataError) as caught:
        module(root, download=True).prepare_data()
    assert str(caught.value).startswith(f"{facades.URL}: train/2.png is damaged or no picture (")
    assert not root.exists()


def test_archive_of_something_else_is_named_and_nothing_is_kept(published):
    root = published(inside="cityscapes")
    with pytest.raises(DataError) as caught:
        module(root, download=True).prepare_data()
    assert str(caught.value) == f"{facades.URL} holds no folder facades; expected the set as it was published."
    assert not root.exists()


def test_truncated_archive_is_an_error_and_nothing_is_kept(published, tmp_path):
    root = published()
    archive = tmp_path / "facades.tar.gz"
    archive.write_bytes(archive.read_bytes()[: archive.stat().st_size // 2])
    with pytest.raises(DataError, match=r"facades\.tar\.gz is broken \(.*\); expected a whole archive\.$"):
        module(root, download=True).prepare_data()
    assert not root.exists()


def test_what_a_killed_download_has_left_is_not_taken_for_the_set(published):
    root = published()
    write_facades(root, {"train": 1})
    (root / "facades").rename(root / "facades.partial")
    module(root, download=True).prepare_data()
    assert [path.name for path in root.iterdir()] == ["facades"]
    assert len(list((root / "facades/train").iterdir())) == 3


@pytest.mark.skipif(not REAL.is_dir(), reason="GENMODELS_DATA names no folder with the real facades")
def test_real_facades_are_400_100_and_106_pairs_of_twelve_classes():
    datamodule = FacadesDataModule(
        labels="classes", direction="AtoB", image_size=64, load_size=64, batch_size=16, cache=False, download=False
    )
    datamodule.setup()
    assert [len(datamodule.split(name)) for name in ("train", "val", "test")] == [400, 100, 106]
    target = datamodule.to_float(next(iter(datamodule.test_dataloader()))).target
    assert set(target.unique().tolist()) <= set(range(12))
    assert len(target.unique()) > 8
    pixels = torch.from_numpy(np.array(Image.open(REAL / "test/1.jpg"))).float()[:, 256:]
    distance = torch.cdist(pixels.flatten(0, 1), PALETTE.float()).amin(1)
    assert (distance < 40).float().mean() > 0.75


def test_a_set_with_fewer_pairs_than_were_published_has_a_fault(published):
    root = published()
    datamodule = module(root, download=True)
    datamodule.prepare_data()
    assert list(datamodule.faults()) == []
    (root / "facades/val/1.png").unlink()
    assert list(datamodule.faults()) == [f"{root}/facades/val holds 1 pairs; expected 2 as published."]
