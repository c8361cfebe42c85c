"""Autoencoders and GANs for PyTorch Lightning."""

from lightning_genmodels.checkpoints import load_model
from lightning_genmodels.errors import GenmodelsError
from lightning_genmodels.models.autoencoder import Autoencoder
from lightning_genmodels.models.gan import GAN
from lightning_genmodels.version import __version__

__all__ = ["GAN", "Autoencoder", "GenmodelsError", "__version__", "load_model"]
