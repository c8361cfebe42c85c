"""`python -m lightning_genmodels` is `genmodels`."""

import sys

from lightning_genmodels.cli import main

if __name__ == "__main__":
    sys.exit(main())
