"""The weights of pix2pix's networks as the well-known PyTorch implementation publishes them, with its names.

Its running averages of batch normalisation are left out: it normalises by the image at hand, in prediction too.
"""

import re

import torch
from torch import Tensor

from lightning_genmodels.errors import GenmodelsError
from lightning_genmodels.networks.patchgan import PATCHES, PatchDiscriminator
from lightning_genmodels.networks.unet import DEEPEST, UNetGenerator

State = dict[str, Tensor]
AVERAGES = ("running_mean", "running_var", "num_batches_tracked")


def published_unet(state: State, file: str) -> UNetGenerator:
    """The U-Net with these weights.

    Args:
        state: a state dict of that implementation's U-Net with batch normalisation, of 128 or 256 pixels.
        file: where it comes from, to be named in an error.

    Raises:
        GenmodelsError: where the names or shapes are not those of such a network.
    """
    state = _without_averages(state)
    names: dict[str, str] = {"down.0": "model.model.0", "up.0": "model.model.3"}
    block, level = "model.model.1.model", 1
    while f"{block}.5.weight" in state and level < DEEPEST:  # one within which there is another
        names |= {f"down.{level}": f"{block}.1", f"down_norm.{level}": f"{block}.2"}
        names |= {f"up.{level}": f"{block}.5", f"up_norm.{level}": f"{block}.6"}
        block, level = f"{block}.3.model", level + 1
    names |= {f"down.{level}": f"{block}.1", f"up.{level}": f"{block}.3", f"up_norm.{level}": f"{block}.4"}
    first, last = (state.get(f"{names[name]}.weight", torch.empty(0)) for name in ("down.0", "up.0"))
    if first.ndim != 4 or last.ndim != 4:
        raise GenmodelsError(f"{file} is no U-Net of pix2pix: it has no convolutions model.model.0 and model.model.3.")
    network = UNetGenerator(first.shape[1], last.shape[1], level + 1, first.shape[0])
    _load(network, state, names, file, "U-Net")
    return network


def published_discriminator(state: State, channels: int, file: str) -> PatchDiscriminator:
    """The discriminator with these weights, whose `patch_size` they tell; as `published_unet`.

    Args:
        state: a state dict of that implementation's discriminator with batch normalisation.
        channels: of the source and the target together.
        file: where it comes from, to be named in an error.

    Raises:
        GenmodelsError: where the names or shapes are not those of such a network.
    """
    state = _without_averages(state)
    found = [match for name in state if (match := re.fullmatch(r"(net|model)\.(\d+)\.weight", name))]
    last = max((int(match[2]) for match in found), default=0)
    prefix = found[0][1] if found else "model"
    hidden = (last - 2) // 3
    sizes = {max(halvings, 1): size for size, halvings in PATCHES.items() if (size == 1) == (prefix == "net")}
    if hidden not in sizes:
        raise GenmodelsError(f"{file} is no discriminator of pix2pix of {', '.join(map(str, PATCHES))} pixels.")
    names = {"layers.0.0": f"{prefix}.0", f"layers.{hidden + 1}.0": f"{prefix}.{last}"}
    for layer in range(1, hidden + 1):
        names |= {f"layers.{layer}.0": f"{prefix}.{3 * layer - 1}", f"layers.{layer}.1": f"{prefix}.{3 * layer}"}
    network = PatchDiscriminator(channels, sizes[hidden])
    _load(network, state, names, file, "discriminator")
    return network


def _without_averages(state: State) -> State:
    # As saved from several GPUs, every name begins with "module.".
    return {name.removeprefix("module."): v for name, v in state.items() if not name.endswith(AVERAGES)}


def _load(
    network: UNetGenerator | PatchDiscriminator, state: State, names: dict[str, str], file: str, what: str
) -> None:
    expected = network.state_dict()
    theirs = {ours: f"{names[ours.rpartition('.')[0]]}.{ours.rpartition('.')[2]}" for ours in expected}
    for ours, name in theirs.items():
        shape = tuple(state[name].shape) if name in state else None
        if shape != tuple(expected[ours].shape):
            raise GenmodelsError(
                f"{file} is no {what} of pix2pix with batch normalisation: {name} is "
                f"{'missing' if shape is None else f'of the shape {shape}'}; expected {tuple(expected[ours].shape)}."
            )
    if more := sorted(state.keys() - set(theirs.values())):
        raise GenmodelsError(f"{file} is no {what} of pix2pix with batch normalisation: it also has {more[0]}.")
    network.load_state_dict({ours: state[name] for ours, name in theirs.items()})
