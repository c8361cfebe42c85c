"""Every touch of a Lightning private, each with a test of its name in tests/test_lightning_privates.py."""

import csv
from pathlib import Path

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
        before_step: rows from this step on were logged after the checkpoint and will be logged again.
    """
    path = Path(logger.log_dir, "metrics.csv")
    rows = []
    if path.is_file():
        with path.open(newline="") as file:
            rows = [row for row in csv.DictReader(file) if int(row["step"]) < before_step]
        path.unlink()
    experiment = logger.experiment
    if rows:
        experiment.metrics_keys = list(rows[0])
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=experiment.metrics_keys)
            writer.writeheader()
            writer.writerows(rows)
