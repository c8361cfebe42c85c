import math

import numpy as np
import pytest
import torch

from lightning_genmodels.pictures import Camera, camera_of, points_of, save_ply, seen_from, turn

CAMERA = Camera(5.0, 5.0, 4.0, 3.0)  # looks at the middle of 9x7 pixels


def wall(distance=2.0, height=7, width=9):
    """A wall that faces the camera, each pixel of a colour of its own."""
    image = torch.rand(3, height, width, generator=torch.Generator().manual_seed(0))
    return torch.full((1, height, width), distance), image


def test_a_camera_looks_at_the_middle_and_sees_its_field_of_view():
    assert camera_of((20, 100), 90) == (pytest.approx(50), pytest.approx(50), 49.5, 9.5)
    assert camera_of((480, 640), 60).fx == pytest.approx(320 / math.tan(math.pi / 6))


def test_a_cameras_own_intrinsics_place_the_points():
    depth, image = torch.zeros(1, 7, 9), wall()[1]
    depth[0, 1, 8] = 3.0
    points, _ = points_of(depth, image, Camera(5.0, 6.0, 2.5, 0.5))
    assert points.tolist() == [[pytest.approx(5.5 * 3 / 5), pytest.approx(0.5 * 3 / 6), 3.0]]


def test_a_pixel_lies_on_its_ray_at_its_depth():
    depth, image = torch.zeros(1, 7, 9), wall()[1]
    depth[0, 1, 8] = 3.0
    points, colours = points_of(depth, image, CAMERA)
    assert points.tolist() == [[pytest.approx((8 - 4) * 3 / 5), pytest.approx((1 - 3) * 3 / 5), 3.0]]
    assert colours.tolist() == [(image[:, 1, 8] * 255).round().byte().tolist()]


def test_from_where_it_was_taken_the_picture_is_seen_again():
    depth, image = wall()
    depth = depth + torch.rand(depth.shape, generator=torch.Generator().manual_seed(1))
    points, colours = points_of(depth, image, CAMERA)
    seen = seen_from(points, colours, 0.0, CAMERA, (7, 9), pivot=2.0)
    assert (seen == (image * 255).round().byte().permute(1, 2, 0).numpy()).all()


def test_to_the_side_the_pivot_stays_and_what_is_nearer_moves_against_the_camera():
    points = torch.tensor([[0.0, 0, 4], [0, 0, 2], [0, 0, 6]])
    colours = torch.tensor([[255, 0, 0], [0, 255, 0], [0, 0, 255]], dtype=torch.uint8)
    seen = seen_from(points, colours, 10.0, Camera(50.0, 50.0, 50.0, 0.0), (1, 101), pivot=4.0)
    places = [int(np.flatnonzero(seen[0, :, colour])[0]) for colour in range(3)]
    assert places[0] == 50
    near, far = (50 + 50 * math.sin(math.radians(10)) * d / (4 + math.cos(math.radians(10)) * d) for d in (-2, 2))
    assert places[1:] == [round(near), round(far)]


def test_of_two_points_in_one_pixel_the_nearer_is_seen_whatever_their_order():
    colours = torch.tensor([[255, 0, 0], [0, 255, 0]], dtype=torch.uint8)
    for order in ([0, 1], [1, 0]):
        points = torch.tensor([[0.0, 0, 2], [0, 0, 3]])[order]
        assert seen_from(points, colours[order], 0.0, Camera(5, 5, 0, 0), (1, 1), 2.0).tolist() == [[[255, 0, 0]]]
    behind = torch.tensor([[0.0, 0, -1]])
    assert not seen_from(behind, colours[:1], 0.0, CAMERA, (3, 3), 2.0).any()


def test_a_wall_that_is_drawn_apart_has_no_cracks():
    depth, image = wall(2.0, 40, 60)
    depth = depth + torch.linspace(0, 1, 60)  # it recedes to the right
    camera = camera_of((40, 60), 60)
    seen = seen_from(*points_of(depth, image.clamp_min(0.1), camera), 12.0, camera, (40, 60), pivot=2.5)
    filled = seen[5:35].any(-1)
    left, right = np.flatnonzero(filled.all(0))[[0, -1]]
    assert right - left > 30
    assert filled[:, left:right].all()


def test_a_turn_begins_in_the_middle_and_sways_to_both_sides():
    points, colours = points_of(*wall(), CAMERA)
    frames = turn(points, colours, CAMERA, (7, 9))
    assert len(frames) == 24
    assert (frames[0] == seen_from(points, colours, 0.0, CAMERA, (7, 9), 2.0)).all()
    assert (frames[6] == seen_from(points, colours, 12.0, CAMERA, (7, 9), 2.0)).all()
    assert (frames[18] == seen_from(points, colours, -12.0, CAMERA, (7, 9), 2.0)).all()


def test_a_ply_file_has_its_points_and_colours(tmp_path):
    points, colours = points_of(*wall(), CAMERA)
    save_ply(points, colours, tmp_path / "a/b.ply")
    header, _, body = (tmp_path / "a/b.ply").read_bytes().partition(b"end_header\n")
    assert header.decode().splitlines() == [
        "ply", "format binary_little_endian 1.0", "element vertex 63", "property float x", "property float y",
        "property float z", "property uchar red", "property uchar green", "property uchar blue",
    ]  # fmt: skip
    rows = np.frombuffer(body, dtype=[("p", "<f4", 3), ("c", "u1", 3)])
    assert (rows["p"] == points.numpy()).all()
    assert (rows["c"] == colours.numpy()).all()
