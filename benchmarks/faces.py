"""Denoising and enlarging of CelebA's faces, beside what learns nothing: `denoise_celeba`, `super_resolution_celeba`.

    python benchmarks/faces.py denoise --data_dir DATA
    python benchmarks/faces.py enlarge --data_dir DATA

Each trains by its packaged configuration through the command line; its best.ckpt is scored on the test images, by the
mean of their own PSNR on RGB, in dB. Beside denoising stand the noisy images, the best of some Gaussian blurs, and the
best linear filter of patches: the Wiener filter by the mean and covariance of 7x7 patches of training images, whose
overlapping results are averaged. Beside enlarging stands bicubic interpolation.
"""

import argparse
from pathlib import Path

import torch
from packaged import DEVICE, enter, train
from torch import Tensor
from torch.nn import functional

from datamodules import CelebADataModule
from lightning_genmodels.metrics import ImagePSNR
from lightning_genmodels.pictures import image_grid, save_png

PATCH = 7
SIGMA = 25 / 255
IMAGES = 1000  # of which the covariance is that of all patches


def psnr(made: Tensor, target: Tensor, border: int = 0) -> float:
    """The mean of the images' own, in dB, without a border."""
    inner = (..., slice(border, made.shape[-2] - border), slice(border, made.shape[-1] - border))
    metric = ImagePSNR()
    metric.update(made.clamp(0, 1)[inner], target[inner])
    return float(metric.compute())


def blurred(images: Tensor, sigma: float) -> Tensor:
    """(N, C, H, W) under a Gaussian window."""
    line = torch.exp(-(torch.arange(-8, 9.0) ** 2) / (2 * sigma**2))
    line = line / line.sum()
    channels = images.shape[1]
    window = line.outer(line).expand(channels, 1, -1, -1)
    return functional.conv2d(functional.pad(images, (8, 8, 8, 8), mode="reflect"), window, groups=channels)


def wiener(noisy: Tensor, clean: Tensor) -> Tensor:
    """The noisy images through the linear filter of patches, fitted to clean ones."""
    patches = torch.cat([functional.unfold(part, PATCH).transpose(1, 2).flatten(0, 1) for part in clean.split(100)])
    mean, covariance = patches.mean(0), patches.T.cov()
    gain = covariance @ torch.linalg.inv(covariance + SIGMA**2 * torch.eye(len(mean)))
    size = noisy.shape[-2:]
    counts = functional.fold(functional.unfold(torch.ones_like(noisy[:1]), PATCH), size, PATCH)
    made = []
    for image in noisy.split(50):
        columns = functional.unfold(image, PATCH) - mean[:, None]
        made.append(functional.fold(gain @ columns + mean[:, None], size, PATCH) / counts)
    return torch.cat(made)


def main() -> None:
    """Measures and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("task", choices=("denoise", "enlarge"))
    parser.add_argument("--data_dir", required=True, help="folder with celeba")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", help="folder of the run and pictures; a temporary one where none is given")
    options = parser.parse_args()
    data_dir = str(Path(options.data_dir).resolve())
    folder = enter(options.output)
    data = CelebADataModule(data_dir, image_size=88, seed=options.seed, download=False)
    data.setup()
    target = torch.cat([data.to_float(batch).image for batch in data.test_dataloader()])
    config = "denoise_celeba" if options.task == "denoise" else "super_resolution_celeba"
    run = train(config, options.seed, "--data.data_dir", data_dir)
    if options.task == "denoise":
        source = target + SIGMA * torch.randn(target.shape, generator=torch.Generator().manual_seed(options.seed))
        clean = torch.cat([data.to_float(batch).image for batch in data.train_dataloader()])[:IMAGES]
        rows = {
            "noisy, clamped": source,
            "best Gaussian blur": max((blurred(source, s) for s in (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)),
                                      key=lambda made: psnr(made, target)),
            "linear filter of 7x7 patches": wiener(source, clean),
        }  # fmt: skip
        border = 0
    else:
        source = run.model.degrade(target)
        border = run.model.scale
        rows = {"bicubic interpolation": functional.interpolate(source, target.shape[-2:], mode="bicubic")}
    rows[config] = torch.cat([run.model.translate(part.to(DEVICE)).cpu() for part in source.split(50)])
    print(f"\n{len(target)} test images; {run.steps} batches, {run.minutes:.1f} core minutes; {folder}")
    print("\n| faces | PSNR |\n| --- | ---: |")
    for name, made in rows.items():
        print(f"| {name} | {psnr(made, target, border):.2f} |")
    small = [functional.interpolate(source[:8], target.shape[-2:])] if options.task == "enlarge" else []
    columns = [*small, *(made[:8] for made in rows.values()), target[:8]]
    shown = torch.stack(columns, 1).flatten(0, 1)
    save_png(image_grid(shown, len(columns)), folder / f"{config}.png")


if __name__ == "__main__":
    main()
