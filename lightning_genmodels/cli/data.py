"""The data of a checkpoint's run, for the small commands."""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonargparse
import yaml
from lightning.pytorch import LightningDataModule
from torch import Tensor

from lightning_genmodels.cli.arguments import check_yaml, resolve_config
from lightning_genmodels.cli.messages import shorten
from lightning_genmodels.cli.runs import run_of
from lightning_genmodels.cli.small import SmallParser
from lightning_genmodels.errors import GenmodelsError


def add_data_arguments(parser: SmallParser) -> None:
    """Adds `--config` and `--data_dir`."""
    parser.add_argument("--config", help="whose data to take: a path or a packaged name (default: the run's own)")
    parser.add_argument("--data_dir", help="folder of all data sets (default: as in the configuration)")


def data_of(options: argparse.Namespace) -> LightningDataModule:
    """The data module of the configuration, ready for use outside a Trainer.

    Raises:
        GenmodelsError: where no configuration says which data to take, or what it says cannot be.
    """
    run = run_of(Path(options.checkpoint))
    if options.config is None and run is None:
        raise GenmodelsError(
            f"--checkpoint {options.checkpoint} lies in no run's folder, so nothing says which data to take; expected "
            "--config with a packaged name or a path."
        )
    path = Path(resolve_config(options.config)) if options.config is not None else Path(str(run), "config.yaml")
    check_yaml(path)
    config = yaml.safe_load(path.read_text())
    if not isinstance(config, dict) or "data" not in config:
        raise GenmodelsError(f"{path} names no data; expected the configuration of a training.")
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(LightningDataModule, "data")
    if options.data_dir is not None:
        config["data"].setdefault("init_args", {})["data_dir"] = options.data_dir
    try:
        parsed = parser.parse_object({"data": config["data"]})
    except (jsonargparse.ArgumentError, TypeError) as error:
        raise GenmodelsError(f"{path}: {shorten(str(error))}") from error
    datamodule: LightningDataModule = parser.instantiate_classes(parsed).data
    datamodule.prepare_data()
    datamodule.setup(None)  # type: ignore[arg-type]  # Lightning documents None for all stages, its stub does not
    return datamodule


def float_batches(datamodule: Any, loader: Any) -> Iterator[tuple[Tensor, ...]]:
    """A loader's batches as a model takes them, images float in [0, 1]."""
    for batch in loader:
        yield datamodule.to_float(batch) if hasattr(datamodule, "to_float") else batch
