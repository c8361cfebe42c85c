import math

import pytest
import torch
from forked import two_processes

from lightning_genmodels import GenmodelsError
from lightning_genmodels.metrics import DepthErrors
from lightning_genmodels.metrics.depth import CROPS


def errors(prediction, target, **options):
    metric = DepthErrors(**options)
    metric.update(prediction, target)
    return {name: value.item() for name, value in metric.compute().items()}


def maps(*rows):
    return torch.tensor(rows, dtype=torch.float32)[None, None]


def test_the_errors_of_one_image_by_hand():
    found = errors(maps([2.0, 3.0, 5.0]), maps([2.5, 3.0, 0.0]))
    d = math.log(2 / 2.5)
    assert found == {
        "rel": pytest.approx(0.5 / 2.5 / 2),
        "log10": pytest.approx(-d / math.log(10) / 2, rel=1e-5),
        "rms": pytest.approx(math.sqrt(0.25 / 2)),
        "rmslog": pytest.approx(math.sqrt(d * d / 2), rel=1e-5),
        "silog": pytest.approx(100 * math.sqrt(d * d / 2 - d * d / 4), rel=1e-5),
        "delta1": 0.5,  # 1.25 itself is not below 1.25
        "delta2": 1.0,
        "delta3": 1.0,
    }


def test_images_count_alike_however_many_pixels_are_measured():
    prediction = torch.full((2, 1, 4, 4), 2.0)
    target = torch.full((2, 1, 4, 4), 1.0)
    target[1] = 0
    target[1, 0, 0, 0] = 4.0
    assert errors(prediction, target)["rel"] == pytest.approx((1 + 0.5) / 2)
    assert errors(prediction, target)["rms"] == pytest.approx((1 + 2) / 2)


def test_images_without_a_measurement_are_left_out():
    prediction, target = torch.full((3, 1, 2, 2), 2.0), torch.zeros(3, 1, 2, 2)
    target[0] = 1.0
    assert errors(prediction, target)["rel"] == pytest.approx(1)
    with pytest.raises(GenmodelsError, match=r"^DepthErrors: no image has a measurement; expected one at least\.$"):
        errors(prediction[1:], target[1:])


def test_predictions_end_at_the_cap_and_measurements_beyond_it_do_not_count():
    assert errors(maps([50.0, 3.0]), maps([8.0, 20.0]), cap=10.0)["rms"] == pytest.approx(2)
    assert errors(maps([-1.0]), maps([2.0]))["rms"] == pytest.approx(2 - 1e-3)


def test_a_common_scale_is_no_scale_invariant_error():
    target = 1 + torch.rand(2, 1, 5, 5, generator=torch.Generator().manual_seed(0))
    assert errors(2 * target, target)["silog"] == pytest.approx(0, abs=1e-3)
    assert errors(2 * target, target)["rmslog"] == pytest.approx(math.log(2), rel=1e-5)


@pytest.mark.parametrize(
    ("crop", "size", "part"),
    [
        ("eigen", (480, 640), (45, 471, 41, 601)),
        ("garg", (375, 1242), (153, 371, 44, 1197)),
        ("none", (4, 6), (0, 4, 0, 6)),
    ],
)
def test_crops_are_the_published_rows_and_columns(crop, size, part):
    target = torch.ones(1, 1, *size)
    top, bottom, left, right = part
    prediction = torch.full_like(target, 3.0)
    prediction[..., top:bottom, left:right] = 1.0
    assert crop in CROPS
    assert errors(prediction, target, crop=crop)["rms"] == 0
    prediction[..., top, left] = prediction[..., bottom - 1, right - 1] = 3.0
    count = (bottom - top) * (right - left)
    assert errors(prediction, target, crop=crop)["rms"] == pytest.approx(math.sqrt(8 / count), rel=1e-4)


def test_batches_and_processes_add_up(tmp_path):
    draw = torch.Generator().manual_seed(0)
    prediction, target = (1 + torch.rand(6, 1, 4, 5, generator=draw) for _ in range(2))
    together = errors(prediction, target)
    metric = DepthErrors()
    for p, y in zip(prediction.split(4), target.split(4), strict=True):
        metric.update(p, y)
    assert {name: value.item() for name, value in metric.compute().items()} == pytest.approx(together, rel=1e-5)

    def share(rank, world_size):
        part = slice(0, 5) if rank == 0 else slice(5, 6)
        return errors(prediction[part], target[part])

    for found in two_processes(share, tmp_path):
        assert found == pytest.approx(together, rel=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cap": 0.0}, "cap is 0.0; expected above 0.001 metres"),
        ({"cap": math.nan}, "cap is nan; expected above 0.001 metres"),
        ({"crop": "kitti"}, "crop is 'kitti'; expected one of none, eigen, garg"),
    ],
)
def test_an_option_out_of_its_range_is_one_sentence(options, message):
    with pytest.raises(GenmodelsError) as error:
        DepthErrors(**options)
    assert str(error.value) == f"DepthErrors: {message}."


def test_maps_of_other_shapes_are_one_sentence():
    with pytest.raises(GenmodelsError, match=r"prediction is \(1, 1, 2, 2\) and target \(1, 1, 2, 3\); expected both"):
        DepthErrors().update(torch.ones(1, 1, 2, 2), torch.ones(1, 1, 2, 3))
