"""`genmodels path_length`: how evenly a StyleGAN's images change with its latents."""

import torch

from lightning_genmodels.cli.small import SmallParser, add_distance, add_model_arguments, styled_model_on_device
from lightning_genmodels.errors import GenmodelsError
from lightning_genmodels.metrics import perceptual_path_length


def path_length(argv: list[str]) -> None:
    """Runs the command."""
    parser = SmallParser(
        "path_length",
        "Measures the perceptual path length of a StyleGAN (Karras et al. 2018), without truncation: the mean distance "
        "of two images that lie near on the way between two latents, over the square of their step. Low is smooth; "
        "only values of one distance and space compare.",
    )
    add_model_arguments(parser, "the checkpoint of a StyleGAN")
    parser.add_argument("--samples", type=int, default=10_000, help="pairs; the paper has 100000 (default: 10000)")
    add_distance(parser, "of two images")
    parser.add_argument(
        "--space", choices=["z", "w"], default="w", help="where the way lies, latents or styles (default: w)"
    )
    options = parser.parse_args(argv)
    if options.samples < 1:
        raise GenmodelsError(f"--samples is {options.samples}; expected 1 or more.")
    model = styled_model_on_device(options)
    found = perceptual_path_length(
        model,
        samples=options.samples,
        distance=options.distance,
        space=options.space,
        generator=torch.Generator().manual_seed(options.seed),
    )
    for name, value in found.items():
        print(f"{name} {value:.4g}, of {options.samples} pairs")
