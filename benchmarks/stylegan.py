"""StyleGAN on digits: scores by the digit features and path lengths, at several truncations, and the mixing grid.

    OMP_NUM_THREADS=1 python benchmarks/stylegan.py --config stylegan_digits

Each seed trains through the command line; its best.ckpt draws as many samples as there are real digits: all 1,797 of
scikit-learn's, or MNIST's test images. Perceptual path lengths (in W and in Z, by the distance that needs no weights)
are of samples that are not truncated. The samples, a mixing grid and the same latents under other noise are saved as
pictures.
"""

import argparse

import torch
import yaml
from packaged import enter, train
from torch import Tensor

import datamodules
from lightning_genmodels.configs import packaged_configs
from lightning_genmodels.editing import mixing_grid
from lightning_genmodels.metrics import DensityCoverage, FrechetDistance, PrecisionRecall, perceptual_path_length
from lightning_genmodels.pictures import image_grid, save_png

TRUNCATIONS = (1.0, 0.7, 0.5)
COLUMNS = ("precision", "recall", "density", "coverage", "fid")
ROWS, GRID_COLUMNS = 5, 8  # of the mixing grid


def real_images(config: str, data_dir: str | None) -> Tensor:
    """(N, C, S, S) in [0, 1]: the test images, or where they are few those of all splits."""
    options = yaml.safe_load(packaged_configs()[config].read_text())["data"]
    folder = {} if data_dir is None else {"data_dir": data_dir}
    data = getattr(datamodules, options["class_path"])(**options.get("init_args", {}) | folder)
    data.prepare_data()
    data.setup()
    test = torch.cat([data.to_float(batch).image for batch in data.test_dataloader()])
    if len(test) >= 1000:
        return test
    others = [
        data.to_float(batch).image for loader in (data.train_dataloader(), data.val_dataloader()) for batch in loader
    ]
    return torch.cat([test, *others])


def scores(fake: Tensor, real: Tensor) -> dict[str, float]:
    """By the digit features."""
    row: dict[str, float] = {}
    for metric in (PrecisionRecall(k=3, features="digits"), DensityCoverage(k=5, features="digits"), FrechetDistance()):
        metric.update(real, real=True)
        metric.update(fake, real=False)
        row |= {name.removesuffix("_digits"): value.item() for name, value in metric.compute().items()}
    return row


def main() -> None:
    """Trains, scores and prints the table."""
    parser = argparse.ArgumentParser(description="StyleGAN on digits.")
    parser.add_argument("--config", default="stylegan_digits", help="default: %(default)s")
    parser.add_argument("--data_dir", help="folder of the data sets, where the configuration's are files")
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--output", help="folder of the runs and pictures; a temporary one where none is given")
    options = parser.parse_args()
    real = real_images(options.config, options.data_dir)
    folder = enter(options.output)
    print(
        f"| {options.config} | truncation | {' | '.join(COLUMNS)} | path in W | path in Z | core minutes |", flush=True
    )
    print(f"| --- |{' ---: |' * (len(COLUMNS) + 4)}")
    where = [] if options.data_dir is None else ["--data.data_dir", options.data_dir]
    for seed in options.seeds:
        run = train(options.config, seed, *where)
        paths = [
            next(
                iter(
                    perceptual_path_length(run.model, space=space, generator=torch.Generator().manual_seed(0)).values()
                )
            )
            for space in ("w", "z")
        ]
        for truncation in TRUNCATIONS:
            source = torch.Generator().manual_seed(seed)
            fake = run.model.sample(len(real), generator=source, truncation=truncation).cpu()
            row = scores(fake, real)
            save_png(image_grid(fake[:128]), folder / f"{options.config}-{seed}-truncation{truncation}.png")
            beside = [*(f"{path:.4g}" for path in paths), f"{run.minutes:.1f}"] if truncation == 1 else ["", "", ""]
            print(
                f"| seed {seed} | {truncation} | {' | '.join([*(f'{row[c]:.3g}' for c in COLUMNS), *beside])} |",
                flush=True,
            )
        source = torch.Generator().manual_seed(seed)
        grid = mixing_grid(run.model, ROWS, GRID_COLUMNS, run.model.style_layers // 2, generator=source, truncation=0.7)
        save_png(image_grid(grid.cpu(), columns=GRID_COLUMNS + 1), folder / f"{options.config}-{seed}-mixing.png")


if __name__ == "__main__":
    main()
