"""Images per second of a second epoch: `CelebADataModule` and `FacadesDataModule` against PIL and transforms.

    python benchmarks/file_throughput.py --data_dir DATA

Both sides give batches of floats in [0, 1], cropped, resized and, of the façades, changed at random as pix2pix does,
with the same number of worker processes. Ours comes from its cache, which is built before, and lies in memory or, as
"mapped", on disk, of which at most 20 MB are in memory at a time; PIL's files are in the system's memory by then as
well. The sides take turns.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from datamodules import CelebADataModule, FacadesDataModule
from datamodules.files import FileDataModule


class Faces(Dataset[tuple[Tensor]]):
    """As a script would read CelebA: PIL, the central square, 64 pixels."""

    def __init__(self, folder: Path) -> None:
        self.paths = sorted(folder.glob("*.jpg"))
        self.change = transforms.Compose([transforms.Resize(64), transforms.CenterCrop(64), transforms.ToTensor()])

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, number: int) -> tuple[Tensor]:
        return (self.change(Image.open(self.paths[number]).convert("RGB")),)


class Facades(Dataset[tuple[Tensor, Tensor]]):
    """As a script would read pix2pix's façades: PIL, both halves to 286 pixels, the same 256 and mirror of both."""

    def __init__(self, folder: Path) -> None:
        self.paths = sorted(folder.glob("*.jpg"))
        self.to_tensor = transforms.ToTensor()

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, number: int) -> tuple[Tensor, Tensor]:
        both = Image.open(self.paths[number]).convert("RGB")
        width = both.width // 2
        left, top = (int(x) for x in torch.randint(31, (2,)))
        mirror = bool(torch.rand(()) < 0.5)
        halves = []
        for box in ((0, 0, width, both.height), (width, 0, 2 * width, both.height)):
            half = both.crop(box).resize((286, 286), Image.Resampling.BICUBIC).crop((left, top, left + 256, top + 256))
            halves.append(self.to_tensor(half.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if mirror else half))
        return halves[1], halves[0]


def items_per_second(batches: Iterable[Any], convert: Callable[[Any], Any]) -> float:
    """Goes through one epoch."""
    count, start = 0, time.perf_counter()
    for batch in batches:
        images = convert(batch)[0]
        assert images.ndim == 4
        count += len(images)
    return count / (time.perf_counter() - start)


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description="Images per second of a second epoch, beside PIL and transforms.")
    parser.add_argument("--data_dir", required=True, help="folder with celeba and facades")
    parser.add_argument("--repetitions", type=int, default=5, help="turns of each side (default: %(default)s)")
    options = parser.parse_args()
    generator = torch.Generator().manual_seed(0)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {options.repetitions} repetitions\n")
    print("| set | workers | ours, items/s, median | min - max | PIL, items/s, median | min - max | ratio |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as cache:
        for workers in (0, 2):
            common: dict[str, Any] = {"num_workers": workers, "cache_dir": cache, "download": False}
            faces = CelebADataModule(options.data_dir, val_fraction=0, test_fraction=0, **common)
            mapped = CelebADataModule(
                options.data_dir, val_fraction=0, test_fraction=0, memory_budget=20e6 / 2**30, **common
            )
            facades = FacadesDataModule(options.data_dir, batch_size=4, **common)
            photos = faces.folder / "img_align_celeba"
            pairs: tuple[tuple[str, FileDataModule, Dataset[Any]], ...] = (
                ("CelebA, 64", faces, Faces(photos)),
                ("CelebA, 64, mapped", mapped, Faces(photos)),
                ("façades, 256", facades, Facades(facades.folder / "train")),
            )
            for name, data, dataset in pairs:
                data.setup("fit")
                loader = data.train_dataloader()
                other = DataLoader(dataset, data.batch_size, shuffle=True, num_workers=workers)
                sides: dict[str, list[float]] = {"ours": [], "theirs": []}
                for _ in range(options.repetitions + 1):
                    sides["ours"].append(items_per_second(loader, lambda b, d=data: d.change(b, generator)))
                    sides["theirs"].append(items_per_second(other, lambda b: b))
                ours, pil = (rates[1:] for rates in sides.values())  # without the first epoch
                our, their = statistics.median(ours), statistics.median(pil)
                print(
                    f"| {name} | {workers} | {our:,.0f} | {min(ours):,.0f} - {max(ours):,.0f} "
                    f"| {their:,.0f} | {min(pil):,.0f} - {max(pil):,.0f} | {our / their:.1f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
