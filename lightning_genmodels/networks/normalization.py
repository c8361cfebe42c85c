"""Normalisation of whole networks."""

from torch import nn
from torch.nn.utils import parametrizations


def normalize_spectrum(network: nn.Module) -> None:
    """Divides the weight of each linear layer and convolution by its largest singular value, by one power iteration a
    forward pass in training (Miyato et al. 2018).
    """
    for module in list(network.modules()):
        if isinstance(module, (nn.Linear, nn.Conv2d)):
            parametrizations.spectral_norm(module)
