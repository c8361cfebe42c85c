"""`genmodels fit | validate | test | predict`: LightningCLI with run folders, exact resume and pictures."""

import re
import sys
import warnings
from argparse import SUPPRESS
from typing import Any, Literal, NoReturn

from jsonargparse import Namespace
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import LightningDataModule, LightningModule
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.cli import ArgsType, LightningArgumentParser
from lightning.pytorch.loggers import CSVLogger, Logger

from lightning_genmodels._lightning import CheckpointNeutralCLI, keep_counts_whole, keep_metrics
from lightning_genmodels.callbacks import (
    BestCheckpoint,
    ExactResume,
    LabelledTable,
    LastCheckpoint,
    PictureGrid,
    PredictionWriter,
)
from lightning_genmodels.checkpoints import name_last_good, read_checkpoint
from lightning_genmodels.cli.arguments import Arguments, mentions
from lightning_genmodels.cli.endings import tell_if_nothing_trained, tell_results
from lightning_genmodels.cli.links import LINKED, check_links, keep_links
from lightning_genmodels.cli.loggers import as_list, init_args, place_logger, start_loggers
from lightning_genmodels.cli.messages import shorten
from lightning_genmodels.cli.runs import discard_if_empty, is_first_process, new_run, say
from lightning_genmodels.cli.trainer_options import check_trainer
from lightning_genmodels.cli.weights import check_weights_fit, copy_matching_weights
from lightning_genmodels.errors import GenmodelsError


class Parser(LightningArgumentParser):
    """A parser whose errors are ours: one sentence each."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raises instead of printing the usage and the whole chain of causes."""
        if not self.exit_on_error:  # a parser of jsonargparse's own, for the options of one class
            super().error(message, ex)
        raise GenmodelsError(shorten(message)) from ex


class GenmodelsCLI(CheckpointNeutralCLI):
    """LightningCLI over our models and data modules, and a user's own."""

    def __init__(self, arguments: Arguments) -> None:
        self.arguments = arguments
        super().__init__(
            LightningModule,
            LightningDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            parser_class=Parser,
            save_config_kwargs={"overwrite": True},
            seed_everything_default=0,
            auto_configure_optimizers=False,
            load_from_checkpoint_support=False,  # our checkpoints say of themselves what they hold
            args=arguments.argv,
        )

    # Parsing

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """LightningCLI's hook; its own version warns about arguments that do not come from sys.argv."""
        self.config = parser.parse_args(self.arguments.argv)
        seed = self.config[self.config.subcommand].seed_everything
        if not isinstance(seed, bool) and seed is not None and not 0 <= seed < 2**32:
            raise GenmodelsError(f"--seed_everything is {seed}; expected 0 to 2^32 - 1.")

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """LightningCLI's hook."""
        parser.add_argument(
            "--resume", default=SUPPRESS, metavar="RUN", help="fit: go on with an earlier run, in its folder."
        )
        parser.add_argument(
            "--init_from",
            type=str | None,
            default=None,
            metavar="FILE",
            help="fit: start from the weights of a checkpoint that match by name and shape.",
        )
        keep_counts_whole(parser)
        parser.add_class_arguments(CheckpointOptions, "checkpoint")
        parser.add_class_arguments(PictureGrid, "pictures", skip={"dirpath"})
        parser.add_class_arguments(LabelledTable, "table", skip={"dirpath"})
        parser.link_arguments("data.image_shape", "model.init_args.image_shape", apply_on="instantiate")
        for name, value_of in LINKED.items():
            parser.link_arguments("data", f"model.init_args.{name}", compute_fn=value_of, apply_on="instantiate")

    # Building

    @property
    def options(self) -> Namespace:
        """The options of the subcommand."""
        options: Namespace = self.config[self.subcommand]
        return options

    def before_instantiate_classes(self) -> None:
        """LightningCLI's hook: the seed of the data, the run's folder and what depends on it."""
        self.parser.add_instantiator(self._construct, object, subclasses=True)
        options = self.options
        if options.get("weights_only") is None:
            options.weights_only = True  # Lightning would otherwise unpickle code from a checkpoint
        new = self.arguments.checkpoint is None  # an old split must stay: it says what was trained on
        if new and init_args(options.data).get("seed") == 0 and not mentions(self.arguments.argv, "--data.seed"):
            options.data.init_args.seed = options.seed_everything
        if self.subcommand == "fit":
            self.run = self.arguments.run or new_run(self.arguments.name or default_name(options))
            options.trainer.default_root_dir = str(self.run)
            for logger in as_list(options.trainer.logger):
                if isinstance(logger, Namespace):
                    place_logger(logger, self.run)
        else:
            # An evaluation leaves the run's files as they are; predictions lie in the run, else by the checkpoint.
            assert self.arguments.checkpoint is not None
            self.run = self.arguments.run or self.arguments.checkpoint.parent
            self.save_config_callback = None
            if not mentions(self.arguments.argv, "--trainer.logger"):
                options.trainer.logger = False
            # Lightning misses the callbacks of the training.
            warnings.filterwarnings("ignore", message="Be aware that when using `ckpt_path`")

    def instantiate_classes(self) -> None:
        """LightningCLI's hook; the link from the data would silently win over a shape of the user's own."""
        self._given = init_args(self.options.model)
        self._failure: Exception | None = None
        ready = False
        try:
            super().instantiate_classes()
            check_links(self.model, self.datamodule, self._given)
            if self.arguments.checkpoint is not None:
                check_weights_fit(self.model, self.arguments.checkpoint)
            elif self.options.init_from is not None:
                copy_matching_weights(self.model, self.options.init_from)
            elif frozen := getattr(self.model, "frozen_layers", 0):
                raise GenmodelsError(
                    f"--model.frozen_layers is {frozen} in a new model, whose layers are random; expected --init_from "
                    "with the checkpoint that they come from."
                )
            ready = True
        except ValueError as error:  # jsonargparse's
            if isinstance(self._failure, MisconfigurationException):  # from a constructor of Lightning's
                raise GenmodelsError(one_line(self._failure)) from error
            if self._failure is not None:
                raise self._failure from None
            raise
        finally:
            if not ready:
                discard_if_empty(self.run)  # a run that did not start leaves no number behind

    def _construct(self, class_type: type[Any], *args: Any, **kwargs: Any) -> Any:
        """Builds an object; jsonargparse would replace what its constructor raises by a list of types tried."""
        keep_links(class_type, kwargs, self._given)
        try:
            return class_type(*args, **kwargs)
        except Exception as error:  # raised again, here and in instantiate_classes()
            self._failure = error
            if isinstance(error, ModuleNotFoundError) and class_type.__module__.startswith("lightning."):
                # The package of a logger or callback is not installed: Lightning says which.
                self._failure = GenmodelsError(f"{class_type.__name__}: {str(error).splitlines()[0]}")
                raise self._failure from error
            raise

    def instantiate_trainer(self, **kwargs: Any) -> Any:
        """LightningCLI's hook: adds our loggers and callbacks to those of the user."""
        trainer = self.config_init[self.subcommand].trainer
        check_trainer(trainer, self.model)
        callbacks = [*as_list(trainer.callbacks), ExactResume()]
        if self.subcommand == "fit":
            checkpoint = self.arguments.checkpoint
            self.first_step = 0 if checkpoint is None else read_checkpoint(checkpoint)["global_step"]
            kwargs["logger"] = self._loggers(as_list(trainer.logger))
            callbacks += self._fit_callbacks()
        elif self.subcommand == "predict":
            callbacks.append(PredictionWriter(self.run / "predictions"))
        try:
            return super().instantiate_trainer(callbacks=callbacks, **kwargs)
        except (MisconfigurationException, ValueError, ModuleNotFoundError) as error:
            # Raised by the Trainer's constructor, it speaks of an option of the user's, as "no GPU found".
            raise GenmodelsError(f"trainer: {one_line(error)}") from error

    def _loggers(self, chosen: list[Any]) -> list[Logger] | bool:
        if chosen == [False]:
            return False
        csv = CSVLogger(self.run.parent.parent, self.run.parent.name, self.run.name, flush_logs_every_n_steps=1)
        if is_first_process():
            keep_metrics(csv, before_step=self.first_step if self.arguments.run is not None else 0)
        return [csv, *(logger for logger in chosen if isinstance(logger, Logger))]

    def _fit_callbacks(self) -> list[Callback]:
        options = self.config_init[self.subcommand]
        folder = self.run / "checkpoints"
        metric, mode = getattr(self.model, "best_metric", (None, ""))
        if options.checkpoint.monitor not in (None, metric):
            metric, mode = options.checkpoint.monitor, ""
        mode = options.checkpoint.mode or mode
        if metric is not None and not mode:
            raise GenmodelsError(
                f"--checkpoint.monitor is {metric}, and --checkpoint.mode is missing; expected min or max, as less or "
                "more of it is better."
            )
        options.pictures.dirpath = str(self.run / "pictures")
        options.table.dirpath = str(self.run / "tables")
        callbacks: list[Callback] = [options.pictures, options.table]
        if options.trainer.enable_checkpointing is False:
            return callbacks
        if metric is not None and options.trainer.limit_val_batches != 0:
            self.best = BestCheckpoint(folder, metric, mode)
            callbacks.append(self.best)
        # Last of all: it holds the state of the others.
        return [*callbacks, LastCheckpoint(folder / "last.ckpt", options.checkpoint.every_n_steps)]

    # Running

    def fit(self, model: LightningModule, **kwargs: Any) -> None:
        """LightningCLI's hook: runs the training and says how it ended."""
        try:
            with warnings.catch_warnings():
                if self.arguments.run is not None:
                    # A resumed run's folder is in use, and its best checkpoint waits for the next validation.
                    warnings.filterwarnings("ignore", message="Checkpoint directory .* exists and is not empty")
                    warnings.filterwarnings("ignore", message=".*could not find the monitored key")
                start_loggers(self.trainer.loggers, self.options)
                self.trainer.fit(model, **kwargs)
        except (MisconfigurationException, ValueError, RuntimeError) as error:  # known once the data or metrics are
            if str(error).startswith("Early stopping conditioned on metric"):
                raise GenmodelsError(f"--trainer.callbacks: {one_line(error)}") from error
            if re.match(r"\s*`val_check_interval", str(error)):
                raise GenmodelsError(one_line(error)) from error
            if re.match(r"\s*`ModelCheckpoint\(monitor", str(error)):
                logged = sorted(name for name in self.trainer.callback_metrics if name.startswith("val/"))
                raise GenmodelsError(
                    f"--checkpoint.monitor is {self.best.monitor}, which was not logged; expected one of "
                    f"{', '.join(logged)}, or --trainer.callbacks GenerationScores, which logs scores of samples, "
                    "and its every_n_validations to be 1."
                ) from error
            raise
        except SystemExit:  # what Lightning makes of Ctrl-C
            say(f"Interrupted at step {self.trainer.global_step}; {name_last_good(self.trainer)}.")
            if (self.run / "checkpoints/last.ckpt").is_file():
                say(f"Go on with: genmodels fit --resume {self.run}")
            sys.exit(130)
        finally:
            discard_if_empty(self.run)

    def after_fit(self) -> None:
        """LightningCLI's hook: tells where the results lie."""
        if self.trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        if self.arguments.checkpoint is not None:
            tell_if_nothing_trained(self.trainer, self.first_step)
        tell_results(self.trainer, self.run, getattr(self, "best", None))

    def after_predict(self) -> None:
        """LightningCLI's hook."""
        say(f"Predictions: {self.run / 'predictions'}")


class CheckpointOptions:
    """When checkpoints are written.

    Args:
        monitor: the metric by which best.ckpt is chosen; None is the model's own.
        mode: whether more ("max") or less ("min") of it is better; None is the model's own.
        every_n_steps: write last.ckpt after every n-th batch too, not only after validations.
    """

    def __init__(
        self,
        monitor: str | None = None,
        mode: Literal["min", "max"] | None = None,
        every_n_steps: int | None = None,
    ) -> None:
        self.monitor = monitor
        self.mode = mode
        self.every_n_steps = every_n_steps


def default_name(options: Namespace) -> str:
    """`<model>_<data>` from the class names, for a run without a configuration."""
    model, data = (options[key].class_path.rpartition(".")[2].lower() for key in ("model", "data"))
    return f"{model}_{data.removesuffix('datamodule')}"


def one_line(error: Exception) -> str:
    """An error's message without its line breaks."""
    return " ".join(str(error).split())
