"""A user's own loggers, in the run's folder."""

import os
import uuid
from importlib import import_module
from pathlib import Path
from typing import Any

from jsonargparse import Namespace
from lightning.pytorch.loggers import Logger, WandbLogger

from lightning_genmodels.cli.runs import is_first_process, say
from lightning_genmodels.errors import GenmodelsError

PATIENCE = "20"  # seconds until W&B counts as unreachable; its own default is 90


def init_args(choice: Namespace) -> Namespace:
    """The arguments of a chosen class; jsonargparse leaves them out where it takes none."""
    return choice.get("init_args") or Namespace()


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


def start_loggers(loggers: list[Logger], options: Namespace) -> None:
    """Begins a W&B run, and tells it the options; where W&B does not answer, one that stays on this machine.

    Args:
        loggers: of the trainer.
        options: of the command.

    Raises:
        GenmodelsError: where W&B has no key of the user's, or does not take it.
    """
    for logger in loggers:
        if isinstance(logger, WandbLogger) and is_first_process():
            _start_wandb(logger)
            logger.log_hyperparams(_described(options))


def _start_wandb(logger: WandbLogger) -> None:
    wandb: Any = import_module("wandb")  # only here: it takes its time
    os.environ.setdefault("WANDB_INIT_TIMEOUT", PATIENCE)
    try:
        _ = logger.experiment  # begins it
    except (wandb.errors.UsageError, wandb.errors.AuthenticationError) as error:
        reason = str(error).split(". ")[0].replace("\n", " ")
        raise GenmodelsError(
            f"WandbLogger: {reason}; expected `wandb login` before, or the key in WANDB_API_KEY, or WANDB_MODE=offline."
        ) from error
    except wandb.errors.CommError as error:
        wandb.teardown()  # it has read its environment, and holds on to the run
        os.environ["WANDB_MODE"] = "offline"
        folder = os.path.relpath(Path(logger.experiment.dir).parent)
        reason = str(error).splitlines()[-1].removeprefix("while retrying: ")
        say(
            f"Weights & Biases cannot be reached, or refuses ({reason}): the run goes on offline; send it with: "
            f"wandb sync {folder}"
        )


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
