"""Scores of generated images and of codes, in torchmetrics' style."""

from lightning_genmodels.metrics.activity import UnitActivity
from lightning_genmodels.metrics.generation import DensityCoverage, PrecisionRecall
from lightning_genmodels.metrics.probe import probe_codes

__all__ = ["DensityCoverage", "PrecisionRecall", "UnitActivity", "probe_codes"]
