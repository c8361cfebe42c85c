"""Two processes do what one does with twice the batch."""

import pytest
import torch
from command import QUIET, process


def weights(folder, name):
    return torch.load(folder / f"runs/{name}/0/checkpoints/last.ckpt", weights_only=True)["state_dict"]


def trained_by_one_and_by_two(folder, model, *options):
    """The weights that one process reaches, and those that two reach with half its batch each."""
    arguments = ("fit", "--model", model, "--data", "DigitsDataModule", "--trainer.max_steps", 12, *options, *QUIET)
    sides = {
        "one": ("--data.batch_size", 32, "--trainer.devices", 1),
        "two": ("--data.batch_size", 16, "--trainer.devices", 2, "--trainer.strategy", "ddp"),
    }
    for name, more in sides.items():
        (folder / name).mkdir()
        done = process(*arguments, *more, cwd=folder / name)
        assert done.returncode == 0, done.stderr
    run = f"{model.rpartition('.')[2].lower()}_digits"
    one, two = (weights(folder / name, run) for name in sides)
    for key, value in one.items():
        torch.testing.assert_close(two[key], value, rtol=0, atol=2e-6, msg=key)
    return one


def test_two_processes_of_a_k_sparse_autoencoder_begin_centred_on_the_images_of_both(tmp_path):
    one = trained_by_one_and_by_two(tmp_path, "KSparseAutoencoder", "--model.optimizer", "sgd")
    assert one["decoder.biases.layer1"].abs().max() > 0.1


def test_two_processes_of_a_sparse_autoencoder_share_the_running_mean(tmp_path):
    one = trained_by_one_and_by_two(tmp_path, "SparseAutoencoder")
    assert (one["mean_activation"] - 0.1).abs().max() > 0.01


@pytest.mark.parametrize("options", [(), ("--model.discriminator_steps", 2, "--model.accumulate", 2)])
def test_two_processes_equal_one_with_twice_the_batch(tmp_path, options):
    fixed = ("--model.penalty_interval", 2, "--model.latent_dim", 8)
    one = trained_by_one_and_by_two(tmp_path, "toy.LatentsFromImages", *fixed, *options)
    # They trained at all: the average lags behind.
    assert (one["generator.0.weight"] - one["generator_ema.0.weight"]).abs().max() > 1e-3
    assert not (tmp_path / "two/runs/latentsfromimages_digits/1").exists()
