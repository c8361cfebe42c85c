"""Run folders: `runs/<config>/<n>/` with config.yaml, metrics.csv, pictures, checkpoints and predictions."""

import os
from pathlib import Path

from lightning.pytorch.utilities import rank_zero_only

from lightning_genmodels.errors import GenmodelsError

RUNS = Path("runs")
FOLDER_VARIABLE = "GENMODELS_RUN"


def is_first_process() -> bool:
    """Whether this is the process that writes the run's files."""
    return getattr(rank_zero_only, "rank", 0) == 0


@rank_zero_only
def say(text: str) -> None:
    """Prints once, whatever the number of processes."""
    print(text, flush=True)


def new_run(name: str) -> Path:
    """The next free folder `runs/<name>/<n>`, made at once so that no other run takes it.

    The first process makes it; those that it launches find it in their environment.
    """
    if not is_first_process() and FOLDER_VARIABLE in os.environ:
        return Path(os.environ[FOLDER_VARIABLE])
    number = 0
    while True:
        folder = RUNS / name / str(number)
        if not folder.exists():
            try:
                if is_first_process():
                    folder.mkdir(parents=True)
                    os.environ[FOLDER_VARIABLE] = str(folder)
                return folder
            except FileExistsError:  # another run was faster
                pass
        number += 1


def discard_if_empty(run: Path) -> None:
    """Removes a run's folder in which nothing was written, and the folder of its namesakes if there are none."""
    for folder in (run, run.parent):
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def last_checkpoint(run: Path) -> Path:
    """The checkpoint from which a run goes on.

    Raises:
        GenmodelsError: where the folder is no run's, or holds no such checkpoint.
    """
    if not (run / "config.yaml").is_file():
        raise GenmodelsError(
            f"--resume {run}: there is no {run / 'config.yaml'}; expected the folder of an earlier run."
        )
    path = run / "checkpoints" / "last.ckpt"
    if not path.is_file():
        raise GenmodelsError(f"--resume {run}: {path} does not exist; expected a run that had written a checkpoint.")
    return path


def run_of(checkpoint: Path) -> Path | None:
    """The folder of the run that made a checkpoint, where its config.yaml is still beside it."""
    for folder in checkpoint.absolute().parents[:2]:
        if (folder / "config.yaml").is_file():
            return folder
    return None
