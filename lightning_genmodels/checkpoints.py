"""Checkpoints: which class one holds, loading it, and the last good one of a run."""

import importlib
import pickle
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from lightning_genmodels.errors import GenmodelsError


def note_class(model: LightningModule, checkpoint: dict[str, Any]) -> None:
    """Writes the model's class into a checkpoint; for `on_save_checkpoint`."""
    checkpoint["model_class"] = f"{type(model).__module__}.{type(model).__qualname__}"


def read_checkpoint(path: str | Path, map_location: str | torch.device = "cpu") -> dict[str, Any]:
    """Reads a checkpoint without running code from it.

    Raises:
        GenmodelsError: where there is no such file, or it is no checkpoint.
    """
    if not Path(path).is_file():
        is_folder = Path(path).is_dir()
        fault = "is a folder" if is_folder else "does not exist"
        folder = Path(path) if is_folder else Path(path).parent
        beside = sorted(other.name for other in folder.glob("*.ckpt") if other.is_file())
        found = f"; in that folder there is {', '.join(beside)}" if beside else ""
        raise GenmodelsError(f"checkpoint {path} {fault}{found}; expected a .ckpt file.")
    checkpoint = read_weights(path, map_location)
    if not isinstance(checkpoint, dict) or "state_dict" not in checkpoint:
        raise GenmodelsError(f"{path} holds no state_dict; expected a checkpoint made by Lightning.")
    return checkpoint


def read_weights(
    path: str | Path, map_location: str | torch.device = "cpu", expected: str = "one made by Lightning"
) -> Any:
    """What torch saved in an existing file, without running code from it; GenmodelsError where that cannot be read."""
    try:
        return torch.load(path, map_location=map_location, weights_only=True)
    except (pickle.UnpicklingError, LookupError) as error:  # torch's own report advises to run the file's code
        raise GenmodelsError(f"{path} cannot be read as a checkpoint; expected weights and plain data.") from error
    except (BadZipFile, EOFError, OSError, RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0].partition(". ")[0].rstrip(".") if str(error) else type(error).__name__
        raise GenmodelsError(f"{path} cannot be read as a checkpoint ({reason}); expected {expected}.") from error


def model_class(checkpoint: dict[str, Any], path: str | Path) -> type[LightningModule]:
    """The class whose weights a checkpoint holds.

    Raises:
        GenmodelsError: where the checkpoint names no class, or one that cannot be imported.
    """
    name = checkpoint.get("model_class", "")
    module, _, attribute = name.rpartition(".")
    if not module:
        raise GenmodelsError(f"{path} does not name its model's class; expected a checkpoint of one of our models.")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ModuleNotFoundError, AttributeError) as error:
        raise GenmodelsError(
            f"{path} holds a {name}, which cannot be imported ({error}); expected its module on the Python path."
        ) from error
    if not (isinstance(found, type) and issubclass(found, LightningModule)):
        raise GenmodelsError(f"{path} names {name} as its model's class; expected a LightningModule.")
    return found


def load_model(path: str | Path, map_location: str | torch.device = "cpu") -> LightningModule:
    """Loads the model that a checkpoint holds, in eval mode, whether the command line or Python made it.

    Args:
        path: the checkpoint file.
        map_location: device of the model.

    Returns:
        An instance of the class that was saved.

    Raises:
        GenmodelsError: where the file does not exist, is no checkpoint, or names a class that cannot be imported.
        RuntimeError: where the class has changed since, so that the weights do not fit.
    """
    found = model_class(read_checkpoint(path), path)
    model = found.load_from_checkpoint(path, map_location=map_location, weights_only=True)
    return model.eval()


def last_good_checkpoint(trainer: Trainer) -> str | None:
    """The newest checkpoint that this run has written and whose weights are all finite."""
    paths = {p for c in trainer.checkpoint_callbacks for p in (getattr(c, "last_model_path", ""),
                                                               getattr(c, "best_model_path", "")) if p}  # fmt: skip
    existing = [Path(p) for p in paths if Path(p).is_file()]
    for path in sorted(existing, key=lambda p: p.stat().st_mtime, reverse=True):
        weights = read_checkpoint(path)["state_dict"].values()
        if all(bool(w.isfinite().all()) for w in weights if isinstance(w, Tensor)):
            return str(path)
    return None


def name_last_good(trainer: Trainer) -> str:
    """The clause that ends a message about a run cut short: where its last good checkpoint lies."""
    path = last_good_checkpoint(trainer)
    return f"the last good checkpoint is {path}" if path else "no checkpoint had been written"
