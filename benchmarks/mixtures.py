"""Modes that a GAN finds of a ring of 8 Gaussians and of a grid of 25, by the packaged configurations and plainly.

    OMP_NUM_THREADS=1 python benchmarks/mixtures.py

Each trains through the command line, by `pacgan_ring` or `pacgan_grid`, for 20,000 batches; 2,500 samples of its
best.ckpt are counted, as published figures were. "plain" is the GAN of most tutorials: no packs, no penalty, batch
normalisation in the generator, batches of 100, a constant rate of 2e-4. Beside them: real points, uniform noise, and
the centres themselves.
"""

import argparse
import statistics
from typing import Any

import torch
from packaged import enter, train
from torch import Tensor

from datamodules import GridDataModule, RingDataModule
from lightning_genmodels.metrics import ModeCoverage
from lightning_genmodels.pictures import picture_of, save_png

COLUMNS = ("modes", "high_quality", "mode_kl", "mode_spread_min", "mode_spread", "mode_spread_max")
SETS = {"ring": RingDataModule, "grid": GridDataModule}
COUNT = 2500
VARIANTS: dict[str, list[str]] = {
    "pacgan": [],
    "plain": [
        "--model.packing=1", "--model.penalty=none", "--model.generator_batch_norm=true", "--model.schedule=none",
        "--model.learning_rate=2e-4", "--data.batch_size=100", "--trainer.max_epochs=20",
        "--trainer.check_val_every_n_epoch=2",
    ],
}  # fmt: skip


def score(images: Tensor, data: Any) -> dict[str, float]:
    """The row of (N, 2, 1, 1) points in [0, 1]."""
    metric = ModeCoverage("centres", data.centres, data.sigma, data.extent)
    metric.update(images)
    return {name: value.item() for name, value in metric.compute().items()}


def show(name: str, rows: list[dict[str, float]]) -> None:
    """One line: the mean, and the spread where there are more."""
    cells = []
    for column in COLUMNS:
        values = [row[column] for row in rows]
        more = f" ({min(values):.3g} - {max(values):.3g})" if len(values) > 1 else ""
        cells.append(f"{statistics.mean(values):.3g}{more}")
    print(f"| {name} | {len(rows)} | " + " | ".join(cells) + " |", flush=True)


def main() -> None:
    """Measures and prints the tables."""
    parser = argparse.ArgumentParser(description="Modes that a GAN finds of Gaussians in the plane.")
    parser.add_argument("--sets", nargs="*", default=list(SETS), choices=list(SETS))
    parser.add_argument("--variants", nargs="*", default=list(VARIANTS), choices=list(VARIANTS))
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2, 3, 4])
    parser.add_argument("--output", help="folder of the runs and pictures; a temporary one where none is given")
    options = parser.parse_args()
    folder = enter(options.output)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads; {folder}")
    for kind in options.sets:
        data = SETS[kind]()
        data.setup("test")
        real = torch.cat([data.to_float(batch).image for batch in data.test_dataloader()])
        noise = torch.rand(10, COUNT, 2, 1, 1, generator=torch.Generator().manual_seed(0))
        centres = data.to_images(data.centres).repeat(COUNT // len(data.centres) + 1, 1, 1, 1)[:COUNT]
        print(f"\n| {kind} | draws | {' | '.join(COLUMNS)} |\n| --- |{' ---: |' * (len(COLUMNS) + 1)}")
        for name, draws in (("real points", [real]), ("uniform noise", noise), ("the centres", [centres])):
            show(name, [score(points, data) for points in draws])
        for name in options.variants:
            rows = []
            for seed in options.seeds:
                run = train(f"pacgan_{kind}", seed, *VARIANTS[name])
                images = run.model.sample(COUNT, generator=torch.Generator().manual_seed(seed)).cpu()
                save_png(picture_of(images), folder / f"{kind}-{name}-{seed}.png")
                rows.append(score(images, data))
                show(f"{name}, seed {seed}", rows[-1:])
            show(f"{name}, mean", rows)


if __name__ == "__main__":
    main()
