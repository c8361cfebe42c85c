import math

import pytest
import torch
from made_files import stacked

from datamodules import DataError, GridDataModule, RingDataModule

BOTH = pytest.mark.parametrize("make", [RingDataModule, GridDataModule])


def ready(datamodule):
    datamodule.setup()
    return datamodule


def test_centres_of_a_ring_lie_evenly_on_the_circle_from_the_right_counterclockwise():
    centres = RingDataModule().centres
    half = math.sqrt(0.5)
    expected = [(1, 0), (half, half), (0, 1), (-half, half), (-1, 0), (-half, -half), (0, -1), (half, -half)]
    assert centres.dtype == torch.float32
    assert torch.allclose(centres, torch.tensor(expected), atol=1e-7)
    larger = RingDataModule(modes=5, radius=3.0).centres
    assert torch.allclose(larger.norm(dim=1), torch.tensor(3.0))
    sides = (larger - larger.roll(1, 0)).norm(dim=1)
    assert torch.allclose(sides, torch.tensor(6 * math.sin(math.pi / 5)))


def test_centres_of_a_grid_are_those_of_its_columns_and_rows():
    centres = GridDataModule().centres
    assert centres.dtype == torch.float32
    assert centres.tolist() == [[x, y] for x in (-4, -2, 0, 2, 4) for y in (-4, -2, 0, 2, 4)]
    assert GridDataModule(side=2, spacing=3.0).centres.tolist() == [[-1.5, -1.5], [-1.5, 1.5], [1.5, -1.5], [1.5, 1.5]]
    assert GridDataModule(side=1).centres.tolist() == [[0, 0]]


@pytest.mark.parametrize(
    ("datamodule", "extent"),
    [(RingDataModule(), 1.5), (RingDataModule(radius=4.0), 6), (GridDataModule(), 5), (GridDataModule(2, 3.0), 3)],
    ids=range(4),
)
def test_unit_square_is_the_square_of_the_extent(datamodule, extent):
    assert datamodule.extent == extent
    corners = torch.tensor([[-extent, -extent], [extent, 0], [0, extent], [extent / 2, -extent / 2]])
    images = datamodule.to_images(corners.float())
    assert images.shape == (4, *datamodule.image_shape) == (4, 2, 1, 1)
    assert images.flatten(1).tolist() == [[0, 0], [1, 0.5], [0.5, 1], [0.75, 0.25]]
    assert datamodule.to_points(images).tolist() == corners.tolist()


@BOTH
def test_points_are_float_images_in_the_unit_interval_and_come_back(make):
    datamodule = ready(make(train_count=1000))
    batch = next(iter(datamodule.train_dataloader()))
    assert (batch.image.dtype, batch.image.shape) == (torch.float32, (100, 2, 1, 1))
    assert (batch.label.dtype, batch.label.shape) == (torch.int64, (100,))
    for given in (datamodule.to_float(batch), datamodule.change(batch, torch.Generator())):
        assert all(map(torch.equal, given, batch))
    points = datamodule.to_points(batch.image)
    assert torch.allclose(datamodule.to_images(points), batch.image, atol=1e-7)
    assert ((points - datamodule.centres[batch.label]).norm(dim=1) < 6 * datamodule.sigma).all()


@BOTH
def test_each_mode_is_a_gaussian_of_its_centre_and_sigma_with_an_equal_share(make):
    datamodule = ready(make())
    batch = datamodule.split("train").batch
    assert len(batch.label) == 100_000
    modes = datamodule.num_classes
    shares = torch.bincount(batch.label)
    assert shares.tolist() == [100_000 // modes] * modes
    offsets = (datamodule.to_points(batch.image) - datamodule.centres[batch.label]) / datamodule.sigma
    n = 100_000 // modes
    for mode in range(modes):
        own = offsets[batch.label == mode].double()
        # Four to five standard errors: of a mean, a standard deviation, a correlation and a share.
        assert own.mean(0).abs().max() < 5 / n**0.5
        assert (own.std(0) - 1).abs().max() < 5 / (2 * n) ** 0.5
        assert abs(torch.corrcoef(own.T)[0, 1]) < 5 / n**0.5
        within = 1 - math.exp(-4.5)  # 3 sigma, in the plane
        assert abs((own.norm(dim=1) < 3).double().mean() - within) < 5 * (within * (1 - within) / n) ** 0.5


@pytest.mark.parametrize(
    "datamodule",
    [RingDataModule(radius=2.0, sigma=0.1), GridDataModule(side=3, spacing=1.0, sigma=0.05)],
    ids=["ring", "grid"],
)
def test_largest_sigma_keeps_every_point_within_the_square(datamodule):
    images = ready(datamodule).split("train").batch.image
    assert images.min() > 0
    assert images.max() < 1


@BOTH
def test_modes_share_what_does_not_divide_evenly(make):
    datamodule = ready(make(train_count=103))
    shares = torch.bincount(datamodule.split("train").batch.label)
    assert len(shares) == datamodule.num_classes
    assert shares.max() - shares.min() == 1


@BOTH
def test_splits_have_their_own_points_the_same_for_every_seed(make):
    one, other = (ready(make(train_count=1000, seed=seed)) for seed in (0, 1))
    assert [len(one.split(name)) for name in ("train", "val", "test")] == [1000, 2500, 2500]
    for name in ("train", "val", "test"):
        assert all(map(torch.equal, one.split(name).batch, other.split(name).batch))
    orders = [stacked(datamodule.train_dataloader())[0].flatten(1).tolist() for datamodule in (one, other)]
    assert sorted(orders[0]) == sorted(orders[1])
    assert orders[0] != orders[1]
    points = torch.cat([one.split(name).batch.image.flatten(1) for name in ("train", "val", "test")])
    assert len(points.unique(dim=0)) >= 5998  # by chance, two may be alike


@BOTH
def test_classes_are_the_modes(make):
    datamodule = make()
    assert datamodule.class_names == tuple(map(str, range(len(datamodule.centres))))
    assert datamodule.num_classes == len(datamodule.centres)


@pytest.mark.parametrize(
    ("build", "sentence"),
    [
        (lambda: RingDataModule(modes=0), "RingDataModule: modes is 0; expected 1 or more."),
        (lambda: RingDataModule(radius=0.0), "RingDataModule: radius is 0.0; expected a finite number above 0."),
        (lambda: RingDataModule(radius=math.inf), "RingDataModule: radius is inf; expected a finite number above 0."),
        (lambda: RingDataModule(sigma=0.0),
         "RingDataModule: sigma is 0.0; expected above 0 and at most 0.05, so that every point lies in the square."),
        (lambda: RingDataModule(radius=2.0, sigma=0.11),
         "RingDataModule: sigma is 0.11; expected above 0 and at most 0.1, so that every point lies in the square."),
        (lambda: RingDataModule(sigma=math.nan),
         "RingDataModule: sigma is nan; expected above 0 and at most 0.05, so that every point lies in the square."),
        (lambda: RingDataModule(train_count=0), "RingDataModule: train_count is 0; expected 1 or more."),
        (lambda: GridDataModule(side=0), "GridDataModule: side is 0; expected 1 or more."),
        (lambda: GridDataModule(spacing=-1.0), "GridDataModule: spacing is -1.0; expected a finite number above 0."),
        (lambda: GridDataModule(sigma=0.2),
         "GridDataModule: sigma is 0.2; expected above 0 and at most 0.1, so that every point lies in the square."),
        (lambda: GridDataModule(batch_size=0), "GridDataModule: batch_size is 0; expected 1 or more."),
    ],
    ids=range(11),
)  # fmt: skip
def test_option_out_of_its_range_is_named(build, sentence):
    with pytest.raises(DataError) as caught:
        build()
    assert str(caught.value) == sentence
