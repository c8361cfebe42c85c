"""How many digits of a conditional GAN are of the class that was asked for, by the packaged classifier of digits.

    OMP_NUM_THREADS=1 python benchmarks/conditional_gan.py --data_dir DATA

Each form is trained by `conditional_gan_mnist` through the command line; its best.ckpt draws 100 samples of each class,
and 10,000 for the distance from the test images. Beside them: the test images themselves with their labels.
"""

import argparse
from pathlib import Path
from typing import get_args

import torch
from packaged import enter, train
from torch import Tensor

from datamodules import MNISTDataModule
from lightning_genmodels.metrics import FrechetDistance
from lightning_genmodels.metrics.features import digit_logits
from lightning_genmodels.models.conditional_gan import ConditioningName
from lightning_genmodels.pictures import image_grid, save_png


def right(images: Tensor, labels: Tensor) -> Tensor:
    """Share of each of the ten classes' images that the classifier takes for it, (10,)."""
    found = digit_logits(images).argmax(1)
    return torch.stack([(found[labels == label] == label).float().mean() for label in range(10)])


def main() -> None:
    """Trains and prints the table."""
    parser = argparse.ArgumentParser(description="Whether a conditional GAN draws what it is asked for.")
    parser.add_argument("--data_dir", required=True, help="folder with MNIST/raw")
    parser.add_argument("--conditioning", nargs="*", default=list(get_args(ConditioningName)))
    parser.add_argument("--seeds", type=int, nargs="*", default=[0])
    parser.add_argument("--output", help="folder of the runs and pictures; a temporary one where none is given")
    options = parser.parse_args()
    data = MNISTDataModule(str(Path(options.data_dir).resolve()), val_fraction=0, download=False)
    folder = enter(options.output)
    data.setup()
    test = [data.to_float(batch) for batch in data.test_dataloader()]
    real, classes = torch.cat([batch.image for batch in test]), torch.cat([batch.label for batch in test])
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads; {folder}\n")
    print("| samples | of the class asked for | worst class | FID, digit features | core minutes |")
    print("| --- | ---: | ---: | ---: | ---: |")
    shares = right(real, classes)
    print(f"| the test images | {shares.mean():.3f} | {shares.min():.3f} | | |", flush=True)
    for conditioning in options.conditioning:
        for seed in options.seeds:
            arguments = ("--data.data_dir", str(data.data_dir), "--model.conditioning", conditioning)
            run = train("conditional_gan_mnist", seed, *arguments)
            generator = torch.Generator().manual_seed(seed)
            asked = torch.arange(1000) % 10
            fake = run.model.sample(1000, labels=asked, generator=generator).cpu()
            save_png(image_grid(fake[:100], columns=10), folder / f"{conditioning}-{seed}.png")
            shares = right(fake, asked)
            distance = FrechetDistance()
            distance.update(real, real=True)
            many = run.model.sample(10_000, labels=torch.arange(10_000) % 10, generator=generator)
            distance.update(many.cpu(), real=False)
            score = distance.compute()["fid_digits"]
            print(
                f"| {conditioning}, seed {seed} | {shares.mean():.3f} | {shares.min():.3f} | {score:.3g} | "
                f"{run.minutes:.1f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
