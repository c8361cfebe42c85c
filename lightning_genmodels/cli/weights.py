"""A checkpoint's weights beside a model's."""

from pathlib import Path

from lightning.pytorch import LightningModule
from torch import Tensor

from lightning_genmodels.checkpoints import read_checkpoint
from lightning_genmodels.cli.runs import say
from lightning_genmodels.errors import GenmodelsError


def check_weights_fit(model: LightningModule, path: Path) -> None:
    """Raises GenmodelsError where a weight of the checkpoint has another shape in the model."""
    saved, own = read_checkpoint(path)["state_dict"], model.state_dict()
    for name in (n for n in own if n in saved):
        there, here = tuple(saved[name].shape), tuple(own[name].shape)
        if there != here:
            raise GenmodelsError(
                f"{path} does not fit the model: {name} has the shape {there} there and {here} here; expected the "
                "options that it was trained with."
            )
    if missing := [name for name in own if name not in saved]:
        raise GenmodelsError(
            f"{path} does not fit the model: it has no {missing[0]}; expected the options that it was trained with, or "
            "--init_from, which takes the weights that match."
        )


def copy_matching_weights(model: LightningModule, path: str) -> None:
    """Copies the weights of a checkpoint that have a namesake of the same shape, and says which.

    Raises:
        GenmodelsError: where none has.
    """
    checkpoint = read_checkpoint(path)
    saved, own = checkpoint["state_dict"], model.state_dict()
    counters = getattr(model, "counters", ())  # of the other training
    matching = {
        name: value
        for name, value in saved.items()
        if name in own and own[name].shape == value.shape and name not in counters
    }
    if not matching:
        raise GenmodelsError(f"--init_from {path}: none of its {len(saved)} weights match {type(model).__name__}'s.")
    if not any(name.startswith("generator_ema.") for name in matching):
        # A source without an average: it starts from the generator, as that of a new model does.
        generator = {n: v for n, v in matching.items() if n.startswith("generator.")}
        matching |= {n: v for m, v in generator.items() if (n := m.replace("generator", "generator_ema", 1)) in own}
    if not any(name.startswith("generator_ema.") for name in own):
        # Into a model without an average: the average is what the source has been scored by.
        averages = {
            m.replace("generator_ema", "generator", 1): v for m, v in saved.items() if m.startswith("generator_ema.")
        }
        matching |= {n: v for n, v in averages.items() if n in own and own[n].shape == v.shape}
    _check_frozen_layers(model, matching, checkpoint.get("hyper_parameters", {}), path)
    model.load_state_dict(matching, strict=False)
    if getattr(model, "pretrained", False):
        setattr(model, "pretrained", False)  # noqa: B010  # the published weights would take the place of these
    say(f"Weights copied from {path}: {', '.join(matching)}")
    if left := [name for name in own if name not in matching]:
        say(f"Left as they were: {', '.join(left)}")


def _check_frozen_layers(
    model: LightningModule, matching: dict[str, Tensor], saved: dict[str, object], path: str
) -> None:
    """Raises GenmodelsError where layers that are to stay as they were would not be, or be activated otherwise."""
    frozen = getattr(model, "frozen_layers", 0)
    if not frozen:
        return
    left = [name for name, weight in model.named_parameters() if not weight.requires_grad and name not in matching]
    if left:
        raise GenmodelsError(
            f"--init_from {path} has no {left[0]} of the model's shape, which --model.frozen_layers {frozen} would "
            "leave at its random values; expected a checkpoint with these layers."
        )
    sizes = saved.get("hidden_sizes") or ()
    if "code_activation" not in saved or not isinstance(sizes, tuple | list):
        return
    hidden = saved.get("activation") or "sigmoid"  # what None stands for in an mlp
    activations = [hidden] * len(sizes) + [saved["code_activation"]]
    for number, activation in enumerate(activations[:frozen], start=1):
        if activation != model.activation:
            raise GenmodelsError(
                f"--init_from {path}: the activation of its layer {number} is {activation}, that of the frozen layers "
                f"{model.activation}; expected --model.activation {activation}."
            )
