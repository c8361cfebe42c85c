"""The networks of SRGAN (Ledig et al. 2017). Shapes: N images, C channels, height h and width w of the small image."""

from torch import Tensor, nn
from torch.nn import functional

from lightning_genmodels.networks.initialization import init_dcgan


class _Residual(nn.Module):
    """Two 3x3 convolutions, added to what they are given."""

    def __init__(self, width: int, batch_norm: bool) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, bias=not batch_norm),
            *([nn.BatchNorm2d(width)] if batch_norm else []),
            nn.PReLU(),
            nn.Conv2d(width, width, 3, padding=1, bias=not batch_norm),
            *([nn.BatchNorm2d(width)] if batch_norm else []),
        )

    def forward(self, maps: Tensor) -> Tensor:
        result: Tensor = maps + self.layers(maps)
        return result


class SRResNet(nn.Module):
    """(N, C, h, w) -> (N, C, scale h, scale w) in [0, 1] or near it.

    Residual blocks at the small size, then pixel shuffling. What comes out is added to the image enlarged by bicubic
    interpolation, which the paper's is not: it need only draw what is missing there.

    Args:
        channels: C.
        scale: 2 or 4.
        blocks: how many residual blocks; 16 in the paper.
        width: channels of the maps; 64 in the paper.
        batch_norm: normalise in the blocks over the batch, as the paper does; without is sharper (Lim et al. 2017).
    """

    def __init__(
        self, channels: int, scale: int = 4, blocks: int = 16, width: int = 64, batch_norm: bool = False
    ) -> None:
        super().__init__()
        self.scale = scale
        self.first = nn.Sequential(nn.Conv2d(channels, width, 9, padding=4), nn.PReLU())
        self.blocks = nn.Sequential(
            *(_Residual(width, batch_norm) for _ in range(blocks)),
            nn.Conv2d(width, width, 3, padding=1, bias=not batch_norm),
            *([nn.BatchNorm2d(width)] if batch_norm else []),
        )
        enlarging: list[nn.Module] = []
        for _ in range(scale // 2):
            enlarging += [nn.Conv2d(width, 4 * width, 3, padding=1), nn.PixelShuffle(2), nn.PReLU()]
        self.enlarge = nn.Sequential(*enlarging)
        self.last = nn.Conv2d(width, channels, 9, padding=4)
        nn.init.zeros_(self.last.weight)  # it begins with the bicubic enlargement itself
        assert self.last.bias is not None
        nn.init.zeros_(self.last.bias)

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, h, w) -> (N, C, scale h, scale w)."""
        maps = self.first(images)
        maps = self.enlarge(maps + self.blocks(maps))
        smooth = functional.interpolate(images, scale_factor=self.scale, mode="bicubic", align_corners=False)
        enlarged: Tensor = smooth + self.last(maps)
        return enlarged


class SRDiscriminator(nn.Module):
    """(N, C, H, W) images in [-1, 1], of 16 pixels or more -> (N,) logits.

    Eight 3x3 convolutions, of which every second halves the image; their maps are averaged over the image before the
    two linear layers, so that any size can be judged.

    Args:
        channels: C.
        width: channels of the first two maps; they are doubled after each halving.
    """

    def __init__(self, channels: int, width: int = 64) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = channels
        for number in range(8):
            after = width * 2 ** (number // 2)
            layers += [
                nn.Conv2d(before, after, 3, stride=1 + number % 2, padding=1, bias=number == 0),
                *([nn.BatchNorm2d(after)] if number else []),
                nn.LeakyReLU(0.2, inplace=True),
            ]
            before = after
        self.features = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten()).apply(init_dcgan)
        self.head = nn.Sequential(nn.Linear(before, 1024), nn.LeakyReLU(0.2), nn.Linear(1024, 1), nn.Flatten(0))

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) -> (N,)."""
        logits: Tensor = self.head(self.features(images))
        return logits
