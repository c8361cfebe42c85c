"""Autoencoders and GANs for PyTorch Lightning."""

from lightning_genmodels.checkpoints import load_model
from lightning_genmodels.errors import GenmodelsError
from lightning_genmodels.models.autoencoder import Autoencoder
from lightning_genmodels.models.conditional_gan import ConditionalGAN
from lightning_genmodels.models.denoising_autoencoder import DenoisingAutoencoder
from lightning_genmodels.models.depth import DepthEstimation
from lightning_genmodels.models.gan import GAN
from lightning_genmodels.models.k_sparse_autoencoder import KSparseAutoencoder
from lightning_genmodels.models.pix2pix import Pix2Pix
from lightning_genmodels.models.regression import ImageRegression
from lightning_genmodels.models.sparse_autoencoder import SparseAutoencoder
from lightning_genmodels.models.stylegan import StyleGAN
from lightning_genmodels.models.super_resolution import SuperResolution
from lightning_genmodels.models.vae import VAE
from lightning_genmodels.version import __version__

__all__ = [
    "GAN",
    "VAE",
    "Autoencoder",
    "ConditionalGAN",
    "DenoisingAutoencoder",
    "DepthEstimation",
    "GenmodelsError",
    "ImageRegression",
    "KSparseAutoencoder",
    "Pix2Pix",
    "SparseAutoencoder",
    "StyleGAN",
    "SuperResolution",
    "__version__",
    "load_model",
]
