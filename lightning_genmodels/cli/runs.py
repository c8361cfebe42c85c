"""Run folders: `runs/<config>/<n>/` with config.yaml, metrics.csv, pictures, checkpoints and predictions."""

from pathlib import Path

from lightning.pytorch.utilities import rank_zero_only

from lightning_genmodels.errors import GenmodelsError

RUNS = Path("runs")


def is_first_process() -> bool:
    """Whether this is the process that writes the run's files."""
    return getattr(rank_zero_only, "rank", 0) == 0


def new_run(name: str) -> Path:
    """The next free folder `runs/<name>/<n>`, made at once so that no other run takes it."""
    number = 0
    while True:
        folder = RUNS / name / str(number)
        if not folder.exists():
            try:
                if is_first_process():  # the other processes of a run follow the first one's folder
                    folder.mkdir(parents=True)
                return folder
            except FileExistsError:  # another run was faster
                pass
        number += 1


def discard_if_empty(run: Path) -> None:
    """Removes a run's folder in which nothing was written."""
    if run.is_dir() and not any(run.iterdir()):
        run.rmdir()


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
    for folder in (checkpoint.parent, checkpoint.parent.parent):
        if (folder / "config.yaml").is_file():
            return folder
    return None
