import pytest
import torch

from lightning_genmodels import StyleGAN
from lightning_genmodels.editing import draw_styles, images_of, mix, mixing_grid
from lightning_genmodels.errors import GenmodelsError

LAYERS = 6  # of 16 pixels


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return StyleGAN((3, 16, 16), latent_dim=8, width=8, mapping_depth=2)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


# Styles and images


def test_styles_are_those_of_the_models_own_samples(model):
    with torch.no_grad():
        expected = model.styles(torch.randn(5, 8, generator=seeded(3)), 0.5)
    torch.testing.assert_close(draw_styles(model, 5, seeded(3), 0.5), expected, rtol=0, atol=0)
    assert not draw_styles(model, 5).requires_grad


def test_images_are_without_noise_clamped_and_do_not_depend_on_how_many_are_made_together(model):
    with torch.no_grad():
        model.averaged_generator.synthesis.layers[3].noise_weight.fill_(1)
        styles = 3 * draw_styles(model, 130, seeded())
        expected = model.synthesize(styles).clamp(0, 1)
        made = images_of(model, styles)
        model.averaged_generator.synthesis.layers[3].noise_weight.fill_(0)
    torch.testing.assert_close(made, expected, rtol=0, atol=1e-5)
    assert made.min() >= 0
    assert made.max() <= 1


# Mixing


@pytest.mark.parametrize("crossover", range(LAYERS + 1))
def test_layers_below_the_crossover_are_coarse_and_the_others_fine(crossover):
    coarse, fine = torch.randn(2, 3, 8)
    mixed = mix(coarse, fine, crossover, LAYERS)
    assert mixed.shape == (3, LAYERS, 8)
    for layer in range(LAYERS):
        assert torch.equal(mixed[:, layer], coarse if layer < crossover else fine)


def test_at_the_ends_the_images_are_the_sources(model):
    coarse, fine = draw_styles(model, 6, seeded()).chunk(2)
    assert torch.equal(images_of(model, mix(coarse, fine, LAYERS, LAYERS)), images_of(model, coarse))
    assert torch.equal(images_of(model, mix(coarse, fine, 0, LAYERS)), images_of(model, fine))
    between = images_of(model, mix(coarse, fine, 3, LAYERS))
    assert (between - images_of(model, coarse)).abs().max() > 1e-3
    assert (between - images_of(model, fine)).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("shapes", "crossover", "expected"),
    [
        (((2, 8), (3, 8)), 1, "mix: the styles have the shapes (2, 8) and (3, 8); expected (N, Z), the same of both."),
        (((8,), (8,)), 1, "mix: the styles have the shapes (8,) and (8,); expected (N, Z), the same of both."),
        (((2, 8), (2, 8)), 7, "mix: crossover is 7; expected 0 to 6, the number of layers."),
        (((2, 8), (2, 8)), -1, "mix: crossover is -1; expected 0 to 6, the number of layers."),
    ],
)
def test_what_cannot_be_mixed_is_one_sentence(shapes, crossover, expected):
    with pytest.raises(GenmodelsError) as error:
        mix(*map(torch.zeros, shapes), crossover, LAYERS)
    assert str(error.value) == expected


# The grid


def test_a_grid_has_its_sources_in_the_first_row_and_column_and_hand_made_mixtures_in_the_others(model):
    rows, columns, crossover = 2, 3, 2
    grid = mixing_grid(model, rows, columns, crossover, generator=seeded(), truncation=0.7).unflatten(0, (3, 4))
    assert grid.shape == (3, 4, 3, 16, 16)
    assert (grid[0, 0] == 1).all()
    styles = draw_styles(model, rows + columns, seeded(), 0.7)
    coarse, fine = styles[:rows], styles[rows:]
    close = {"rtol": 0, "atol": 1e-5}
    torch.testing.assert_close(grid[0, 1:], images_of(model, fine), **close)
    torch.testing.assert_close(grid[1:, 0], images_of(model, coarse), **close)
    for row in range(rows):
        for column in range(columns):
            layered = torch.stack([coarse[row]] * crossover + [fine[column]] * (LAYERS - crossover))
            torch.testing.assert_close(grid[row + 1, column + 1], images_of(model, layered[None])[0], **close)
    assert (grid[1, 1:] - grid[2, 1:]).abs().flatten(1).max(1).values.min() > 1e-3


def test_a_grid_needs_a_row_and_a_column(model):
    for rows, columns in ((0, 2), (2, 0)):
        with pytest.raises(GenmodelsError) as error:
            mixing_grid(model, rows, columns, 1)
        assert str(error.value) == (f"mixing_grid: rows are {rows} and columns {columns}; expected 1 or more of each.")
