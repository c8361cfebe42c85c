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
    data = config.get("data") if isinstance(config, dict) else None
    if not isinstance(data, str) and not (isinstance(data, dict) and "class_path" in data):
        raise GenmodelsError(f"{path} names no data; expected the configuration of a training.")
    if options.data_dir is not None:
        data = {"class_path": data} if isinstance(data, str) else data
        data["init_args"] = {**(data.get("init_args") or {}), "data_dir": options.data_dir}
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(LightningDataModule, "data")
    failures: list[Exception] = []

    def construct(class_type: type[Any], *args: Any, **kwargs: Any) -> Any:
        try:
            return class_type(*args, **kwargs)
        except Exception as error:  # raised again, here and below: jsonargparse would hide it behind its own
            failures.append(error)
            raise

    parser.add_instantiator(construct, LightningDataModule, subclasses=True)
    try:
        datamodule: LightningDataModule = parser.instantiate_classes(parser.parse_object({"data": data})).data
    except (jsonargparse.ArgumentError, TypeError, ValueError) as error:
        if failures:
            raise failures[0] from None
        raise GenmodelsError(f"{path}: {shorten(str(error))}") from error
    datamodule.prepare_data()
    datamodule.setup(None)  # type: ignore[arg-type]  # Lightning documents None for all stages, its stub does not
    return datamodule


def float_batches(model: Any, datamodule: Any, loader: Any) -> Iterator[tuple[Tensor, ...]]:
    """A loader's batches as the model takes them, images float in [0, 1].

    Raises:
        GenmodelsError: for images of another shape than the model's.
    """
    for batch in loader:
        floats = datamodule.to_float(batch) if hasattr(datamodule, "to_float") else batch
        if tuple(floats[0].shape[1:]) != tuple(model.image_shape):
            raise GenmodelsError(
                f"{type(datamodule).__name__} gives images of {tuple(floats[0].shape[1:])}; expected "
                f"{tuple(model.image_shape)}, the model's image_shape."
            )
        yield floats
