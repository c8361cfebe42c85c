"""`genmodels sample`: a grid of samples from a checkpoint."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lightning_genmodels.cli.small import (
    SmallParser,
    add_model_arguments,
    add_truncation,
    check_png,
    check_styled_options,
    model_on_device,
    truncation_of,
    writing,
)
from lightning_genmodels.editing import draw_styles
from lightning_genmodels.errors import GenmodelsError
from lightning_genmodels.pictures import POINT, POINTS, picture_of, save_png

IMAGES = 64  # drawn


def sample(argv: list[str]) -> None:
    """Runs the command."""
    parser = SmallParser(
        "sample",
        "Draws a grid of samples from a checkpoint. With labels each is a column, and each row has one latent.",
    )
    add_model_arguments(parser)
    parser.add_argument(
        "--count",
        type=int,
        help=f"how many samples (default: {IMAGES}, or {POINTS} points); with "
        "--labels or --noises whole rows of them, one at least",
    )
    parser.add_argument(
        "--labels",
        metavar="A,B,…",
        help="of a conditional model: classes, by name or number, or attributes of training images: "
        "Smiling for with it, no-Smiling for without",
    )
    add_truncation(parser)
    parser.add_argument(
        "--noises", type=int, metavar="N", help="of a StyleGAN: draw each N times in a row, with other noise"
    )
    parser.add_argument("--output", required=True, metavar="FILE.png", help="the picture to write")
    options = parser.parse_args(argv)
    output = Path(options.output)
    if options.count is not None and options.count < 1:
        raise GenmodelsError(f"--count is {options.count}; expected 1 or more.")
    check_png(output)
    truncation = truncation_of(options)
    model: Any = model_on_device(options)
    if not hasattr(model, "sample"):
        raise GenmodelsError(
            f"--checkpoint {options.checkpoint} does not draw samples: its model is {type(model).__name__}; "
            "expected a generative model."
        )
    check_styled_options(model, options, "truncation", "noises")
    if options.noises is not None and options.noises < 1:
        raise GenmodelsError(f"--noises is {options.noises}; expected 1 or more.")
    count = options.count or (POINTS if model.image_shape == POINT else IMAGES)
    generator = torch.Generator().manual_seed(options.seed)
    columns = None
    if options.labels is not None:
        images, columns = labelled_samples(model, names_in(options.labels), count, options.seed)
    elif options.noises is not None:
        images, columns = noisy_samples(model, count, options.noises, generator, truncation), options.noises
    elif options.truncation is not None:
        images = model.sample(count, generator=generator, truncation=truncation)
    else:
        images = model.sample(count, generator=generator)
    with writing(f"--output {output}"):
        save_png(picture_of(images, columns=columns), output)
    print(f"{len(images)} samples: {output}")


def names_in(labels: str) -> list[str]:
    """The names between commas."""
    names = [name.strip() for name in labels.split(",")]
    if not all(names):
        raise GenmodelsError(f"--labels is {labels!r}; expected names, or numbers of classes, between commas.")
    return names


def labelled_samples(model: Any, labels: list[str], count: int, seed: int) -> tuple[Tensor, int]:
    """About `count` samples row by row, each row of one latent and each column of one label; and the columns."""
    if not hasattr(model, "labels_named"):
        raise GenmodelsError(f"--labels: {type(model).__name__} takes none; expected a conditional model's checkpoint.")
    rows = max(1, count // len(labels))
    columns = [
        model.sample(rows, labels=model.labels_named(label, rows), generator=torch.Generator().manual_seed(seed))
        for label in labels
    ]
    return torch.stack(columns, 1).flatten(0, 1), len(labels)


@torch.no_grad()
def noisy_samples(model: Any, count: int, noises: int, generator: torch.Generator, truncation: float) -> Tensor:
    """About `count` samples row by row, each row of one latent under different noise."""
    styles = draw_styles(model, max(1, count // noises), generator, truncation).repeat_interleave(noises, 0)
    rows_of_images = [model.synthesize(row, model.draw_noises(len(row), generator)) for row in styles.split(noises)]
    return torch.cat(rows_of_images).clamp(0, 1)
