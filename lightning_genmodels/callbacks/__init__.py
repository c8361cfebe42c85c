"""Lightning callbacks; they know a model by its documented methods only."""

from lightning_genmodels.callbacks.best_checkpoint import BestCheckpoint
from lightning_genmodels.callbacks.collapse_watch import CollapseWatch
from lightning_genmodels.callbacks.exact_resume import ExactResume
from lightning_genmodels.callbacks.feature_probe import FeatureProbe
from lightning_genmodels.callbacks.generation_scores import GenerationScores
from lightning_genmodels.callbacks.labelled_table import LabelledTable
from lightning_genmodels.callbacks.last_checkpoint import LastCheckpoint
from lightning_genmodels.callbacks.picture_grid import PictureGrid
from lightning_genmodels.callbacks.prediction_writer import PredictionWriter

__all__ = [
    "BestCheckpoint",
    "CollapseWatch",
    "ExactResume",
    "FeatureProbe",
    "GenerationScores",
    "LabelledTable",
    "LastCheckpoint",
    "PictureGrid",
    "PredictionWriter",
]
