"""Modes that a GAN finds of a ring of 8 Gaussians and of a grid of 25, plain and packed.

    python benchmarks/mixtures.py

Each trains for `--steps` batches; 2,500 samples of its averaged generator are counted, as published figures were.
Beside them: real points, uniform noise, and the centres themselves.
"""

import argparse
import logging
import statistics
import tempfile
import warnings
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer, seed_everything
from torch import Tensor

from datamodules import GridDataModule, RingDataModule
from lightning_genmodels import GAN
from lightning_genmodels.metrics import ModeCoverage
from lightning_genmodels.pictures import picture_of, save_png

COLUMNS = ("modes", "high_quality", "mode_kl", "mode_spread")
SETS = {"ring": RingDataModule, "grid": GridDataModule}
COUNT = 2500
COMMON: dict[str, Any] = {
    "latent_dim": 2, "network": "mlp", "learning_rate": 1e-3, "betas": (0.5, 0.9), "schedule": "linear",
    "decay_start": 0.3, "score_count": 100,
}  # fmt: skip
SMOOTH: dict[str, Any] = {"penalty": "r1_r2", "penalty_weight": 3e-6, "penalty_interval": 4}
VARIANTS: dict[str, dict[str, Any]] = {
    "non-saturating": {"penalty": "none"},
    "non-saturating, packs of 2": {"penalty": "none", "packing": 2},
    "hinge, R1 + R2": {"adversarial_loss": "hinge", **SMOOTH},
    "hinge, R1 + R2, packs of 2": {"adversarial_loss": "hinge", "packing": 2, **SMOOTH},
}


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


def train(options: dict[str, Any], data: Any, steps: int, seed: int) -> GAN:
    """A trained model."""
    seed_everything(seed, verbose=False)
    model = GAN(data.image_shape, **{**COMMON, **options})
    Trainer(
        accelerator="auto", devices=1, max_steps=steps, limit_val_batches=0, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
    ).fit(model, datamodule=data)  # fmt: skip
    return model


def main() -> None:
    """Measures and prints the tables."""
    parser = argparse.ArgumentParser(description="Modes that a GAN finds of Gaussians in the plane.")
    parser.add_argument("--sets", nargs="*", default=list(SETS), choices=list(SETS))
    parser.add_argument("--variants", nargs="*", default=list(VARIANTS), choices=list(VARIANTS))
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2, 3, 4])
    parser.add_argument("--steps", type=int, default=20_000)
    parser.add_argument("--output", help="folder of the pictures; a temporary one where none is given")
    options = parser.parse_args()
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")
    folder = Path(options.output or tempfile.mkdtemp())
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {options.steps} batches; pictures: {folder}")
    for kind in options.sets:
        data = SETS[kind]()
        data.setup("test")
        real = torch.cat([data.to_float(batch).image for batch in data.test_dataloader()])
        noise = torch.rand(COUNT, 2, 1, 1, generator=torch.Generator().manual_seed(0))
        centres = data.to_images(data.centres).repeat(COUNT // len(data.centres) + 1, 1, 1, 1)[:COUNT]
        print(f"\n| {kind} | seeds | {' | '.join(COLUMNS)} |\n| --- |{' ---: |' * (len(COLUMNS) + 1)}")
        for name, points in (("real points", real), ("uniform noise", noise), ("the centres", centres)):
            show(name, [score(points, data)])
        for name in options.variants:
            rows = []
            for seed in options.seeds:
                batch_size = 100 * VARIANTS[name].get("packing", 1)
                model = train(VARIANTS[name], SETS[kind](batch_size=batch_size, seed=seed), options.steps, seed)
                images = model.sample(COUNT, generator=torch.Generator().manual_seed(seed)).cpu()
                save_png(picture_of(images), folder / f"{kind}-{name.replace(', ', '-').replace(' ', '_')}-{seed}.png")
                rows.append(score(images, data))
            show(name, rows)


if __name__ == "__main__":
    main()
