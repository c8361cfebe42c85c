"""`genmodels sample`: a grid of samples from a checkpoint."""

from pathlib import Path
from typing import Any

import torch

from lightning_genmodels.cli.small import SmallParser, add_model_arguments, model_on_device
from lightning_genmodels.errors import GenmodelsError
from lightning_genmodels.pictures import image_grid, save_png


def sample(argv: list[str]) -> None:
    """Runs the command."""
    parser = SmallParser("sample", "Draws a grid of samples from a checkpoint.")
    add_model_arguments(parser)
    parser.add_argument("--count", type=int, default=64, help="how many samples (default: 64)")
    parser.add_argument("--output", required=True, metavar="FILE.png", help="the picture to write")
    options = parser.parse_args(argv)
    output = Path(options.output)
    if options.count < 1:
        raise GenmodelsError(f"--count is {options.count}; expected 1 or more.")
    if output.suffix.lower() != ".png" or output.is_dir():
        raise GenmodelsError(f"--output is {output}; expected a file name that ends in .png.")
    model: Any = model_on_device(options)
    if not hasattr(model, "sample"):
        raise GenmodelsError(
            f"--checkpoint {options.checkpoint} does not draw samples: its model is {type(model).__name__}; "
            "expected a generative model."
        )
    generator = torch.Generator().manual_seed(options.seed)
    try:
        save_png(image_grid(model.sample(options.count, generator=generator)), output)
    except OSError as error:
        raise GenmodelsError(f"--output {output} cannot be written ({error.strerror}).") from error
    print(f"{options.count} samples: {output}")
