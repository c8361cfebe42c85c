"""What the small commands share: their parser, and their checkpoint's model."""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, NoReturn

import torch
from lightning.pytorch import LightningModule

from lightning_genmodels.checkpoints import load_model
from lightning_genmodels.errors import GenmodelsError
from lightning_genmodels.metrics import DISTANCES
from lightning_genmodels.models.pix2pix import Pix2Pix


class SmallParser(argparse.ArgumentParser):
    """A parser whose errors are ours: one sentence each."""

    def __init__(self, command: str, description: str) -> None:
        super().__init__(prog=f"genmodels {command}", description=description, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        """Raises instead of printing the usage."""
        raise GenmodelsError(f"{self.prog.split()[-1]}: {message}.")


def add_model_arguments(parser: SmallParser, checkpoint: str = "the checkpoint") -> None:
    """Adds `--checkpoint`, which its help calls so, `--device` and `--seed`."""
    parser.add_argument("--checkpoint", required=True, metavar="FILE", help=checkpoint)
    parser.add_argument("--ckpt_path", type=_lightnings_name, help=argparse.SUPPRESS)
    parser.add_argument("--device", default="cpu", help="where to compute: cpu, cuda, cuda:1, mps (default: cpu)")
    parser.add_argument("--seed", type=int, default=0, help="of the random draws (default: 0)")


def _lightnings_name(value: str) -> NoReturn:
    raise GenmodelsError(
        f"--ckpt_path {value}: an option of fit, validate, test and predict; expected --checkpoint FILE here."
    )


def check_png(output: Path) -> None:
    """Raises GenmodelsError for an `--output` that cannot be a PNG's."""
    if output.suffix.lower() != ".png" or output.is_dir():
        raise GenmodelsError(f"--output is {output}; expected a file name that ends in .png.")


def add_truncation(parser: SmallParser) -> None:
    """Adds `--truncation` of a StyleGAN; see `truncation_of`."""
    parser.add_argument(
        "--truncation",
        type=float,
        metavar="SHARE",
        help="of a StyleGAN: how far styles lie from the mean one; below 1 more typical and less varied (default: 1)",
    )


def add_distance(parser: SmallParser, of: str) -> None:
    """Adds `--distance` of images, which its help calls so."""
    parser.add_argument(
        "--distance",
        choices=list(DISTANCES),
        default="pyramid",
        help=f"{of}; lpips, as published, downloads half a GB once (default: pyramid)",
    )


def check_styled_options(model: Any, options: argparse.Namespace, *names: str) -> None:
    """Raises GenmodelsError for an option of a StyleGAN that was given with another model."""
    for name in names:
        if getattr(options, name) is not None and not hasattr(model, "synthesize"):
            raise GenmodelsError(f"--{name}: {type(model).__name__} takes none; expected a StyleGAN's checkpoint.")


def truncation_of(options: argparse.Namespace) -> float:
    """The one asked for, else 1; GenmodelsError for one outside 0 to 1."""
    truncation = 1.0 if options.truncation is None else float(options.truncation)
    if not 0 <= truncation <= 1:
        raise GenmodelsError(f"--truncation is {truncation}; expected 0 to 1.")
    return truncation


def existing(option: str, value: str, expected: str) -> Path:
    """The path that an option names; GenmodelsError where there is nothing."""
    if not value or not Path(value).exists():
        raise GenmodelsError(f"--{option} {value or repr(value)} does not exist; expected {expected}.")
    return Path(value)


def check_writable(output: Path) -> None:
    """Makes the folder of an `--output`; GenmodelsError where no file can be written there. Before long work."""
    with writing(f"--output {output}"):
        output.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=output.parent):
            pass


@contextmanager
def writing(place: str | Path) -> Iterator[None]:
    """Raises GenmodelsError, which begins with `place`, for a file that cannot be written."""
    try:
        yield
    except OSError as error:
        raise GenmodelsError(f"{place} cannot be written ({error.strerror or error}).") from error


def model_on_device(options: argparse.Namespace) -> LightningModule:
    """The checkpoint's model, or that of a published generator of pix2pix (.pth), on the device asked for.

    Raises:
        GenmodelsError: for a device that there is not, a seed out of range, or a checkpoint that cannot be loaded.
    """
    if not 0 <= options.seed < 2**63:
        raise GenmodelsError(f"--seed is {options.seed}; expected 0 to 2^63 - 1.")
    try:
        torch.empty(0, device=options.device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise GenmodelsError(f"--device {options.device} cannot be used ({reason}); expected e.g. cpu.") from error
    if options.checkpoint.endswith(".pth"):
        return Pix2Pix.from_published(options.checkpoint).to(options.device)
    return load_model(options.checkpoint, map_location=options.device)


def styled_model_on_device(options: argparse.Namespace) -> Any:
    """The same of a StyleGAN's checkpoint; GenmodelsError for one of another model."""
    model = model_on_device(options)
    if not hasattr(model, "synthesize"):
        raise GenmodelsError(
            f"--checkpoint {options.checkpoint} has no styles: its model is {type(model).__name__}; expected a "
            "StyleGAN."
        )
    return model
