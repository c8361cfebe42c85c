"""Seven classic GANs on MNIST with the same budget, scored by the features of the packaged classifier of digits.

    OMP_NUM_THREADS=1 python benchmarks/mnist_gans.py --data_dir DATA

Each is trained by its packaged configuration (`gan_mnist`, `dcgan_mnist`, ...) through the command line, whose length
is that of ten minutes on one core. Its best.ckpt, by the FID of 2,500 validation images and samples, draws 10,000
samples, which are compared with the 10,000 test images. Beside them: 10,000 training images, as a ceiling, and draws of
a mixture of 30 Gaussians a class, as a floor.
"""

import argparse
import logging
import statistics
import warnings
from pathlib import Path

import numpy as np
import torch
from packaged import enter, train
from sklearn.decomposition import PCA
from sklearn.mixture import GaussianMixture
from torch import Tensor

from datamodules import MNISTDataModule
from lightning_genmodels.metrics import DensityCoverage, FrechetDistance, KernelDistance, ModeCoverage, PrecisionRecall
from lightning_genmodels.pictures import image_grid, save_png

COLUMNS = (
    "fid_digits", "kid_digits", "precision_digits", "recall_digits", "density_digits", "coverage_digits",
    "modes_digits", "mode_kl_digits",
)  # fmt: skip
VARIANTS = ("gan", "dcgan", "lsgan", "wgan", "wgan_gp", "sngan", "pacgan")


def score(fake: Tensor, real: Tensor) -> dict[str, float]:
    """The row of one set of samples, (N, 1, 28, 28) in [0, 1], against as many images."""
    row: dict[str, float] = {}
    for metric in (FrechetDistance(), KernelDistance(), PrecisionRecall("digits"), DensityCoverage("digits")):
        metric.update(real, real=True)
        metric.update(fake, real=False)
        row |= {name: value.item() for name, value in metric.compute().items()}
    modes = ModeCoverage("digits")
    modes.update(fake)
    return row | {name: value.item() for name, value in modes.compute().items()}


def mixture(images: Tensor, labels: Tensor, count: int) -> Tensor:
    """Draws of 30 Gaussians a class, fitted in the space of the first 60 principal components of all images."""
    pixels = images.flatten(1).numpy()
    components = PCA(60, random_state=0).fit(pixels)
    draws = []
    for label in range(10):
        codes = components.transform(pixels[labels.numpy() == label])
        fitted = GaussianMixture(30, covariance_type="full", reg_covar=1e-3, random_state=label).fit(codes)
        draws.append(fitted.sample(count // 10)[0])
    drawn = components.inverse_transform(np.concatenate(draws)).clip(0, 1)
    return torch.from_numpy(drawn).float().view(-1, 1, 28, 28)


def main() -> None:
    """Measures and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--data_dir", required=True, help="folder with MNIST/raw")
    parser.add_argument("--variants", nargs="*", default=list(VARIANTS), choices=list(VARIANTS))
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--output", help="folder of the checkpoints and pictures; a temporary one where none is given")
    parser.add_argument("--baselines", action="store_true", help="only the rows beside the GANs")
    options = parser.parse_args()
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")
    data_dir = str(Path(options.data_dir).resolve())
    folder = enter(options.output)
    data = MNISTDataModule(data_dir, val_fraction=0, download=False)
    data.setup()
    real = torch.cat([data.to_float(batch).image for batch in data.test_dataloader()])
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads; {folder}\n")
    print(f"| samples | {' | '.join(COLUMNS)} | batches | core minutes |\n| --- |{' ---: |' * (len(COLUMNS) + 2)}")

    def show(name: str, row: dict[str, float], more: str = "|") -> None:
        print(f"| {name} | " + " | ".join(f"{row[column]:.3g}" for column in COLUMNS) + f" | {more} |", flush=True)

    if options.baselines:
        batches = [data.to_float(batch) for batch in data.train_dataloader()]
        images, labels = (torch.cat(part) for part in zip(*batches, strict=True))
        show("10,000 training images", score(images[:10_000], real))
        show("mixture of 30 Gaussians a class", score(mixture(images, labels, 10_000), real))
        return
    for name in options.variants:
        rows = []
        for seed in options.seeds:
            run = train(f"{name}_mnist", seed, "--data.data_dir", data_dir)
            fake = run.model.sample(10_000, generator=torch.Generator().manual_seed(seed)).cpu()
            save_png(image_grid(fake[:100]), folder / f"{name}-{seed}.png")
            rows.append(score(fake, real))
            show(f"{name}, seed {seed}", rows[-1], f"{run.steps} | {run.minutes:.1f}")
        show(f"{name}, median", {column: statistics.median(row[column] for row in rows) for column in COLUMNS})


if __name__ == "__main__":
    main()
