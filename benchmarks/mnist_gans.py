"""Seven classic GANs on MNIST within the same time, scored by the features of the packaged classifier of digits.

    python benchmarks/mnist_gans.py --data_dir DATA

Each trains for `--minutes` on the training split. Its checkpoint with the best FID (2,500 validation images, as many
samples) draws 10,000 samples, which are compared with the 10,000 test images. Beside them: 10,000 training images, as a
ceiling, and draws of a mixture of 30 Gaussians a class, as a floor.
"""

import argparse
import logging
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Trainer, seed_everything
from sklearn.decomposition import PCA
from sklearn.mixture import GaussianMixture
from torch import Tensor

from datamodules import MNISTDataModule
from lightning_genmodels import GAN, load_model
from lightning_genmodels.callbacks import BestCheckpoint, GenerationScores
from lightning_genmodels.metrics import DensityCoverage, FrechetDistance, KernelDistance, ModeCoverage, PrecisionRecall
from lightning_genmodels.pictures import image_grid, save_png

COLUMNS = (
    "fid_digits", "kid_digits", "precision_digits", "recall_digits", "density_digits", "coverage_digits", "modes",
    "mode_kl",
)  # fmt: skip
DCGAN: dict[str, Any] = {"network": "dcgan", "penalty": "none", "learning_rate": 2e-4}
VARIANTS: dict[str, dict[str, Any]] = {
    "gan": {"network": "mlp", "penalty": "none", "learning_rate": 2e-4},
    "dcgan": DCGAN,
    "lsgan": {**DCGAN, "adversarial_loss": "least_squares"},
    "wgan": {**DCGAN, "adversarial_loss": "wasserstein", "penalty": "weight_clipping", "penalty_weight": 0.01,
             "discriminator_steps": 5, "learning_rate": 5e-5, "betas": (0.0, 0.99)},
    "wgan_gp": {**DCGAN, "adversarial_loss": "wasserstein", "penalty": "gradient_penalty", "penalty_weight": 10.0,
                "penalty_interval": 1, "discriminator_steps": 5, "betas": (0.5, 0.9)},
    "sngan": {**DCGAN, "adversarial_loss": "hinge", "spectral_norm": True, "betas": (0.5, 0.999)},
    "pacgan": {**DCGAN, "packing": 2},
}  # fmt: skip


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


def train(name: str, seed: int, options: argparse.Namespace, folder: Path) -> tuple[GAN, int, float]:
    """The best checkpoint's model, the batches trained on and the seconds it took."""
    seed_everything(seed, verbose=False)
    data = MNISTDataModule(options.data_dir, batch_size=64, seed=seed, download=False)
    model = GAN((1, 28, 28), latent_dim=100, score_count=10, **VARIANTS[name])
    scores = GenerationScores("digits", count=2500)
    best = BestCheckpoint(folder / f"{name}-{seed}", "val/fid_digits", "min")
    minutes, seconds = divmod(round(60 * options.minutes), 60)
    trainer = Trainer(
        accelerator="auto", devices=1, max_time=f"00:00:{minutes:02d}:{seconds:02d}", max_epochs=-1,
        val_check_interval=500, check_val_every_n_epoch=None, logger=False, enable_progress_bar=False,
        enable_model_summary=False, num_sanity_val_steps=0, callbacks=[scores, best],
    )  # fmt: skip
    start = time.perf_counter()
    trainer.fit(model, datamodule=data)
    taken = time.perf_counter() - start
    trainer.validate(model, datamodule=data, verbose=False)  # the last state has its chance too
    last = float(trainer.callback_metrics["val/fid_digits"])
    chosen: Any = (
        model if not best.best_model_path or last < best.best_model_score else load_model(best.best_model_path)
    )
    return chosen, trainer.global_step, taken


def main() -> None:
    """Measures and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--data_dir", required=True, help="folder with MNIST/raw")
    parser.add_argument("--variants", nargs="*", default=list(VARIANTS), choices=list(VARIANTS))
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--minutes", type=float, default=5.0, help="of each training (default: %(default)s)")
    parser.add_argument("--output", help="folder of the checkpoints and pictures; a temporary one where none is given")
    parser.add_argument("--baselines", action="store_true", help="only the rows beside the GANs")
    options = parser.parse_args()
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")
    folder = Path(options.output or tempfile.mkdtemp())
    data = MNISTDataModule(options.data_dir, val_fraction=0, download=False)
    data.setup()
    real = torch.cat([data.to_float(batch).image for batch in data.test_dataloader()])
    batches = [data.to_float(batch) for batch in data.train_dataloader()]
    images, labels = (torch.cat(part) for part in zip(*batches, strict=True))
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {options.minutes} minutes a run; {folder}\n")
    print(f"| samples | {' | '.join(COLUMNS)} | batches | minutes |\n| --- |{' ---: |' * (len(COLUMNS) + 2)}")

    def show(name: str, fake: Tensor, more: str) -> None:
        row = score(fake, real)
        print(f"| {name} | " + " | ".join(f"{row[column]:.3g}" for column in COLUMNS) + f" | {more} |", flush=True)

    if options.baselines:
        show("10,000 training images", images[:10_000], "|")
        show("mixture of 30 Gaussians a class", mixture(images, labels, 10_000), "|")
        return
    for name in options.variants:
        for seed in options.seeds:
            model, steps, seconds = train(name, seed, options, folder)
            fake = model.sample(10_000, generator=torch.Generator().manual_seed(seed)).cpu()
            save_png(image_grid(fake[:100]), folder / f"{name}-{seed}.png")
            show(f"{name}, seed {seed}", fake, f"{steps} | {seconds / 60:.1f}")


if __name__ == "__main__":
    main()
