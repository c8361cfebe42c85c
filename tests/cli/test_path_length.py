import pytest
import torch
from command import genmodels
from torch.utils.data import DataLoader
from toy import Toy, checkpoint_of, fit

from lightning_genmodels import StyleGAN, load_model
from lightning_genmodels.metrics import DISTANCES, perceptual_path_length


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    torch.manual_seed(0)
    model = StyleGAN((3, 16, 16), latent_dim=8, width=4, mapping_depth=2)
    return checkpoint_of(model, tmp_path_factory.mktemp("path_length") / "stylegan.ckpt")


@pytest.mark.parametrize("space", ["w", "z"])
def test_it_says_what_the_function_gives_in_either_space(checkpoint, capsys, space):
    options = () if space == "w" else ("--space", "z", "--seed", 3)
    assert genmodels("path_length", "--checkpoint", checkpoint, "--samples", 40, *options) == 0
    generator = torch.Generator().manual_seed(3 if options else 0)
    (found,) = perceptual_path_length(load_model(checkpoint), samples=40, space=space, generator=generator).values()
    assert capsys.readouterr().out.splitlines()[-1] == f"ppl_{space}_pyramid {found:.4g}, of 40 pairs"


def test_the_distance_is_the_one_asked_for_and_in_the_name(checkpoint, capsys, monkeypatch):
    monkeypatch.setitem(DISTANCES, "lpips", lambda x, y: torch.full((len(x),), 7e-8))
    assert genmodels("path_length", "--checkpoint", checkpoint, "--samples", 4, "--distance", "lpips") == 0
    assert capsys.readouterr().out == "ppl_w_lpips 7, of 4 pairs\n"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--samples", 0), "--samples is 0; expected 1 or more."),
        (("--checkpoint", "toy.ckpt"), "--checkpoint toy.ckpt has no styles: its model is Toy; expected a StyleGAN."),
        (("--space", "x"), "path_length: argument --space: invalid choice: 'x' (choose from "),
    ],
)
def test_what_is_wrong_is_one_sentence(checkpoint, in_tmp, capsys, arguments, expected):
    fit(Toy(), DataLoader([(torch.randn(8, 3), torch.randn(8, 4))], batch_size=None)).save_checkpoint("toy.ckpt")
    assert genmodels("path_length", "--checkpoint", checkpoint, *arguments) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith(f"genmodels: {expected}")
