"""The classifier of handwritten digits that scores look through, with its packaged weights."""

from functools import lru_cache
from importlib.resources import files

import torch
from safetensors.torch import load
from torch import Tensor, nn
from torch.nn import functional

SIZE = 28  # of MNIST's images


def _convolution(channels: int, maps: int, kernel: int, stride: int) -> list[nn.Module]:
    return [
        nn.Conv2d(channels, maps, kernel, stride=stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(maps),
        nn.ReLU(inplace=True),
    ]


class DigitClassifier(nn.Module):
    """(N, C, H, W) images in [0, 1] -> (N, 10) logits of the digits 0 to 9; four convolutions, two linear layers.

    Made for MNIST's white strokes on black, 1x28x28. Images of another size are resized (bilinear, antialiased); of
    several channels their mean is taken.
    """

    num_features = 128

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *_convolution(1, 24, 5, 2),  # 14x14
            *_convolution(24, 48, 3, 1),
            *_convolution(48, 64, 3, 2),  # 7x7
            *_convolution(64, 64, 3, 1),
            nn.Flatten(),
            nn.Linear(64 * 7 * 7, self.num_features, bias=False),
            nn.BatchNorm1d(self.num_features),
            nn.ReLU(inplace=True),
        )
        self.head = nn.Linear(self.num_features, 10)

    def features(self, images: Tensor) -> Tensor:
        """(N, C, H, W) in [0, 1] -> (N, 128), what the last layer sees: 0 or more."""
        grey = images.mean(1, keepdim=True)
        if grey.shape[-2:] != (SIZE, SIZE):
            grey = functional.interpolate(grey, (SIZE, SIZE), mode="bilinear", antialias=True)
        features: Tensor = self.body(grey)
        return features

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) in [0, 1] -> (N, 10)."""
        logits: Tensor = self.head(self.features(images))
        return logits


@lru_cache
def digit_classifier(device: torch.device | str = "cpu") -> DigitClassifier:
    """The packaged classifier, loaded once a device: in eval mode, its weights frozen.

    `benchmarks/digit_features.py` trained it; the file's metadata has the test accuracy.
    """
    # Else a first call from within Lightning's validation would leave weights that no later gradient may pass.
    with torch.inference_mode(False):
        network = DigitClassifier()
        network.load_state_dict(load(files("lightning_genmodels").joinpath("weights/digits.safetensors").read_bytes()))
        return network.requires_grad_(False).eval().to(device)
