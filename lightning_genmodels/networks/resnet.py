"""The residual networks of SNGAN (Miyato et al. 2018). Shapes: N images, Z latent size, (C, S, S) an image."""

from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional

# Image size -> (size of the first map, channels of the generator's maps, of the discriminator's, how many of these
# blocks halve).
STAGES: dict[int, tuple[int, tuple[int, ...], tuple[int, ...], int]] = {
    16: (4, (256, 256, 256), (128, 128, 128), 2),
    28: (7, (256, 256, 256), (128, 128, 128, 128), 2),
    32: (4, (256, 256, 256, 256), (128, 128, 128, 128), 2),
    64: (4, (1024, 512, 256, 128, 64), (64, 128, 256, 512, 1024), 5),
    128: (4, (1024, 1024, 512, 256, 128, 64), (64, 128, 256, 512, 1024, 1024), 5),
}


class ResNetGenerator(nn.Module):
    """(N, Z) latents -> (N, C, S, S) images in [-1, 1].

    Args:
        latent_dim: Z.
        image_shape: (C, S, S) with S among the keys of `STAGES`.
        share: of the paper's channels, above 0; 1 is all.
        batch_norm: normalise the hidden maps over the batch.
    """

    def __init__(
        self, latent_dim: int, image_shape: tuple[int, int, int], share: float = 1.0, batch_norm: bool = True
    ) -> None:
        super().__init__()
        size, widths, _, _ = STAGES[image_shape[1]]
        channels = [max(1, round(share * width)) for width in widths]
        self.layers = nn.Sequential(
            nn.Linear(latent_dim, channels[0] * size * size),
            nn.Unflatten(1, (channels[0], size, size)),
            *(_UpBlock(before, after, batch_norm) for before, after in pairwise(channels)),
            *([nn.BatchNorm2d(channels[-1])] if batch_norm else []),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels[-1], image_shape[0], 3, padding=1),
            nn.Tanh(),
        ).apply(_init)

    def forward(self, latent: Tensor) -> Tensor:
        """(N, Z) -> (N, C, S, S)."""
        images: Tensor = self.layers(latent)
        return images


class ResNetDiscriminator(nn.Module):
    """(N, C, S, S) images -> (N,) logits, without normalisation; the maps of the last block are summed over places.

    `features` makes of the images (N, `feature_size`), `head` of these the logits.

    Args:
        image_shape: (C, S, S) with S among the keys of `STAGES`.
        share: of the paper's channels, above 0; 1 is all.
    """

    def __init__(self, image_shape: tuple[int, int, int], share: float = 1.0) -> None:
        super().__init__()
        _, _, widths, halvings = STAGES[image_shape[1]]
        channels = [image_shape[0], *(max(1, round(share * width)) for width in widths)]
        pairs = pairwise(channels)
        blocks = (_DownBlock(*pair, first=n == 0, halve=n < halvings) for n, pair in enumerate(pairs))
        self.feature_size = channels[-1]
        self.features = nn.Sequential(*blocks, nn.ReLU(), _SumOverPlaces()).apply(_init)
        self.head = nn.Sequential(nn.Linear(channels[-1], 1), nn.Flatten(0)).apply(_init)

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, S, S) -> (N,)."""
        logits: Tensor = self.head(self.features(images))
        return logits


class _UpBlock(nn.Module):
    """(N, before, S, S) -> (N, after, 2S, 2S)."""

    def __init__(self, before: int, after: int, batch_norm: bool) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *([nn.BatchNorm2d(before)] if batch_norm else []),
            nn.ReLU(inplace=batch_norm),  # without, the shortcut takes the same maps
            nn.Upsample(scale_factor=2),
            nn.Conv2d(before, after, 3, padding=1),
            *([nn.BatchNorm2d(after)] if batch_norm else []),
            nn.ReLU(inplace=True),
            nn.Conv2d(after, after, 3, padding=1),
        )
        self.shortcut = nn.Sequential(nn.Conv2d(before, after, 1), nn.Upsample(scale_factor=2))

    def forward(self, maps: Tensor) -> Tensor:
        total: Tensor = self.layers(maps) + self.shortcut(maps)
        return total


class _DownBlock(nn.Module):
    """(N, before, S, S) -> (N, after, S / 2, S / 2), or as large where it does not halve."""

    def __init__(self, before: int, after: int, first: bool, halve: bool) -> None:
        super().__init__()
        self.halve = halve
        # Images come as they are; maps were not yet made positive.
        self.layers = nn.Sequential(
            *([] if first else [nn.ReLU()]),
            nn.Conv2d(before, after, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(after, after, 3, padding=1),
        )
        self.shortcut = nn.Conv2d(before, after, 1) if halve or before != after else nn.Identity()

    def forward(self, maps: Tensor) -> Tensor:
        total: Tensor = self.layers(maps) + self.shortcut(maps)
        halved: Tensor = functional.avg_pool2d(total, 2) if self.halve else total
        return halved


class _SumOverPlaces(nn.Module):
    """(N, F, S, S) -> (N, F)."""

    def forward(self, maps: Tensor) -> Tensor:
        return maps.sum((2, 3))


def _init(module: nn.Module) -> None:
    if isinstance(module, (nn.Conv2d, nn.Linear)):
        residual = isinstance(module, nn.Conv2d) and module.kernel_size == (3, 3)
        nn.init.xavier_uniform_(module.weight, gain=2**0.5 if residual else 1.0)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
