"""Networks that make an image of an image, pixel by pixel. Shapes: N images, C channels, height H and width W."""

import torch
from torch import Tensor, nn


def _block(before: int, after: int, batch_norm: bool) -> nn.Sequential:
    """Two 3x3 convolutions."""
    layers: list[nn.Module] = []
    for size in (before, after):
        layers += [
            nn.Conv2d(size, after, 3, padding=1, bias=not batch_norm),
            *([nn.BatchNorm2d(after)] if batch_norm else []),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*layers)


class UNet(nn.Module):
    """(N, C, H, W) -> (N, C', H, W), both sides divisible by 2^depth (after Ronneberger et al. 2015).

    Blocks of two 3x3 convolutions at the image's own size and at each half of it, with a skip at every size; borders
    are padded, which the paper's are not.

    Args:
        in_channels: C.
        out_channels: C'.
        depth: times that the image is halved, 1 or more.
        width: channels at the image's own size; they are doubled with each halving.
        batch_norm: normalise after each convolution over the batch.
    """

    def __init__(
        self, in_channels: int, out_channels: int, depth: int = 3, width: int = 32, batch_norm: bool = True
    ) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(depth + 1)]
        self.first = _block(in_channels, width, batch_norm)
        self.down = nn.ModuleList(
            nn.Sequential(nn.MaxPool2d(2), _block(before, 2 * before, batch_norm)) for before in widths[:-1]
        )
        self.up = nn.ModuleList(nn.ConvTranspose2d(2 * after, after, 2, stride=2) for after in widths[:-1])
        self.join = nn.ModuleList(_block(2 * after, after, batch_norm) for after in widths[:-1])
        self.last = nn.Conv2d(width, out_channels, 1)

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C', H, W)."""
        maps = [self.first(images)]
        for down in self.down:
            maps.append(down(maps[-1]))
        joined = maps.pop()
        for up, join in zip(reversed(self.up), reversed(self.join), strict=True):
            joined = join(torch.cat([maps.pop(), up(joined)], 1))
        made: Tensor = self.last(joined)
        return made


class DnCNN(nn.Module):
    """(N, C, H, W) -> (N, C', H, W), of any size, by 3x3 convolutions alone (Zhang et al. 2017).

    The first has no normalisation, the last neither that nor an activation. Beside a source of as many channels, what
    it gives is the noise to be taken away.

    Args:
        in_channels: C.
        out_channels: C'.
        depth: convolutions, 2 or more; 17 in the paper for one level of noise, 20 for all.
        width: channels between.
        batch_norm: normalise after each convolution between over the batch.
    """

    def __init__(
        self, in_channels: int, out_channels: int, depth: int = 17, width: int = 64, batch_norm: bool = True
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(in_channels, width, 3, padding=1), nn.ReLU(inplace=True)]
        for _ in range(depth - 2):
            layers += [
                nn.Conv2d(width, width, 3, padding=1, bias=not batch_norm),
                *([nn.BatchNorm2d(width)] if batch_norm else []),
                nn.ReLU(inplace=True),
            ]
        self.layers = nn.Sequential(*layers, nn.Conv2d(width, out_channels, 3, padding=1))

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C', H, W)."""
        made: Tensor = self.layers(images)
        return made
