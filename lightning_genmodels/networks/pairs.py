"""The pairs of generator and discriminator that a GAN chooses by name."""

from collections.abc import Callable
from typing import Literal

from torch import nn

from lightning_genmodels.networks.dcgan import STAGES, DCGANDiscriminator, DCGANGenerator
from lightning_genmodels.networks.mlp import MLPDiscriminator, MLPGenerator
from lightning_genmodels.networks.normalization import normalize_spectrum
from lightning_genmodels.networks.resnet import ResNetDiscriminator, ResNetGenerator

NetworkName = Literal["mlp", "dcgan", "resnet"]
GENERATORS: dict[str, Callable[..., nn.Module]] = {
    "mlp": MLPGenerator,
    "dcgan": DCGANGenerator,
    "resnet": ResNetGenerator,
}
CONVOLUTIONAL_SIZES = tuple(STAGES)  # pixels a side that "dcgan" and "resnet" can make


def make_discriminator(network: str, shape: tuple[int, int, int], batch_norm: bool, spectral_norm: bool) -> nn.Module:
    """(N, C, H, W) images -> (N,) logits, with `features` and `head` as in each of them.

    Args:
        network: its name.
        shape: (C, H, W).
        batch_norm: of "dcgan": normalise over the batch.
        spectral_norm: divide each layer's weights by their largest singular value.
    """
    made: nn.Module
    if network == "dcgan":
        made = DCGANDiscriminator(shape, batch_norm=batch_norm)
    else:
        made = MLPDiscriminator(shape) if network == "mlp" else ResNetDiscriminator(shape)
    if spectral_norm:
        normalize_spectrum(made)
    return made
