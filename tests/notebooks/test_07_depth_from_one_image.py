"""What the seventh notebook says of depth from one image, and what its exercise's answer says."""

import pytest

from notebooks import answer, run

pytestmark = pytest.mark.notebook
NAME = "07_depth_from_one_image"


def test_it_shows_what_it_says():
    names = run(NAME)
    assert names["same"]
    assert names["depths"][0].mean() > 3

    errors = names["errors"]
    assert errors["mean map"]["rms"] < 0.6 * errors["one depth"]["rms"]
    assert errors["network"]["rms"] < 0.75 * errors["mean map"]["rms"]
    assert errors["network"]["delta1"] > errors["mean map"]["delta1"] + 0.05

    pulls = names["pulls"]  # for errors of -1.5 to 1.5 m by steps of 0.05
    small = 32  # 0.1 m too far
    assert pulls["l1", 2.0][small:].std() < 1e-4
    assert pulls["berhu", 2.0][-1] == pytest.approx(5 * pulls["berhu", 2.0][small].item(), rel=0.01)
    assert pulls["eigen", 2.0][small] / pulls["eigen", 6.0][small] == pytest.approx(9, rel=0.15)
    assert -pulls["eigen", 2.0][0] > 3 * pulls["eigen", 2.0][-1]
    nearest = {loss: by_distance[0] for loss, by_distance in names["by_distance"].items()}
    assert nearest["eigen"] < 0.85 * nearest["l1"]
    over_all = [errors[loss]["rms"] for loss in names["by_distance"]]
    assert max(over_all) < 1.3 * min(over_all)

    assert names["places"]["outlines"] > 1.5 * names["places"]["surfaces"]

    cues = names["cues"]
    assert cues["grey"] == pytest.approx(cues["as it is"], rel=0.1)
    assert cues["mirrored"] == pytest.approx(cues["as it is"], rel=0.1)
    for name in ("upside down", "blurred"):
        assert cues[name] > 1.3 * errors["mean map"]["rms"]

    ratios = answer(NAME, names)["ratios"]
    assert ratios[1] == pytest.approx(1, abs=0.1)
    for zoom in (1.25, 1.5):
        assert 1 / zoom - 0.25 < ratios[zoom] < 1 / zoom + 0.12
