"""The U-Net of pix2pix (Isola et al. 2017). Shapes: N images, C channels, height H and width W."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from lightning_genmodels.networks.initialization import init_dcgan

DEEPEST = 8  # halvings, which make one pixel of 256


def deepest(height: int, width: int) -> int:
    """How many times, 8 at most, both sides can be halved."""
    return max(depth for depth in range(DEEPEST + 1) if height % 2**depth == width % 2**depth == 0)


class UNetGenerator(nn.Module):
    """(N, C, H, W) -> (N, C', H, W) in [-1, 1]: an encoder and a decoder of 4x4 convolutions with a skip at each size.

    Each image is normalised by its own statistics, which is batch normalisation at batch size 1, and so in training as
    in prediction: what becomes of an image depends on no other, and there are no running averages. Dropout, the only
    source of variety, is likewise on at all times; only the blocks between the innermost and the four outer ones have
    it, as in the implementation that is in public use.

    Args:
        in_channels: C.
        out_channels: C'.
        depth: times that the image is halved, 2 or more; 8 for 256 pixels.
        width: channels after the first halving; they are doubled with each, up to 8 times as many.
        dropout: share of the channels' pixels that are dropped; 0 drops none.
    """

    def __init__(
        self, in_channels: int, out_channels: int, depth: int = DEEPEST, width: int = 64, dropout: float = 0.5
    ) -> None:
        super().__init__()
        widths = [width * min(2**level, 8) for level in range(depth)]
        self.in_channels, self.out_channels, self.depth, self.width = in_channels, out_channels, depth, width
        self.dropout = dropout
        self.dropped = range(4, depth - 1)  # levels
        # Of each level from the outermost on: the convolution that halves, that which doubles, and their normalisation.
        before = [in_channels, *widths]
        after = [out_channels, *widths]
        self.down = nn.ModuleList(
            nn.Conv2d(before[level], widths[level], 4, stride=2, padding=1, bias=False) for level in range(depth)
        )
        self.down_norm = nn.ModuleList(
            nn.InstanceNorm2d(widths[level], affine=True) if 0 < level < depth - 1 else nn.Identity()
            for level in range(depth)
        )
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(
                widths[level] * (1 if level == depth - 1 else 2), after[level], 4, stride=2, padding=1, bias=level == 0
            )
            for level in range(depth)
        )
        self.up_norm = nn.ModuleList(
            nn.InstanceNorm2d(after[level], affine=True) if level else nn.Identity() for level in range(depth)
        )
        self.apply(init_dcgan)

    def forward(self, source: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """(N, C, H, W), both sides divisible by 2^depth -> (N, C', H, W).

        Args:
            source: the images.
            generator: source of what is dropped; one on the CPU drops the same on every device.
        """
        skips: list[Tensor] = []
        maps = source
        for level, (down, norm) in enumerate(zip(self.down, self.down_norm, strict=True)):
            maps = norm(down(functional.leaky_relu(maps, 0.2) if level else maps))
            skips.append(maps)
        for level in reversed(range(len(skips))):
            if level < len(skips) - 1:
                maps = torch.cat([skips[level], maps], 1)
            maps = self.up_norm[level](self.up[level](functional.relu(maps)))
            if self.dropout and level in self.dropped:
                maps = _drop(maps, self.dropout, generator)
        return maps.tanh()


def _drop(maps: Tensor, share: float, generator: torch.Generator | None) -> Tensor:
    device = maps.device if generator is None else generator.device
    kept = torch.rand(maps.shape, generator=generator, device=device) >= share
    return maps * kept.to(maps.device) / (1 - share)
