"""What the Trainer is told, checked before it fails on it."""

import inspect

from jsonargparse import Namespace
from lightning.pytorch import LightningModule

from lightning_genmodels.errors import GenmodelsError
from lightning_genmodels.models.base import AdversarialModel

# Options of the Trainer that are the model's own where it steps its optimizers by itself, and what does nothing.
BY_ITSELF = {"gradient_clip_val": ("gradient_clip", 0), "accumulate_grad_batches": ("accumulate", 1)}


def check_trainer(options: Namespace, model: LightningModule) -> None:
    """Raises GenmodelsError for options on which Lightning would fail later, with a traceback."""
    for name in ("check_val_every_n_epoch", "accumulate_grad_batches"):
        if options[name] is not None and options[name] < 1:
            raise GenmodelsError(f"--trainer.{name} is {options[name]}; expected 1 or more.")
    for name, (own, neutral) in BY_ITSELF.items() if isinstance(model, AdversarialModel) else ():
        if options[name] not in (None, neutral):
            has = own in inspect.signature(type(model)).parameters
            instead = f"--model.{own} {options[name]}" if has else f"{own}={options[name]} where it calls super()"
            raise GenmodelsError(f"--trainer.{name}: {type(model).__name__} steps by itself; expected {instead}.")
