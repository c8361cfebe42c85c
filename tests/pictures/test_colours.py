import colorsys

import numpy as np
import pytest
import torch

from lightning_genmodels.pictures import class_colours, depth_colours, with_caption


def brightness(colours):
    return (colours * torch.tensor((0.2126, 0.7152, 0.0722)).view(1, 3, 1, 1)).sum(1).flatten()


def test_depth_is_the_brighter_the_farther():
    colours = depth_colours(torch.linspace(1, 9, 100).view(1, 1, 1, 100), 1.0, 9.0)
    assert colours.shape == (1, 3, 1, 100)
    assert (brightness(colours).diff() > 0).all()
    assert 0 <= colours.min() <= colours.max() <= 1


def test_ends_of_the_range_are_the_ends_of_viridis_and_what_lies_beyond_is_too():
    colours = (depth_colours(torch.tensor((0.5, 1.0, 9.0, 12.0)).view(1, 1, 1, 4), 1.0, 9.0) * 255).round()[0, :, 0].T
    assert colours.tolist() == [[0x44, 0x01, 0x54]] * 2 + [[0xFD, 0xE7, 0x25]] * 2


def test_no_measurement_is_black_and_nothing_else_is():
    colours = depth_colours(torch.tensor((0.0, 1.0, 5.0)).view(1, 1, 1, 3), 1.0, 5.0)
    assert (colours.amax(1).flatten() > 0).tolist() == [False, True, True]


def test_range_of_no_width_is_no_division_by_zero():
    assert depth_colours(torch.full((1, 1, 2, 2), 3.0), 3.0, 3.0).isfinite().all()


def test_first_twelve_classes_have_colours_that_are_told_apart():
    colours = class_colours(torch.arange(12).view(1, 3, 4))
    assert colours.shape == (1, 3, 3, 4)
    assert 0 <= colours.min() <= colours.max() <= 1
    flat = colours.flatten(2)[0].T
    distances = torch.cdist(flat, flat) + torch.eye(12) * 9
    assert distances.min() > 0.1


@pytest.mark.parametrize("number", [0, 1, 5, 200])
def test_class_has_the_hue_of_the_golden_ratio(number):
    hue, saturation, _ = colorsys.rgb_to_hsv(*class_colours(torch.tensor([[[number]]]))[0, :, 0, 0].tolist())
    difference = abs(hue - number * 0.618034 % 1)
    assert min(difference, 1 - difference) < 0.01
    assert saturation == pytest.approx(0.75, abs=0.01)


def test_caption_adds_20_rows_below():
    picture = np.full((30, 300, 3), 77, np.uint8)
    captioned = with_caption(picture, "16 images")
    assert (captioned.shape, captioned.dtype) == ((50, 300, 3), np.uint8)
    assert (captioned[:30] == picture).all()
    assert (captioned[30:] < 128).any()
    assert (captioned[30:] == 255).mean() > 0.5


def test_picture_that_is_narrower_than_its_caption_is_widened():
    picture = np.full((30, 40, 3), 77, np.uint8)
    captioned = with_caption(picture, "depth 1.00 m (dark) to 9.00 m (bright)")
    assert captioned.shape[0] == 50
    assert captioned.shape[1] > 200
    assert (captioned[:30, :40] == 77).all()
    assert (captioned[:30, 40:] == 255).all()
    assert (captioned[30:, -3:] == 255).all()  # the whole text is there
    assert (captioned[30:, -40:] < 128).any()
