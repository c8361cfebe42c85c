"""What the eighth notebook says of StyleGAN, and what its exercise's answer says."""

import pytest

from notebooks import answer, run

pytestmark = pytest.mark.notebook
NAME = "08_stylegan"


def test_it_shows_what_it_says():
    names = run(NAME)
    scores, variety, reached = names["scores"], names["variety"], names["reached"]
    assert scores[1.0]["precision"] > 0.35
    assert 0.15 < scores[1.0]["coverage"] < 0.5

    to_coarse, to_fine = names["to_coarse"], names["to_fine"]  # by the crossover, 0 to 6
    assert 0.5 < to_coarse[2] / to_fine[2] < 2
    assert to_coarse[4] < 0.5 * to_fine[4]
    assert to_coarse == sorted(to_coarse, reverse=True)

    assert names["by_noise"] < 0.1 * names["by_style"]

    assert scores[0.5]["precision"] > scores[1.0]["precision"] + 0.05
    assert scores[0.5]["coverage"] < scores[1.0]["coverage"] - 0.03
    assert variety[1.0] > 1.05 * variety[0.7] > 1.1 * variety[0.5]
    assert variety[0.0] == pytest.approx(0, abs=1e-4)

    for name, least in (("slant", 0.1), ("ink", 0.05)):
        assert names["accuracies"][name] > 0.75
        assert reached[name] == sorted(reached[name])
        assert reached[name][-1] - reached[name][0] > least

    names = answer(NAME, names)
    distances = names["distances"]
    assert distances["one style"] < 0.4 * distances["nearest sample"]
    assert distances["a style a layer"] < 0.4 * distances["one style"]
    for less, same, more in names["edited_ink"].values():
        assert less < same - 0.03
        assert more > same + 0.03
