import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from made_files import save, stacked
from made_sets import small_module

from datamodules import DataError, DFDIndoorDataModule

REAL = Path(os.environ.get("GENMODELS_DATA", "none"), "dfd_indoor")


def write_dfd(root, train=8, test=3):
    """Names as the real ones: image and depth are some milliseconds apart; depth is 100 mm times the image's grey."""
    number = 0
    for split, count in (("train", train), ("test", test)):
        for i in range(count):
            number += 1
            stamp = 1_489_000_000_900 + 1000 * i
            depth = np.full((8, 12), 100 * number, np.uint16)
            depth[0, 0] = 0
            save(root / f"dfd_indoor/rgb/{split}/{stamp}.png", torch.full((3, 8, 12), number, dtype=torch.uint8))
            save(root / f"dfd_indoor/depth/{split}/{stamp + 37}.png", depth)
    return root / "dfd_indoor"


def module(root, **options):
    return DFDIndoorDataModule(str(root), **{"image_size": (8, 12), "batch_size": 1, "val_fraction": 0.25, **options})


def test_pairs_are_those_in_the_order_of_their_names_in_millimetres(tmp_path):
    write_dfd(tmp_path)
    datamodule = module(tmp_path)
    datamodule.setup()
    numbers = []
    for loader in (datamodule.train_dataloader(), datamodule.val_dataloader(), datamodule.test_dataloader()):
        source, target = stacked(loader)
        assert torch.allclose(target[:, 0, 4, 4], source[:, 0, 4, 4].float() / 10)
        assert (target[:, 0, 0, 0] == 0).all()  # nothing was measured there
        numbers.append(sorted(source[:, 0, 4, 4].tolist()))
    assert (len(numbers[0]), len(numbers[1]), numbers[2]) == (6, 2, [9, 10, 11])
    assert sorted(numbers[0] + numbers[1]) == list(range(1, 9))


def test_test_split_is_the_official_one_whatever_the_seed(tmp_path):
    write_dfd(tmp_path)
    seen = []
    for seed in (0, 1):
        datamodule = module(tmp_path, seed=seed)
        datamodule.setup("test")
        seen.append(stacked(datamodule.test_dataloader())[0][:, 0, 0, 0].tolist())
    assert seen == [[9, 10, 11], [9, 10, 11]]


def test_missing_depth_map_is_an_error_as_the_others_would_shift(tmp_path):
    folder = write_dfd(tmp_path)
    next(iter((folder / "depth/train").iterdir())).unlink()
    with pytest.raises(DataError) as caught:
        module(tmp_path).setup("fit")
    assert str(caught.value) == f"{folder}/depth/train holds 7 depth maps; expected 8, one for each image."


def test_missing_set_is_named(tmp_path):
    with pytest.raises(DataError) as caught:
        module(tmp_path).setup("fit")
    assert str(caught.value) == (
        f"{tmp_path}/dfd_indoor/rgb/train is no folder; expected the set as published: give the folder above "
        "dfd_indoor as data_dir."
    )


@pytest.mark.skipif(not REAL.is_dir(), reason="GENMODELS_DATA names no folder with the real DFD indoor set")
def test_real_set_has_81_and_29_pairs_with_depths_of_rooms():
    datamodule = DFDIndoorDataModule(cache=False, batch_size=4)
    datamodule.setup()
    assert len(datamodule.split("train")) + len(datamodule.split("val")) == 81
    assert len(datamodule.split("test")) == 29
    batch = datamodule.to_float(next(iter(datamodule.test_dataloader())))
    measured = batch.target[batch.target > 0]
    assert 0.1 < measured.min() <= measured.max() < 15
    assert 1 < measured.median() < 6
    assert len(measured) > 0.5 * batch.target.numel()


def test_no_split_is_made_up(tmp_path):
    small_module("DFDIndoorDataModule", tmp_path)
    shutil.rmtree(tmp_path / "dfd_indoor/rgb/test")
    with pytest.raises(DataError, match=r"dfd_indoor/rgb/test is no folder; expected the set as published"):
        DFDIndoorDataModule(str(tmp_path)).setup("fit")
