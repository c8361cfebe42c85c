"""What the fourth notebook says of GANs and their collapse, and what its exercise's answer says."""

import pytest

from notebooks import answer, run

pytestmark = pytest.mark.notebook
NAME = "04_gans_and_mode_collapse"


def test_it_shows_what_it_says():
    names = run(NAME)
    regressed, drawn = (names["scores"][name] for name in ("regressed", "GAN"))
    assert (names["regressed"].mean(0) - names["mean"][0]).abs().max() < 0.1
    assert regressed["precision"] > 0.6
    assert regressed["coverage"] < 0.15 < 0.6 < drawn["coverage"]
    assert regressed["variety"] < 0.3 < 0.7 < drawn["variety"]

    assert names["largest"] > 0.9
    assert names["hops"] > 25
    assert len(names["warned"]) == 1
    assert "batch 750" in names["warned"][0]
    assert max(names["runs"]["plain"][2]) < 0.5

    found = names["found"]
    assert found["plain"]["modes"] <= 2
    assert found["plain"]["high_quality"] < 0.1
    for cure in ("packing", "penalty"):
        assert found[cure]["modes"] >= 6
        assert found[cure]["largest"] < 0.3
        assert found[cure]["variety"] > 0.8

    names = answer(NAME, names)
    assert names["together"]["modes"] == 8
    assert names["together"]["high_quality"] > 3 * max(found[cure]["high_quality"] for cure in ("packing", "penalty"))
