"""Scores of a GAN on scikit-learn's digits (`gan_digits` and the like) against all 1,797, over several seeds.

    python benchmarks/digits_quality.py --config lsgan_digits

Each seed trains through the command line; the checkpoint scored is its best.ckpt. As many samples are drawn as there
are digits; everything is measured at the pixels it was trained on, with k = 5. Two baselines stand beside: ten
class-wise Gaussians, and the digits themselves with a little noise, which scores best and draws nothing new.
"""

import argparse
import statistics

import torch
import yaml
from packaged import enter, train
from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor

from datamodules import DigitsDataModule
from lightning_genmodels.configs import packaged_configs
from lightning_genmodels.metrics import DensityCoverage, PrecisionRecall
from lightning_genmodels.pictures import image_grid, save_png

COLUMNS = ("coverage", "precision", "recall", "density", "copying", "classes", "largest class")


def digits(seed: int, val_fraction: float, size: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Images in [0, 1] and labels: those trained on, then those held out (validation and test)."""
    trained_on = 1617 - round(1797 * val_fraction)  # all but the test split's tenth and the validation split
    data = DigitsDataModule(batch_size=trained_on, image_size=size, val_fraction=val_fraction, seed=seed)
    data.setup()
    loaders = (data.train_dataloader(), data.val_dataloader(), data.test_dataloader())
    train, val, test = (data.to_float(next(iter(loader))) for loader in loaders)
    return train.image, train.label, torch.cat([val.image, test.image]), torch.cat([val.label, test.label])


def scores(
    fake: Tensor, train: Tensor, train_label: Tensor, held_out: Tensor, held_out_label: Tensor
) -> dict[str, float]:
    """The row of one set of samples."""
    real = torch.cat([train, held_out])
    row: dict[str, float] = {}
    for metric in (PrecisionRecall(k=5), DensityCoverage(k=5)):
        metric.update(real, real=True)
        metric.update(fake, real=False)
        row |= {name: value.item() for name, value in metric.compute().items()}
    fake, train, held_out = (images.flatten(1) for images in (fake, train, held_out))
    nearest = [torch.cdist(images, train).min(1).values.median().item() for images in (fake, held_out)]
    classifier = KNeighborsClassifier(3).fit(torch.cat([train, held_out]), torch.cat([train_label, held_out_label]))
    shares = torch.from_numpy(classifier.predict(fake)).bincount(minlength=10) / len(fake)
    return row | {
        "copying": nearest[0] / nearest[1],
        "classes": float((shares > 0).sum()),
        "largest class": shares.max().item(),
    }


def gaussians(images: Tensor, labels: Tensor) -> Tensor:
    """As many draws from one Gaussian a class, clamped to [0, 1]."""
    draws = []
    for label in labels.unique():
        members = images[labels == label].flatten(1).double()
        noise = torch.randn(len(members), members.shape[1], dtype=torch.float64)
        factor = torch.linalg.cholesky(members.T.cov() + 1e-6 * torch.eye(members.shape[1]))
        draws.append(members.mean(0) + noise @ factor.T)
    return torch.cat(draws).clamp(0, 1).float().unflatten(1, images.shape[1:])


def measure(arguments: argparse.Namespace) -> None:
    """Trains, scores and prints the table."""
    torch.manual_seed(0)
    config = yaml.safe_load(packaged_configs()[arguments.config].read_text())
    size = config["data"].get("init_args", {}).get("image_size", 8)
    seen, seen_label, held_out, held_out_label = data = digits(0, arguments.val_fraction, size)
    real, label = torch.cat([seen, held_out]), torch.cat([seen_label, held_out_label])
    noisy = (real + 0.02 * torch.randn_like(real)).clamp(0, 1)
    baselines = {
        "ten class-wise Gaussians": scores(gaussians(real, label), *data),
        "the digits, with noise of .02": scores(noisy, *data),
    }
    folder = enter(arguments.output)
    ours, seconds = {}, []
    for seed in range(arguments.seeds):
        fraction = ("--data.val_fraction", str(arguments.val_fraction))
        run = train(arguments.config, seed, *fraction, *arguments.options)
        seconds.append(run.seconds)
        fake = run.model.sample(len(real), generator=torch.Generator().manual_seed(1)).cpu()
        save_png(image_grid(fake[:100]), folder / f"{arguments.config}-{seed}.png")
        ours[f"{arguments.config}, seed {seed}"] = scores(fake, *digits(seed, arguments.val_fraction, size))
    median = {column: statistics.median(row[column] for row in ours.values()) for column in COLUMNS}
    print(f"\n| samples | {' | '.join(COLUMNS)} |\n| --- |{' ---: |' * len(COLUMNS)}")
    for name, row in {**baselines, **ours, f"{arguments.config}, median": median}.items():
        print(f"| {name} | " + " | ".join(f"{row[column]:.3g}" for column in COLUMNS) + " |")
    print(f"\nmedian seconds of a run, imports not counted: {statistics.median(seconds):.0f}; pictures: {folder}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", default="gan_digits", help="default: %(default)s")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--val_fraction", type=float, default=0.2, help="0.1 trains on 80 %% of the digits")
    parser.add_argument("--output", help="folder of the runs and pictures; a temporary one where none is given")
    parser.add_argument("options", nargs="*", help="further options of genmodels fit, after --")
    measure(parser.parse_args())
