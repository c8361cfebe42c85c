"""`genmodels interpolate`: the images between two codes."""

import argparse
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as transforms

from datamodules.decoding import read_image
from lightning_genmodels.cli.data import add_data_arguments, data_of, float_batches
from lightning_genmodels.cli.small import (
    SmallParser,
    add_model_arguments,
    add_truncation,
    check_styled_options,
    model_on_device,
    truncation_of,
    writing,
)
from lightning_genmodels.errors import GenmodelsError
from lightning_genmodels.pictures import image_grid, save_animation, save_png


def interpolate(argv: list[str]) -> None:
    """Runs the command."""
    parser = SmallParser(
        "interpolate",
        "Combines two codes: draws the images on the way from one to the other, each pair a row of a PNG, or in "
        "a GIF or WebP. An autoencoder's ends are images, by default of the run's test split; a GAN's are drawn.",
    )
    add_model_arguments(parser)
    add_data_arguments(parser)
    parser.add_argument("--images", nargs=2, metavar="FILE", help="the two images to go between, for an autoencoder")
    parser.add_argument("--count", type=int, default=8, help="pairs, where they are not given as images (default: 8)")
    parser.add_argument("--steps", type=int, default=12, help="images on the way, both ends included (default: 12)")
    add_truncation(parser)
    parser.add_argument("--output", required=True, metavar="FILE", help="the picture to write, .png, .gif or .webp")
    options = parser.parse_args(argv)
    output = Path(options.output)
    for option, value, least in (("count", options.count, 1), ("steps", options.steps, 2)):
        if value < least:
            raise GenmodelsError(f"--{option} is {value}; expected {least} or more.")
    if output.suffix.lower() not in (".png", ".gif", ".webp") or output.is_dir():
        raise GenmodelsError(f"--output is {output}; expected a file name that ends in .png, .gif or .webp.")
    truncation = truncation_of(options)
    model: Any = model_on_device(options)
    if not hasattr(model, "interpolate"):
        raise GenmodelsError(
            f"--checkpoint {options.checkpoint} cannot interpolate: its model is {type(model).__name__}; expected an "
            "autoencoder or a GAN."
        )
    check_styled_options(model, options, "truncation")
    styled = {} if options.truncation is None else {"truncation": truncation}
    path = model.interpolate(*ends(model, options), options.steps, **styled)
    with writing(f"--output {output}"):
        if output.suffix.lower() == ".png":
            save_png(image_grid(path.flatten(0, 1), columns=options.steps), output)
        else:
            frames = [image_grid(images) for images in path.transpose(0, 1)]
            save_animation([*frames, *frames[-2:0:-1]], output)  # there and back again
    print(f"{len(path)} pairs, {options.steps} steps: {output}")


@torch.no_grad()
def ends(model: Any, options: argparse.Namespace) -> tuple[Tensor, Tensor]:
    """(count, latent_dim) codes to begin with, and as many to end with."""
    generator = torch.Generator().manual_seed(options.seed)
    if not hasattr(model, "encode"):
        if options.images is not None:
            raise GenmodelsError(
                f"--images: {type(model).__name__} cannot encode them; expected an autoencoder's checkpoint."
            )
        latents = torch.randn(2 * options.count, model.latent_dim, generator=generator).to(model.device)
        return latents[: options.count], latents[options.count :]
    if options.images is not None:
        images = torch.stack([read_end(path, model.image_shape) for path in options.images])
        first, last = model.encode(images.to(model.device)).chunk(2)
        return first, last
    datamodule = data_of(options)
    images = torch.cat([batch[0] for batch in float_batches(model, datamodule, datamodule.test_dataloader())])
    if len(images) < 2 * options.count:
        raise GenmodelsError(f"--count is {options.count}; expected {len(images) // 2} or less, half the test images.")
    chosen = images[torch.randperm(len(images), generator=generator)[: 2 * options.count]]
    first, last = model.encode(chosen.to(model.device)).chunk(2)
    return first, last


def read_end(path: str, image_shape: tuple[int, int, int]) -> Tensor:
    """A picture file as (C, H, W) float in [0, 1], resized to the model's images.

    Raises:
        GenmodelsError: for a model of neither grey nor colour images.
        DataError: for a file that is no picture.
    """
    channels, height, width = image_shape
    if channels not in (1, 3):
        raise GenmodelsError(f"--images: the model's images have {channels} channels; expected 1 or 3.")
    pixels = read_image(Path(path), channels)
    image: Tensor = transforms.resize(pixels, [height, width], antialias=True).float().div(255)
    return image
