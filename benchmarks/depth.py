"""Depth from one picture: every loss within the same budget, beside maps that see no picture.

    OMP_NUM_THREADS=1 python benchmarks/depth.py --config depth_nyu --data_dir DATA

Trains a packaged configuration (`depth_nyu` or `depth_scenes`) once for each loss and once more with L1 and the
discriminator, through the command line, and scores each best.ckpt on the test pairs. The maps that see no picture give
every pixel what the training maps have there: the mean, the geometric mean, the median, and what has the least relative
error.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import yaml
from packaged import DEVICE, enter, train
from torch import Tensor

import datamodules
from lightning_genmodels.configs import packaged_configs
from lightning_genmodels.metrics import DepthErrors

COLUMNS = ("rel", "log10", "rms", "rmslog", "delta1", "delta2", "delta3")
VARIANTS = {
    **{
        loss: ("--model.loss", loss, "--model.adversarial_weight", "0")
        for loss in ("l1", "l2", "huber", "berhu", "eigen", "eigen_grad")
    },
    "l1 + discriminator": ("--model.loss", "l1", "--model.adversarial_weight", "0.01"),
}


def loaded(config: str, data_dir: str | None, seed: int) -> Any:
    """The configuration's data, ready."""
    options = yaml.safe_load(packaged_configs()[config].read_text())["data"]
    arguments = options.get("init_args", {}) | ({} if data_dir is None else {"data_dir": data_dir})
    data = getattr(datamodules, options["class_path"])(**arguments, seed=seed)
    data.prepare_data()
    data.setup()
    return data


def scored(data: Any, estimate: Callable[[Tensor], Tensor], errors: DepthErrors) -> dict[str, float]:
    """The errors on the test pairs."""
    errors.reset()
    for batch in data.test_dataloader():
        images, depth = data.to_float(batch)
        errors.update(estimate(images.to(DEVICE)).cpu(), depth)
    return {name: value.item() for name, value in errors.compute().items()}


def blind_maps(depth: Tensor) -> dict[str, Tensor]:
    """(N, 1, H, W) training maps -> (1, 1, H, W) each: what they have in each pixel, where it is measured."""
    measured = depth > 0
    count = measured.sum(0, keepdim=True).clamp_min(1)
    logarithms = torch.where(measured, depth, 1).log().sum(0, keepdim=True) / count
    ordered = torch.where(measured, depth, float("inf")).sort(0).values
    # |p - y| / y is least where half of the weights 1 / y lie below p.
    weights = (1 / ordered).cumsum(0)
    place = (weights < weights[-1:] / 2).sum(0, keepdim=True)
    return {
        "mean": depth.sum(0, keepdim=True) / count,
        "geometric mean": logarithms.exp(),
        "median": ordered.gather(0, (count - 1) // 2),
        "least relative error": ordered.gather(0, place),
    }


def show(name: str, row: dict[str, float], more: str = "") -> None:
    """A line of the table."""
    print(f"| {name} | " + " | ".join(f"{row[column]:.3f}" for column in COLUMNS) + f" | {more} |", flush=True)


def main() -> None:
    """Measures and prints the table."""
    parser = argparse.ArgumentParser(description="Depth by each loss, beside maps that see no picture.")
    parser.add_argument("--config", default="depth_scenes", help="default: %(default)s")
    parser.add_argument("--data_dir", help="folder of the data sets, where the configuration's are files")
    parser.add_argument("--variants", nargs="*", choices=list(VARIANTS), help="all where none is named")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", help="folder of the runs; a temporary one where none is given")
    options = parser.parse_args()
    data_dir = None if options.data_dir is None else str(Path(options.data_dir).resolve())
    enter(options.output)
    data = loaded(options.config, data_dir, options.seed)
    model = yaml.safe_load(packaged_configs()[options.config].read_text())["model"].get("init_args", {})
    errors = DepthErrors(model.get("cap", 10.0), model.get("crop", "none"))
    print(f"| {options.config} | {' | '.join(COLUMNS)} | core minutes |\n| --- |{' ---: |' * (len(COLUMNS) + 1)}")
    depth = torch.cat([data.to_float(batch)[1] for batch in data.train_dataloader()])
    for name, flat in blind_maps(depth).items():
        show(name, scored(data, lambda images, flat=flat: flat.expand(len(images), -1, -1, -1), errors))
    where = () if data_dir is None else ("--data.data_dir", data_dir)
    for name in options.variants or VARIANTS:
        run = train(options.config, options.seed, *where, *VARIANTS[name])
        show(name, scored(data, run.model.translate, errors), f"{run.minutes:.1f}")


if __name__ == "__main__":
    main()
