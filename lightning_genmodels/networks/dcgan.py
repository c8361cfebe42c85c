"""The convolutional networks of DCGAN (Radford et al. 2016). Shapes: N images, Z latent size, (C, S, S) an image."""

from torch import Tensor, nn

from lightning_genmodels.networks.initialization import init_dcgan

# Image size -> (size of the first map, number of times it is doubled). 28 starts at 7, the powers of two at 4.
STAGES = {16: (4, 2), 28: (7, 2), 32: (4, 3), 64: (4, 4), 128: (4, 5)}


class DCGANGenerator(nn.Module):
    """(N, Z) latents -> (N, C, S, S) images in [-1, 1].

    Args:
        latent_dim: Z.
        image_shape: (C, S, S) with S among the keys of `STAGES`.
        width: channels of the last hidden map; each map before it has twice as many.
        batch_norm: normalise the hidden maps over the batch.
    """

    def __init__(
        self, latent_dim: int, image_shape: tuple[int, int, int], width: int = 64, batch_norm: bool = True
    ) -> None:
        super().__init__()
        first_size, doublings = STAGES[image_shape[1]]
        channels = width * 2 ** (doublings - 1)
        layers: list[nn.Module] = [
            nn.Unflatten(1, (latent_dim, 1, 1)),
            nn.ConvTranspose2d(latent_dim, channels, first_size, bias=not batch_norm),
            *([nn.BatchNorm2d(channels)] if batch_norm else []),
            nn.ReLU(inplace=True),
        ]
        for _ in range(doublings - 1):
            layers += [
                nn.ConvTranspose2d(channels, channels // 2, 4, stride=2, padding=1, bias=not batch_norm),
                *([nn.BatchNorm2d(channels // 2)] if batch_norm else []),
                nn.ReLU(inplace=True),
            ]
            channels //= 2
        layers += [nn.ConvTranspose2d(channels, image_shape[0], 4, stride=2, padding=1), nn.Tanh()]
        self.layers = nn.Sequential(*layers).apply(init_dcgan)

    def forward(self, latent: Tensor) -> Tensor:
        """(N, Z) -> (N, C, S, S)."""
        images: Tensor = self.layers(latent)
        return images


class DCGANDiscriminator(nn.Module):
    """(N, C, S, S) images -> (N,) logits; no normalisation on the first layer, none on the last.

    `features` makes of the images maps (N, `feature_size`, s, s), `head` of these the logits.

    Args:
        image_shape: (C, S, S) with S among the keys of `STAGES`.
        width: channels of the first map; each map after it has twice as many.
        batch_norm: normalise the maps between over the batch.
    """

    def __init__(self, image_shape: tuple[int, int, int], width: int = 64, batch_norm: bool = True) -> None:
        super().__init__()
        last_size, halvings = STAGES[image_shape[1]]
        layers: list[nn.Module] = [
            nn.Conv2d(image_shape[0], width, 4, stride=2, padding=1),
            nn.LeakyReLU(0.2, inplace=True),
        ]
        channels = width
        for _ in range(halvings - 1):
            layers += [
                nn.Conv2d(channels, channels * 2, 4, stride=2, padding=1, bias=not batch_norm),
                *([nn.BatchNorm2d(channels * 2)] if batch_norm else []),
                nn.LeakyReLU(0.2, inplace=True),
            ]
            channels *= 2
        self.feature_size = channels
        self.features = nn.Sequential(*layers).apply(init_dcgan)
        self.head = nn.Sequential(nn.Conv2d(channels, 1, last_size), nn.Flatten(0)).apply(init_dcgan)

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, S, S) -> (N,)."""
        logits: Tensor = self.head(self.features(images))
        return logits
