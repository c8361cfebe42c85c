"""The data of a checkpoint's run, for the small commands."""

import argparse
import json
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
    path = resolve_config(options.config) if options.config is not None else str(Path(str(run), "config.yaml"))
    words = [] if options.data_dir is None else ["--data.data_dir", options.data_dir]
    datamodule = build_datamodule(["--data", data_section(path), *words], path)
    datamodule.prepare_data()
    datamodule.setup(None)  # type: ignore[arg-type]  # Lightning documents None for all stages, its stub does not
    return datamodule


def data_section(path: str) -> str:
    """What a configuration says of its data, as one argument.

    Raises:
        GenmodelsError: where it says nothing of them.
    """
    check_yaml(Path(path))
    config = yaml.safe_load(Path(path).read_text())
    data = config.get("data") if isinstance(config, dict) else None
    if not isinstance(data, str) and not (isinstance(data, dict) and "class_path" in data):
        raise GenmodelsError(f"{path} names no data; expected the configuration of a training.")
    return json.dumps(data) if isinstance(data, dict) else data


def build_datamodule(words: list[str], where: str) -> LightningDataModule:
    """Builds a data module from the options `--data CLASS --data.OPTION VALUE …`.

    Args:
        words: the options.
        where: what they come from, for the messages.

    Raises:
        GenmodelsError: for a class or an option that there is not, or a value that cannot be.
    """
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(LightningDataModule, "data", required=True)
    failures: list[Exception] = []

    def construct(class_type: type[Any], *args: Any, **kwargs: Any) -> Any:
        try:
            return class_type(*args, **kwargs)
        except Exception as error:  # raised again, here and below: jsonargparse would hide it behind its own
            failures.append(error)
            raise

    parser.add_instantiator(construct, LightningDataModule, subclasses=True)
    try:
        datamodule: LightningDataModule = parser.instantiate_classes(parser.parse_args(words)).data
    except (jsonargparse.ArgumentError, TypeError, ValueError) as error:
        if failures:
            raise failures[0] from None
        raise GenmodelsError(f"{where}: {shorten(str(error))}") from error
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
