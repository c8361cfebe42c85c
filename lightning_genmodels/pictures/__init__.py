"""Pictures of batches: uint8 arrays and files."""

from lightning_genmodels.pictures.grid import image_grid, save_png, to_uint8

__all__ = ["image_grid", "save_png", "to_uint8"]
