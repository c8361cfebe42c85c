"""Editing of images by the latents and styles that they are made of."""

from lightning_genmodels.editing.attributes import (
    AttributeAccuracy,
    attribute_accuracy,
    attribute_logits,
    label_thresholds,
    labelled,
    train_classifier,
)
from lightning_genmodels.editing.directions import attribute_direction, conditioned, deviation_along, move
from lightning_genmodels.editing.mixing import mix, mixing_grid
from lightning_genmodels.editing.projection import Projection, project
from lightning_genmodels.editing.styles import draw_styles, images_of

__all__ = [
    "AttributeAccuracy",
    "Projection",
    "attribute_accuracy",
    "attribute_direction",
    "attribute_logits",
    "conditioned",
    "deviation_along",
    "draw_styles",
    "images_of",
    "label_thresholds",
    "labelled",
    "mix",
    "mixing_grid",
    "move",
    "project",
    "train_classifier",
]
