"""What the sixth notebook says of what is asked for and what is left open, and what its exercise's answer says."""

import pytest

from notebooks import answer, run

pytestmark = pytest.mark.notebook
NAME = "06_conditional_gans_and_pix2pix"


def test_it_shows_what_it_says():
    names = run(NAME)
    right, alike, errors, distances = (names[name] for name in ("right", "alike", "errors", "distances"))
    assert right["real"] > 0.95
    assert right["drawn"] > 0.75
    assert alike["ink"] > 0.5
    assert alike["slant"] > 0.4
    assert errors["pix2pix"] > 1.08 * errors["L1"]
    assert distances["pix2pix"] < 0.8 * distances["L1"]
    means, ends = names["means"], names["ends"]
    assert means["real"] > means["pix2pix"] + 0.15
    assert means["L1"] < 0.25 * means["real"]
    assert ends["left"] > 1.4 * ends["right"]
    assert means["another map"] > 0.7 * means["real"]

    names = answer(NAME, names)
    votes = names["votes"]
    assert votes[[4, 9]].sum() < 0.4 * votes.sum()
    assert votes.argmax() == 8
