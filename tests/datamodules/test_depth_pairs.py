import numpy as np
import pytest
import torch
from made_files import coordinates, save, stacked
from PIL import Image

from datamodules import DataError, DepthPairsDataModule, PairBatch
from datamodules.depth_augmentation import move_pairs, vary_colours
from datamodules.depth_pairs import crop_and_resize, crop_window, metres

HEIGHT, WIDTH = 48, 64


def numbered(number, height=8, width=10):
    """An image that is as grey as its number, and a depth map of 100 times that."""
    image = torch.full((3, height, width), number, dtype=torch.uint8)
    return image, np.full((height, width), 100 * number, np.uint16)


def write_pairs(root, numbers, under=""):
    for number in numbers:
        image, depth = numbered(number)
        save(root / "images" / under / f"{number}.png", image)
        save(root / "depths" / under / f"{number}.png", depth)


def module(root, **options):
    return DepthPairsDataModule(str(root), **{"image_size": (8, 10), "batch_size": 1, **options})


def members(root, **options):
    """The number of each split's pairs, in its order; a depth that belongs to another is an error."""
    datamodule = module(root, **options)
    datamodule.setup()
    found = []
    for loader in (datamodule.train_dataloader(), datamodule.val_dataloader(), datamodule.test_dataloader()):
        source, target = stacked(loader) if len(loader) else (torch.zeros(0, 1, 1, 1), torch.zeros(0, 1, 1, 1))
        numbers = source[:, 0, 0, 0]
        assert torch.allclose(target[:, 0, 0, 0], numbers.float() / 10)
        found.append(numbers.tolist())
    return [sorted(found[0]), *found[1:]]


def fails(sentence, root, split="train", **options):
    datamodule = module(root, **{"val_fraction": 0, "test_fraction": 0, **options})
    with pytest.raises(DataError) as caught:
        datamodule.read_splits((split,))
    assert str(caught.value) == sentence


def one_pair(root, depth, height=8, width=10, suffix="png"):
    save(root / "images/1.png", coordinates(height, width))
    save(root / f"depths/1.{suffix}", depth)
    return f"{root}/depths/1.{suffix}"


def scene(count):
    """Images whose colours encode their coordinates, and depth maps that encode the same: 1 + column + 100 * row."""
    place = coordinates(HEIGHT, WIDTH).float().expand(count, -1, -1, -1)
    return place, 1 + place[:, :1] + 100 * place[:, 1:2]


def misplaced(images, depths, zoom=1.0):
    """How far apart, in pixels, the places are that image and depth show, at most."""
    encoded = (depths * zoom).round() - 1
    column, row = encoded % 100, torch.div(encoded, 100, rounding_mode="floor")
    measured = (depths > 0)[:, 0]
    assert measured.float().mean() > 0.5
    error = torch.maximum((column[:, 0] - images[:, 0]).abs(), (row[:, 0] - images[:, 1]).abs())
    return error[measured].max().item()


@pytest.mark.parametrize(
    ("flip", "rotation"), [(True, 0.0), (False, 20.0), (True, 20.0)], ids=["flip", "rotation", "both"]
)
def test_image_and_depth_stay_registered(flip, rotation):
    images, depths = move_pairs(*scene(40), flip, rotation, 1.0, torch.Generator().manual_seed(0))
    assert misplaced(images, depths) <= 1
    mirrored = images[:, 0, 24, 40] < images[:, 0, 24, 24]
    assert mirrored.any() == flip
    assert not mirrored.all()


def test_zoom_divides_the_depth_and_keeps_it_registered():
    generator = torch.Generator().manual_seed(0)
    images, depths = move_pairs(*scene(40), True, 15.0, 2.0, generator)
    # The factor is how much closer together the neighbours' columns and rows are.
    steps = (images[:, :2, 24, 33:40] - images[:, :2, 24, 32:39]).mean(2)
    factor = 1 / steps.norm(dim=1).view(-1, 1, 1, 1)
    assert 1 <= factor.min() + 1e-3 < 1.2
    assert 1.8 < factor.max() < 2.001
    assert misplaced(images, depths, factor) <= 1


def test_plane_of_one_depth_is_divided_by_exactly_the_zoom():
    images, _ = scene(30)
    moved, depths = move_pairs(images, torch.full((30, 1, HEIGHT, WIDTH), 6.0), False, 0.0, 3.0,
                               torch.Generator().manual_seed(1))  # fmt: skip
    for image, depth in zip(moved, depths, strict=True):
        assert depth.min() == depth.max()
        step = (image[0, 24, 40] - image[0, 24, 24]) / 16
        assert 6 / float(depth[0, 0, 0]) == pytest.approx(1 / float(step), rel=1e-3)
    assert depths.unique().numel() == 30


def test_rotation_is_at_most_as_stated_either_way_and_turns_without_shear():
    images, depths = move_pairs(*scene(300), False, 10.0, 1.0, torch.Generator().manual_seed(0))
    right = (images[:, :2, 24, 40] - images[:, :2, 24, 24]) / 16
    down = (images[:, :2, 32, 32] - images[:, :2, 16, 32]) / 16
    angles = torch.rad2deg(torch.atan2(right[:, 1], right[:, 0]))
    assert -10 <= angles.min() < -8
    assert 8 < angles.max() <= 10
    assert torch.allclose(right.norm(dim=1), torch.ones(300), atol=1e-3)
    assert torch.allclose((right * down).sum(1), torch.zeros(300), atol=1e-3)
    assert (depths == 0).any()


def test_outside_is_0_in_both_and_no_measurement_stays_none():
    images, depths = (part + 0 for part in scene(20))
    images[:, 2] = 100
    depths[:, :, 20:28, 28:36] = 0
    moved, depth = move_pairs(images, depths, True, 30.0, 1.0, torch.Generator().manual_seed(0))
    assert (depth[:, 0, 22:26, 30:34] == 0).all()
    outside = (moved == 0).all(1)
    assert 0.02 < outside.float().mean() < 0.4
    assert (depth[:, 0][outside] == 0).all()
    hole = torch.zeros(HEIGHT, WIDTH, dtype=torch.bool)
    hole[18:30, 26:38] = True  # the hole wherever it turns to
    assert (depth[:, 0][~outside & ~hole] > 0).all()


def test_every_depth_is_one_that_was_there():
    images, depths = scene(20)
    _, moved = move_pairs(images, depths, True, 30.0, 1.0, torch.Generator().manual_seed(0))
    assert set(moved.unique().tolist()) <= {0.0, *depths.unique().tolist()}


def test_jitter_changes_the_image_and_leaves_the_depth_alone(tmp_path):
    source = torch.randint(0, 256, (30, 3, 8, 10), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    batch = PairBatch(source, torch.rand(30, 1, 8, 10))
    plain, jittered = (
        module(tmp_path, rotation=0, jitter=jitter).change(batch, torch.Generator().manual_seed(0))
        for jitter in (0.0, 0.3)
    )
    assert torch.equal(plain.target, jittered.target)
    changed = (plain.source - jittered.source).abs().mean((1, 2, 3))
    assert (changed > 0.005).sum() >= 28
    assert 0 <= jittered.source.min() <= jittered.source.max() <= 1


def test_jitter_multiplies_by_at_most_its_share():
    grey = torch.full((500, 3, 4, 4), 0.25)
    varied = vary_colours(grey, 0.2, torch.Generator().manual_seed(0))
    ratio = varied[:, :, 0, 0] / 0.25  # of brightness times colour
    assert 0.8 * 0.8 - 1e-6 <= ratio.min() < 0.75
    assert 1.3 < ratio.max() <= 1.2 * 1.2 + 1e-6
    assert torch.equal(vary_colours(grey, 0.0, torch.Generator()), grey)


def test_millimetres_become_metres(tmp_path):
    one_pair(tmp_path, np.full((8, 10), 1234, np.uint16))
    datamodule = module(tmp_path, val_fraction=0, test_fraction=0)
    datamodule.setup("fit")
    batch = next(iter(datamodule.train_dataloader()))
    assert (batch.target.dtype, batch.target.shape) == (torch.float32, (1, 1, 8, 10))
    assert torch.allclose(batch.target, torch.tensor(1.234))
    assert torch.equal(datamodule.to_float(batch).target, batch.target)


@pytest.mark.parametrize("size", [(12, 40), (24, 80), (31, 57), (48, 160)])
def test_sparse_depth_as_kittis_keeps_exactly_values_that_were_there(tmp_path, size):
    generator = np.random.default_rng(0)
    stored = np.where(generator.random((24, 80)) < 0.3, generator.integers(1, 20_000, (24, 80)), 0).astype(np.uint16)
    one_pair(tmp_path, stored, 24, 80)
    datamodule = module(tmp_path, image_size=size, scale=1 / 256, val_fraction=0, test_fraction=0)
    datamodule.setup("fit")
    target = next(iter(datamodule.train_dataloader())).target[0, 0]
    assert set(target.unique().tolist()) <= set((stored / np.float32(256)).flatten().tolist())
    assert float((target == 0).float().mean()) == pytest.approx(0.7, abs=0.06)
    if size == (24, 80):
        assert torch.equal(target * 256, torch.from_numpy(stored.astype(np.float32)))


def test_floating_point_depth_and_another_invalid_number(tmp_path):
    depth = np.full((8, 10), 2.5, np.float32)
    depth[0, 0] = -1
    one_pair(tmp_path, depth, suffix="tiff")
    datamodule = module(tmp_path, bits=32, scale=1.0, invalid=-1.0, val_fraction=0, test_fraction=0)
    datamodule.setup("fit")
    target = next(iter(datamodule.train_dataloader())).target[0, 0]
    assert target[0, 0] == 0
    assert (target.flatten()[1:] == 2.5).all()


def test_offset_is_added_before_scaling_and_0_is_a_number_where_nothing_is_invalid():
    numbers = torch.tensor([[[0, 255]]], dtype=torch.uint8)
    assert metres(numbers, 2.0, 0.5, None, "x").tolist() == [[[1.0, 511.0]]]
    assert metres(numbers, 2.0, 0.5, 0.0, "x").tolist() == [[[0.0, 511.0]]]


def test_crops_are_those_of_eigen_and_of_garg():
    assert crop_window("eigen", 480, 640) == (slice(45, 471), slice(41, 601))
    assert crop_window("garg", 375, 1242) == (slice(153, 371), slice(44, 1197))
    assert crop_window("eigen", 240, 320) == (slice(22, 235), slice(20, 300))
    assert crop_window("none", 33, 77) == (slice(0, 33), slice(0, 77))


@pytest.mark.parametrize("crop", ["none", "eigen", "garg"])
def test_crop_cuts_image_and_depth_alike(tmp_path, crop):
    place = coordinates(96, 128)
    save(tmp_path / "images/1.png", place)
    save(tmp_path / "depths/1.png", (1 + place[0].numpy().astype(np.uint16) + 256 * place[1].numpy().astype(np.uint16)))
    rows, columns = crop_window(crop, 96, 128)
    size = (rows.stop - rows.start, columns.stop - columns.start)
    datamodule = module(tmp_path, crop=crop, image_size=size, scale=1.0, val_fraction=0, test_fraction=0)
    datamodule.setup("fit")
    batch = next(iter(datamodule.train_dataloader()))
    assert datamodule.image_shape == (3, *size)
    assert torch.equal(batch.source[0], place[:, rows, columns])
    assert torch.equal(batch.target[0, 0], 1 + batch.source[0, 0].float() + 256 * batch.source[0, 1].float())


def test_pairs_are_drawn_into_splits_by_seed(tmp_path):
    write_pairs(tmp_path, range(1, 21))
    train, val, test = members(tmp_path, val_fraction=0.2, test_fraction=0.3)
    assert [len(train), len(val), len(test)] == [10, 4, 6]
    assert sorted(train + val + test) == list(range(1, 21))
    assert members(tmp_path, val_fraction=0.2, test_fraction=0.3, seed=1) != [train, val, test]


def test_folders_of_splits_are_read(tmp_path):
    for split, numbers in (("train", (1, 2, 10)), ("val", (3,)), ("test", (4, 5))):
        write_pairs(tmp_path, numbers, split)
    assert members(tmp_path) == [[1, 2, 10], [3], [4, 5]]


def test_split_that_is_missing_among_the_folders_is_drawn(tmp_path):
    write_pairs(tmp_path, range(1, 11), "train")
    write_pairs(tmp_path, (50,), "test")
    train, val, test = members(tmp_path, val_fraction=0.3)
    assert (len(val), sorted(train + val), test) == (3, list(range(1, 11)), [50])


def test_lists_name_the_pairs_by_the_first_word_of_a_line(tmp_path):
    write_pairs(tmp_path, range(1, 11))
    (tmp_path / "train.txt").write_text("3 kitchen\n1 bath\n\n10\n")
    (tmp_path / "val.txt").write_text("2.png\n")
    (tmp_path / "test.txt").write_text("images/7.png depths/7.png 721.5\n4\n")
    assert members(tmp_path) == [[1, 3, 10], [2], [4, 7]]


def test_pairs_in_no_list_are_for_training_where_only_the_test_is_listed(tmp_path):
    write_pairs(tmp_path, range(1, 9))
    (tmp_path / "test.txt").write_text("2\n5\n")
    assert members(tmp_path, val_fraction=0) == [[1, 3, 4, 6, 7, 8], [], [2, 5]]


def test_names_with_a_dot_are_found_in_the_lists(tmp_path):
    for number in (1, 2, 3):
        image, depth = numbered(number)
        save(tmp_path / f"images/frame.{number}.png", image)
        save(tmp_path / f"depths/frame.{number}.png", depth)
    (tmp_path / "train.txt").write_text("frame.1\nframe.3.png\n")
    (tmp_path / "test.txt").write_text("frame.2\n")
    assert members(tmp_path, val_fraction=0) == [[1, 3], [], [2]]


def test_list_that_names_a_missing_pair_is_named(tmp_path):
    write_pairs(tmp_path, (1, 2))
    (tmp_path / "train.txt").write_text("1\n7.png\n")
    fails(f"{tmp_path}/train.txt names 7.png, which the set does not hold.", tmp_path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"\n\n", "is empty"), (b"\xff\xfe\x80", "cannot be read (no text)")],
    ids=["empty", "bytes"],
)
def test_list_that_is_none_is_named(tmp_path, content, reason):
    write_pairs(tmp_path, (1, 2))
    (tmp_path / "test.txt").write_bytes(content)
    fails(f"{tmp_path}/test.txt {reason}; expected the name of a pair in each line.", tmp_path, "test")


def test_order_pairs_the_first_with_the_first_in_natural_order(tmp_path):
    for number, (name, other) in enumerate((("2.1", "2.4"), ("9.8", "10.1"), ("11.0", "11.2")), start=1):
        image, depth = numbered(number)
        save(tmp_path / f"images/{name}.png", image)
        save(tmp_path / f"depths/{other}.png", depth)
    assert members(tmp_path, pairing="order", val_fraction=0, test_fraction=0.34)[0] != []
    found = module(tmp_path, pairing="order").find("train").items
    assert [tuple(path.rsplit("/", 1)[1] for path in item) for item in found] == [
        ("2.1.png", "2.4.png"),
        ("9.8.png", "10.1.png"),
        ("11.0.png", "11.2.png"),
    ]


def test_depth_map_without_an_image_is_named(tmp_path):
    write_pairs(tmp_path, (1, 2))
    (tmp_path / "images/1.png").unlink()
    fails(f"{tmp_path}/depths/1.png has no partner; expected {tmp_path}/images/1 with any picture's suffix.", tmp_path)


def test_map_whose_measurements_are_all_cropped_away_is_named():
    depth = torch.zeros(1, 100, 100)
    depth[0, 0, 0] = 1
    image = torch.zeros(3, 100, 100, dtype=torch.uint8)
    assert crop_and_resize(image, depth, "none", (100, 100), "a")[1].sum() == 1
    with pytest.raises(DataError, match=r"^a holds no measurement in what crop 'garg' keeps; expected some number\.$"):
        crop_and_resize(image, depth, "garg", (10, 10), "a")


@pytest.mark.parametrize("invalid", [float("nan"), float("inf")])
def test_values_that_are_not_finite_can_stand_for_no_measurement(invalid):
    numbers = torch.tensor([[[1.0, float("nan"), float("inf"), 2.0]]])
    assert metres(numbers, 0.5, 0.0, invalid, "a").tolist() == [[[0.5, 0, 0, 1]]]
    with pytest.raises(DataError, match="holds 2 values that are not finite"):
        metres(numbers, 0.5, 0.0, 0.0, "a")


def test_order_needs_as_many_depth_maps_as_images(tmp_path):
    write_pairs(tmp_path, (1, 2, 3))
    (tmp_path / "depths/2.png").unlink()
    fails(f"{tmp_path}/depths holds 2 depth maps; expected 3, one for each image.", tmp_path, pairing="order")


def test_image_without_a_depth_map_is_named(tmp_path):
    write_pairs(tmp_path, (1, 2, 3))
    (tmp_path / "depths/2.png").unlink()
    fails(f"{tmp_path}/images/2.png has no partner; expected {tmp_path}/depths/2 with any picture's suffix.", tmp_path)
    assert [fault.split(" ")[0] for fault in module(tmp_path).faults()] == [f"{tmp_path}/images/2.png"]


@pytest.mark.parametrize("missing", ["images", "depths"])
def test_missing_folder_is_named(tmp_path, missing):
    write_pairs(tmp_path, (1,))
    (tmp_path / missing).rename(tmp_path / "other")
    fails(f"{tmp_path}/{missing} is no folder; expected pictures in it.", tmp_path)


def test_depth_that_is_not_a_number_is_named(tmp_path):
    depth = np.ones((8, 10), np.float32)
    depth[2, 3] = np.nan
    depth[2, 4] = np.inf
    path = one_pair(tmp_path, depth, suffix="tiff")
    fails(f"{path} holds 2 values that are not finite; expected numbers.", tmp_path, bits=32)


@pytest.mark.parametrize(
    ("invalid", "expected"), [(0.0, "some number other than 0"), (None, "some number above 0")], ids=["0", "none"]
)
def test_depth_map_without_a_measurement_is_named(tmp_path, invalid, expected):
    path = one_pair(tmp_path, np.zeros((8, 10), np.uint16))
    fails(f"{path} holds no measurement at all; expected {expected}.", tmp_path, invalid=invalid)


def test_negative_depth_is_named(tmp_path):
    path = one_pair(tmp_path, np.full((8, 10), -2, np.float32), suffix="tiff")
    fails(f"{path} holds a depth of -2 m; expected 0 or more.", tmp_path, bits=32, scale=1.0)


@pytest.mark.parametrize(("bits", "kind", "found"), [(16, np.uint8, 8), (8, np.uint16, 16)])
def test_other_bits_than_expected_are_named(tmp_path, bits, kind, found):
    path = one_pair(tmp_path, np.ones((8, 10), kind))
    fails(f"{path} has {found} bits; expected one channel of {bits} bits.", tmp_path, bits=bits)


def test_colour_picture_as_a_depth_map_is_named(tmp_path):
    path = one_pair(tmp_path, coordinates(8, 10))
    fails(f"{path} has 3 channels (RGB); expected one channel of 16 bits.", tmp_path)


def test_sizes_that_differ_are_named(tmp_path):
    path = one_pair(tmp_path, np.ones((8, 9), np.uint16))
    fails(f"{path} has 9x8 pixels and {tmp_path}/images/1.png 10x8; expected the same size.", tmp_path)


def test_damaged_depth_map_is_named(tmp_path):
    path = one_pair(tmp_path, np.ones((8, 10), np.uint16))
    Image.new("I;16", (64, 64)).save(path)
    with open(path, "rb+") as file:
        file.truncate(50)
    with pytest.raises(DataError, match=rf"^{path} is damaged or no picture \([^\n]*\)\.$"):
        module(tmp_path, val_fraction=0, test_fraction=0).setup("fit")


@pytest.mark.parametrize(
    ("option", "value", "sentence"),
    [
        ("image_size", (0, 4), "image_size is (0, 4); expected height and width, 1 or more each."),
        ("image_size", (4,), "image_size is (4,); expected height and width, 1 or more each."),
        ("pairing", "size", "pairing is 'size'; expected one of name, order."),
        ("bits", 12, "bits is 12; expected 8, 16 or 32."),
        ("crop", "half", "crop is 'half'; expected one of none, eigen, garg."),
        ("scale", 0, "scale is 0; expected above 0, and finite."),
        ("rotation", 181.0, "rotation is 181.0; expected 0 to 180 degrees."),
        ("zoom", 0.9, "zoom is 0.9; expected 1 or more, and finite."),
        ("jitter", 1.0, "jitter is 1.0; expected at least 0 and below 1."),
    ],
)
def test_option_out_of_its_range_is_named(tmp_path, option, value, sentence):
    with pytest.raises(DataError) as caught:
        module(tmp_path, **{option: value})
    assert str(caught.value) == f"DepthPairsDataModule: {sentence}"


def test_pair_in_two_lists_is_named(tmp_path):
    write_pairs(tmp_path, range(1, 5))
    (tmp_path / "train.txt").write_text("1\n2\n3\n")
    (tmp_path / "test.txt").write_text("3\n4\n")
    fails(
        f"{tmp_path}/test.txt names 3, as train.txt does; expected each pair once in one split.", tmp_path, split="test"
    )


def test_two_images_of_one_name_are_named(tmp_path):
    write_pairs(tmp_path, range(1, 4))
    folder = tmp_path / "images"
    (first,) = folder.glob("2.*")
    again = folder / ("2.bmp" if first.suffix != ".bmp" else "2.png")
    again.write_bytes(first.read_bytes())
    first, second = sorted((first, again))
    fails(f"{second} has the same name as {first.name}; expected one picture of a name.", tmp_path)
