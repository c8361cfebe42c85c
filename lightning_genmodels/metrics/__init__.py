"""Scores of generated images and of codes, in torchmetrics' style."""

from lightning_genmodels.metrics.activity import UnitActivity
from lightning_genmodels.metrics.depth import DepthErrors
from lightning_genmodels.metrics.frechet import FrechetDistance, KernelDistance
from lightning_genmodels.metrics.generation import DensityCoverage, PrecisionRecall
from lightning_genmodels.metrics.modes import ModeCoverage
from lightning_genmodels.metrics.perceptual import (
    DISTANCES,
    DistanceName,
    lpips_distance,
    perceptual_path_length,
    pyramid_distance,
)
from lightning_genmodels.metrics.probe import probe_codes
from lightning_genmodels.metrics.psnr import ImagePSNR
from lightning_genmodels.metrics.similarity import PairSimilarity
from lightning_genmodels.metrics.sliced_wasserstein import SlicedWasserstein

__all__ = [
    "DISTANCES",
    "DensityCoverage",
    "DepthErrors",
    "DistanceName",
    "FrechetDistance",
    "ImagePSNR",
    "KernelDistance",
    "ModeCoverage",
    "PairSimilarity",
    "PrecisionRecall",
    "SlicedWasserstein",
    "UnitActivity",
    "lpips_distance",
    "perceptual_path_length",
    "probe_codes",
    "pyramid_distance",
]
