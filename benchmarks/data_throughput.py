"""Images per second: `MNISTDataModule`'s training loader against torchvision's MNIST in a torch DataLoader.

    python benchmarks/data_throughput.py --data_dir data

Both sides give shuffled batches of 128 from the 60,000 training images. They take turns, so that whatever else the
machine does meets both; a turn includes what a new epoch costs, the start of worker processes among it.
"""

import argparse
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader
from torchvision.datasets import MNIST
from torchvision.transforms import ToTensor

from datamodules import DataError, ImageBatch, MNISTDataModule

BATCH_SIZE = 128


def images_per_second(batches: Iterable[Any], cap: int, convert: Callable[[ImageBatch], Any] | None = None) -> float:
    """Goes through one epoch, or until `cap` images have come."""
    count, start = 0, time.perf_counter()
    for batch in batches:
        images = (convert(batch) if convert else batch)[0]
        count += len(images)
        if count >= cap:
            break
    return count / (time.perf_counter() - start)


def torchvision_dataset(raw_folder: Path, folder: Path) -> MNIST:
    """torchvision unpacks the archives beside themselves: here, beside a copy."""
    shutil.copytree(raw_folder, folder / "MNIST" / "raw")
    return MNIST(str(folder), train=True, download=True, transform=ToTensor())


def measure(options: argparse.Namespace, folder: Path) -> dict[str, list[float]]:
    """Images per second of each way, one number a repetition."""
    data = MNISTDataModule(options.data_dir, batch_size=BATCH_SIZE, val_fraction=0.0, download=False)
    data.setup("fit")
    dataset = torchvision_dataset(data.raw_folder, folder)
    loader = data.train_dataloader()
    ways: dict[str, Callable[[], float]] = {
        "MNISTDataModule, uint8": lambda: images_per_second(loader, len(dataset)),
        "MNISTDataModule, to_float": lambda: images_per_second(loader, len(dataset), data.to_float),
    }
    for workers in (0, 2):
        theirs: DataLoader[Any] = DataLoader(dataset, BATCH_SIZE, shuffle=True, num_workers=workers)
        ways[f"torchvision + ToTensor, {workers} workers"] = lambda theirs=theirs: images_per_second(
            theirs, options.images
        )
    for way in list(ways)[:2]:  # the first pass of a process is slower; of theirs it would take seconds to no effect
        ways[way]()
    rates: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(options.repetitions):
        for way, run in ways.items():
            rates[way].append(run())
    return rates


def table(rates: dict[str, list[float]]) -> str:
    """A Markdown table: medians, ranges, and each median as a multiple of torchvision's."""
    medians = {way: statistics.median(found) for way, found in rates.items()}
    theirs = [way for way in rates if way.startswith("torchvision")]
    lines = [
        "| loader | images/s, median | min - max | x 0 workers | x 2 workers |",
        "|---|---:|---:|---:|---:|",
    ]
    for way, found in rates.items():
        ratios = " | ".join(f"{medians[way] / medians[other]:.1f}" for other in theirs)
        lines.append(f"| {way} | {medians[way]:,.0f} | {min(found):,.0f} - {max(found):,.0f} | {ratios} |")
    return "\n".join(lines)


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description="Images per second of MNISTDataModule and of torchvision's MNIST.")
    parser.add_argument("--data_dir", help="folder with MNIST/raw (default: GENMODELS_DATA, else data)")
    parser.add_argument("--repetitions", type=int, default=5, help="turns of each side (default: %(default)s)")
    parser.add_argument(
        "--images", type=int, default=60_000, help="end torchvision's turn after so many images (default: all)"
    )
    options = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory() as folder:
            rates = measure(options, Path(folder))
    except DataError as error:
        sys.exit(str(error))
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {options.repetitions} repetitions\n")
    print(table(rates))


if __name__ == "__main__":
    main()
