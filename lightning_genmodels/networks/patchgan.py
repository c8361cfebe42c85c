"""The discriminators of pix2pix, which judge patches, and pix2pixHD's of several scales."""

from typing import Literal

from torch import Tensor, nn
from torch.nn import functional

from lightning_genmodels.networks.initialization import init_dcgan

PatchSize = Literal[1, 16, 34, 70, 286]  # pixels a side that one logit sees
# Of each, how many convolutions of stride 2 there are.
PATCHES: dict[PatchSize, int] = {1: 0, 16: 1, 34: 2, 70: 3, 286: 5}


def fits(patch_size: PatchSize, height: int, width: int, scales: int = 1) -> bool:
    """Whether images leave, at the coarsest scale, the 2x2 pixels that the last normalisation needs."""
    coarsest = -(-min(height, width) >> scales - 1)  # halves are rounded up
    return coarsest >= (2 if patch_size == 1 else 3 << PATCHES[patch_size])


class PatchDiscriminator(nn.Module):
    """(N, C, H, W) -> the maps after each layer, the last of them logits (N, 1, h, w), one a patch (Isola et al. 2017).

    Each image is normalised by its own statistics, as the U-Net's are.

    Args:
        channels: C, of the source and the target together.
        patch_size: pixels a side that a logit sees, 1, 16, 34, 70 or 286.
        width: channels of the first map; they are doubled from layer to layer, up to 8 times as many.
    """

    def __init__(self, channels: int, patch_size: PatchSize = 70, width: int = 64) -> None:
        super().__init__()
        self.patch_size = patch_size
        halvings = PATCHES[patch_size]
        widths = [width * min(2**number, 8) for number in range(max(halvings, 1) + 1)]
        kernel, padding = (1, 0) if patch_size == 1 else (4, 1)
        layers = []
        before = channels
        for number, after in enumerate(widths):
            parts: list[nn.Module] = [
                nn.Conv2d(before, after, kernel, 2 if number < halvings else 1, padding, bias=number == 0),
                *([nn.InstanceNorm2d(after, affine=True)] if number else []),
                nn.LeakyReLU(0.2),
            ]
            layers.append(nn.Sequential(*parts))
            before = after
        # As in the implementation in public use, the last layer of single pixels has no bias.
        layers.append(nn.Sequential(nn.Conv2d(before, 1, kernel, padding=padding, bias=patch_size > 1)))
        self.layers = nn.ModuleList(layers).apply(init_dcgan)

    def forward(self, images: Tensor) -> list[Tensor]:
        """(N, C, H, W) -> a map for each layer."""
        maps = [images]
        for layer in self.layers:
            maps.append(layer(maps[-1]))
        return maps[1:]


class MultiScaleDiscriminator(nn.Module):
    """The maps of one discriminator a scale, each for images of half the size (Wang et al. 2018, pix2pixHD).

    Args:
        channels: of the source and the target together.
        patch_size: as in `PatchDiscriminator`.
        scales: how many.
    """

    def __init__(self, channels: int, patch_size: PatchSize = 70, scales: int = 1) -> None:
        super().__init__()
        self.scales = nn.ModuleList(PatchDiscriminator(channels, patch_size) for _ in range(scales))

    def forward(self, images: Tensor) -> list[list[Tensor]]:
        """(N, C, H, W) -> for each scale, from the finest on, what `PatchDiscriminator` gives."""
        judged = []
        for number, discriminator in enumerate(self.scales):
            if number:
                images = functional.avg_pool2d(images, 3, stride=2, padding=1, count_include_pad=False)
            judged.append(discriminator(images))
        return judged
