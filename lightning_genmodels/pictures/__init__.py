"""Pictures of batches: uint8 arrays and files."""

from lightning_genmodels.pictures.animation import save_gif
from lightning_genmodels.pictures.grid import Picture, image_grid, save_png, to_uint8
from lightning_genmodels.pictures.plots import bars, scatter

__all__ = ["Picture", "bars", "image_grid", "save_gif", "save_png", "scatter", "to_uint8"]
