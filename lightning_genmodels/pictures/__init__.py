"""Pictures of batches: uint8 arrays and files."""

from lightning_genmodels.pictures.animation import save_gif
from lightning_genmodels.pictures.colours import class_colours, depth_colours, with_caption
from lightning_genmodels.pictures.grid import Picture, image_grid, save_png, to_uint8
from lightning_genmodels.pictures.maps import depth_panel, save_classes, save_depth, save_result
from lightning_genmodels.pictures.plots import POINT, POINTS, bars, picture_of, scatter

__all__ = [
    "POINT",
    "POINTS",
    "Picture",
    "bars",
    "class_colours",
    "depth_colours",
    "depth_panel",
    "image_grid",
    "picture_of",
    "save_classes",
    "save_depth",
    "save_gif",
    "save_png",
    "save_result",
    "scatter",
    "to_uint8",
    "with_caption",
]
