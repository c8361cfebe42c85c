import os
import pickle
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from made_files import stacked
from miniature import write_mnist

from datamodules import DataError, MNISTDataModule, StackedMNISTDataModule

REAL_DATA = Path(os.environ.get("GENMODELS_DATA", "none"))
SPLITS = ("train", "val", "test")
real = pytest.mark.skipif(not (REAL_DATA / "MNIST").is_dir(), reason="the real MNIST is not at hand")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    write_mnist(folder)
    return folder


def read(root, **options):
    datamodule = StackedMNISTDataModule(
        str(root), **{"train_count": 600, "batch_size": 20, "download": False} | options
    )
    datamodule.setup()
    return datamodule


def whole(datamodule, split):
    return datamodule.split(split).fetch(torch.arange(len(datamodule.split(split))))


def originals(root, **options):
    """The class of every digit by its bytes, in the training and in the test set."""
    datamodule = MNISTDataModule(str(root), val_fraction=0.0, download=False, **options)
    datamodule.setup()
    sets = [datamodule.split(split).batch for split in ("train", "test")]
    return [{i.numpy().tobytes(): int(label) for i, label in zip(*one, strict=True)} for one in sets]


def keys(images):
    """The bytes of each channel of each image."""
    return [[channel.contiguous().numpy().tobytes() for channel in image] for image in images]


def epochs(loader, count):
    return [[list(batch) for batch in loader] for _ in range(count)]


def same(one, other):
    return len(one) == len(other) and all(
        torch.equal(a, b) for parts in zip(one, other, strict=True) for a, b in zip(*parts, strict=True)
    )


@pytest.mark.parametrize("stacking", ["fixed", "on_the_fly"])
@pytest.mark.parametrize("digits", ["train", "all"])
def test_label_is_made_of_the_digits_in_red_green_and_blue(root, stacking, digits):
    datamodule = read(root, stacking=stacking, digits=digits)
    training, test = originals(root)
    classes = training | test
    assert len(classes) == 260  # no two digits look alike
    for loader in (datamodule.train_dataloader(), datamodule.val_dataloader(), datamodule.test_dataloader()):
        for images, labels in [next(iter(loader))]:
            assert (images.dtype, images.shape) == (torch.uint8, (20, *datamodule.image_shape))
            assert (labels.dtype, labels.shape) == (torch.int64, (20,))
            told = [[int(digit) for digit in datamodule.class_names[label]] for label in labels]
            assert [[classes[key] for key in channels] for channels in keys(images)] == told


def test_there_are_a_thousand_classes(root):
    datamodule = StackedMNISTDataModule(str(root))
    assert datamodule.num_classes == len(set(datamodule.class_names)) == 1000
    assert (datamodule.class_names[0], datamodule.class_names[42], datamodule.class_names[999]) == ("000", "042", "999")
    assert datamodule.image_shape == (3, 28, 28)


def test_splits_share_no_digit(root):
    datamodule = read(root, train_count=3000)
    seen = [{key for channels in keys(whole(datamodule, split).image[:3000]) for key in channels} for split in SPLITS]
    training, test = originals(root)
    assert [len(part) for part in seen] == [180, 20, 60]
    assert seen[0] | seen[1] == set(training)
    assert seen[2] == set(test)


def test_all_digits_are_trained_on_where_that_is_asked_for_and_the_other_splits_stay(root):
    datamodule = read(root, digits="all", train_count=3000)
    training, test = originals(root)
    seen = {key for channels in keys(whole(datamodule, "train").image) for key in channels}
    assert seen == set(training) | set(test)
    for split in ("val", "test"):
        assert same([whole(datamodule, split)], [whole(read(root), split)])


@pytest.mark.parametrize("stacking", ["fixed", "on_the_fly"])
def test_numbers_of_stacks(root, stacking):
    datamodule = read(root, stacking=stacking)
    assert [len(datamodule.split(split)) for split in SPLITS] == [600, 10_000, 26_000]
    assert len(datamodule.train_dataloader()) == 30


def test_every_digit_is_as_likely_in_every_colour_and_colours_are_independent(root):
    stacks = read(root, train_count=180_000).split("train").stacks
    for channel in range(3):
        counts = torch.bincount(stacks[:, channel], minlength=200)
        counts = counts[counts > 0].double()
        assert len(counts) == 180
        # A chi-square of 179 degrees of freedom has a standard deviation of 18.9.
        assert abs(((counts - 1000) ** 2 / 1000).sum() - 179) < 5 * 18.9
    assert torch.corrcoef(stacks.double().T).triu(1).abs().max() < 5 / 180_000**0.5


@pytest.mark.parametrize("digits", ["train", "all"])
def test_fixed_stacks_are_the_same_for_every_seed_but_for_their_order(root, digits):
    one, other = (read(root, digits=digits, seed=seed) for seed in (0, 1))
    for split in SPLITS:
        assert same([whole(one, split)], [whole(other, split)])
    orders = [[image.numpy().tobytes() for image in stacked(d.train_dataloader())[0]] for d in (one, other)]
    assert sorted(orders[0]) == sorted(orders[1])
    assert orders[0] != orders[1]


def test_fixed_stacks_come_again_in_every_epoch(root):
    first, second = epochs(read(root).train_dataloader(), 2)
    both = [sorted(image.numpy().tobytes() for batch in epoch for image in batch[0]) for epoch in (first, second)]
    assert both[0] == both[1]


def test_stacks_on_the_fly_are_others_in_every_epoch_and_for_every_seed(root):
    seen = set()
    for seed in (0, 1):
        loader = read(root, stacking="on_the_fly", seed=seed).train_dataloader()
        for epoch in epochs(loader, 3):
            images = {image.numpy().tobytes() for batch in epoch for image in batch[0]}
            assert len(images) == 600
            assert len(images & seen) <= 2  # of 180^3, some may be drawn twice
            seen |= images


def test_stacks_on_the_fly_do_not_depend_on_workers(root):
    one, other = (read(root, stacking="on_the_fly", num_workers=workers) for workers in (0, 2))
    pairs = zip(epochs(one.train_dataloader(), 2), epochs(other.train_dataloader(), 2), strict=True)
    assert all(same(*pair) for pair in pairs)


def test_stacks_on_the_fly_of_two_processes_make_the_batch_of_one(root):
    parts = []
    for rank in range(2):
        datamodule = read(root, stacking="on_the_fly", batch_size=10)
        datamodule.trainer = SimpleNamespace(global_rank=rank, world_size=2, training=True)
        parts.append(epochs(datamodule.train_dataloader(), 2))
    for epoch, *halves in zip(epochs(read(root, stacking="on_the_fly").train_dataloader(), 2), *parts, strict=True):
        assert same(
            epoch, [[torch.cat(pair) for pair in zip(*both, strict=True)] for both in zip(*halves, strict=True)]
        )


@pytest.mark.parametrize("workers", [0, 2])
def test_stacks_on_the_fly_go_on_in_the_middle_of_a_later_epoch(root, workers):
    loader = read(root, stacking="on_the_fly").train_dataloader()
    third = epochs(loader, 3)[2]
    loader.sampler.set_epoch(2)
    going = iter(loader)
    for _ in range(11):
        next(going)
    resumed = read(root, stacking="on_the_fly", num_workers=workers).train_dataloader()
    resumed.load_state_dict(loader.state_dict())
    resumed.sampler.set_epoch(2)
    assert same([list(batch) for batch in resumed], third[11:])


def test_stack_on_the_fly_is_a_function_of_its_number_alone(root):
    split = read(root, stacking="on_the_fly").split("train")
    numbers = 7 * 600 + torch.tensor([5, 599, 0, 5])
    first = split.fetch(numbers)
    split.fetch(torch.arange(10))
    assert same([first], [split.fetch(numbers)])
    assert torch.equal(first.image[1], split.fetch(numbers[1:2]).image[0])
    assert torch.equal(first.image[0], first.image[3])


@pytest.mark.parametrize("stacking", ["fixed", "on_the_fly"])
def test_digits_are_in_memory_once_and_stacks_as_numbers(root, stacking):
    datamodule = read(root, stacking=stacking, train_count=128_000)
    numbers = (128_000 + 10_000 + 26_000) * 3 * 8
    assert len(pickle.dumps(datamodule)) < 260 * 28 * 28 + numbers + 20_000


def test_digits_are_resized_as_those_of_mnist(root):
    datamodule = read(root, image_size=14)
    training, test = originals(root, image_size=14)
    assert datamodule.image_shape == (3, 14, 14)
    images, labels = next(iter(datamodule.train_dataloader()))
    classes = training | test
    assert [int("".join(str(classes[key]) for key in channels)) for channels in keys(images)] == labels.tolist()


def test_batches_become_float_in_the_unit_interval_and_nothing_is_drawn(root):
    datamodule = read(root)
    batch = next(iter(datamodule.train_dataloader()))
    plain, changed = datamodule.to_float(batch), datamodule.change(batch, torch.Generator())
    assert (plain.image * 255).round().to(torch.uint8).equal(batch.image)
    assert same([plain], [changed])
    assert plain.label.equal(batch.label)


@real
@pytest.mark.parametrize(("digits", "trained_on"), [("train", 54_000), ("all", 70_000)])
def test_real_stacks_have_all_classes_as_often_as_their_digits_say(digits, trained_on):
    datamodule = read(REAL_DATA, train_count=128_000, digits=digits)
    split = datamodule.split("train")
    pool = torch.bincount(split.stacks.flatten(), minlength=70_000)
    assert trained_on - 400 < (pool > 0).sum() <= trained_on  # with 384,000 draws a few are missed
    shares = torch.bincount(split.digits.label[pool > 0], minlength=10).double() / (pool > 0).sum()
    expected = 128_000 * torch.einsum("i,j,k->ijk", shares, shares, shares).flatten()
    counts = torch.bincount((split.digits.label[split.stacks] * torch.tensor([100, 10, 1])).sum(1), minlength=1000)
    assert counts.min() > 0
    assert abs(((counts - expected) ** 2 / expected).sum() - 999) < 5 * (2 * 999) ** 0.5
    assert 0.7 < expected.min() / 128 < expected.max() / 128 < 1.45


@real
def test_real_test_stacks_have_all_classes_and_the_divergence_that_is_told():
    labels = torch.cat([batch.label for batch in read(REAL_DATA, batch_size=1000).test_dataloader()])
    shares = torch.bincount(labels, minlength=1000).double() / 26_000
    assert shares.min() > 0
    assert (shares * (1000 * shares).log()).sum().item() == pytest.approx(0.022, abs=5e-4)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"stacking": "later"}, "stacking is 'later'; expected one of fixed, on_the_fly."),
        ({"digits": "test"}, "digits is 'test'; expected one of train, all."),
        ({"train_count": 0}, "train_count is 0; expected 1 or more."),
        ({"image_size": 0}, "image_size is 0; expected 1 or more."),
        ({"batch_size": 0}, "batch_size is 0; expected 1 or more."),
        ({"seed": -1}, "seed is -1; expected 0 or more."),
    ],
)
def test_option_out_of_its_range_is_named(options, sentence):
    with pytest.raises(DataError) as caught:
        StackedMNISTDataModule(**options)
    assert str(caught.value) == f"StackedMNISTDataModule: {sentence}"


@pytest.mark.parametrize("stacking", ["fixed", "on_the_fly"])
def test_batch_larger_than_an_epoch_is_an_error(root, stacking):
    with pytest.raises(DataError, match=r"batch_size is 20 .* training split has 19 images"):
        read(root, train_count=19, stacking=stacking).train_dataloader()


def test_missing_files_are_named(tmp_path):
    with pytest.raises(DataError, match=f"{tmp_path}/MNIST/raw/.* does not exist; expected the four original files"):
        read(tmp_path)
