"""What the fifth notebook says of three losses, and what its exercise's answer says."""

import pytest
import torch

from notebooks import answer, run

pytestmark = pytest.mark.notebook
NAME = "05_least_squares_and_wasserstein"


def test_it_shows_what_it_says():
    names = run(NAME)
    slopes, left = names["slopes"], names["left"]
    assert slopes["minimax"][0] < 0.01 < 0.9 < slopes["non_saturating"][0]
    assert slopes["non_saturating"][-1] < 0.01 < 0.9 < slopes["minimax"][-1]
    assert slopes["least_squares"][0] == pytest.approx(7, abs=0.01)
    assert slopes["least_squares"][-1] == pytest.approx(-5, abs=0.01)
    assert slopes["wasserstein"].min() == pytest.approx(1, abs=1e-3)

    assert left["minimax"][-1] < 0.1 * left["minimax"][0]
    assert left["non_saturating"][-1] > 10 * left["non_saturating"][0]
    assert 0.3 < left["least_squares"][-1] / left["least_squares"][0] < 3
    assert left["wasserstein"][-1] == pytest.approx(left["wasserstein"][40], rel=0.3)

    assert names["behind"]["non_saturating"] > 0.35
    assert names["behind"]["least_squares"] < 0.25

    critics, fallen, scores = names["critics"], names["fallen"], names["scores"]
    assert critics["clipped"]["at the bound"] > 0.08
    assert critics["clipped"]["slope"] < 0.1
    assert critics["penalised"]["slope"] == pytest.approx(1, abs=0.2)
    for name in ("log loss", "penalised"):
        assert fallen[name]["Fréchet's"] < 0.35
    assert fallen["penalised"]["its distance"] < 0.5
    assert fallen["log loss"]["its distance"] > max(0.6, 1.5 * fallen["penalised"]["its distance"])
    assert scores["penalised"]["coverage"] > scores["clipped"]["coverage"] + 0.02

    names = answer(NAME, names)
    for digits, samples in names["verdicts"].values():
        assert digits.median() > samples.median()
        assert (samples > digits.quantile(0.05)).float().mean() > 0.2
    log, squares = (torch.cat(names["verdicts"][name]) for name in ("non_saturating", "least_squares"))
    assert log.std() > 2 * squares.std()
    assert ((squares > -0.2) & (squares < 1.2)).float().mean() > 0.9
    for name, found in names["found"].items():
        assert found["coverage"] > scores["penalised"]["coverage"] + 0.1, name
        assert found["precision"] > scores["penalised"]["precision"] + 0.1, name
