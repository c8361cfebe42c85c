"""Networks that see labels beside latents or images. Shapes: N items, Z latent size, L labels, (C, H, W) an image.

Labels are float (N, L): 1 in one place for a class, 0 or 1 in each for attributes. A discriminator that is given has
`features`, (N, C, H, W) -> (N, F, ...), `head`, which makes logits of these, and `feature_size`, F.
"""

from typing import Any

import torch
from torch import Tensor, nn


class LabelledGenerator(nn.Module):
    """(N, Z) latents and (N, L) labels -> images: the labels follow the latent (Mirza and Osindero 2014).

    Args:
        network: (N, Z + L) -> images.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, latent: Tensor, labels: Tensor) -> Tensor:
        """(N, Z), (N, L) -> (N, C, H, W)."""
        images: Tensor = self.network(torch.cat([latent, labels.to(latent)], 1))
        return images


class ConcatenationDiscriminator(nn.Module):
    """(N, C, H, W) images and (N, L) labels -> (N,) logits: each label is a channel (Mirza and Osindero 2014).

    Args:
        network: (N, C + L, H, W) -> (N,).
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        """(N, C, H, W), (N, L) -> (N,)."""
        planes = labels.to(images)[:, :, None, None].expand(-1, -1, *images.shape[2:])
        logits: Tensor = self.network(torch.cat([images, planes], 1))
        return logits


class ProjectionDiscriminator(nn.Module):
    """Logits plus the inner product of the image's features with its labels' vectors (Miyato and Koyama 2018).

    Args:
        network: the discriminator.
        label_count: L.
    """

    def __init__(self, network: Any, label_count: int) -> None:
        super().__init__()
        self.network = network
        self.embedding = nn.Linear(label_count, network.feature_size, bias=False)

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        """(N, C, H, W), (N, L) -> (N,)."""
        features = self.network.features(images)
        vectors = self.embedding(labels.to(features))
        logits: Tensor = self.network.head(features) + (vectors * _pooled(features)).sum(1)
        return logits


class AuxiliaryDiscriminator(nn.Module):
    """Logits that do not depend on the labels, and beside them a classifier of images (Odena et al. 2017).

    Args:
        network: the discriminator.
        label_count: L.
    """

    def __init__(self, network: Any, label_count: int) -> None:
        super().__init__()
        self.network = network
        self.classifier = nn.Linear(network.feature_size, label_count)

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        """(N, C, H, W), (N, L) -> (N,)."""
        logits: Tensor = self.network(images)
        return logits

    def classify(self, images: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, L) logits of the labels."""
        logits: Tensor = self.classifier(_pooled(self.network.features(images)))
        return logits


def _pooled(features: Tensor) -> Tensor:
    """(N, F, ...) -> (N, F), the sum over places."""
    return features.flatten(2).sum(2) if features.ndim > 2 else features
