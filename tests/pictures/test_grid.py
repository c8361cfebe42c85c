import numpy as np
import pytest
import torch
from PIL import Image

from lightning_genmodels.pictures import image_grid, save_png, to_uint8


def test_to_uint8_rounds_and_clamps():
    images = torch.tensor([-1.0, 0.0, 0.4 / 255, 0.6 / 255, 0.5, 1.0, 1.7])
    assert to_uint8(images).tolist() == [0, 0, 0, 1, 128, 255, 255]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16])
def test_bytes_survive_the_way_to_floats_and_back(dtype):
    values = torch.arange(256)
    assert to_uint8((values / 255).to(dtype)).tolist() == values.tolist()


def test_to_uint8_takes_images_with_a_graph():
    assert to_uint8(torch.ones(2, requires_grad=True) * 0.2).dtype == torch.uint8


@pytest.mark.parametrize("channels", [1, 3])
def test_grid_is_uint8_height_width_3_with_each_image_in_its_place(channels):
    images = torch.rand(5, channels, 40, 36, generator=torch.Generator().manual_seed(0))
    grid = image_grid(images, columns=3, margin=2)
    assert grid.dtype == np.uint8
    assert grid.shape == (2 * 42 + 2, 3 * 38 + 2, 3)
    for number, image in enumerate(images):
        top, left = 2 + number // 3 * 42, 2 + number % 3 * 38
        expected = to_uint8(image.expand(3, -1, -1)).permute(1, 2, 0).numpy()
        assert np.array_equal(grid[top : top + 40, left : left + 36], expected)


@pytest.mark.parametrize("size", [1, 8, 28])
def test_small_images_are_enlarged_by_a_whole_factor_each_pixel_a_square(size):
    images = torch.rand(4, 1, size, size, generator=torch.Generator().manual_seed(0))
    grid = image_grid(images, columns=2, smallest=32, margin=1)
    cell = (grid.shape[0] - 3) // 2
    assert cell >= 32
    assert cell % size == 0
    expected = np.kron(to_uint8(images[3, 0]).numpy(), np.ones((cell // size, cell // size), np.uint8))
    assert np.array_equal(grid[-1 - cell : -1, -1 - cell : -1, 0], expected)


def test_images_large_enough_are_not_enlarged():
    assert image_grid(torch.rand(1, 1, 32, 32), margin=0).shape == (32, 32, 3)


def test_grid_is_about_square_unless_told():
    assert image_grid(torch.rand(9, 1, 32, 32), margin=0).shape == (96, 96, 3)
    assert image_grid(torch.rand(9, 1, 32, 32), margin=0, columns=9).shape == (32, 288, 3)


def test_a_grid_of_one_image_has_its_margin():
    assert image_grid(torch.rand(1, 3, 32, 32), margin=2).shape == (36, 36, 3)


def test_png_reads_back_pixel_for_pixel(tmp_path):
    picture = image_grid(torch.rand(6, 3, 8, 8))
    path = tmp_path / "new" / "folder" / "grid.png"
    save_png(picture, path)
    with Image.open(path) as image:
        assert image.format == "PNG"
        assert np.array_equal(np.asarray(image), picture)
