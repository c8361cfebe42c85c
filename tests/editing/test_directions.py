import pytest
import torch
from torch.nn.functional import cosine_similarity, normalize

from lightning_genmodels.editing import attribute_direction, conditioned, deviation_along, move
from lightning_genmodels.errors import GenmodelsError


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


@pytest.fixture
def styles(generator):
    return 0.1 * torch.randn(2000, 16, generator=generator) + torch.linspace(-3, 3, 16)


@pytest.fixture
def axis(generator):
    return normalize(torch.randn(16, generator=generator), dim=0)


def noisy(styles, axis, generator, offset=0.0):
    """Scores by a linear rule with noise: of the samples, about one in seven is on the wrong side of it."""
    along = (styles - styles.mean(0)) @ axis / 0.1
    return along + 0.5 * torch.randn(len(styles), generator=generator) + offset


# The direction


@pytest.mark.parametrize("offset", [0.0, -1.3, 1.3])  # as many with it as without, one in eight, seven in eight
def test_the_axis_of_a_noisy_rule_is_found(styles, axis, generator, offset):
    direction, accuracy = attribute_direction(styles, noisy(styles, axis, generator, offset))
    assert direction.shape == (16,)
    assert direction.dtype == torch.float32
    assert direction.norm().item() == pytest.approx(1, abs=1e-6)
    assert cosine_similarity(direction, axis, dim=0) > 0.95
    assert 0.75 < accuracy < 0.95


def test_labels_do_as_well_and_the_opposite_ones_give_the_opposite(styles, axis, generator):
    labels = noisy(styles, axis, generator) > 0
    direction, _ = attribute_direction(styles, labels)
    assert cosine_similarity(direction, axis, dim=0) > 0.95
    torch.testing.assert_close(attribute_direction(styles, ~labels)[0], -direction, rtol=0, atol=1e-3)


def test_of_scores_the_most_certain_half_decides(styles, axis, generator):
    along = (styles - styles.mean(0)) @ axis
    # Near the middle, where the scores are small, the labels are all wrong.
    scores = torch.where(along.abs() < 0.06, -0.1 * along, along)
    assert cosine_similarity(attribute_direction(styles, scores)[0], axis, dim=0) > 0.95
    swapped, _ = attribute_direction(styles, torch.where(along.abs() < 0.06, -10 * along.sign(), along))
    assert cosine_similarity(swapped, axis, dim=0) < 0


def test_the_accuracy_is_of_samples_that_were_not_fitted(styles, generator):
    chance = torch.randn(2000, generator=generator)
    assert attribute_direction(styles, chance)[1] == pytest.approx(0.5, abs=0.1)
    # With as many dimensions as samples any labels are fitted, and none is told.
    wide = torch.randn(300, 300, generator=generator)
    assert attribute_direction(wide, chance[:300] > 0)[1] < 0.7
    clear, accuracy = attribute_direction(styles, styles[:, 3] - styles[:, 3].mean())
    assert accuracy > 0.97
    assert clear[3] > 0.95


def test_the_accuracy_is_the_mean_of_both_labels(styles, axis):
    labels = torch.arange(2000) % 5 == 0
    there = torch.arange(2000) % 10 == 0  # of those that have it every other one is where those without are
    separate = styles + torch.where(there, 5.0, -5.0)[:, None] * axis
    assert attribute_direction(separate, labels)[1] == pytest.approx((0.5 + 1) / 2, abs=0.02)


def test_a_rare_label_counts_as_much_as_the_other(styles, axis, generator):
    along = (styles - styles.mean(0)) @ axis / 0.1
    labels = along + 2 * torch.randn(2000, generator=generator) > 4
    assert labels.float().mean() < 0.06
    assert attribute_direction(styles, labels)[1] > 0.6  # where all counted alike, hardly any would be taken for it


def test_the_styles_scale_and_place_change_nothing(styles, axis, generator):
    scores = noisy(styles, axis, generator)
    torch.testing.assert_close(
        attribute_direction(50 * styles - 7, scores)[0], attribute_direction(styles, scores)[0], rtol=0, atol=1e-3
    )


def test_too_few_of_a_label_is_one_sentence(styles):
    scores = torch.full((2000,), -1.0)
    for there in (0, 9):
        scores[:there] = 1
        for sign, count in ((1, there), (-1, 2000 - there)):
            with pytest.raises(GenmodelsError) as error:
                attribute_direction(styles, sign * scores, "Bald")
            assert str(error.value) == (
                f"Bald is there in {count} of 2000 samples; expected at least 10 with it and 10 without it."
            )
    scores[:10] = 1
    assert attribute_direction(styles, scores)[0].isfinite().all()


def test_what_does_not_fit_is_one_sentence(styles):
    with pytest.raises(GenmodelsError) as error:
        attribute_direction(styles, torch.zeros(2000, 2))
    assert str(error.value) == (
        "attribute_direction: styles have the shape (2000, 16) and scores (2000, 2); expected (N, Z) and (N,)."
    )
    with pytest.raises(GenmodelsError, match="are not all finite"):
        attribute_direction(styles, torch.full((2000,), torch.nan))


# Conditioning


def test_a_conditioned_direction_moves_along_none_of_the_others(axis, generator):
    others = [normalize(torch.randn(16, generator=generator), dim=0) for _ in range(3)]
    left = conditioned(axis, others)
    assert left.norm().item() == pytest.approx(1, abs=1e-6)
    for other in others:
        assert (left @ other).item() == pytest.approx(0, abs=1e-6)
    one = axis - (axis @ others[0]) * others[0]  # the paper's own formula
    torch.testing.assert_close(conditioned(axis, others[:1]), one / one.norm(), rtol=0, atol=1e-6)


def test_nothing_is_left_of_a_sum_of_the_others(generator):
    others = [normalize(torch.randn(16, generator=generator), dim=0) for _ in range(2)]
    with pytest.raises(GenmodelsError, match="is left without the others; expected it to be no sum of them"):
        conditioned(others[0] - 2 * others[1], others)


# Moving


@pytest.mark.parametrize("strength", [-3.0, 0.5, 2.0])
def test_to_move_by_k_deviations_changes_the_place_along_the_direction_by_that_and_nothing_else(styles, axis, strength):
    deviation = deviation_along(styles, axis)
    assert deviation == pytest.approx(0.1, rel=0.05)
    change = move(styles[:5], axis, strength, deviation) - styles[:5]
    torch.testing.assert_close(change @ axis, torch.full((5,), strength * deviation), rtol=0, atol=1e-5)
    torch.testing.assert_close(change, (change @ axis)[:, None] * axis, rtol=0, atol=1e-5)


def test_styles_of_layers_are_moved_in_all_of_them(axis):
    layered = torch.randn(2, 4, 16)
    torch.testing.assert_close(move(layered, axis, 2, 0.5), layered + axis)
