"""What the first notebook says of autoencoders and PCA, and what its exercise's answer says."""

import pytest

from notebooks import answer, run

pytestmark = pytest.mark.notebook
NAME = "01_autoencoders_and_pca"


def test_it_shows_what_it_says():
    names = run(NAME)
    errors, wrong, distances, scores = (names[name] for name in ("errors", "wrong", "distances", "scores"))
    assert errors["deep"] < errors["mean digit"] / 6
    assert errors["linear"] == pytest.approx(errors["PCA"], rel=0.02)
    assert names["cosines"].min() > 0.97
    assert errors["deep"] < 0.65 * errors["PCA"]
    assert wrong["deep"] < 0.5 * wrong["PCA"]
    assert 1.1 * distances["test digits"] < distances["way between codes"] < 0.95 * distances["cross-fade"]
    assert distances["VAE's way"] < 1.1 * distances["test digits"]
    assert scores["VAE"]["density"] > 3 * scores["deep"]["density"]
    assert scores["VAE"]["coverage"] > scores["deep"]["coverage"] + 0.2

    errors = answer(NAME, names)["errors"]
    assert errors["deep and linear"] == pytest.approx(errors["PCA"], rel=0.05)
    assert errors["deep and linear"] > 0.99 * errors["PCA"]
