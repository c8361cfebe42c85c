import itertools
import math

import numpy as np
import pytest
import torch

from lightning_genmodels.pictures import bars, scatter
from lightning_genmodels.pictures.plots import COLOURS, INK


def centre_of(picture, colour):
    """Where pixels of a colour lie on average: to the right, and upwards from the bottom."""
    rows, columns = np.nonzero((picture == colour).all(-1))
    assert len(rows), f"no pixel of {colour}"
    return np.array([columns.mean(), len(picture) - 1 - rows.mean()])


def colours_of(picture):
    return {tuple(int(c) for c in pixel) for pixel in np.unique(picture.reshape(-1, 3), axis=0)}


CORNERS = torch.tensor([[0.0, 0.0], [3.0, 0.0], [0.0, 4.0]])


def test_a_scatter_is_a_uint8_square_of_the_size_asked_for_on_white():
    picture = scatter(CORNERS, size=200)
    assert picture.dtype == np.uint8
    assert picture.shape == (200, 200, 3)
    assert scatter(CORNERS).shape == (512, 512, 3)
    assert picture[[0, 0, -1, -1], [0, -1, 0, -1]].min() == 255


def test_points_without_labels_have_one_colour():
    assert colours_of(scatter(CORNERS)) == {(255, 255, 255), COLOURS[0]}


def test_every_point_is_drawn_where_it_belongs_with_one_scale_for_both_axes_and_the_second_upwards():
    points = torch.cat([CORNERS, torch.tensor([[1.0, 2.0]])])
    picture = scatter(points)
    rows, columns = np.nonzero((picture != 255).any(-1))
    places = np.stack([columns, 511 - rows], 1)
    # The longer side, 4, fills nine tenths of the picture, with the middle of all points in the middle of it.
    expected = (points.numpy() - [1.5, 2.0]) * (0.9 * 512 / 4) + 255.5
    distances = np.abs(places[:, None] - expected[None]).max(-1)
    assert distances.min(1).max() <= 3  # nothing is drawn elsewhere
    assert distances.min(0).max() <= 1  # and each is there


@pytest.mark.parametrize("scale", [1e-6, 1e6])
@pytest.mark.parametrize("shift", [0.0, 5.0])
def test_neither_shift_nor_scale_of_all_points_changes_the_picture(scale, shift):
    points = torch.randn(20, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected = centre_of(scatter(points), COLOURS[0])
    np.testing.assert_allclose(centre_of(scatter(scale * (points + shift)), COLOURS[0]), expected, atol=0.5)


def rings(centres, labels):
    """Circles of points: the label's name, in the middle, covers none of them."""
    turns = torch.arange(40) / 40 * 2 * math.pi
    circle = torch.stack([turns.cos(), turns.sin()], 1)
    return (centres[:, None] + circle).flatten(0, 1), torch.tensor(labels).repeat_interleave(40)


def test_each_label_has_its_colour_at_its_points():
    points, labels = rings(torch.tensor([[0.0, 0.0], [6.0, 0.0], [6.0, 6.0]]), [1, 4, 12])  # 12 takes that of 2
    shuffled = torch.randperm(120, generator=torch.Generator().manual_seed(0))
    for order in (torch.arange(120), shuffled):
        picture = scatter(points[order], labels[order])
        for colour, centre in ((COLOURS[1], [0, 0]), (COLOURS[4], [6, 0]), (COLOURS[2], [6, 6])):
            expected = (np.array(centre) - 3) * (0.9 * 512 / 8) + 255.5
            np.testing.assert_allclose(centre_of(picture, colour), expected, atol=1)
        assert not colours_of(picture) & {COLOURS[0], COLOURS[3]}


def test_a_labels_name_stands_at_the_median_of_its_points():
    # Nine points at the left, low, and one far away, which would draw the mean towards it.
    points = torch.tensor([[0.0, 0.0]] * 9 + [[10.0, 5.0]])
    left, right = [0.05 * 512, 511 - 0.725 * 512], [0.95 * 512, 511 - 0.275 * 512]
    np.testing.assert_allclose(centre_of(scatter(points, torch.zeros(10).long()), INK), left, atol=3)
    both = scatter(points, torch.arange(10) // 9)
    np.testing.assert_allclose(centre_of(both[:, :256], INK), left, atol=3)
    np.testing.assert_allclose(centre_of(both[:, 256:], INK), np.subtract(right, [256, 0]), atol=3)


def test_the_names_are_the_labels():
    # Labels of one colour around one place: the pictures differ by what is written alone.
    pictures = [scatter(*rings(torch.zeros(1, 2), [label])) for label in (0, 10, 20)]
    for one, other in itertools.combinations(pictures, 2):
        rows, columns = np.nonzero((one != other).any(-1))
        assert len(rows) > 20
        assert max(abs(rows - 256).max(), abs(columns - 256).max()) < 20


def test_one_point_and_equal_points_lie_in_the_middle():
    for points in (torch.tensor([[7.0, -3.0]]), torch.full((5, 2), 1e4)):
        np.testing.assert_allclose(centre_of(scatter(points, size=101), COLOURS[0]), 50, atol=0.6)


def test_points_with_a_graph_and_in_half_precision_can_be_drawn():
    points = CORNERS.to(torch.bfloat16).requires_grad_()
    np.testing.assert_array_equal(scatter(points), scatter(CORNERS))


def heights_of(picture):
    """The height of the column of bar pixels in every column of the picture, the line's counted with it."""
    blue = (picture == COLOURS[0]).all(-1) | (picture == COLOURS[3]).all(-1)
    return blue.sum(0)


def test_bars_stand_on_the_bottom_in_their_order_with_heights_in_proportion():
    values = torch.tensor([0.5, 1.0, 0.0, 0.25])
    picture = bars(values, line=0.05, height=201)
    assert picture.dtype == np.uint8
    assert picture.shape == (221, 600, 3)
    assert (picture[201:] < 128).any()  # the caption
    picture = picture[:201]
    for number, value in enumerate(values.tolist()):
        part = picture[:, number * 150 : (number + 1) * 150]
        assert (part == part[:, :1]).all()
        blue = (part[:, 0] == COLOURS[0]).all(-1)
        assert abs(201 - (np.nonzero(blue)[0].min() if value else 201) - value * 0.95 * 201) <= 1
        assert blue[-1] == (value > 0)


@pytest.mark.parametrize(("values", "line"), [([0.2, 0.4], 0.3), ([0.2, 0.4], 1.6), ([0.0, 0.0], 0.1)])
def test_the_line_goes_across_at_its_height_in_the_bars_scale(values, line):
    picture = bars(torch.tensor(values), line, height=400)
    rows = np.nonzero((picture == COLOURS[3]).all(-1).all(1))[0]
    assert len(rows) == 2
    assert abs(400 - rows.mean() - line * 0.95 * 400 / max(*values, line)) <= 1.5
    assert ((picture == COLOURS[3]).all(-1).sum(1) > 0).sum() == 2  # and nowhere else


def test_a_bar_of_the_lines_value_ends_at_the_line():
    picture = bars(torch.tensor([0.3, 0.6]), line=0.3)[:256]
    left = picture[:, 0]
    line = np.nonzero((left == COLOURS[3]).all(-1))[0]
    above = left[: line.min()]
    assert (above == 255).all()
    assert (left[line.max() + 1 :] == COLOURS[0]).all()


@pytest.mark.parametrize(("count", "width"), [(1, 600), (196, 588), (300, 600), (2000, 2000)])
def test_every_value_has_at_least_one_column(count, width):
    values = torch.arange(1, count + 1) / count
    picture = bars(values, line=0.01)
    assert picture.shape == (276, width, 3)
    heights = heights_of(picture)
    assert (np.diff(heights) >= 0).all()
    assert heights[-1] == round(0.95 * 256)


def test_values_with_a_graph_can_be_drawn():
    values = torch.tensor([0.1, 0.2])
    np.testing.assert_array_equal(bars(values.clone().requires_grad_(), 0.1), bars(values, 0.1))
