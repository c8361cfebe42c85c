"""A user's own loggers, in the run's folder."""

import os
import uuid
from http.client import HTTPException
from importlib import import_module
from pathlib import Path
from ssl import SSLError
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

from jsonargparse import Namespace
from lightning.pytorch.loggers import Logger, WandbLogger

from lightning_genmodels.cli.runs import is_first_process, say
from lightning_genmodels.errors import GenmodelsError

PATIENCE = 10  # seconds
STAYS_HERE = ("offline", "dryrun", "disabled")  # modes of W&B


def init_args(choice: Namespace) -> Namespace:
    """The arguments of a chosen class; jsonargparse leaves them out where it takes none."""
    return choice.get("init_args") or Namespace()


def as_list(value: Any) -> list[Any]:
    """An option that may be absent, single or a list, as a list."""
    return [] if value is None else value if isinstance(value, list) else [value]


def place_logger(logger: Namespace, run: Path) -> None:
    """Puts a user's W&B or TensorBoard logger into the run's folder, where it was given no other.

    A W&B run gets its id now: config.yaml keeps it, and a resumed run goes on under it.
    """
    name = logger.class_path.rpartition(".")[2]
    arguments = init_args(logger)
    place = arguments.get("save_dir")
    if place is not None and Path(place) != run and (Path(place) / "config.yaml").is_file():
        # From another run's configuration: what is new does not go on there.
        arguments.save_dir, arguments.id = ".", None
    if name == "WandbLogger":
        if arguments.get("save_dir") in (None, "."):
            arguments.save_dir = str(run)
        if arguments.get("id") is None and arguments.get("version") is None:
            arguments.id = os.environ.get("WANDB_RUN_ID") or uuid.uuid4().hex[:8]  # the agent of a sweep gives one
            arguments.resume = "allow"
    elif name == "TensorBoardLogger" and arguments.get("save_dir") in (None, "."):
        arguments.save_dir, arguments.name, arguments.version = str(run), "", "tensorboard"
    elif name == "CSVLogger" and arguments.get("save_dir") in (None, "."):
        arguments.save_dir, arguments.name, arguments.version = str(run), "", "csv"


def start_loggers(loggers: list[Logger], options: Namespace) -> None:
    """Begins a W&B run, and tells it the options; where W&B cannot be reached, one that stays on this machine.

    Args:
        loggers: of the trainer.
        options: of the command.

    Raises:
        GenmodelsError: where W&B does not begin a run, as without a key of the user's.
    """
    if not is_first_process():
        return
    chosen = [init_args(choice) for choice in as_list(options.trainer.logger) if isinstance(choice, Namespace)]
    stays = any(arguments.get("offline") or arguments.get("mode") in STAYS_HERE for arguments in chosen)
    for logger in loggers:
        if isinstance(logger, WandbLogger):
            wandb: Any = import_module("wandb")  # only here: it takes its time
            if wandb.run is None and not stays:
                _go_offline_if_unreachable(wandb, Path(logger.save_dir or "."))
            try:
                logger.log_hyperparams(_described(options))
            except (wandb.errors.UsageError, wandb.errors.CommError) as error:
                raise GenmodelsError(
                    f"WandbLogger: {str(error).splitlines()[-1].rstrip('.')}; expected `wandb login` before, or a key "
                    "in WANDB_API_KEY, that may write there; or WANDB_MODE=offline."
                ) from error


def _go_offline_if_unreachable(wandb: Any, folder: Path) -> None:
    """Asks before W&B does, which would try for 100 seconds and end the training."""
    settings = wandb.setup().settings
    reason = None if settings.mode in STAYS_HERE else why_unreachable(settings.base_url)
    if reason is not None:
        wandb.teardown()  # it has read its environment
        os.environ["WANDB_MODE"] = "offline"
        say(
            f"Weights & Biases cannot be reached ({settings.base_url}: {reason}): the run goes on offline; send it "
            f"later with: wandb sync {folder / 'wandb' / 'offline-run-*'}"
        )


def why_unreachable(url: str) -> str | None:
    """What keeps a server from answering; None where it answers, whatever it says."""
    try:
        urlopen(url, timeout=PATIENCE).close()
    except HTTPError as error:
        return f"{error.code} {error.reason}" if error.code >= 500 else None
    except (OSError, HTTPException) as error:
        cause = getattr(error, "reason", error)
        return None if isinstance(cause, SSLError) else str(cause)  # W&B's client may have other certificates
    return None


def _described(options: Namespace) -> dict[str, Any]:
    """What W&B shall know beside the model's hyperparameters, which Lightning tells it."""
    found = options.as_dict()
    trainer = {name: value for name, value in found["trainer"].items() if name != "logger"}
    return {
        "seed_everything": found["seed_everything"],
        "model": found["model"]["class_path"],
        "data": found["data"],
        "trainer": trainer,
    }
