"""`python -m lightning_genmodels` is `genmodels`."""

import os
import sys
from pathlib import Path

if __name__ == "__main__":
    if sys.path[0] == os.getcwd():  # -m puts it first, where a user's files would shadow ours; main() puts it last
        del sys.path[0]
        sys.path.append(str(Path(__file__).parents[1]))  # of a clone that is not installed
    from lightning_genmodels.cli import main

    sys.exit(main())
