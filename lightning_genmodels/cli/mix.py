"""`genmodels mix`: the coarse styles of some samples with the fine styles of others."""

from pathlib import Path

import torch

from lightning_genmodels.cli.small import (
    SmallParser,
    add_model_arguments,
    add_truncation,
    check_png,
    styled_model_on_device,
    truncation_of,
    writing,
)
from lightning_genmodels.editing import mixing_grid
from lightning_genmodels.errors import GenmodelsError
from lightning_genmodels.pictures import image_grid, save_png


def mix(argv: list[str]) -> None:
    """Runs the command."""
    parser = SmallParser(
        "mix",
        "Mixes the styles of a StyleGAN's samples: each image has the coarse layers, pose and shape, of the sample to "
        "the left of its row and the fine ones, colours and texture, of the sample above its column.",
    )
    add_model_arguments(parser, "the checkpoint of a StyleGAN")
    parser.add_argument("--rows", type=int, default=4, help="coarse sources (default: 4)")
    parser.add_argument("--columns", type=int, default=6, help="fine sources (default: 6)")
    parser.add_argument("--crossover", type=int, metavar="LAYER", help="the first fine layer (default: half of them)")
    add_truncation(parser)
    parser.add_argument("--output", required=True, metavar="FILE.png", help="the picture to write")
    options = parser.parse_args(argv)
    output = Path(options.output)
    for option, value in (("rows", options.rows), ("columns", options.columns)):
        if value < 1:
            raise GenmodelsError(f"--{option} is {value}; expected 1 or more.")
    truncation = truncation_of(options)
    check_png(output)
    model = styled_model_on_device(options)
    layers = model.style_layers
    crossover = layers // 2 if options.crossover is None else options.crossover
    if not 0 <= crossover <= layers:
        raise GenmodelsError(f"--crossover is {crossover}; expected 0 to {layers}, the number of layers.")
    generator = torch.Generator().manual_seed(options.seed)
    images = mixing_grid(
        model,
        options.rows,
        options.columns,
        crossover,
        generator=generator,
        truncation=truncation,
    )
    with writing(f"--output {output}"):
        save_png(image_grid(images, columns=options.columns + 1), output)
    print(f"{options.rows} coarse and {options.columns} fine sources, crossover {crossover} of {layers}: {output}")
