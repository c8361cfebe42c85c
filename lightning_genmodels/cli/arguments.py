"""What a user types, turned into what LightningCLI reads."""

import argparse
import inspect
import json
import re
from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple

import yaml

from lightning_genmodels.checkpoints import model_class, read_checkpoint
from lightning_genmodels.cli.runs import last_checkpoint, run_of
from lightning_genmodels.configs import packaged_configs
from lightning_genmodels.errors import GenmodelsError

DEFAULT_CONFIG = "gan_digits"


class Arguments(NamedTuple):
    """Arguments for LightningCLI, and what they say about the run.

    Attributes:
        argv: subcommand and options, configurations as paths.
        name: what the run's folder is named after.
        run: the folder of the earlier run that these options continue or evaluate; None for a new one.
        checkpoint: the checkpoint to start from, if any.
    """

    argv: list[str]
    name: str
    run: Path | None
    checkpoint: Path | None


def expand(argv: list[str]) -> Arguments:
    """Resolves `--config NAME`, `--resume RUN`, `--ckpt_path FILE` and the lack of them all.

    Raises:
        GenmodelsError: for a configuration, run or checkpoint that is not there.
    """
    command, rest = argv[0], argv[1:]
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--config", "-c", action="append", default=[])
    parser.add_argument("--resume")
    parser.add_argument("--ckpt_path")
    try:
        found, others = parser.parse_known_args(rest)
    except argparse.ArgumentError as error:
        raise GenmodelsError(f"{error.argument_name}: {error.message}.") from error
    if mentions(others, "--checkpoint"):  # unlike --checkpoint.monitor and its kind
        raise GenmodelsError(
            f"{command}: --checkpoint is an option of sample and the other small commands; expected --ckpt_path FILE."
        )
    configs = [resolve_config(value) for value in found.config]
    name = config_name(Path(configs[-1])) if configs else ""
    run = checkpoint = None
    if found.resume is not None:
        if command != "fit" or found.ckpt_path is not None:
            raise GenmodelsError("--resume goes with fit, and without --ckpt_path: it takes the run's own last.ckpt.")
        run = Path(found.resume)
        checkpoint = last_checkpoint(run)
        configs.insert(0, str(run / "config.yaml"))
    elif found.ckpt_path is not None:
        checkpoint = Path(found.ckpt_path)
        if command != "fit" and not configs and not mentions(others, "--trainer.precision"):
            # Codes and figures do not depend on how it was trained, and are those of `probe` and of Python.
            others += ["--trainer.precision", "32-true"]
        configs = checkpoint_configs(checkpoint, configs, others)
        earlier = run_of(checkpoint)
        name = name or (earlier.parent.name if earlier else "")
        run = None if command == "fit" else earlier
    elif command != "fit" and not mentions(others, "-h", "--help"):
        raise GenmodelsError(f"{command}: expected --ckpt_path FILE, the checkpoint to {command} with.")
    elif command == "fit" and not (configs or chooses(others, "model") or chooses(others, "data")):
        configs, name = [resolve_config(DEFAULT_CONFIG)], DEFAULT_CONFIG
    words = " ".join(others).replace("=", " ")
    placed = re.search(r"--trainer\.logger (?:[\w.]+\.)?(?:TensorBoard|CSV)Logger\b", words)
    if placed and "--trainer.logger.save_dir" not in words:
        others += ["--trainer.logger.save_dir", "."]  # it has no default; the run's folder takes its place
    argv = [command, *(part for config in configs for part in ("--config", config)), *others]
    if checkpoint is not None:
        if mentions(others, "--init_from"):
            raise GenmodelsError("--init_from goes with a new training, without --resume and --ckpt_path.")
        argv += ["--ckpt_path", str(checkpoint)]
    return Arguments(argv, name, run, checkpoint)


def checkpoint_configs(checkpoint: Path, configs: list[str], others: list[str]) -> list[str]:
    """The configurations to use a checkpoint with: those given, else its run's; then its own model.

    Raises:
        GenmodelsError: where there is no such checkpoint, or nothing says which data to use.
    """
    if str(checkpoint) in ("last", "best", "hpc", "registry"):  # words of Lightning's
        raise GenmodelsError(f"--ckpt_path {checkpoint}: expected a file; to go on with a run, use --resume RUN.")
    contents = read_checkpoint(checkpoint)
    earlier = run_of(checkpoint)
    if not configs and earlier is not None:
        configs = [str(earlier / "config.yaml")]
    if not configs and not chooses(others, "data"):
        raise GenmodelsError(
            f"--ckpt_path {checkpoint}: there is no config.yaml of its run beside it; expected the data, e.g. "
            "--data DigitsDataModule."
        )
    if "model_class" in contents:  # one of our models, or built on one
        configs = [*configs, model_config(contents, checkpoint)]
    return configs


def mentions(argv: list[str], *options: str) -> bool:
    """Whether one of the options is among the arguments, as `--option VALUE` or `--option=VALUE`."""
    return any(word.split("=")[0] in options for word in argv)


def chooses(argv: list[str], group: str) -> bool:
    """Whether the arguments choose the group's class, as `--data NAME`."""
    return mentions(argv, f"--{group}", f"--{group}.class_path")


def resolve_config(value: str) -> str:
    """The path of a configuration: an existing file, else a packaged name.

    Raises:
        GenmodelsError: where it is neither.
    """
    if Path(value).is_file():
        check_yaml(Path(value))
        return value
    packaged = packaged_configs()
    if value not in packaged:
        close = get_close_matches(value, packaged, n=1)
        advice = f"did you mean {close[0]}?" if close else f"expected a path or one of {', '.join(packaged)}."
        raise GenmodelsError(f"--config {value}: neither a file nor a packaged configuration; {advice}")
    return str(packaged[value])


def config_name(path: Path) -> str:
    """What a configuration's runs are named after: its file, or where that is a run's own, what the run was."""
    return path.absolute().parents[1].name if path.name == "config.yaml" else path.stem


def check_yaml(path: Path) -> None:
    """Raises GenmodelsError unless a file is YAML: jsonargparse's report would not name it."""
    try:
        yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        where = f" in line {mark.line + 1}" if (mark := getattr(error, "problem_mark", None)) else ""
        reason = getattr(error, "problem", None) or error
        raise GenmodelsError(f"--config {path}: no valid YAML{where} ({reason}); expected a configuration.") from error


def model_config(checkpoint: dict[str, object], path: Path) -> str:
    """The checkpoint's model as an inline configuration, its class with the arguments that it was built with."""
    found = model_class(checkpoint, path)
    hparams = checkpoint.get("hyper_parameters", {})
    assert isinstance(hparams, dict)
    # A subclass with fewer arguments has saved its base's as well.
    parameters = inspect.signature(found).parameters
    takes_all = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    init_args = {name: value for name, value in hparams.items() if takes_all or name in parameters}
    return json.dumps({"model": {"class_path": f"{found.__module__}.{found.__qualname__}", "init_args": init_args}})
