"""Pictures of batches: uint8 arrays and files."""

from lightning_genmodels.pictures.animation import save_animation
from lightning_genmodels.pictures.colours import class_colours, depth_colours, with_caption
from lightning_genmodels.pictures.grid import Picture, image_grid, in_colours, save_png, to_uint8
from lightning_genmodels.pictures.maps import colour_map_beside, depth_panel, save_classes, save_depth, save_result
from lightning_genmodels.pictures.plots import POINT, POINTS, bars, picture_of, scatter
from lightning_genmodels.pictures.point_cloud import Camera, camera_of, points_of, save_ply, seen_from, turn

__all__ = [
    "POINT",
    "POINTS",
    "Camera",
    "Picture",
    "bars",
    "camera_of",
    "class_colours",
    "colour_map_beside",
    "depth_colours",
    "depth_panel",
    "image_grid",
    "in_colours",
    "picture_of",
    "points_of",
    "save_animation",
    "save_classes",
    "save_depth",
    "save_ply",
    "save_png",
    "save_result",
    "scatter",
    "seen_from",
    "to_uint8",
    "turn",
    "with_caption",
]
