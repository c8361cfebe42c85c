"""What a training says once it is over."""

import math
from pathlib import Path

from lightning.pytorch import LightningDataModule, Trainer

from lightning_genmodels.callbacks import BestCheckpoint
from lightning_genmodels.cli.runs import say


def tell_results(trainer: Trainer, run: Path, best: BestCheckpoint | None) -> None:
    """Says where the checkpoints and the pictures lie."""
    place = run / "checkpoints" / "best.ckpt"
    if best is not None and best.best_model_path:
        assert best.best_model_score is not None
        score = float(best.best_model_score)  # infinite where it was not a number
        told = f"{best.monitor} {score:.4g}" if math.isfinite(score) else f"{best.monitor} is not a number yet"
        if place.is_file():
            say(f"Best checkpoint: {place} ({told})")
        else:  # this run went on from a checkpoint of another
            say(f"No best checkpoint: none was better than that of the run before ({told}).")
    elif best is not None and best.monitor in trainer.callback_metrics:  # which came while the images were growing
        say("No best checkpoint: there was no validation yet of images that have grown to their size.")
    elif best is not None and holds_nothing_out(trainer.datamodule):  # type: ignore[attr-defined]
        say("No best checkpoint: the data hold nothing out for validation.")
    elif best is not None:
        epochs, interval = trainer.check_val_every_n_epoch, trainer.val_check_interval
        option = "val_check_interval" if epochs is None else "check_val_every_n_epoch"
        say(f"No best checkpoint: there was no validation yet; --trainer.{option} is {epochs or interval}.")
    last = run / "checkpoints" / "last.ckpt"
    if last.is_file() and trainer.checkpoint_callbacks:  # there is none where the training was over before it began
        say(f"Last checkpoint: {last}")
    pictures = sorted((run / "pictures").glob("*.png"))
    if pictures:
        say(f"Pictures: {pictures[-1]}" + (f", and {len(pictures) - 1} before it" if pictures[1:] else ""))
    tables = sorted((run / "tables").glob("*.csv"))
    if tables:
        say(f"Table of labelled images: {tables[-1].with_suffix('.png')}, and its labels beside it as .csv")


def holds_nothing_out(datamodule: LightningDataModule) -> bool:
    """Whether there is nothing to validate with."""
    missing = type(datamodule).val_dataloader is LightningDataModule.val_dataloader
    return missing or datamodule.val_dataloader() in (None, [])


def tell_if_nothing_trained(trainer: Trainer, first_step: int) -> None:
    """Says so where a training that went on from a checkpoint, of the step given, was over before."""
    if trainer.global_step != first_step:
        return
    steps, epochs = trainer.max_steps, trainer.max_epochs
    if 0 <= steps <= first_step:
        why = f"--trainer.max_steps is {steps}, and step {first_step} was reached before"
    elif epochs is not None and 0 <= epochs <= trainer.current_epoch:
        why = f"--trainer.max_epochs is {epochs}, and as many epochs were over before"
    else:
        why = f"the training ends at step {first_step}, which was reached before"
    say(f"Nothing was trained: {why}.")
