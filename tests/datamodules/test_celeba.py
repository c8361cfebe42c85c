import os
import shutil
from pathlib import Path

import pytest
import torch
from made_files import coordinates, save, stacked

from datamodules import CelebADataModule, DataError, ImageBatch
from datamodules.celeba import ATTRIBUTES, read_face

HEIGHT, WIDTH = 218, 178
REAL = Path(os.environ.get("GENMODELS_DATA", "none"), "celeba")


def has(number, attribute):
    return (number * 7 + attribute * 3) % 5 < 2


def write_celeba(root, partitions, height=20, width=16):
    """Image i has i as its blue, so that an image tells its number; its attributes are a function of it."""
    folder = root / "celeba"
    lines = [str(len(partitions)), " ".join(ATTRIBUTES) + " "]
    official = []
    for number, partition in enumerate(partitions):
        name = f"{number + 1:06d}.jpg"
        save(folder / "img_align_celeba" / name, torch.full((3, height, width), 4 * number, dtype=torch.uint8))
        lines.append(f"{name} " + " ".join(" 1" if has(number, a) else "-1" for a in range(40)))
        official.append(f"{name} {partition}")
    (folder / "list_attr_celeba.txt").write_text("\r\n".join(lines) + "\r\n")
    (folder / "list_eval_partition.txt").write_text("\n".join(official) + "\n")
    return folder


def module(root, **options):
    return CelebADataModule(str(root), **{"image_size": 8, "batch_size": 1, "download": False, **options})


def ready(root, **options):
    datamodule = module(root, **options)
    datamodule.setup()
    return datamodule


def numbers(loader):
    return (stacked(loader)[0].float().mean((1, 2, 3)) / 4).round().int().tolist()


def members(datamodule):
    loaders = (datamodule.train_dataloader(), datamodule.val_dataloader(), datamodule.test_dataloader())
    return [sorted(numbers(loader)) for loader in loaders]


def fails(sentence, root, split="train", **options):
    with pytest.raises(DataError) as caught:
        module(root, **options).find(split)
    assert str(caught.value) == sentence


@pytest.fixture
def said(monkeypatch):
    lines = []
    monkeypatch.setattr("datamodules.celeba.rank_zero_info", lines.append)
    return lines


def test_partitions_are_the_official_ones_and_nothing_is_said(tmp_path, said):
    write_celeba(tmp_path, [0, 2, 1, 0, 0, 2, 1, 0])
    for seed in (0, 1):
        assert members(ready(tmp_path, seed=seed)) == [[0, 3, 4, 7], [2, 6], [1, 5]]
    assert said == []


def test_empty_partitions_are_drawn_by_seed_and_a_line_says_so(tmp_path, said):
    folder = write_celeba(tmp_path, [0] * 20)
    train, val, test = members(ready(tmp_path, val_fraction=0.2, test_fraction=0.3))
    assert [len(train), len(val), len(test)] == [10, 4, 6]
    assert sorted(train + val + test) == list(range(20))
    assert said == [
        f"CelebADataModule: the official {name} partition has no images in {folder}; drawn ones of the training "
        "partition take its place."
        for name in ("val", "test")
    ]
    again = members(ready(tmp_path, val_fraction=0.2, test_fraction=0.3, cache=False))
    other = members(ready(tmp_path, val_fraction=0.2, test_fraction=0.3, seed=1))
    assert again == [train, val, test]
    assert other[1] != val
    assert other[2] != test


def test_only_the_empty_partition_is_drawn(tmp_path, said):
    write_celeba(tmp_path, [0, 0, 0, 0, 0, 0, 0, 0, 2, 2])
    train, val, test = members(ready(tmp_path, val_fraction=0.25))
    assert test == [8, 9]
    assert len(val) == 2
    assert sorted(train + val) == list(range(8))
    assert len(said) == 1


def test_labels_are_float_0_or_1_and_belong_to_their_images(tmp_path):
    write_celeba(tmp_path, [0] * 8 + [1, 2])
    datamodule = ready(tmp_path, batch_size=2)
    for loader in (datamodule.train_dataloader(), datamodule.val_dataloader(), datamodule.test_dataloader()):
        for batch in loader:
            image, label = datamodule.to_float(batch)
            assert (image.dtype, label.dtype, label.shape[1]) == (torch.float32, torch.float32, 40)
            found = (image.mean((1, 2, 3)) * 255 / 4).round().int().tolist()
            assert label.tolist() == [[float(has(number, a)) for a in range(40)] for number in found]


def test_attributes_are_given_by_name_and_in_that_order(tmp_path):
    write_celeba(tmp_path, [0] * 6)
    chosen = ("Smiling", "Bald", "Male")
    datamodule = ready(tmp_path, attributes=chosen)
    assert datamodule.attribute_names == chosen
    assert module(tmp_path).attribute_names == ATTRIBUTES
    whole = dict(zip(*_numbered(ready(tmp_path)), strict=True))
    for number, label in zip(*_numbered(datamodule), strict=True):
        assert label == [whole[number][ATTRIBUTES.index(name)] for name in chosen]


def _numbered(datamodule):
    images, labels = stacked(datamodule.train_dataloader())
    return (images.float().mean((1, 2, 3)) / 4).round().int().tolist(), labels.tolist()


def test_unknown_attribute_is_named_with_the_names_there_are():
    with pytest.raises(DataError) as caught:
        CelebADataModule(attributes=("Smiling", "Smile"))
    assert str(caught.value) == (
        f"CelebADataModule: attributes has Smile; expected names among {', '.join(ATTRIBUTES)}."
    )


@pytest.mark.parametrize(("crop", "top", "left"), [(178, 20, 0), (108, 55, 35)])
def test_crop_is_the_central_square(tmp_path, crop, top, left):
    save(tmp_path / "1.png", coordinates(HEIGHT, WIDTH))
    (face,) = read_face((str(tmp_path / "1.png"),), crop, crop / 178)
    assert torch.equal(face, coordinates(HEIGHT, WIDTH)[:, top : top + crop, left : left + crop])


def test_crop_of_a_smaller_image_is_the_same_share(tmp_path):
    save(tmp_path / "1.png", coordinates(HEIGHT // 2, WIDTH // 2))
    (face,) = read_face((str(tmp_path / "1.png"),), 54, 108 / 178)
    assert torch.equal(face, coordinates(HEIGHT // 2, WIDTH // 2)[:, 27:81, 17:71])


@pytest.mark.parametrize("size", [64, 128])
def test_images_have_the_shape_known_before(tmp_path, size):
    write_celeba(tmp_path, [0] * 4)
    datamodule = module(tmp_path, image_size=size, val_fraction=0, test_fraction=0)
    shape = datamodule.image_shape
    datamodule.setup("fit")
    assert next(iter(datamodule.train_dataloader())).image.shape == (1, *shape) == (1, 3, size, size)


def test_flip_mirrors_half_of_the_training_images():
    image = coordinates(8, 8).expand(400, -1, -1, -1)
    changed = module(".", flip=True).change(ImageBatch(image, torch.zeros(400, 40)), torch.Generator().manual_seed(0))
    mirrored = changed.image[:, 0, 0, 0] > 0
    assert 160 < mirrored.sum() < 240
    assert torch.equal(
        changed.image[mirrored].flip(-1), changed.image[~mirrored][:1].expand(mirrored.sum(), -1, -1, -1)
    )
    same = module(".").change(ImageBatch(image, torch.zeros(400, 40)), torch.Generator().manual_seed(0))
    assert torch.equal(same.image * 255, image.float())


@pytest.mark.parametrize(
    ("line", "text", "sentence"),
    [
        (0, "7", "line 1 is '7'; expected 3, the number of images that follow."),
        (1, "Bald Bangs", "line 2 is not the names of the 40 attributes."),
        (3, "000002.jpg 1 -1", "line 4 is not a file's name and 40 times 1 or -1."),
        (4, "000003.jpg" + " 0" * 40, "line 5 is not a file's name and 40 times 1 or -1."),
    ],
)
def test_damaged_line_of_the_attributes_is_named(tmp_path, line, text, sentence):
    path = write_celeba(tmp_path, [0, 0, 0]) / "list_attr_celeba.txt"
    lines = path.read_text().splitlines()
    lines[line] = text
    path.write_text("\n".join(lines))
    fails(f"{path} is damaged: {sentence}", tmp_path)


def test_attributes_that_end_early_are_named(tmp_path):
    path = write_celeba(tmp_path, [0, 0, 0]) / "list_attr_celeba.txt"
    path.write_text("\n".join(path.read_text().splitlines()[:-1]) + "\n")
    fails(f"{path} is damaged: line 1 is '3'; expected 2, the number of images that follow.", tmp_path)


@pytest.mark.parametrize("content", ["", "3\n", "<html>\n<body>\n"])
def test_file_that_is_no_list_is_named(tmp_path, content):
    path = write_celeba(tmp_path, [0]) / "list_attr_celeba.txt"
    path.write_text(content)
    fails(f"{path} is damaged: line 2 is not the names of the 40 attributes.", tmp_path)


def test_list_that_is_no_text_is_named(tmp_path):
    path = write_celeba(tmp_path, [0]) / "list_eval_partition.txt"
    path.write_bytes(b"\xff\xfe\x00\x80")
    fails(
        f"{path} cannot be read (no text); expected the list as published: give the folder above celeba as data_dir, "
        "or set download to true.",
        tmp_path,
    )


@pytest.mark.parametrize("text", ["000002.jpg 3", "000002.jpg", "000002.jpg 0 0"])
def test_damaged_line_of_the_partitions_is_named(tmp_path, text):
    path = write_celeba(tmp_path, [0, 0, 0]) / "list_eval_partition.txt"
    lines = path.read_text().splitlines()
    lines[1] = text
    path.write_text("\n".join(lines))
    fails(f"{path} is damaged: line 2 is not a file's name and 0, 1 or 2.", tmp_path)


def test_image_without_a_partition_is_named(tmp_path):
    path = write_celeba(tmp_path, [0, 0, 0]) / "list_eval_partition.txt"
    path.write_text("000001.jpg 0\n000003.jpg 0\n")
    fails(f"{path} does not name 000002.jpg; expected the files of list_attr_celeba.txt.", tmp_path)


@pytest.mark.parametrize("name", ["list_attr_celeba.txt", "list_eval_partition.txt"])
def test_missing_list_is_named(tmp_path, name):
    path = write_celeba(tmp_path, [0]) / name
    path.unlink()
    fails(
        f"{path} cannot be read (No such file or directory); expected the list as published: give the folder above "
        "celeba as data_dir, or set download to true.",
        tmp_path,
    )


@pytest.mark.parametrize("cache", [True, False])
def test_missing_image_is_named_before_training(tmp_path, cache):
    images = write_celeba(tmp_path, [0] * 4) / "img_align_celeba"
    for name in ("000003.jpg", "000004.jpg"):
        (images / name).unlink()
    with pytest.raises(DataError) as caught:
        module(tmp_path, cache=cache).setup("fit")
    assert str(caught.value) == (
        f"{images} lacks 2 of the 4 images that list_attr_celeba.txt names, as 000003.jpg; expected all: where "
        "unpacking was interrupted, remove the folder, and it begins anew."
    )


def test_missing_folder_of_images_is_named(tmp_path):
    images = write_celeba(tmp_path, [0] * 4) / "img_align_celeba"
    shutil.rmtree(images)
    with pytest.raises(DataError) as caught:
        module(tmp_path).setup("fit")
    assert str(caught.value) == f"{images} cannot be read (No such file or directory); expected 4 images."


def test_identities_boxes_and_landmarks_are_not_needed_nor_fetched(tmp_path):
    write_celeba(tmp_path, [0, 1, 2])
    datamodule = module(tmp_path, download=True)
    datamodule.prepare_data()
    datamodule.setup()
    assert sorted(path.name for path in (tmp_path / "celeba").iterdir()) == [
        "img_align_celeba",
        "list_attr_celeba.txt",
        "list_eval_partition.txt",
    ]


def test_failed_download_is_one_sentence(tmp_path, monkeypatch):
    def fail(*args, **kwargs):
        raise RuntimeError("no\nroute to host")

    monkeypatch.setattr("torchvision.datasets.CelebA", fail)
    with pytest.raises(DataError) as caught:
        module(tmp_path, download=True).prepare_data()
    assert str(caught.value) == (
        f"{tmp_path}/celeba does not hold img_align_celeba, and the download of CelebA failed (no route to host); "
        "expected img_align_celeba, list_attr_celeba.txt, list_eval_partition.txt there (give the folder above celeba "
        "as data_dir), or a working network."
    )


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"crop": 0}, "crop is 0; expected 1 to 178."),
        ({"crop": 179}, "crop is 179; expected 1 to 178."),
        ({"image_size": 0}, "image_size is 0; expected 1 or more."),
        ({"val_fraction": -0.1}, "val_fraction is -0.1; expected at least 0 and below 1."),
        ({"val_fraction": 0.5, "test_fraction": 0.5},
         "val_fraction is 0.5 and test_fraction 0.5; expected a sum below 1."),
    ],
)  # fmt: skip
def test_option_out_of_its_range_is_named(options, sentence):
    with pytest.raises(DataError) as caught:
        CelebADataModule(**options)
    assert str(caught.value) == f"CelebADataModule: {sentence}"


@pytest.mark.skipif(not REAL.is_dir(), reason="GENMODELS_DATA names no folder with the real CelebA")
def test_real_celeba_is_read():
    datamodule = CelebADataModule(cache=False, download=False, batch_size=8, attributes=("Male", "Smiling"))
    datamodule.setup()
    parts = [len(datamodule.split(name)) for name in ("train", "val", "test")]
    lines = (REAL / "list_attr_celeba.txt").read_text().splitlines()[2:]
    assert sum(parts) == len(lines)
    image, label = datamodule.to_float(next(iter(datamodule.test_dataloader())))
    assert image.shape == (8, 3, 64, 64)
    assert image.std() > 0.1
    assert set(label.unique().tolist()) <= {0.0, 1.0}
