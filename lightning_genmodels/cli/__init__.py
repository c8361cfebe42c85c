"""The command `genmodels`."""

from lightning_genmodels.cli.main import main

__all__ = ["main"]
