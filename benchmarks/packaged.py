"""Training by packaged configurations, for the benchmarks; not one itself."""

import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import torch

from lightning_genmodels import load_model
from lightning_genmodels.cli import main as genmodels

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


class Trained(NamedTuple):
    """A run.

    Attributes:
        model: of its best.ckpt, on the GPU where there is one.
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


def newest_run(config: str) -> Path:
    """The folder of the last run in the working directory."""
    return max(Path("runs", config).iterdir(), key=lambda run: int(run.name))


def train(config: str, seed: int, *options: str) -> Trained:
    """Trains by the configuration through the command line, in the working directory."""
    cores, clock = time.process_time(), time.perf_counter()
    arguments = ["--seed_everything", str(seed), "--trainer.enable_progress_bar", "false", *options]
    if genmodels(["fit", "--config", config, *arguments]) != 0:
        raise SystemExit("training failed")
    cores, clock = time.process_time() - cores, time.perf_counter() - clock
    checkpoints = newest_run(config) / "checkpoints"
    steps = torch.load(checkpoints / "last.ckpt", weights_only=True)["global_step"]
    return Trained(load_model(checkpoints / "best.ckpt").to(DEVICE), steps, cores / 60, clock)


def train_once(folder: Path, config: str, seed: int, *options: str) -> Trained:
    """Trains in a folder of its own, or takes what was trained there to its end by the same options."""
    note, asked = folder / "trained.json", [config, seed, *options]
    if note.exists():
        done = json.loads(note.read_text())
        if done["asked"] != asked:
            raise SystemExit(f"{note} is of {done['asked']}; expected {asked}, or another folder")
        return Trained(load_model(folder / done["best"]).to(DEVICE), *done["run"])
    enter(str(folder))
    run = train(config, seed, *options)
    best = newest_run(config) / "checkpoints/best.ckpt"
    note.write_text(json.dumps({"asked": asked, "best": str(best), "run": run[1:]}))
    return run
