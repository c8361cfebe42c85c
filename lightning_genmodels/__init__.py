"""Autoencoders and GANs for PyTorch Lightning."""

from lightning_genmodels.checkpoints import load_model
from lightning_genmodels.errors import GenmodelsError
from lightning_genmodels.models.autoencoder import Autoencoder
from lightning_genmodels.models.gan import GAN

__version__ = "0.1.0"
__all__ = ["GAN", "Autoencoder", "GenmodelsError", "load_model"]
