"""Pictures of batches: uint8 arrays and files."""

from lightning_genmodels.pictures.animation import save_gif
from lightning_genmodels.pictures.colours import class_colours, depth_colours, with_caption
from lightning_genmodels.pictures.grid import Picture, image_grid, save_png, to_uint8
from lightning_genmodels.pictures.maps import depth_panel, save_classes, save_depth, save_result
from lightning_genmodels.pictures.plots import POINT, POINTS, bars, picture_of, scatter
from lightning_genmodels.pictures.point_cloud import focal_length, points_of, save_ply, seen_from, turn

__all__ = [
    "POINT",
    "POINTS",
    "Picture",
    "bars",
    "class_colours",
    "depth_colours",
    "depth_panel",
    "focal_length",
    "image_grid",
    "picture_of",
    "points_of",
    "save_classes",
    "save_depth",
    "save_gif",
    "save_ply",
    "save_png",
    "save_result",
    "scatter",
    "seen_from",
    "to_uint8",
    "turn",
    "with_caption",
]
