"""Augmentation of what the discriminator sees."""

import pytest
import torch

from lightning_genmodels.models.augmentation import augment


def draws(seed=0):
    return torch.Generator().manual_seed(seed)


def test_a_probability_of_0_changes_nothing_and_draws_nothing():
    images, source = torch.rand(4, 3, 16, 16), draws()
    assert augment(images, 0.0, source) is images
    assert torch.equal(source.get_state(), draws().get_state())


def test_images_are_left_alone_with_the_probability_that_none_of_the_changes_is_drawn():
    torch.manual_seed(0)
    images = 2 * torch.rand(4000, 1, 16, 16) - 1
    same = (augment(images, 0.1, draws()) - images).abs().amax((1, 2, 3)) < 1e-4
    # Nine changes, of which mirroring leaves half of the images, quarter turns a quarter; others never.
    expected = 0.9**7 * 0.95 * 0.925
    assert same.float().mean().item() == pytest.approx(expected, abs=0.03)


@pytest.mark.parametrize("size", [16, 128, 256])
def test_in_half_precision_images_are_where_they_were(size):
    line = torch.linspace(-1, 1, size)
    images = (torch.sin(9 * line)[:, None] * torch.cos(7 * line))[None, None].expand(4, 1, -1, -1).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        made = augment(images, 1e-12, draws())
    assert made.dtype == torch.bfloat16
    torch.testing.assert_close(made, images, rtol=0, atol=0.01)


def test_the_same_source_makes_the_same_and_real_and_generated_images_are_changed_alike():
    images = torch.rand(8, 3, 16, 16)
    assert torch.equal(augment(images, 0.7, draws(1)), augment(images, 0.7, draws(1)))
    assert not torch.allclose(augment(images, 0.7, draws(1)), augment(images, 0.7, draws(2)))
    assert not torch.allclose(augment(images, 0.7, draws(1)), images)


def test_a_generator_gets_the_gradient_through_every_change():
    images = torch.rand(8, 3, 16, 16, requires_grad=True)
    (gradient,) = torch.autograd.grad(augment(images, 1.0, draws()).square().sum(), images)
    assert gradient.isfinite().all()
    assert (gradient.abs().amax((1, 2, 3)) > 0).all()


def test_the_mean_grey_of_many_images_is_moved_by_no_change_on_average():
    images = torch.full((4000, 3, 16, 16), 0.5)
    assert augment(images, 1.0, draws()).mean().item() == pytest.approx(0.5 * 1.06, abs=0.02)  # E 2^N(0, .5^2)


def share_like(made, other):
    return ((made - other).abs().amax((1, 2, 3)) < 1e-3).float().mean().item()


def test_images_are_mirrored_left_to_right_and_turned_by_quarters():
    torch.manual_seed(0)
    images = (2 * torch.rand(1, 1, 8, 8) - 1).expand(10_000, -1, -1, -1)
    made = augment(images, 0.1, draws())
    others = 0.9**7  # none of those that always change an image
    assert share_like(made, images.flip(3)) == pytest.approx(others * 0.05 * 0.925, abs=0.006)
    for turns in (1, 2, 3):
        turned = images.rot90(turns, (2, 3))
        assert share_like(made, turned) == pytest.approx(others * 0.95 * 0.025, abs=0.004)
    assert share_like(made, images.flip(2)) < 0.004  # mirrored and turned


def test_colours_get_more_or_less_saturated_around_their_grey():
    torch.manual_seed(0)
    images = (torch.rand(1, 3, 8, 8) - 0.5).expand(4000, -1, -1, -1)
    made = augment(images, 0.1, draws())
    grey, chroma = images.mean(1, keepdim=True), images - images.mean(1, keepdim=True)
    kept = (made.mean(1, keepdim=True) - grey).abs().amax((1, 2, 3)) < 1e-4
    factors = ((made - made.mean(1, keepdim=True)) / chroma)[kept].flatten(1)
    torch.testing.assert_close(factors, factors[:, :1].expand_as(factors), rtol=1e-2, atol=1e-2)
    changed = factors[(factors[:, 0] - 1).abs() > 1e-3, 0]
    assert len(changed) / 4000 == pytest.approx(0.9**7 * 0.95 * 0.925 * 0.1 / 0.9, abs=0.02)
    assert changed.log2().std().item() == pytest.approx(1, abs=0.15)
