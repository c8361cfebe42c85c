"""Every notebook runs as it is and shows what its text says."""

import runpy
from pathlib import Path

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"


def test_overcomplete_codes_shows_the_identity_and_what_prevents_it(in_tmp):
    errors = runpy.run_path(str(NOTEBOOKS / "overcomplete_codes.py"))["errors"]
    assert errors["free"]["digits"] < 0.1
    assert errors["free"]["noise"] < 0.5 * min(errors["k-sparse"]["noise"], errors["denoising"]["noise"])
    assert max(errors["k-sparse"]["digits"], errors["denoising"]["digits"]) < 0.3 * 4.7  # the mean digit's error
    assert {p.name for p in in_tmp.glob("*.png")} == {f"overcomplete-{name}.png" for name in errors}
