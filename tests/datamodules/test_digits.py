import math
import pickle
from collections import Counter

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from datamodules import DataError, DigitsDataModule, ImageBatch


def splits(**options):
    datamodule = DigitsDataModule(batch_size=1, **options)
    datamodule.setup()
    loaders = (datamodule.train_dataloader(), datamodule.val_dataloader(), datamodule.test_dataloader())
    return [[(image.numpy().tobytes(), label.item()) for image, label in loader] for loader in loaders]


def ink_levels(image):
    return np.rint(np.frombuffer(image, np.uint8) * (16 / 255)).astype(int).tobytes()


@pytest.fixture(scope="module")
def default_splits():
    return splits()


def test_splits_are_70_20_10_percent(default_splits):
    assert [len(split) for split in default_splits] == pytest.approx([0.7 * 1797, 0.2 * 1797, 0.1 * 1797], abs=1)


def test_splits_together_are_every_digit_once_with_its_label(default_splits):
    digits = load_digits()
    originals = Counter((i.astype(int).tobytes(), t) for i, t in zip(digits.images, digits.target, strict=True))
    assert Counter((ink_levels(image), label) for split in default_splits for image, label in split) == originals


def test_bytes_reach_from_0_to_255(default_splits):
    values = np.frombuffer(b"".join(image for image, _ in default_splits[0]), np.uint8)
    assert (values.min(), values.max()) == (0, 255)


def test_seed_changes_the_validation_split_and_not_the_test_split(default_splits):
    _, val, test = splits(seed=1)
    assert test == default_splits[2]
    assert Counter(val) != Counter(default_splits[1])


def test_val_fraction_counts_all_digits():
    train, val, test = splits(val_fraction=0.3)
    assert [len(train), len(val), len(test)] == pytest.approx([0.6 * 1797, 0.3 * 1797, 0.1 * 1797], abs=1)


def test_val_fraction_of_0_gives_no_validation_loader():
    datamodule = DigitsDataModule(val_fraction=0)
    datamodule.setup("fit")
    assert datamodule.val_dataloader() == []


@pytest.mark.parametrize("size", [8, 16, 28, 32])
def test_images_have_the_shape_known_before_setup(size):
    datamodule = DigitsDataModule(batch_size=5, image_size=size)
    shape = datamodule.image_shape
    datamodule.setup("fit")
    batch = next(iter(datamodule.train_dataloader()))
    assert batch.image.shape == (5, *shape) == (5, 1, size, size)
    assert batch.image.dtype == torch.uint8


def test_enlarged_digits_show_the_same_pictures():
    small, large = DigitsDataModule(), DigitsDataModule(image_size=32)
    for datamodule in (small, large):
        datamodule.setup("test")
    original = next(iter(small.test_dataloader())).image.float()
    shrunk = torch.nn.functional.avg_pool2d(next(iter(large.test_dataloader())).image.float(), 4)
    assert torch.corrcoef(torch.stack([original.flatten(), shrunk.flatten()]))[0, 1] > 0.95


def test_to_float_divides_by_255_and_keeps_the_labels():
    datamodule = DigitsDataModule()
    batch = ImageBatch(torch.arange(256, dtype=torch.uint8).reshape(4, 1, 8, 8), torch.arange(4))
    image, label = datamodule.to_float(batch)
    assert image.dtype == torch.float32
    torch.testing.assert_close(image, torch.linspace(0, 1, 256).reshape(4, 1, 8, 8), rtol=0, atol=1e-6)
    assert (image.min(), image.max()) == (0, 1)
    assert torch.equal(label, batch.label)


def test_workers_give_the_batches_of_none():
    batches = []
    for num_workers in (0, 2):
        datamodule = DigitsDataModule(num_workers=num_workers)
        datamodule.setup("fit")
        batches.append(list(datamodule.train_dataloader()))
    for alone, worked in zip(*batches, strict=True):
        assert torch.equal(alone.image, worked.image)
        assert torch.equal(alone.label, worked.label)


def test_what_workers_fetch_with_can_be_pickled_as_spawned_processes_need():
    datamodule = DigitsDataModule()
    datamodule.setup("test")
    fetch = datamodule.test_dataloader().fetch
    index = torch.tensor([3, 1])
    assert torch.equal(pickle.loads(pickle.dumps(fetch))(index).image, fetch(index).image)


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("batch_size", 0, "1 or more"),
        ("num_workers", -1, "0 or more"),
        ("image_size", 12, "8, 16, 28 or 32"),
        ("seed", -1, "0 or more"),
        ("val_fraction", 0.85, "0 to 0.8"),
        ("val_fraction", -0.1, "0 to 0.8"),
    ],
)
def test_option_out_of_its_range_is_named_with_its_value_and_what_was_expected(option, value, expected):
    with pytest.raises(DataError, match=f"{option} is {value}; expected {expected}"):
        DigitsDataModule(**{option: value})


def test_batch_larger_than_the_training_split_is_an_error():
    datamodule = DigitsDataModule(batch_size=1500)
    datamodule.setup("fit")
    with pytest.raises(DataError, match=r"batch_size is 1500 .* training split has 1258 images"):
        datamodule.train_dataloader()


def test_a_loader_before_setup_says_what_is_missing():
    with pytest.raises(DataError, match=r"the train split is not read yet; expected setup\(\) first"):
        DigitsDataModule().train_dataloader()


# Binary pixels


def bytes_of(loader):
    return torch.cat([batch.image for batch in loader])


def ready(**options):
    datamodule = DigitsDataModule(**{"batch_size": 1258, **options})
    datamodule.setup()
    return datamodule


def test_none_leaves_the_greys():
    assert len(bytes_of(ready().val_dataloader()).unique()) == 17


def test_threshold_is_at_the_middle_of_every_split():
    for split in ("train_dataloader", "val_dataloader", "test_dataloader"):
        greys, binary = (bytes_of(getattr(ready(binarize=b), split)()) for b in ("none", "threshold"))
        assert torch.equal(binary, (greys > 127).to(torch.uint8) * 255)


def test_static_pixels_are_0_or_255_and_drawn_from_the_greys():
    for split in ("train_dataloader", "val_dataloader", "test_dataloader"):
        greys, binary = (bytes_of(getattr(ready(binarize=b), split)()) for b in ("none", "static"))
        assert binary.dtype == torch.uint8
        assert binary.unique().tolist() == [0, 255]
        for level in (0, 64, 128, 191, 255):
            drawn = binary[greys == level].float() / 255
            spread = math.sqrt(level / 255 * (1 - level / 255) / len(drawn))
            assert drawn.mean().item() == pytest.approx(level / 255, abs=5 * spread + 1e-6)


def test_the_static_set_is_the_same_for_every_seed_and_each_time():
    def every_digit(**options):
        datamodule = ready(binarize="static", **options)
        loaders = (datamodule.train_dataloader(), datamodule.val_dataloader())
        return sorted(image.numpy().tobytes() for loader in loaders for image in bytes_of(loader))

    first = every_digit()
    assert every_digit(seed=5) == first
    torch.rand(1)
    assert every_digit() == first
    assert torch.equal(*(bytes_of(ready(binarize="static", seed=s).test_dataloader()) for s in (0, 5)))


def test_validation_and_test_of_dynamic_are_the_static_ones():
    for split in ("val_dataloader", "test_dataloader"):
        static, dynamic = (bytes_of(getattr(ready(binarize=b), split)()) for b in ("static", "dynamic"))
        assert torch.equal(static, dynamic)
    assert len(bytes_of(ready(binarize="dynamic").train_dataloader()).unique()) == 17  # drawn later, on the device


def test_dynamic_pixels_outside_a_trainer_are_drawn_for_each_batch_and_the_same_each_time():
    datamodule = ready(binarize="dynamic", batch_size=400)
    first, second = (batch for batch, _ in zip(datamodule.train_dataloader(), range(2), strict=False))
    grey = first.image.clone()
    drawn = datamodule.to_float(first).image
    assert torch.equal(drawn, datamodule.to_float(first._replace(image=grey)).image)
    # Where the two batches have the same grey in the same place, the draws differ now and then.
    same = (first.image == second.image) & (first.image > 80) & (first.image < 175)
    assert (drawn != datamodule.to_float(second).image)[same].any()
