"""Two processes do what one does with twice the batch."""

import pytest
import torch
from command import QUIET, process


def weights(folder, name):
    return torch.load(folder / f"runs/{name}/0/checkpoints/last.ckpt", weights_only=True)["state_dict"]


@pytest.mark.parametrize("options", [(), ("--model.discriminator_steps", 2, "--model.accumulate", 2)])
def test_two_processes_equal_one_with_twice_the_batch(tmp_path, options):
    arguments = ("fit", "--model", "toy.LatentsFromImages", "--data", "DigitsDataModule", "--trainer.max_steps", 12,
                 "--model.penalty_interval", 2, "--model.latent_dim", 8, *options, *QUIET)  # fmt: skip
    sides = {
        "one": ("--data.batch_size", 32, "--trainer.devices", 1),
        "two": ("--data.batch_size", 16, "--trainer.devices", 2, "--trainer.strategy", "ddp"),
    }
    for name, more in sides.items():
        (tmp_path / name).mkdir()
        done = process(*arguments, *more, cwd=tmp_path / name)
        assert done.returncode == 0, done.stderr
    one, two = (weights(tmp_path / name, "latentsfromimages_digits") for name in ("one", "two"))
    for key, value in one.items():
        torch.testing.assert_close(two[key], value, rtol=0, atol=2e-6, msg=key)
    # They trained at all: the average lags behind.
    assert (one["generator.0.weight"] - one["generator_ema.0.weight"]).abs().max() > 1e-3
    assert not (tmp_path / "two/runs/latentsfromimages_digits/1").exists()
