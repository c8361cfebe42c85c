import numpy as np
import pytest
import torch
from made_files import coordinates, save, stacked
from PIL import Image

from datamodules import DataError, PairedImagesDataModule
from datamodules.paired_images import nearest_colours

SIDE = 24


def write_pair(root, layout, split, number, a, b):
    if layout == "side by side":
        save(root / split / f"{number}.png", torch.cat([a, b], 2))
    else:
        folders = (f"{split}/A", f"{split}/B") if layout == "A and B" else (f"{split}A", f"{split}B")
        for folder, image in zip(folders, (a, b), strict=True):
            save(root / folder / f"{number}.png", image)


def write_pairs(root, layout="side by side", **counts):
    """A of pair i has i as its blue, and B 100 + i."""
    start = 0
    for split, count in counts.items():
        for i in range(start, start + count):
            write_pair(root, layout, split, i, coordinates(SIDE, SIDE, i), coordinates(SIDE, SIDE, 100 + i))
        start += count


def module(root, **options):
    return PairedImagesDataModule(str(root), **{"image_size": SIDE, "load_size": SIDE, **options})


def ready(root, **options):
    datamodule = module(root, **options)
    datamodule.setup()
    return datamodule


def fails(sentence, root, split="train", **options):
    datamodule = module(root, **options)
    with pytest.raises(DataError) as caught:
        datamodule.read_splits((split,))
    assert str(caught.value) == sentence


def classes_in_folders(root, classes, mode="L"):
    save(root / "train/A/1.png", coordinates(*classes.shape))
    (root / "train/B").mkdir()
    image = Image.fromarray(classes.numpy().astype(np.uint8))
    if mode == "P":
        image = image.convert("P")
        image.putdata(classes.flatten().tolist())
        image.putpalette([7 * i % 256 for i in range(768)])
    image.save(root / "train/B/1.png")


@pytest.mark.parametrize("layout", ["side by side", "A and B", "trainA and trainB"])
def test_every_layout_gives_the_same_pairs(tmp_path, layout):
    write_pairs(tmp_path, layout, train=3, val=2, test=1)
    datamodule = ready(tmp_path)
    for loader, numbers in (
        (datamodule.train_dataloader(), {0, 1, 2}),
        (datamodule.val_dataloader(), {3, 4}),
        (datamodule.test_dataloader(), {5}),
    ):
        batches = list(loader)
        assert {int(b.source[0, 2, 0, 0]) for b in batches} == numbers
        for batch in batches:
            number = int(batch.source[0, 2, 0, 0])
            assert torch.equal(batch.source[0], coordinates(SIDE, SIDE, number))
            assert torch.equal(batch.target[0], coordinates(SIDE, SIDE, 100 + number))


@pytest.mark.parametrize("layout", ["side by side", "A and B"])
def test_direction_decides_which_is_the_source(tmp_path, layout):
    write_pairs(tmp_path, layout, train=1, val=1, test=1)
    blues = {}
    for direction in ("AtoB", "BtoA"):
        batch = next(iter(ready(tmp_path, direction=direction).test_dataloader()))
        blues[direction] = (int(batch.source[0, 2, 0, 0]), int(batch.target[0, 2, 0, 0]))
    assert blues == {"AtoB": (2, 102), "BtoA": (102, 2)}


def test_crop_and_flip_are_the_same_for_source_and_target(tmp_path):
    write_pairs(tmp_path, train=1, val=1)
    datamodule = module(tmp_path, image_size=16)
    datamodule.setup("fit")
    one = next(iter(datamodule.train_dataloader()))
    batch = type(one)(*(part.expand(200, -1, -1, -1) for part in one))
    assert batch.source.shape[-1] == SIDE
    source, target = (part * 255 for part in datamodule.change(batch, torch.Generator().manual_seed(0)))
    assert source.shape == target.shape == (200, 3, *datamodule.image_shape[1:])
    assert torch.equal(source[:, :2], target[:, :2])
    columns, rows = source[:, 0].round(), source[:, 1].round()
    assert (rows.diff(dim=1) == 1).all()
    steps = columns.diff(dim=2).flatten(1)
    assert (steps == steps[:, :1]).all()
    mirrored = steps[:, 0] < 0
    assert 70 < mirrored.sum() < 130
    assert set(rows[:, 0, 0].tolist()) == set(columns.amin((1, 2)).tolist()) == set(range(SIDE - 16 + 1))


def test_without_flip_nothing_is_mirrored_and_the_windows_stay(tmp_path):
    write_pairs(tmp_path, train=1, val=1)
    drawn = []
    for flip in (False, True):
        datamodule = module(tmp_path, image_size=16, flip=flip)
        datamodule.setup("fit")
        one = next(iter(datamodule.train_dataloader()))
        batch = type(one)(*(part.expand(50, -1, -1, -1) for part in one))
        drawn.append(datamodule.change(batch, torch.Generator().manual_seed(0)).source)
    assert (drawn[0][:, 0].diff(dim=2) > 0).all()
    assert torch.equal(drawn[0].amin((2, 3)), drawn[1].amin((2, 3)))


def test_evaluation_sees_the_whole_image_and_to_float_the_middle_of_a_training_one(tmp_path):
    write_pairs(tmp_path, train=1, val=1)
    datamodule = module(tmp_path, image_size=16, load_size=SIDE)
    datamodule.setup("fit")
    assert next(iter(datamodule.val_dataloader())).source.shape == (1, 3, 16, 16)
    middle = datamodule.to_float(next(iter(datamodule.train_dataloader()))).source[0]
    assert torch.allclose(middle * 255, coordinates(SIDE, SIDE)[:, 4:20, 4:20].float(), atol=1e-4)


def test_load_size_is_286_for_256_unless_given():
    assert PairedImagesDataModule(".").load_size == 286
    assert PairedImagesDataModule(".", image_size=64).load_size == 72
    assert PairedImagesDataModule(".", load_size=300).load_size == 300


@pytest.mark.parametrize("mode", ["L", "P"])
@pytest.mark.parametrize("size", [5, 24, 37, 64])
def test_class_map_holds_only_classes_that_were_there_at_every_size(tmp_path, size, mode):
    classes = torch.randint(0, 2, (SIDE, SIDE), generator=torch.Generator().manual_seed(0)) * 6
    classes_in_folders(tmp_path, classes, mode)
    datamodule = module(tmp_path, image_size=size, load_size=size, target_classes=7, val_fraction=0)
    datamodule.setup("fit")
    batch = next(iter(datamodule.train_dataloader()))
    assert (batch.target.dtype, batch.target.shape) == (torch.uint8, (1, 1, size, size))
    target = datamodule.to_float(batch).target
    assert (target.dtype, target.shape) == (torch.int64, (1, size, size))
    assert set(target.unique().tolist()) == {0, 6}
    if size == SIDE:
        assert torch.equal(target[0], classes)


def test_class_map_moves_with_its_image(tmp_path):
    classes = coordinates(SIDE, SIDE)[0]
    classes_in_folders(tmp_path, classes)
    datamodule = module(tmp_path, image_size=16, target_classes=SIDE, val_fraction=0)
    datamodule.setup("fit")
    one = next(iter(datamodule.train_dataloader()))
    batch = type(one)(*(part.expand(20, -1, -1, -1) for part in one))
    source, target = datamodule.change(batch, torch.Generator().manual_seed(0))
    assert torch.equal((source[:, 0] * 255).round().long(), target)
    assert datamodule.target_channels == SIDE


def test_nearest_colour_of_a_palette_is_the_class():
    palette = torch.tensor([(0, 0, 0), (255, 0, 0), (0, 200, 0)])
    image = torch.tensor([(20, 10, 5), (255, 0, 0), (130, 10, 10), (10, 120, 10)], dtype=torch.uint8).T.reshape(3, 2, 2)
    assert nearest_colours(image, palette).tolist() == [[[0, 1], [1, 2]]]


def test_validation_pairs_are_drawn_by_seed_where_there_is_no_val(tmp_path):
    write_pairs(tmp_path, train=10, test=1)
    held_out = {}
    for seed in (0, 1):
        datamodule = ready(tmp_path, seed=seed, val_fraction=0.3)
        train, val = (
            {int(b.source[0, 2, 0, 0]) for b in loader}
            for loader in (datamodule.train_dataloader(), datamodule.val_dataloader())
        )
        assert (len(train), len(val)) == (7, 3)
        assert train | val == set(range(10))
        assert len(datamodule.find("val").items) == 3  # no other pair is decoded at its size
        held_out[seed] = val
    assert held_out[0] != held_out[1]


def test_test_split_is_never_made_up(tmp_path):
    write_pairs(tmp_path, train=10)
    datamodule = module(tmp_path)
    datamodule.setup("fit")
    with pytest.raises(DataError) as caught:
        datamodule.setup("test")
    assert str(caught.value) == (
        f"{tmp_path} has no test split; expected pictures of pairs in test, or folders test/A and test/B, or testA and "
        "testB."
    )


def test_missing_root_is_named(tmp_path):
    fails(
        f"{tmp_path / 'none'} has no train split; expected pictures of pairs in train, or folders train/A and train/B, "
        "or trainA and trainB.",
        tmp_path / "none",
    )


def test_odd_width_is_named(tmp_path):
    save(tmp_path / "train/1.png", torch.zeros(3, 4, 9, dtype=torch.uint8))
    fails(
        f"{tmp_path}/train/1.png is 9 pixels wide; expected an even number, A and B side by side.",
        tmp_path,
        val_fraction=0,
    )


@pytest.mark.parametrize(("side", "other"), [("A", "B"), ("B", "A")])
def test_missing_partner_is_named(tmp_path, side, other):
    write_pairs(tmp_path, "A and B", train=2)
    (tmp_path / f"train/{other}/1.png").unlink()
    fails(
        f"{tmp_path}/train/{side}/1.png has no partner; expected {tmp_path}/train/{other}/1 with any picture's suffix.",
        tmp_path,
    )


def test_missing_folder_of_partners_is_named(tmp_path):
    save(tmp_path / "trainA/1.png", coordinates(4, 4))
    fails(f"{tmp_path}/trainB is no folder; expected pictures in it.", tmp_path)


def test_partners_have_the_same_name_but_for_the_suffix(tmp_path):
    save(tmp_path / "train/A/10.png", coordinates(SIDE, SIDE))
    save(tmp_path / "train/B/10.bmp", coordinates(SIDE, SIDE, 7))
    datamodule = module(tmp_path, val_fraction=0)
    datamodule.setup("fit")
    assert int(next(iter(datamodule.train_dataloader())).target[0, 2, 0, 0]) == 7


def test_sizes_of_a_pair_that_differ_are_named(tmp_path):
    save(tmp_path / "train/A/1.png", coordinates(4, 6))
    save(tmp_path / "train/B/1.png", coordinates(4, 5))
    fails(
        f"{tmp_path}/train/B/1.png has 5x4 pixels and {tmp_path}/train/A/1.png 6x4; expected the same size.", tmp_path
    )


@pytest.mark.parametrize(("direction", "target"), [("AtoB", "B"), ("BtoA", "A")])
def test_class_out_of_range_is_named_with_the_map(tmp_path, direction, target):
    source = "A" if target == "B" else "B"
    save(tmp_path / f"train/{source}/1.png", coordinates(4, 4))
    save(tmp_path / f"train/{target}/1.png", torch.full((4, 4), 3, dtype=torch.uint8))
    fails(
        f"{tmp_path}/train/{target}/1.png holds the class 3; expected classes below 3.",
        tmp_path,
        target_classes=3,
        direction=direction,
    )


def test_map_of_classes_beside_its_image_is_an_error(tmp_path):
    write_pairs(tmp_path, train=1)
    fails(
        f"{tmp_path}/train/0.png holds A and B side by side; expected two folders where B is a map of classes.",
        tmp_path,
        target_classes=3,
    )


def test_colour_picture_as_a_class_map_is_named(tmp_path):
    write_pairs(tmp_path, "A and B", train=1)
    fails(f"{tmp_path}/train/B/0.png has 3 channels (RGB); expected one channel of 8 bits.", tmp_path, target_classes=3)


def test_empty_split_is_named(tmp_path):
    write_pairs(tmp_path, "A and B", train=1)
    (tmp_path / "valA").mkdir()
    (tmp_path / "valB").mkdir()
    with pytest.raises(DataError, match=rf"^{tmp_path}/valA holds no pictures; expected files that end in [^.]*\.bmp"):
        module(tmp_path).setup("fit")


@pytest.mark.parametrize(
    ("option", "value", "sentence"),
    [
        ("direction", "AB", "direction is 'AB'; expected one of AtoB, BtoA."),
        ("load_size", 20, "load_size is 20; expected 24 or more."),
        ("image_size", 0, "image_size is 0; expected 1 or more."),
        ("target_classes", 257, "target_classes is 257; expected 0 to 256."),
        ("val_fraction", 1, "val_fraction is 1; expected at least 0 and below 1."),
        ("memory_budget", 0, "memory_budget is 0; expected above 0."),
    ],
)
def test_option_out_of_its_range_is_named(tmp_path, option, value, sentence):
    with pytest.raises(DataError) as caught:
        module(tmp_path, **{option: value})
    assert str(caught.value) == f"PairedImagesDataModule: {sentence}"


def test_faults_name_every_file(tmp_path):
    write_pairs(tmp_path, train=3, val=2, test=1)
    for name in ("train/1.png", "val/3.png"):
        (tmp_path / name).write_bytes(b"no picture")
    assert [fault.split(" is damaged")[0] for fault in module(tmp_path).faults()] == [
        f"{tmp_path}/train/1.png",
        f"{tmp_path}/val/3.png",
    ]


def test_missing_partners_hide_no_other_fault(tmp_path):
    write_pairs(tmp_path, layout="A and B", train=5)
    (tmp_path / "train/B/1.png").unlink()
    (tmp_path / "train/A/2.png").unlink()
    (tmp_path / "train/A/4.png").write_bytes(b"no picture")
    assert list(module(tmp_path).faults()) == [
        f"{tmp_path}/train/A/1.png has no partner; expected {tmp_path}/train/B/1 with any picture's suffix.",
        f"{tmp_path}/train/B/2.png has no partner; expected {tmp_path}/train/A/2 with any picture's suffix.",
        f"{tmp_path}/train/A/4.png is damaged or no picture (of no known format).",
    ]
    assert len(list(module(tmp_path).faults())) == 3  # as often as one asks
    with pytest.raises(DataError, match=r"train/A/1\.png has no partner"):
        module(tmp_path).setup("fit")


@pytest.mark.parametrize("layout", ["side by side", "A and B"])
def test_set_that_is_not_split_is_trained_on(tmp_path, layout):
    write_pairs(tmp_path / "set", layout=layout, train=10)
    flat = tmp_path / "set/train"
    found = {}
    for folder in (flat, tmp_path / "set"):
        datamodule = module(folder, val_fraction=0.2)
        datamodule.setup("fit")
        found[folder] = stacked(datamodule.val_dataloader())
        assert datamodule.lengths() == {"train": 8, "val": 2}
    assert all(torch.equal(one, other) for one, other in zip(*found.values(), strict=True))
    assert list(module(flat).faults()) == []


def test_empty_split_is_named_not_made_up(tmp_path):
    write_pairs(tmp_path, train=4)
    (tmp_path / "val").mkdir()
    with pytest.raises(DataError, match=r"/val holds no pictures; expected"):
        module(tmp_path).setup("fit")
    assert [fault.split(";")[0] for fault in module(tmp_path).faults()] == [f"{tmp_path}/val holds no pictures"]


def test_pictures_where_none_belong_are_not_overlooked(tmp_path):
    write_pairs(tmp_path, layout="A and B", train=4)
    save(tmp_path / "train/loose.png", coordinates(SIDE, SIDE, 1))
    save(tmp_path / "valid/1.png", coordinates(SIDE, SIDE, 1))
    assert list(module(tmp_path).faults()) == [
        f"{tmp_path}/valid holds pictures beside train; expected train, val, test alone.",
        f"{tmp_path}/train holds pictures beside A and B; expected them in these.",
    ]


def test_lengths_are_those_of_the_splits(tmp_path):
    write_pairs(tmp_path, train=4, val=2, test=3)
    assert module(tmp_path).lengths() == {"train": 4, "val": 2, "test": 3}


def test_batches_are_the_same_with_and_without_a_cache(tmp_path):
    write_pairs(tmp_path, train=4, val=1, test=1)
    decoded, cached = (stacked(ready(tmp_path, cache=cache).train_dataloader()) for cache in (False, True))
    assert all(torch.equal(one, other) for one, other in zip(decoded, cached, strict=True))
    assert sorted(cached[0][:, 2, 0, 0].tolist()) == [0, 1, 2, 3]
