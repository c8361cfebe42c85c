"""Scores of generated images, in torchmetrics' style."""

from lightning_genmodels.metrics.generation import DensityCoverage, PrecisionRecall

__all__ = ["DensityCoverage", "PrecisionRecall"]
