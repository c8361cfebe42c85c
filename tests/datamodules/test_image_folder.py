import pytest
import torch
from made_files import coordinates, save, stacked

from datamodules import DataError, ImageBatch, ImageFolderDataModule


def write(folder, *numbers):
    """Pictures that are as grey as their number."""
    for number in numbers:
        save(folder / f"{number}.png", torch.full((3, 6, 6), number, dtype=torch.uint8))


def module(root, **options):
    return ImageFolderDataModule(str(root), **{"image_size": 6, "batch_size": 1, **options})


def members(root, **options):
    """(grey, label) of each split."""
    datamodule = module(root, **options)
    datamodule.setup()
    found = []
    for loader in (datamodule.train_dataloader(), datamodule.val_dataloader(), datamodule.test_dataloader()):
        images, labels = stacked(loader)
        found.append(sorted(zip(images[:, 0, 0, 0].tolist(), labels.tolist(), strict=True)))
    return found


def fails(sentence, root, split="train", **options):
    with pytest.raises(DataError) as caught:
        module(root, **options).find(split)
    assert str(caught.value) == sentence


def test_plain_folder_is_split_by_seed_and_has_no_classes(tmp_path):
    write(tmp_path, *range(20))
    train, val, test = members(tmp_path, val_fraction=0.2, test_fraction=0.3)
    assert [len(train), len(val), len(test)] == [10, 4, 6]
    assert sorted(train + val + test) == [(number, 0) for number in range(20)]
    assert members(tmp_path, val_fraction=0.2, test_fraction=0.3, cache=False) == [train, val, test]
    assert members(tmp_path, val_fraction=0.2, test_fraction=0.3, seed=1) != [train, val, test]
    assert (module(tmp_path).class_names, module(tmp_path).num_classes) == ((), 0)


def test_folders_of_classes_are_numbered_in_natural_order(tmp_path):
    write(tmp_path / "class 10", 100, 101, 102)
    write(tmp_path / "class 2", 20, 21, 22)
    write(tmp_path / "a", 0, 1, 2, 3)
    (tmp_path / "empty").mkdir()
    datamodule = module(tmp_path)
    assert datamodule.class_names == ("a", "class 2", "class 10")
    assert datamodule.num_classes == 3
    every = sorted(item for split in members(tmp_path) for item in split)
    assert every == [(n, 0) for n in range(4)] + [(n, 1) for n in (20, 21, 22)] + [(n, 2) for n in (100, 101, 102)]


def test_folders_of_splits_stay_as_they_are(tmp_path):
    write(tmp_path / "train", 1, 2, 3)
    write(tmp_path / "val", 4, 5)
    write(tmp_path / "test", 6)
    for seed in (0, 1):
        assert members(tmp_path, seed=seed) == [[(1, 0), (2, 0), (3, 0)], [(4, 0), (5, 0)], [(6, 0)]]


def test_missing_split_is_drawn_from_the_training_pictures(tmp_path):
    write(tmp_path / "train", *range(10))
    write(tmp_path / "test", 50, 51)
    train, val, test = members(tmp_path, val_fraction=0.3)
    assert len(val) == 3
    assert sorted(train + val) == [(number, 0) for number in range(10)]
    assert test == [(50, 0), (51, 0)]


def test_classes_of_every_split_have_the_numbers_of_the_training_split(tmp_path):
    for split, start in (("train", 0), ("val", 10), ("test", 20)):
        write(tmp_path / split / "cat", start, start + 1)
        write(tmp_path / split / "dog", start + 5)
    for start, found in zip((0, 10, 20), members(tmp_path), strict=True):
        assert found == [(start, 0), (start + 1, 0), (start + 5, 1)]


def test_names_shape_and_lengths_are_known_without_reading_a_picture(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for i in range(5):
            (tmp_path / name / f"{i}.png").write_bytes(b"no picture")
    datamodule = module(tmp_path, val_fraction=0.2, test_fraction=0.2, cache=False)
    assert (datamodule.image_shape, datamodule.class_names) == ((3, 6, 6), ("a", "b"))
    datamodule.setup()
    lengths = [len(loader) for loader in (datamodule.train_dataloader(), datamodule.val_dataloader(),
                                          datamodule.test_dataloader())]  # fmt: skip
    assert lengths == [6, 2, 2]


@pytest.mark.parametrize("channels", [1, 3])
def test_central_square_is_resized(tmp_path, channels):
    save(tmp_path / "1.png", coordinates(10, 30))
    datamodule = module(tmp_path, image_size=10, channels=channels, val_fraction=0, test_fraction=0)
    datamodule.setup("fit")
    batch = next(iter(datamodule.train_dataloader()))
    assert batch.image.shape == (1, *datamodule.image_shape) == (1, channels, 10, 10)
    if channels == 3:
        assert torch.equal(batch.image[0], coordinates(10, 30)[:, :, 10:20])


def test_batches_become_float_with_their_labels(tmp_path):
    write(tmp_path / "a", 51)
    write(tmp_path / "b", 102)
    datamodule = module(tmp_path, batch_size=2, val_fraction=0, test_fraction=0)
    datamodule.setup("fit")
    batch = next(iter(datamodule.train_dataloader()))
    for image, label in (datamodule.to_float(batch), datamodule.change(batch, torch.Generator())):
        assert (image.dtype, label.dtype) == (torch.float32, torch.int64)
        assert {(round(float(i.mean()), 4), int(n)) for i, n in zip(image, label, strict=True)} == {(0.2, 0), (0.4, 1)}


def test_flip_mirrors_half_of_the_training_pictures(tmp_path):
    batch = ImageBatch(coordinates(6, 6).expand(400, -1, -1, -1), torch.zeros(400, dtype=torch.int64))
    changed = module(tmp_path, flip=True).change(batch, torch.Generator().manual_seed(0)).image
    mirrored = changed[:, 0, 0, 0] > 0
    assert 160 < mirrored.sum() < 240
    expected = torch.where(mirrored.view(-1, 1, 1, 1), batch.image.flip(-1), batch.image)
    assert torch.equal((changed * 255).round().to(torch.uint8), expected)
    unchanged = module(tmp_path).change(batch, torch.Generator().manual_seed(0)).image
    assert torch.equal((unchanged * 255).round().to(torch.uint8), batch.image)


def test_missing_root_is_named(tmp_path):
    fails(f"{tmp_path}/none is no folder; expected pictures in it.", tmp_path / "none")


def test_folder_without_pictures_is_named(tmp_path):
    (tmp_path / "notes.txt").write_text("none")
    with pytest.raises(DataError, match=rf"^{tmp_path} holds no pictures; expected files that end in [^\n]*\.$"):
        module(tmp_path).find("train")


def test_class_that_the_training_split_has_not_is_named(tmp_path):
    write(tmp_path / "train" / "cat", 1, 2)
    write(tmp_path / "val" / "cat", 3)
    write(tmp_path / "val" / "dog", 4)
    fails(f"{tmp_path}/val/dog is a class that the training split has not; expected cat.", tmp_path, "val")


def test_held_out_split_may_lack_a_class(tmp_path):
    write(tmp_path / "train" / "cat", 3)
    write(tmp_path / "train" / "dog", 3)
    write(tmp_path / "val" / "dog", 2)
    datamodule = module(tmp_path)
    assert datamodule.class_names == ("cat", "dog")
    source = datamodule.find("val")
    assert source.labels.tolist() == [1]


def test_held_out_split_without_any_class_is_named(tmp_path):
    write(tmp_path / "train" / "cat", 3)
    write(tmp_path / "val", 2)
    fails(f"{tmp_path}/val holds no folder of pictures; expected one for each class: cat.", tmp_path, "val")


def test_pictures_beside_folders_of_them_are_not_overlooked(tmp_path):
    write(tmp_path, 3)
    write(tmp_path / "cat", 3)
    fails(
        f"{tmp_path} holds both pictures and a folder of them, cat; expected pictures, or a folder for each class.",
        tmp_path,
    )


def test_damaged_picture_is_named_before_training(tmp_path):
    write(tmp_path, *range(10))
    (tmp_path / "3.png").write_bytes((tmp_path / "3.png").read_bytes()[:40])
    with pytest.raises(DataError, match=rf"^{tmp_path}/3\.png is damaged or no picture \("):
        module(tmp_path).setup("fit")


def test_other_number_of_channels_is_named(tmp_path):
    with pytest.raises(DataError, match=r"^ImageFolderDataModule: channels is 2; expected 1 or 3\.$"):
        module(tmp_path, channels=2)


def test_empty_test_split_is_one_sentence(tmp_path):
    write(tmp_path, *range(10))
    datamodule = module(tmp_path, test_fraction=0)
    datamodule.setup("test")
    with pytest.raises(DataError) as caught:
        datamodule.test_dataloader()
    assert str(caught.value) == "ImageFolderDataModule: the test split is empty; expected 1 item or more."


def test_pictures_in_deeper_folders_are_not_overlooked(tmp_path):
    write(tmp_path / "cat", 3)
    write(tmp_path / "dog", 4)
    write(tmp_path / "dog" / "more", 5)
    fault = f"{tmp_path}/dog/more holds pictures; expected them in {tmp_path}/dog itself."
    fails(fault, tmp_path)
    assert list(module(tmp_path).faults()) == [fault]


def test_class_whose_pictures_are_all_deeper_is_not_overlooked(tmp_path):
    write(tmp_path / "cat", 3)
    write(tmp_path / "dog" / "more", 5)
    fails(f"{tmp_path}/dog/more holds pictures; expected them in {tmp_path}/dog itself.", tmp_path)


@pytest.mark.parametrize("inside", ["", "cat"])
def test_folder_beside_train_that_is_no_split_is_not_overlooked(tmp_path, inside):
    write(tmp_path / "train" / inside, 3, 4)
    write(tmp_path / "validation" / inside, 5)
    fault = f"{tmp_path}/validation holds pictures beside {tmp_path}/train; expected train, val, test alone."
    fails(fault, tmp_path)
    assert list(module(tmp_path).faults()) == [fault]
