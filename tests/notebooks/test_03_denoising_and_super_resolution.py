"""What the third notebook says of mending and enlarging pictures, and what its exercise's answer says."""

import pytest

from notebooks import answer, run

pytestmark = pytest.mark.notebook
NAME = "03_denoising_and_super_resolution"


def test_it_shows_what_it_says():
    names = run(NAME)
    scores, curves, films, enlargements, blur = (
        names[name] for name in ("scores", "curves", "films", "enlargements", "blur")
    )
    for name in ("noisy", "median", "blur"):
        assert scores["network"]["psnr"] > scores[name]["psnr"] + 1.5
        assert scores["network"]["ssim"] > scores[name]["ssim"] + 0.05

    one, every, given = (dict(zip(names["sigmas"], curve, strict=True)) for curve in
                         (curves["one level"], curves["all levels"], curves["as it is"]))  # fmt: skip
    assert one[30] > every[30] + 0.3
    assert every[75] > one[75] + 0.7
    assert max(one[5], every[5]) < given[5] - 2

    assert films["films, L2"]["psnr"] > films["eight films"]["psnr"] + 2
    assert films["films, L2"]["psnr"] > films["a ninth"]["psnr"] + 8
    assert films["films, L2"]["psnr"] > films["clean, L2"]["psnr"] - 1
    assert films["films, L1"]["psnr"] < films["films, L2"]["psnr"] - 4
    drawn = names["developed"]["films, L1"]
    assert ((drawn < 0.1) | (drawn > 0.9)).float().mean() > 0.6

    assert enlargements["network"]["psnr"] > enlargements["bicubic"]["psnr"] + 0.25
    assert enlargements["network"]["ssim"] > enlargements["bicubic"]["ssim"] + 0.03
    assert enlargements["bicubic"]["ssim"] > enlargements["nearest"]["ssim"]

    assert blur["one that could be"]["sharpness"] > 0.9
    assert blur["their mean"]["sharpness"] < 0.75
    assert blur["network"]["sharpness"] < 0.75
    assert blur["their mean"]["error"] < 0.6 * blur["one that could be"]["error"]
    assert blur["network"]["error"] < 0.65 * blur["one that could be"]["error"]

    double = answer(NAME, names)["double"]
    assert double["its double"] > double["the picture"] + 1
