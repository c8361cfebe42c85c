import math

import pytest
import torch

from lightning_genmodels import GenmodelsError
from lightning_genmodels.models.interpolation import linear_path, spherical_path

both = pytest.mark.parametrize("path", [linear_path, spherical_path])


def codes(n=4, width=16, seed=0):
    return torch.randn(n, width, generator=torch.Generator().manual_seed(seed))


def of_length(values, length):
    return values / values.norm(dim=1, keepdim=True) * length


def angles(path):
    directions = path.double() / path.double().norm(dim=-1, keepdim=True)
    return (directions[:, 1:] * directions[:, :-1]).sum(-1).clamp(-1, 1).acos()


@both
@pytest.mark.parametrize("steps", [2, 3, 8])
def test_a_path_begins_at_one_code_and_ends_at_the_other(path, steps):
    z0, z1 = codes(), codes(seed=1)
    found = path(z0, z1, steps)
    assert found.shape == (4, steps, 16)
    torch.testing.assert_close(found[:, 0], z0, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(found[:, -1], z1, rtol=1e-5, atol=1e-6)


@both
def test_each_pair_has_a_path_of_its_own(path):
    z0, z1 = codes(), codes(seed=1)
    alone = torch.cat([path(a[None], b[None], 5) for a, b in zip(z0, z1, strict=True)])
    torch.testing.assert_close(path(z0, z1, 5), alone, rtol=1e-5, atol=1e-6)


@both
def test_the_way_back_is_the_same_path(path):
    z0, z1 = codes(), codes(seed=1)
    torch.testing.assert_close(path(z1, z0, 6), path(z0, z1, 6).flip(1), rtol=1e-4, atol=1e-5)


def test_the_linear_path_has_equal_steps_and_the_mean_in_the_middle():
    z0, z1 = codes(), codes(seed=1)
    path = linear_path(z0, z1, 5)
    torch.testing.assert_close(path[:, 2], (z0 + z1) / 2, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(path.diff(dim=1), ((z1 - z0) / 4)[:, None].expand(-1, 4, -1), rtol=1e-4, atol=1e-5)


def test_the_spherical_path_between_codes_of_one_length_keeps_it():
    z0, z1 = of_length(codes(), 4.0), of_length(codes(seed=1), 4.0)
    torch.testing.assert_close(spherical_path(z0, z1, 9).norm(dim=-1), torch.full((4, 9), 4.0), rtol=1e-5, atol=1e-5)
    assert linear_path(z0, z1, 9)[:, 4].norm(dim=-1).max() < 3.7


def test_the_spherical_path_turns_by_the_same_angle_at_each_step():
    z0, z1 = of_length(codes(), 4.0), of_length(codes(seed=1), 4.0)
    whole = angles(torch.stack([z0, z1], 1))
    torch.testing.assert_close(angles(spherical_path(z0, z1, 9)), (whole / 8).expand(-1, 8), rtol=1e-4, atol=1e-5)


def test_the_spherical_path_over_a_right_angle_is_a_quarter_circle():
    path = spherical_path(torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 2.0]]), 4)
    expected = [[2 * math.cos(a), 2 * math.sin(a)] for a in (0, math.pi / 6, math.pi / 3, math.pi / 2)]
    torch.testing.assert_close(path, torch.tensor([expected]), rtol=1e-5, atol=1e-6)


def test_a_spherical_path_to_the_same_direction_is_the_straight_line():
    z0 = codes()
    for factor in (1.0, 3.0):
        torch.testing.assert_close(spherical_path(z0, factor * z0, 5), linear_path(z0, factor * z0, 5))


@pytest.mark.parametrize(
    "other", [lambda z: -z, lambda z: -2 * z, lambda z: 0 * z, lambda z: z + 1e-4 * z.flip(1), lambda z: z.flip(0)]
)
def test_a_spherical_path_is_finite_between_the_most_awkward_codes(other):
    z0 = codes()
    path = spherical_path(z0, other(z0), 7)
    assert path.isfinite().all()
    assert path.norm(dim=-1).max() <= 2.5 * z0.norm(dim=-1).max()
    torch.testing.assert_close(path[:, -1], other(z0), rtol=1e-4, atol=1e-4)


def test_nearly_the_same_direction_is_no_break_between_circle_and_line():
    z0 = codes().double()
    for distance in (1e-5, 1e-4, 1e-3):
        z1 = z0 + distance * codes(seed=1).double()
        error = (spherical_path(z0, z1, 7) - linear_path(z0, z1, 7)).abs().max()
        assert error < distance**2


@both
@pytest.mark.parametrize(
    ("z0", "z1", "steps", "message"),
    [
        (codes(2), codes(3), 5, r"the codes have the shapes \(2, 16\) and \(3, 16\); expected \(N, latent_dim\) twice"),
        (codes(2), codes(2, 8), 5, r"have the shapes \(2, 16\) and \(2, 8\); expected \(N, latent_dim\) twice"),
        (codes()[0], codes()[1], 5, r"have the shapes \(16,\) and \(16,\); expected \(N, latent_dim\) twice"),
        (codes(), codes(), 1, "interpolate: steps is 1; expected 2 or more, both ends included"),
    ],
)
def test_what_cannot_be_joined_is_an_error_with_the_shapes_or_the_steps(path, z0, z1, steps, message):
    with pytest.raises(GenmodelsError, match=message):
        path(z0, z1, steps)
