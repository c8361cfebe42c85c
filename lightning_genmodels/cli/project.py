"""`genmodels project`: the styles that a StyleGAN would have made pictures from."""

from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as transforms

from datamodules.decoding import read_image
from datamodules.folders import pictures_in
from lightning_genmodels.cli.small import (
    SmallParser,
    add_distance,
    add_model_arguments,
    check_png,
    check_writable,
    existing,
    styled_model_on_device,
    writing,
)
from lightning_genmodels.cli.translate import check_places
from lightning_genmodels.editing import project as project_images
from lightning_genmodels.errors import GenmodelsError
from lightning_genmodels.pictures import image_grid, save_png

AT_ONCE = 8  # pictures


def project(argv: list[str]) -> None:
    """Runs the command."""
    parser = SmallParser(
        "project",
        "Finds the style that a StyleGAN would have made a picture from, or each of a folder. Draws each picture, the "
        "square in its middle, beside its projection; the styles go to a file beside it, a .safetensors of the same "
        "name, from which genmodels edit can start.",
    )
    add_model_arguments(parser, "the checkpoint of a StyleGAN")
    parser.add_argument("--input", required=True, metavar="PATH", help="a picture or a folder")
    parser.add_argument("--steps", type=int, default=1000, help="of the search (default: 1000)")
    add_distance(parser, "that is made small")
    parser.add_argument(
        "--per_layer", action="store_true", help="a style for each layer: nearer to the picture, but harder to edit"
    )
    parser.add_argument("--output", required=True, metavar="FILE.png", help="the picture to write")
    options = parser.parse_args(argv)
    output = Path(options.output)
    if options.steps < 1:
        raise GenmodelsError(f"--steps is {options.steps}; expected 1 or more.")
    check_png(output)
    source = existing("input", options.input, "a picture or a folder")
    pictures = pictures_in(source) if source.is_dir() else [source]
    styles_file = output.with_suffix(".safetensors")
    check_places(pictures, [output, styles_file])
    model = styled_model_on_device(options)
    check_writable(output)
    targets = torch.stack([read_square(path, model.image_shape) for path in pictures])
    found = [
        project_images(
            model,
            part,
            steps=options.steps,
            distance=options.distance,
            per_layer=options.per_layer,
            generator=torch.Generator().manual_seed(options.seed),  # the same draws for each, alone and among others
        )
        for part in targets.split(AT_ONCE)
    ]
    for path, distance in zip(pictures, torch.cat([part.distances for part in found]).tolist(), strict=True):
        print(f"{path}: {options.distance} distance {distance:.4g}")
    rows = torch.stack([targets, torch.cat([part.images for part in found]).cpu()], 1)
    styles = torch.cat([part.styles for part in found]).cpu()
    with writing(f"--output {output}"):
        save_png(image_grid(rows.flatten(0, 1), columns=2), output)
    with writing(styles_file):
        styles_file.write_bytes(safetensors.torch.save({"styles": styles}))
    print(f"{len(pictures)} picture{'s' if len(pictures) > 1 else ''}: {output}, {styles_file}")


def read_square(path: Path, image_shape: tuple[int, int, int]) -> Tensor:
    """The square in the middle of a picture file as (C, S, S) float in [0, 1]; DataError for a file that is none."""
    channels, size, _ = image_shape
    pixels = read_image(path, channels)
    square = transforms.center_crop(pixels, [min(pixels.shape[1:])])
    image: Tensor = transforms.resize(square, [size, size], antialias=True).float().div(255)
    return image
