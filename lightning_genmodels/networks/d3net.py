"""D3-Net (Carvalho, Le Saux et al. 2018): DenseNet-121 and a decoder with skips. Shapes: N images of H by W."""

import torch
from torch import Tensor, nn
from torchvision.models import densenet121

# Channels that the decoder is given at 1/2 to 1/32 of the size, the encoder's among them, and makes of these.
INPUTS = (64 + 64, 128 + 128, 256 + 256, 512 + 512, 1024)
OUTPUTS = (64, 64, 128, 256, 512)


class _Doubling(nn.Module):
    """Doubles the size by a transposed convolution, and mends it by another."""

    def __init__(self, before: int, after: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.ConvTranspose2d(before, after, 4, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(after),
            nn.Dropout(dropout),
            nn.ReLU(inplace=True),
            nn.Conv2d(after, after, 3, padding=1, bias=False),
            nn.BatchNorm2d(after),
            nn.Dropout(dropout),
            nn.ReLU(inplace=True),
        )

    def forward(self, maps: Tensor) -> Tensor:
        result: Tensor = self.layers(maps)
        return result


class D3Net(nn.Module):
    """(N, 3, H, W) in [0, 1] -> (N, 1, H, W) metres, both sides divisible by 32.

    DenseNet-121 whose first pooling is a 4x4 convolution of stride 2; the decoder is given what the encoder has at each
    size just before it is halved. Dropout of one half in its two deepest blocks, in training.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self) -> None:
        super().__init__()
        # ImageNet's, which the published weights of the encoder expect.
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1))
        self.register_buffer("deviation", torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1))
        self.encoder = densenet121(weights=None).features
        self.encoder.pool0 = nn.Conv2d(64, 64, 4, stride=2, padding=1, bias=False)
        self.decoder = nn.ModuleList(
            _Doubling(before, after, 0.5 if level >= 3 else 0.0)
            for level, (before, after) in enumerate(zip(INPUTS, OUTPUTS, strict=True))
        )
        self.last = nn.Conv2d(OUTPUTS[0], 1, 3, padding=1)

    def load_encoder(self, state: dict[str, Tensor]) -> None:
        """Takes the weights of a DenseNet-121's features; the convolution in place of its pooling keeps its own."""
        self.encoder.load_state_dict(state | {"pool0.weight": self.encoder.pool0.weight})

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, 1, H, W)."""
        maps = (images - self.mean) / self.deviation
        skips = []
        for name, layer in self.encoder.named_children():
            if name.startswith("transition"):
                *parts, pool = layer.children()
                for part in parts:
                    maps = part(maps)
                skips.append(maps)
                maps = pool(maps)
            else:
                if name == "pool0":
                    skips.append(maps)
                maps = layer(maps)
        maps = maps.relu()
        for level in (4, 3, 2, 1, 0):
            maps = self.decoder[level](maps)
            if level:
                maps = torch.cat([skips[level - 1], maps], 1)
        depth: Tensor = self.last(maps)
        return depth
