"""What the second notebook says of copies and sparse codes, and what its exercise's answer says."""

import pytest

from notebooks import answer, run

pytestmark = pytest.mark.notebook
NAME = "02_sparse_codes"


def test_it_shows_what_it_says():
    names = run(NAME)
    errors, wrong, activity = (names[name] for name in ("errors", "wrong", "activity"))
    assert errors["free"]["digits"] < 0.05
    for remedy in ("sparse", "k = 1", "k = 8", "denoising"):
        assert errors[remedy]["noise"] > 2 * errors["free"]["noise"]
        assert errors[remedy]["digits"] > 0.2
    assert activity.mean(0).median() < 2 * names["sparse"].rho
    assert (activity < 0.1).float().mean() > 0.75
    for kind in ("digits", "noise"):
        assert errors["k = 1"][kind] > errors["k = 8"][kind] > errors["k = 32"][kind]
    holes, mended = names["holes"], names["mending"].reconstruct(names["holes"])
    assert (mended - names["test"][:10]).square().sum() < 0.5 * (holes - names["test"][:10]).square().sum()
    assert wrong["free"] > 0.9 * wrong["pixels"]
    assert max(wrong[remedy] for remedy in ("sparse", "k = 8", "denoising")) < 0.8 * wrong["pixels"]

    errors = answer(NAME, names)["errors"]
    assert errors["short"]["digits"] > 0.3
    assert errors["short"]["noise"] > 2 * errors["free"]["noise"]
