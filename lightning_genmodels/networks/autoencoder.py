"""Encoders and decoders. Shapes: N images, Z code size, (C, H, W) an image."""

import math
from collections import OrderedDict
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

ActivationName = Literal["linear", "relu", "leaky_relu", "sigmoid", "silu", "tanh"]
ACTIVATIONS: dict[str, type[nn.Module]] = {
    "linear": nn.Identity,
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "sigmoid": nn.Sigmoid,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
}


class MLPEncoder(nn.Sequential):
    """(N, C, H, W) images -> (N, Z) codes; `code_activation` on the code, `activation` on every layer before it.

    The layers are `layer1`, `layer2`, … from the image on, and have the same names in the decoder, so that the outer
    layers of a deeper model find their weights in a shallower one by name.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        hidden_sizes: tuple[int, ...],
        latent_dim: int,
        activation: str,
        code_activation: str,
    ) -> None:
        widths = (math.prod(image_shape), *hidden_sizes, latent_dim)
        layers: dict[str, nn.Module] = {"flatten": nn.Flatten()}
        for number, (width, size) in enumerate(pairwise(widths), start=1):
            last = number > len(hidden_sizes)
            layers[f"layer{number}"] = nn.Linear(width, size)
            layers[f"activation{number}"] = ACTIVATIONS[code_activation if last else activation]()
        super().__init__(OrderedDict(layers))


class MLPDecoder(nn.Sequential):
    """(N, Z) codes -> (N, C, H, W) images, before the output's own activation; the encoder's mirror image.

    `layer1` gives the image; the code enters at the layer with the highest number.
    """

    def __init__(
        self, image_shape: tuple[int, int, int], hidden_sizes: tuple[int, ...], latent_dim: int, activation: str
    ) -> None:
        widths = (math.prod(image_shape), *hidden_sizes, latent_dim)
        layers: dict[str, nn.Module] = {}
        for number in range(len(widths) - 1, 0, -1):
            layers[f"layer{number}"] = nn.Linear(widths[number], widths[number - 1])
            if number > 1:
                layers[f"activation{number}"] = ACTIVATIONS[activation]()
        super().__init__(OrderedDict(layers, unflatten=nn.Unflatten(1, image_shape)))


class TiedDecoder(nn.Module):
    """`MLPDecoder` on the weights of an `MLPEncoder`, transposed; only the biases are its own.

    It holds no reference to the encoder, whose weights are handed over at each call: a parameter has one place
    in the state, as it has one value.
    """

    def __init__(self, image_shape: tuple[int, int, int], hidden_sizes: tuple[int, ...], activation: str) -> None:
        super().__init__()
        widths = enumerate((math.prod(image_shape), *hidden_sizes), start=1)
        self.biases = nn.ParameterDict({f"layer{number}": torch.zeros(width) for number, width in widths})
        self.activation = ACTIVATIONS[activation]()
        self.image_shape = image_shape

    def forward(self, code: Tensor, weights: list[Tensor], outermost: int = 1) -> Tensor:
        """(N, Z) codes and the encoder's weights, `layer1` first -> (N, C, H, W).

        With `outermost` above 1 it stops after that layer, at (N, its width), activated.
        """
        for number in range(len(weights), outermost - 1, -1):
            code = functional.linear(code, weights[number - 1].t(), self.biases[f"layer{number}"])
            if number > 1:
                code = self.activation(code)
        images: Tensor = code.unflatten(1, self.image_shape) if outermost == 1 else code
        return images


def conv_sizes(image_shape: tuple[int, int, int], stages: int) -> list[tuple[int, int]]:
    """Map sizes (H, W) of `ConvEncoder`, the image's first; each is half the one before, rounded up."""
    sizes = [(image_shape[1], image_shape[2])]
    for _ in range(stages):
        height, width = sizes[-1]
        sizes.append(((height + 1) // 2, (width + 1) // 2))
    return sizes


class ConvEncoder(nn.Sequential):
    """(N, C, H, W) images of any size -> (N, Z) codes: 3x3 convolutions of stride 2, then one linear layer."""

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        hidden_sizes: tuple[int, ...],
        latent_dim: int,
        activation: str,
        code_activation: str,
    ) -> None:
        layers: list[nn.Module] = []
        channels = image_shape[0]
        for size in hidden_sizes:
            layers += [nn.Conv2d(channels, size, 3, stride=2, padding=1), ACTIVATIONS[activation]()]
            channels = size
        height, width = conv_sizes(image_shape, len(hidden_sizes))[-1]
        super().__init__(
            *layers,
            nn.Flatten(),
            nn.Linear(channels * height * width, latent_dim),
            ACTIVATIONS[code_activation](),
        )


class ConvDecoder(nn.Sequential):
    """(N, Z) codes -> (N, C, H, W) images, before the output's own activation; the encoder's mirror image."""

    def __init__(
        self, image_shape: tuple[int, int, int], hidden_sizes: tuple[int, ...], latent_dim: int, activation: str
    ) -> None:
        sizes = conv_sizes(image_shape, len(hidden_sizes))
        channels = hidden_sizes[-1]
        height, width = sizes[-1]
        layers: list[nn.Module] = [
            nn.Linear(latent_dim, channels * height * width),
            ACTIVATIONS[activation](),
            nn.Unflatten(1, (channels, height, width)),
        ]
        outputs = (*reversed(hidden_sizes[:-1]), image_shape[0])
        for number, (size, (height, width)) in enumerate(zip(outputs, reversed(sizes[:-1]), strict=True)):
            # The size is given, not doubled: 7 comes from 4 as 8 does.
            layers += [
                nn.Upsample((height, width), mode="nearest"),
                nn.Conv2d(channels, size, 3, padding=1),
            ]
            if number < len(outputs) - 1:
                layers.append(ACTIVATIONS[activation]())
            channels = size
        super().__init__(*layers)
