"""Initial weights."""

from torch import nn


def init_dcgan(module: nn.Module) -> None:
    """Draws weights as DCGAN does (Radford et al. 2016); give it to `Module.apply`.

    Convolutions come from N(0, 0.02), the gains of normalisations from N(1, 0.02); biases are zero.
    """
    if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, (nn.BatchNorm2d, nn.InstanceNorm2d)):
        nn.init.normal_(module.weight, 1.0, 0.02)
    else:
        return
    if module.bias is not None:
        nn.init.zeros_(module.bias)
