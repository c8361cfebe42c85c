"""The share of a training's time in which it waits for data: DCGAN at 64 pixels on CelebA, on a CPU.

    python benchmarks/data_wait.py --data_dir DATA

Waiting is the time until the loader has given a batch, converting that of moving it to the device and of making floats
of it; Lightning's own profiler takes both. One training each with the cache in memory, with the cache mapped from disk,
and without a cache.
"""

import argparse
import logging
import tempfile
import warnings

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.profilers import SimpleProfiler

from datamodules import CelebADataModule
from lightning_genmodels import GAN

SMALL = 0.02  # GiB, less than the cache takes


def shares(data_dir: str, cache_dir: str, batches: int, **options: object) -> tuple[float, float, float]:
    """Milliseconds of a training step, and the shares of it that waiting and conversion take."""
    torch.manual_seed(0)
    data = CelebADataModule(data_dir, batch_size=64, download=False, cache_dir=cache_dir, **options)  # type: ignore[arg-type]
    model = GAN(data.image_shape, network="dcgan")
    profiler = SimpleProfiler()
    Trainer(
        accelerator="cpu", max_steps=batches, limit_val_batches=0, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, profiler=profiler,
    ).fit(model, datamodule=data)  # fmt: skip
    times = {name.rsplit(".")[-1]: sum(values) for name, values in profiler.recorded_durations.items()}
    epoch = times["run_training_epoch"]
    return 1000 * epoch / batches, times["train_dataloader_next"] / epoch, times["batch_to_device"] / epoch


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description="The share of a training's time in which it waits for data.")
    parser.add_argument("--data_dir", required=True, help="folder with celeba")
    parser.add_argument("--batches", type=int, default=80, help="of each training (default: %(default)s)")
    options = parser.parse_args()
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {options.batches} batches of 64\n")
    print("| where images come from | workers | ms a step | waiting | converting | together |")
    print("|---|---:|---:|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as cache:
        for name, workers, others in (
            ("cache, in memory", 0, {}),
            ("cache, mapped", 0, {"memory_budget": SMALL}),
            ("files", 0, {"cache": False}),
            ("files", 2, {"cache": False}),
        ):
            step, wait, change = shares(options.data_dir, cache, options.batches, num_workers=workers, **others)
            print(f"| {name} | {workers} | {step:.0f} | {wait:.2%} | {change:.2%} | {wait + change:.2%} |", flush=True)


if __name__ == "__main__":
    main()
