"""Dispatches `genmodels COMMAND …`; what is wrong with the input is one sentence and exit status 2."""

import os
import sys
import warnings
from collections.abc import Sequence
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path

import datamodules
import lightning_genmodels
from lightning_genmodels.cli.runs import is_first_process
from lightning_genmodels.errors import GenmodelsError

COMMANDS = {
    "fit": "train a model; alone, it trains a GAN on embedded digits in about a minute",
    "validate": "score a checkpoint on the validation split: --ckpt_path FILE",
    "test": "score a checkpoint on the test split: --ckpt_path FILE",
    "predict": "write what a checkpoint predicts for the test split: --ckpt_path FILE",
    "sample": "draw a grid of samples: --checkpoint FILE --output grid.png",
    "translate": "make pictures of pictures: --checkpoint FILE --input photo.jpg --output made.png",
    "interpolate": "draw what lies between two codes: --checkpoint FILE --output morph.gif",
    "project": "find the styles of pictures: --checkpoint FILE --input face.jpg --output found.png",
    "mix": "mix the styles of a StyleGAN's samples: --checkpoint FILE --output grid.png",
    "edit": "change an attribute of a StyleGAN's samples: --checkpoint FILE --attribute Young --strength -2",
    "path_length": "score how evenly a StyleGAN's images change with its latents: --checkpoint FILE",
    "probe": "score an autoencoder's codes by simple classifiers: --checkpoint FILE",
    "data": "look at a data set: data check or data preview, --data CLASS",
    "configs": "list the packaged configurations",
}
# What runs each of the small commands; imported once it is called for. The others are LightningCLI's.
SMALL = {
    "sample": "sample.sample",
    "translate": "translate.translate",
    "interpolate": "interpolate.interpolate",
    "project": "project.project",
    "mix": "mix.mix",
    "edit": "edit.edit",
    "path_length": "path_length.path_length",
    "probe": "probe.probe",
    "data": "datasets.look_at_data",
    "configs": "configs.list_configs",
}
OTHER_WORDS = {"train": "fit", "run": "fit", "eval": "validate", "evaluate": "validate", "val": "validate",
               "generate": "sample", "draw": "sample", "list": "configs", "infer": "predict",
               "morph": "interpolate", "score": "probe", "ppl": "path_length"}  # fmt: skip
USAGE = "usage: genmodels COMMAND [options]; genmodels COMMAND --help lists the options\n\n" + "\n".join(
    f"  {name:<11} {text}" for name, text in COMMANDS.items()
)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        argv: the words after `genmodels`; None takes them from the process.

    Returns:
        The exit status: 0, or 2 where the input was at fault. A bug raises.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    # Lightning 2.6 under torch 2.15 and newer; nothing that a user could act on.
    warnings.filterwarnings("ignore", message=".*LeafSpec.*is deprecated")
    try:
        _run(arguments)
    except _our_errors() as error:
        print(f"genmodels: {error}", file=sys.stderr)
        return 2
    return 0


def _our_errors() -> tuple[type[Exception], ...]:
    # A foreign package called datamodules has no DataError; _check_datamodules() says so.
    return (GenmodelsError, getattr(datamodules, "DataError", GenmodelsError))


def _run(arguments: list[str]) -> None:
    command = arguments[0] if arguments else "--help"
    if command in ("-h", "--help", "help"):
        print(USAGE)
        return
    if command == "--version":
        print(lightning_genmodels.__version__)
        return
    if command not in COMMANDS:
        close = [OTHER_WORDS[command]] if command in OTHER_WORDS else get_close_matches(command, COMMANDS, n=1)
        advice = f"did you mean genmodels {close[0]}?" if close else f"expected one of {', '.join(COMMANDS)}."
        raise GenmodelsError(f"{command} is no command; {advice}")
    _check_datamodules()
    # A user's classes are found, and cannot shadow ours: the working directory comes last.
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    if command in SMALL:
        module, _, function = SMALL[command].rpartition(".")
        getattr(import_module(f"lightning_genmodels.cli.{module}"), function)(arguments[1:])
    else:
        from lightning_genmodels.cli.arguments import expand
        from lightning_genmodels.cli.training import GenmodelsCLI

        GenmodelsCLI(expand(arguments))


def _check_datamodules() -> None:
    own = Path(lightning_genmodels.__file__).parents[1] / "datamodules" / "__init__.py"
    found = datamodules.__file__ or f"{next(iter(datamodules.__path__))}, a folder"
    if Path(found) != own:
        raise GenmodelsError(
            f"the package datamodules was found at {found}; expected ours at {own}: put yours into a package of your "
            "own, as mypackage/datamodules, or take its folder off PYTHONPATH."
        )
    yours = Path("datamodules")
    is_ours = yours.absolute() == own.parent or Path("lightning_genmodels").is_dir()  # a clone has both
    if any(yours.glob("*.py")) and not is_ours and is_first_process():
        print(
            f"genmodels: {yours.absolute()} is hidden by our package of that name; to use its classes, put it into a "
            "package of your own, as mypackage/datamodules.",
            file=sys.stderr,
        )
