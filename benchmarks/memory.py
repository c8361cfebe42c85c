"""Resident memory over epochs of a set that is larger than its budget, from a cache of made images.

    python benchmarks/memory.py --images 200000 --budget 0.5

The images have CelebA's size, 178x218 pixels; they are written as JPEG files into a temporary folder, read by
`ImageFolderDataModule`, and gone through in shuffled batches. Linux only.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from datamodules import ImageFolderDataModule

DIFFERENT = 100  # pictures drawn; the files are copies of these under other names


def resident() -> float:
    """GiB of this process that are in memory, the mapped files among them."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**30


def make(folder: Path, images: int) -> None:
    """Writes the files."""
    generator = np.random.default_rng(0)
    contents = []
    for number in range(DIFFERENT):
        small = generator.integers(0, 256, (11, 9, 3), dtype=np.uint8)
        path = folder / f"{number}.jpg"
        Image.fromarray(small).resize((178, 218), Image.Resampling.BICUBIC).save(path, quality=90)
        contents.append(path.read_bytes())
        path.unlink()
    for number in range(images):
        (folder / f"{number}.jpg").write_bytes(contents[number % DIFFERENT])


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description="Resident memory over epochs.")
    parser.add_argument("--images", type=int, default=200_000)
    parser.add_argument("--budget", type=float, default=0.5, help="GiB, as memory_budget (default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch, "pictures")
        folder.mkdir()
        make(folder, options.images)
        data = ImageFolderDataModule(
            str(folder), cache_dir=f"{scratch}/cache", memory_budget=options.budget, val_fraction=0, test_fraction=0
        )
        before, start = resident(), time.perf_counter()
        data.setup("fit")
        print(f"{options.images} images; cache built in {time.perf_counter() - start:.0f} s; before {before:.2f} GiB")
        loader = data.train_dataloader()
        for epoch in range(options.epochs):
            start, highest = time.perf_counter(), 0.0
            for number, batch in enumerate(loader):
                data.to_float(batch)
                if number % 50 == 0:
                    highest = max(highest, resident())
            print(
                f"epoch {epoch}: {time.perf_counter() - start:.0f} s, at most {highest:.2f} GiB, "
                f"{highest - before:.2f} above the beginning; the budget is {options.budget}",
                flush=True,
            )


if __name__ == "__main__":
    main()
