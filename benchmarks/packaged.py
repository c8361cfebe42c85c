"""Training by packaged configurations, for the benchmarks; not one itself."""

import os
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import torch

from lightning_genmodels import load_model
from lightning_genmodels.cli import main as genmodels


class Trained(NamedTuple):
    """A run.

    Attributes:
        model: of its best.ckpt.
        steps: batches trained on.
        minutes: of processor time, all cores together.
        seconds: that went by.
    """

    model: Any
    steps: int
    minutes: float
    seconds: float


def enter(folder: str | None) -> Path:
    """Goes to the folder, where `runs/` will lie; to a temporary one where none is named."""
    entered = Path(folder or tempfile.mkdtemp()).resolve()
    entered.mkdir(parents=True, exist_ok=True)
    os.chdir(entered)
    return entered


def train(config: str, seed: int, *options: str) -> Trained:
    """Trains by the configuration through the command line, in the working directory."""
    cores, clock = time.process_time(), time.perf_counter()
    arguments = ["--seed_everything", str(seed), "--trainer.enable_progress_bar", "false", *options]
    if genmodels(["fit", "--config", config, *arguments]) != 0:
        raise SystemExit("training failed")
    cores, clock = time.process_time() - cores, time.perf_counter() - clock
    checkpoints = max(Path("runs", config).iterdir(), key=lambda run: int(run.name)) / "checkpoints"
    steps = torch.load(checkpoints / "last.ckpt", weights_only=True)["global_step"]
    return Trained(load_model(checkpoints / "best.ckpt"), steps, cores / 60, clock)
