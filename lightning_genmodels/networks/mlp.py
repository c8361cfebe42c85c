"""Fully connected networks. Shapes: N images, Z latent size, (C, H, W) an image."""

import math

from torch import Tensor, nn


class MLPGenerator(nn.Module):
    """(N, Z) latents -> (N, C, H, W) images in [-1, 1]: ReLU layers, then tanh.

    Args:
        latent_dim: Z.
        image_shape: (C, H, W).
        hidden_sizes: widths of the hidden layers.
        batch_norm: normalise the hidden layers over the batch.
    """

    def __init__(
        self,
        latent_dim: int,
        image_shape: tuple[int, int, int],
        hidden_sizes: tuple[int, ...] = (256, 512),
        batch_norm: bool = True,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        width = latent_dim
        for size in hidden_sizes:
            layers += [nn.Linear(width, size), *([nn.BatchNorm1d(size)] if batch_norm else []), nn.ReLU(inplace=True)]
            width = size
        layers += [nn.Linear(width, math.prod(image_shape)), nn.Tanh(), nn.Unflatten(1, image_shape)]
        self.layers = nn.Sequential(*layers)

    def forward(self, latent: Tensor) -> Tensor:
        """(N, Z) -> (N, C, H, W)."""
        images: Tensor = self.layers(latent)
        return images


class MLPDiscriminator(nn.Module):
    """(N, C, H, W) images -> (N,) logits: LeakyReLU(0.2) layers without normalisation.

    `features` makes of the images (N, `feature_size`), `head` of these the logits.

    Args:
        image_shape: (C, H, W).
        hidden_sizes: widths of the hidden layers.
    """

    def __init__(self, image_shape: tuple[int, int, int], hidden_sizes: tuple[int, ...] = (512, 256)) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Flatten()]
        width = math.prod(image_shape)
        for size in hidden_sizes:
            layers += [nn.Linear(width, size), nn.LeakyReLU(0.2, inplace=True)]
            width = size
        self.feature_size = width
        self.features = nn.Sequential(*layers)
        self.head = nn.Sequential(nn.Linear(width, 1), nn.Flatten(0))

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) -> (N,)."""
        logits: Tensor = self.head(self.features(images))
        return logits
