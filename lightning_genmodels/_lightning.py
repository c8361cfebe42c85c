"""Every touch of a Lightning private, each with a test of its name in tests/test_lightning_privates.py."""

import csv
import warnings
from pathlib import Path

from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.strategies import DDPStrategy, Strategy


def allow_unused_parameters(strategy: Strategy) -> None:
    """Makes plain "ddp" work with two optimizers; call it in `LightningModule.setup`, before DDP wraps the model.

    Each backward reaches one network only, and by default DDP would wait for the gradients of the other: the
    first discriminator step would go unsynchronised and the next one fail.
    """
    if isinstance(strategy, DDPStrategy):
        strategy._ddp_kwargs.setdefault("find_unused_parameters", True)


def keep_metrics(logger: CSVLogger, before_step: int) -> None:
    """Lets a resumed run go on in the `metrics.csv` of its folder, which a new CSVLogger would delete.

    Args:
        logger: on the folder of the earlier run, not yet used.
        before_step: rows from this step on were logged after the checkpoint and will be logged again; 0 for a new
            run, in whose folder another logger may already have put something.
    """
    path = Path(logger.log_dir, "metrics.csv")
    rows = []
    if path.is_file():
        with path.open(newline="") as file:
            rows = [row for row in csv.DictReader(file) if int(row["step"]) < before_step]
        path.unlink()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*is not empty")  # that the folder is in use is the point
        experiment = logger.experiment
    if rows:
        experiment.metrics_keys = list(rows[0])
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=experiment.metrics_keys)
            writer.writeheader()
            writer.writerows(rows)


def keep_counts_whole(parser: LightningArgumentParser) -> None:
    """Lets `--trainer.limit_val_batches 1` be one batch; Lightning has float before int, which makes it all of them.

    Args:
        parser: with the Trainer's options.
    """
    for action in parser._actions:
        if action.dest.startswith("trainer.limit_"):
            action._typehint = int | float | None  # type: ignore[attr-defined]


class CheckpointNeutralCLI(LightningCLI):
    """A LightningCLI in which a checkpoint's hyperparameters do not silently override the command line's."""

    def _parse_ckpt_path(self) -> None:
        """Nothing: the checkpoint's model comes as a configuration, before the options, which therefore win."""
