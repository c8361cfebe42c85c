"""A user's own loggers, in the run's folder."""

import uuid
from pathlib import Path

from jsonargparse import Namespace


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
            arguments.id = uuid.uuid4().hex[:8]
            arguments.resume = "allow"
    elif name == "TensorBoardLogger" and arguments.get("save_dir") in (None, "."):
        arguments.save_dir, arguments.name, arguments.version = str(run), "", "tensorboard"
