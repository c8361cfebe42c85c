import math

import numpy as np
import pytest
import torch
from made_files import stacked
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional

from datamodules import (
    DataError,
    DepthScenesDataModule,
    PaintedDigitsDataModule,
    ShapePairsDataModule,
    painted_digits,
)
from datamodules.made_facades import (
    BRICKS,
    CLASSES,
    DARK,
    DOOR,
    LEDGE,
    LIT,
    ROOF,
    SKY,
    WALL,
    WINDOW,
    colours_of,
    draw_label_map,
    render,
)
from datamodules.made_scenes import hit_box, hit_plane, hit_sphere, make_scene, rays


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def ready(datamodule):
    datamodule.setup()
    return datamodule


def colours(picture, chosen):
    """The set of colours of a picture, (3, H, W), where chosen, (H, W), is true."""
    return {tuple(colour) for colour in picture[:, chosen].T.tolist()}


def train(net, source, target, loss, steps, learning_rate=5e-3):
    optimizer = torch.optim.Adam(net.parameters(), learning_rate)
    for step in range(steps):
        rows = torch.randperm(len(source), generator=seeded(step))[:16]
        optimizer.zero_grad()
        loss(net(source[rows]), target[rows]).backward()
        optimizer.step()
    return net.eval()


def small_net(out):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 16, 3, padding=2, dilation=2),
        nn.ReLU(),
        nn.Conv2d(16, 16, 3, padding=4, dilation=4),
        nn.ReLU(),
        nn.Conv2d(16, out, 1),
    )


@pytest.mark.parametrize("size", [64, 96])
def test_facade_agrees_with_its_label_map_in_every_pixel(size):
    seen = set()
    for seed in range(20):
        labels = draw_label_map(size, seeded(seed))
        picture = render(labels, seeded(seed + 100))
        seen |= set(labels.unique().tolist())
        assert colours(picture, labels == DOOR) <= {(88, 58, 40)}
        assert colours(picture, labels == ROOF) == {(92, 70, 70)}
        assert colours(picture, labels == WINDOW) <= {LIT, DARK, (230, 230, 230)}
        walls = colours(picture, labels == WALL)
        (brick,) = walls & set(BRICKS)
        assert walls == {brick, tuple(torch.tensor(brick).mul(0.85).round().int().tolist())}
        assert colours(picture, labels == LEDGE) <= {tuple((torch.tensor(brick) * 0.75 + 60).round().int().tolist())}
        sky = picture[:, labels == SKY].T.float()
        assert (sky[:, 2] > 230).all()
        assert (sky[:, 2] > sky[:, 0] + 40).all()
    assert seen == set(range(len(CLASSES)))


def test_one_map_has_several_facades():
    labels = draw_label_map(64, seeded(3))
    pictures = [render(labels, seeded(seed)) for seed in range(40)]
    assert len({picture.numpy().tobytes() for picture in pictures}) > 30
    assert {next(iter(colours(p, labels == WALL) & set(BRICKS))) for p in pictures} == set(BRICKS)
    lit = torch.stack([(p[0] == LIT[0]) & (labels == WINDOW) for p in pictures]).float().mean(0)
    panes = lit[(labels == WINDOW) & (lit > 0)]
    assert len(panes) > 50
    assert 0.2 < panes.min() <= panes.max() < 0.8  # each window is lit in some and dark in others


def test_windows_are_lit_one_by_one():
    labels = draw_label_map(64, seeded(3))
    mixed = sum({LIT, DARK} <= colours(render(labels, seeded(seed)), labels == WINDOW) for seed in range(20))
    assert mixed > 10


def test_average_of_facades_is_none_of_them():
    labels = draw_label_map(64, seeded(3))
    pictures = torch.stack([render(labels, seeded(seed)) for seed in range(40)]).float()
    error = (pictures - pictures.mean(0)).abs().mean((1, 2, 3))
    assert error.min() > 8  # of 255: what a squared error cannot get below


def test_directions_and_labels_are_the_same_pairs():
    forth = ready(ShapePairsDataModule(train_count=10, direction="AtoB", batch_size=2))
    back = ready(ShapePairsDataModule(train_count=10, direction="BtoA", batch_size=2))
    classes = ready(ShapePairsDataModule(train_count=10, direction="AtoB", labels="classes", batch_size=2))
    facade, drawing = stacked(forth.test_dataloader())
    assert all(torch.equal(a, b) for a, b in zip(stacked(back.test_dataloader()), (drawing, facade), strict=True))
    same, maps = stacked(classes.test_dataloader())
    assert torch.equal(same, facade)
    assert (maps.dtype, maps.shape) == (torch.uint8, (2, 1, 64, 64))
    assert torch.equal(torch.stack([colours_of(m[0]) for m in maps]), drawing)
    assert classes.target_channels == 6
    target = classes.to_float(next(iter(classes.test_dataloader()))).target
    assert (target.dtype, target.shape) == (torch.int64, (2, 64, 64))


def test_pairs_are_mirrored_alike():
    datamodule = ready(ShapePairsDataModule(train_count=10, direction="AtoB", labels="classes", batch_size=10))
    batch = next(iter(datamodule.train_dataloader()))
    changed, plain = datamodule.change(batch, seeded()), datamodule.to_float(batch)
    mirrored = [not torch.equal(a, b) for a, b in zip(changed.source, plain.source, strict=True)]
    assert 1 <= sum(mirrored) <= 9
    for i, flipped in enumerate(mirrored):
        for seen, was in zip(changed, plain, strict=True):
            assert torch.equal(seen[i], was[i].flip(-1) if flipped else was[i])


@pytest.mark.parametrize(
    "make",
    [lambda seed: ShapePairsDataModule(train_count=10, batch_size=2, seed=seed),
     lambda seed: DepthScenesDataModule(train_count=10, batch_size=2, seed=seed)],
    ids=["facades", "scenes"],
)  # fmt: skip
def test_set_is_the_same_for_every_seed_but_for_its_order(make):
    one, other = ready(make(0)), ready(make(1))
    for a, b in ((one.val_dataloader(), other.val_dataloader()), (one.test_dataloader(), other.test_dataloader())):
        assert all(torch.equal(x, y) for x, y in zip(stacked(a), stacked(b), strict=True))
    trains = [[i.numpy().tobytes() for i in stacked(d.train_dataloader())[0]] for d in (one, other)]
    assert sorted(trains[0]) == sorted(trains[1])
    assert trains[0] != trains[1]
    held_out = {i.numpy().tobytes() for d in (one.val_dataloader(), one.test_dataloader()) for i in stacked(d)[0]}
    assert len(held_out) == 4
    assert not held_out & set(trains[0])


def test_net_learns_label_maps_from_facades():
    datamodule = ready(ShapePairsDataModule("AtoB", "classes", image_size=32, train_count=100))
    source, target = datamodule.to_float(datamodule.split("train").batch)
    net = train(small_net(6), source, target, functional.cross_entropy, steps=60)
    tested = datamodule.to_float(datamodule.split("test").batch)
    with torch.no_grad():
        accuracy = (net(tested.source).argmax(1) == tested.target).float().mean()
    usual = (target.mode(0).values == tested.target).float().mean()  # the commonest class of each pixel
    assert accuracy > usual + 0.08


class DepthNet(nn.Module):
    """Sees the whole scene of 32x40 pixels at once, each pixel with its place."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.encoder = nn.Sequential(nn.Conv2d(5, 24, 4, 2, 1), nn.ReLU(), nn.Conv2d(24, 32, 4, 2, 1), nn.ReLU())
        self.whole = nn.Sequential(nn.Conv2d(32, 16, 1), nn.Flatten(), nn.Linear(1280, 128), nn.ReLU(),
                                   nn.Linear(128, 1280), nn.Unflatten(1, (16, 8, 10)))  # fmt: skip
        self.decoder = nn.Sequential(nn.Conv2d(48, 48, 3, padding=1), nn.ReLU(), nn.Conv2d(48, 16, 1))

    def forward(self, x):
        rows, columns = torch.linspace(-1, 1, 32), torch.linspace(-1, 1, 40)
        place = torch.stack(torch.meshgrid(rows, columns, indexing="ij")).expand(len(x), -1, -1, -1)
        code = self.encoder(torch.cat([2 * x - 1, place], 1))
        return functional.pixel_shuffle(self.decoder(torch.cat([code, self.whole(code)], 1)), 4)


def test_net_learns_depth_from_scenes():
    datamodule = ready(DepthScenesDataModule(image_size=(32, 40), train_count=200))
    source, target = datamodule.to_float(datamodule.split("train").batch)
    usual = target.median(0).values  # the best that can be said without looking
    net = train(DepthNet(), source, target - usual, functional.l1_loss, steps=120, learning_rate=3e-3)
    tested = datamodule.to_float(datamodule.split("test").batch)
    with torch.no_grad():
        error = (net(tested.source) + usual - tested.target).abs().mean()
    assert error < 0.93 * (usual - tested.target).abs().mean()
    assert error < 0.9 * (target.mean(0) - tested.target).abs().mean()


def test_rays_see_60_degrees_and_measure_along_the_axis():
    directions = rays(48, 64)
    assert (directions[..., 2] == 1).all()
    edge = directions[24, 63, 0] + (directions[24, 63, 0] - directions[24, 62, 0]) / 2
    assert math.degrees(math.atan(edge)) == pytest.approx(30, abs=1e-4)
    assert torch.allclose(directions[:, :, 0], -directions[:, :, 0].flip(1))
    step_down, step_right = directions[1, 0, 1] - directions[0, 0, 1], directions[0, 1, 0] - directions[0, 0, 0]
    assert step_down.item() == pytest.approx(step_right.item(), rel=1e-5)  # square pixels, y downward


def test_plane_is_hit_where_geometry_says():
    directions = torch.tensor([(0.0, 0.5, 1.0), (0.3, 0.25, 1.0), (0.0, -0.5, 1.0), (0.0, 0.0, 1.0)])
    depth = hit_plane(directions, torch.tensor((0.0, 1.0, 0.0)), 1.5)
    assert depth.tolist() == [3.0, 6.0, math.inf, math.inf]


def test_sphere_is_hit_where_geometry_says():
    centre, radius = (0.4, -0.2, 5.0), 0.75
    directions = torch.tensor([(0.08, -0.04, 1.0), (0.1, 0.05, 1.0), (0.5, 0.0, 1.0), (-0.08, 0.04, -1.0)])
    depth = hit_sphere(directions, torch.tensor(centre), radius)
    for ray, found in zip(directions.double().numpy(), depth.tolist(), strict=True):
        # |t ray - centre|^2 = radius^2
        roots = np.roots([ray @ ray, -2 * ray @ centre, np.dot(centre, centre) - radius**2])
        nearest = min((root.real for root in roots if abs(root.imag) < 1e-9 and root.real > 0), default=math.inf)
        assert found == pytest.approx(nearest, rel=1e-5)
    # Through the centre: its distance less the radius.
    assert float(depth[0]) * float(directions[0].norm()) == pytest.approx(math.dist(centre, (0, 0, 0)) - 0.75, rel=1e-5)
    assert depth[2:].tolist() == [math.inf, math.inf]


def test_box_is_hit_where_geometry_says_and_by_which_side():
    low, high = torch.tensor((1.0, -1.0, 2.0)), torch.tensor((3.0, 1.0, 8.0))
    directions = torch.tensor([(0.75, 0.1, 1.0), (0.25, 0.1, 1.0), (2.0, 0.1, 1.0), (0.4, 0.6, 1.0), (-0.75, 0.1, 1.0)])
    depth, axis = hit_box(directions, low, high)
    assert depth.tolist() == [2.0, 4.0, math.inf, math.inf, math.inf]  # the front; the left side at x = 1; past it
    assert axis[:2].tolist() == [2, 0]


@pytest.mark.parametrize("seed", range(8))
def test_scene_stands_on_a_floor_before_a_wall_in_exact_metres(seed):
    image, depth = make_scene(48, 64, seeded(seed))
    assert (image.dtype, image.shape, depth.dtype, depth.shape) == (
        torch.uint8,
        (3, 48, 64),
        torch.float32,
        (1, 48, 64),
    )
    assert 0.8 < depth.min() <= depth.max() <= 9
    points = rays(48, 64) * depth[0][..., None]
    floor, ceiling, wall = points[..., 1].max(), points[..., 1].min(), depth.max()
    assert 0.9 <= floor <= 1.5
    on = [
        (points[..., 1] - floor).abs() < 1e-4,
        (points[..., 1] - ceiling).abs() < 1e-4,
        (depth[0] - wall).abs() < 1e-4,
    ]
    # Below what stands on it the floor is a plane; the rays that meet it meet it at floor / y.
    assert all(where.float().mean() > 0.02 for where in on)
    assert torch.allclose(depth[0][on[0]], floor / rays(48, 64)[..., 1][on[0]], rtol=1e-4)
    elsewhere = ~(on[0] | on[1] | on[2])
    assert elsewhere.any()  # the objects
    assert (depth[0][elsewhere] < wall).all()


def test_objects_of_scenes_are_spheres_and_boxes_that_hide_what_is_behind():
    for seed in range(5):
        _, small = make_scene(24, 32, seeded(seed))
        _, large = make_scene(72, 96, seeded(seed))
        # Exact at every size: the ray of a small image's pixel is that of the middle one of nine.
        assert (
            torch.allclose(small[0], large[0, 1::3, 1::3], atol=2e-3, rtol=1e-3)
            or ((small[0] - large[0, 1::3, 1::3]).abs() > 1e-2).float().mean() < 0.01
        )


def test_scenes_are_textured_and_lit():
    image, depth = make_scene(64, 80, seeded(0))
    points = rays(64, 80) * depth[0][..., None]
    floor = (points[..., 1] - points[..., 1].max()).abs() < 1e-4
    assert 2 <= len(colours(image, floor)) <= 3  # a chequered plane in one light
    assert len(colours(image, torch.ones(64, 80, dtype=torch.bool))) > 6


def test_scenes_are_mirrored_with_their_depth():
    datamodule = ready(DepthScenesDataModule(train_count=10, batch_size=10))
    batch = next(iter(datamodule.train_dataloader()))
    changed, plain = datamodule.change(batch, seeded()), datamodule.to_float(batch)
    mirrored = [not torch.equal(a, b) for a, b in zip(changed.target, plain.target, strict=True)]
    assert 1 <= sum(mirrored) <= 9
    for i, flipped in enumerate(mirrored):
        for seen, was in zip(changed, plain, strict=True):
            assert torch.equal(seen[i], was[i].flip(-1) if flipped else was[i])


@pytest.mark.parametrize(
    ("build", "sentence"),
    [
        (lambda: ShapePairsDataModule(image_size=8), "ShapePairsDataModule: image_size is 8; expected 16 or more."),
        (lambda: ShapePairsDataModule(direction="x"),
         "ShapePairsDataModule: direction is 'x'; expected one of AtoB, BtoA."),
        (lambda: ShapePairsDataModule(labels="x"),
         "ShapePairsDataModule: labels is 'x'; expected one of colours, classes."),
        (lambda: ShapePairsDataModule(labels="classes"),
         "ShapePairsDataModule: labels is 'classes' with direction 'BtoA', which makes them the source; expected "
         "direction 'AtoB'."),
        (lambda: DepthScenesDataModule(image_size=(8, 64)),
         "DepthScenesDataModule: image_size is (8, 64); expected height and width, 16 or more each."),
        (lambda: DepthScenesDataModule(train_count=0), "DepthScenesDataModule: train_count is 0; expected 1 or more."),
        (lambda: PaintedDigitsDataModule(copies=0), "PaintedDigitsDataModule: copies is 0; expected 1 or more."),
    ],
    ids=range(7),
)  # fmt: skip
def test_option_out_of_its_range_is_named(build, sentence):
    with pytest.raises(DataError) as caught:
        build()
    assert str(caught.value) == sentence


@pytest.fixture(scope="module")
def painted():
    datamodule = PaintedDigitsDataModule(copies=2)
    datamodule.setup("test")
    return datamodule.to_float(datamodule.split("test").batch)


def factor(batch, name):
    return batch.label[:, PaintedDigitsDataModule.attribute_names.index(name)]


def cover(batch):
    """(N, 32, 32): 0 on the ground and 1 on the ink, found from pixels and the two colours."""
    ink = torch.stack([factor(batch, f"ink_{c}") for c in ("red", "green", "blue")], 1)[..., None, None]
    ground = torch.stack([factor(batch, f"ground_{c}") for c in ("red", "green", "blue")], 1)[..., None, None]
    return ((batch.image - ground) * (ink - ground)).sum(1) / (ink - ground).square().sum(1)


def test_ground_colour_is_that_of_the_corners(painted):
    for channel, name in enumerate(("ground_red", "ground_green", "ground_blue")):
        corners = painted.image[:, channel][:, [0, 0, 31, 31], [0, 31, 0, 31]].median(1).values
        near = (corners - factor(painted, name)).abs() < 0.06  # a stroke may reach some corners
        assert near.float().mean() > 0.97


def test_ink_is_the_colour_farthest_from_the_ground_and_differs_in_brightness(painted):
    covered = cover(painted).flatten(1)
    place = covered.argmax(1)
    assert covered.amax(1).median() > 0.95
    for channel, name in enumerate(("ink_red", "ink_green", "ink_blue")):
        darkest = painted.image[:, channel].flatten(1).gather(1, place[:, None])[:, 0]
        assert (darkest - factor(painted, name)).abs().median() < 0.03
    brightness = painted.label[:, 3:6].mean(1) - painted.label[:, 6:9].mean(1)
    assert brightness.abs().min() > 0.3 - 1e-6
    assert 0.4 < (brightness > 0).float().mean() < 0.6


def slant_of(covered):
    """Pixels to the right for each one up, by the second moments."""
    grid = torch.arange(32.0)
    weight = covered.clamp(0, 1) / covered.clamp(0, 1).sum((1, 2), keepdim=True)
    y, x = (weight * grid[:, None]).sum((1, 2)), (weight * grid).sum((1, 2))
    down = grid[:, None] - y[:, None, None]
    return -(weight * down * (grid - x[:, None, None])).sum((1, 2)) / (weight * down.square()).sum((1, 2))


def test_slant_is_that_of_the_moments(painted):
    measured, told = slant_of(cover(painted)), factor(painted, "slant")
    # Two paintings of a digit differ by their slants alone, whatever the hand that wrote it.
    half = len(told) // 2
    steeper = told[:half] - told[half:]
    clear = steeper.abs() > 0.4
    assert clear.sum() > 80
    assert ((measured[:half] - measured[half:])[clear].sign() == steeper[clear].sign()).float().mean() > 0.95
    assert -1 <= told.min() < -0.9 < 0.9 < told.max() <= 1


def test_thickness_is_how_much_is_covered(painted):
    half = len(painted.image) // 2
    area, told = cover(painted).sum((1, 2)), factor(painted, "thickness")
    thicker = told[:half] - told[half:]
    clear = thicker.abs() > 0.3
    assert ((area[:half] - area[half:])[clear].sign() == thicker[clear].sign()).float().mean() > 0.97


def test_first_factor_is_the_digit_and_splits_share_none(monkeypatch):
    monkeypatch.setattr(painted_digits, "paint", lambda digits, factors: digits)
    datamodule = ready(PaintedDigitsDataModule(copies=3))
    digits = load_digits()
    originals = {
        np.rint(image * (255 / 16)).astype(np.uint8).tobytes(): label
        for image, label in zip(digits.images, digits.target, strict=True)
    }
    seen = []
    for name in ("train", "val", "test"):
        images, labels = datamodule.split(name).batch
        keys = [image.numpy().tobytes() for image in images]
        assert [originals[key] for key in keys] == labels[:, 0].tolist()
        assert all(keys.count(key) == 3 for key in keys[:5])
        seen.append(set(keys))
    assert seen[0].isdisjoint(seen[1])
    assert (seen[0] | seen[1]).isdisjoint(seen[2])
    assert sum(map(len, seen)) == len(originals)


def test_painted_set_is_the_same_for_every_seed_and_only_the_validation_is_drawn():
    one, other = (ready(PaintedDigitsDataModule(copies=1, seed=seed)) for seed in (0, 1))
    assert torch.equal(one.split("test").batch.image, other.split("test").batch.image)
    assert not torch.equal(one.split("val").batch.image, other.split("val").batch.image)
    both = [
        sorted(i.numpy().tobytes() for name in ("train", "val") for i in d.split(name).batch.image)
        for d in (one, other)
    ]
    assert both[0] == both[1]
