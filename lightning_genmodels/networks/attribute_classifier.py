"""A classifier of the attributes of images."""

from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional

LARGEST = 64  # pixels a side that it looks at
STAGES = 4  # each halves the sides


class AttributeClassifier(nn.Module):
    """(N, C, S, S) images in [0, 1] -> (N, A) logits, one for each attribute; four convolutions and a linear layer.

    The linear layer sees where in the image something is, as the faces of CelebA are aligned. Images of more than 64
    pixels are resized to 64 (bilinear, antialiased).

    Args:
        image_shape: (C, S, S), S of 16 or more.
        attributes: A.
        width: channels after the first convolution; each of the others has twice as many as the one before.
    """

    def __init__(self, image_shape: tuple[int, int, int], attributes: int, width: int = 16) -> None:
        super().__init__()
        channels, size, _ = image_shape
        layers: list[nn.Module] = []
        widths = [channels, *(width << stage for stage in range(STAGES))]
        for before, after in pairwise(widths):
            layers += [nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU(), nn.MaxPool2d(2)]
        left = min(size, LARGEST) >> STAGES
        self.layers = nn.Sequential(*layers, nn.Flatten(), nn.Dropout(0.5), nn.Linear(widths[-1] * left**2, attributes))

    def forward(self, images: Tensor) -> Tensor:
        """See the class."""
        if images.shape[-1] > LARGEST:
            images = functional.interpolate(images, (LARGEST, LARGEST), mode="bilinear", antialias=True)
        logits: Tensor = self.layers(images)
        return logits
