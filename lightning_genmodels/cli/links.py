"""What a model is told of its data: the shape of an image, names of labels, channels of a target."""

import inspect
from typing import Any

from jsonargparse import Namespace
from lightning.pytorch import LightningDataModule, LightningModule

from lightning_genmodels.errors import GenmodelsError


def label_names(datamodule: LightningDataModule) -> tuple[str, ...] | None:
    """The names of the data's classes, or of their attributes; None where there are none."""
    return tuple(getattr(datamodule, "class_names", getattr(datamodule, "attribute_names", ()))) or None


def target_channels(datamodule: LightningDataModule) -> int | None:
    """Channels of the data's targets, or the number of their classes; None where there are none."""
    return getattr(datamodule, "target_channels", None)


LINKED = {"label_names": label_names, "target_channels": target_channels}


def keep_links(class_type: type[Any], arguments: dict[str, Any], given: Namespace) -> None:
    """Takes from a class's arguments the links that it has no parameter for, or that the data leave open.

    Args:
        class_type: what is about to be built; the links go to whatever hands its arguments on.
        arguments: for its constructor, changed in place.
        given: what the user gave the model.
    """
    for name in LINKED:
        if name in arguments and arguments[name] is None:
            arguments[name] = given.get(name)
        if name in arguments and (arguments[name] is None or not _takes(class_type, name)):
            del arguments[name]


def _takes(class_type: type[Any], argument: str) -> bool:
    """Whether the class, or one that it hands its arguments on to, has an argument of that name."""
    return any(argument in inspect.signature(base).parameters for base in class_type.__mro__[:-1])


def check_links(model: LightningModule, datamodule: LightningDataModule, given: Namespace) -> None:
    """Raises GenmodelsError where the user gave the model something else than its data have: a link would win."""
    data = type(datamodule).__name__
    wanted, shape = given.get("image_shape"), getattr(datamodule, "image_shape", None)
    if wanted is not None and shape is not None and tuple(wanted) != tuple(shape):
        raise GenmodelsError(
            f"image_shape is {tuple(wanted)} for the model, but {data} gives images of {tuple(shape)}; expected the "
            "same."
        )
    for name, value_of in LINKED.items():
        wanted, found = given.get(name), value_of(datamodule)
        parameter = inspect.signature(type(model)).parameters.get(name)
        wanted = tuple(wanted) if isinstance(wanted, list) else wanted
        if parameter is not None and found is not None and wanted not in (None, parameter.default, found):
            raise GenmodelsError(f"{name} is {wanted} for the model, but {data} has {found}; expected the same.")
