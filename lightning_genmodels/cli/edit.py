"""`genmodels edit`: moves the images of a StyleGAN along the direction of an attribute."""

import argparse
import math
import time
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from lightning_genmodels.cli.attributes import (
    KnownAttributes,
    digest_of,
    load_attributes,
    place_beside,
    save_attributes,
)
from lightning_genmodels.cli.data import add_data_arguments, build_datamodule, data_of, float_batches
from lightning_genmodels.cli.small import (
    SmallParser,
    add_model_arguments,
    add_truncation,
    check_png,
    check_writable,
    styled_model_on_device,
    truncation_of,
    writing,
)
from lightning_genmodels.editing import (
    attribute_accuracy,
    attribute_direction,
    attribute_logits,
    conditioned,
    deviation_along,
    draw_styles,
    images_of,
    label_thresholds,
    labelled,
    move,
    train_classifier,
)
from lightning_genmodels.errors import GenmodelsError
from lightning_genmodels.pictures import image_grid, save_png

COLUMNS = 5
COUNT = 8  # images to edit
IMAGES_SHOWN = 50_000  # to the classifier as it learns
LEAST_SAMPLES = 100
SEED = 0  # of the classifier and the samples: another --seed draws other images to edit, and moves them alike
RUNS_DATA = "the run's data"


def edit(argv: list[str]) -> None:
    """Runs the command."""
    parser = SmallParser(
        "edit",
        "Moves images of a StyleGAN along the direction of an attribute, such as Young (Shen et al. 2020): each row is "
        "one image, from as it is to moved by the whole strength. A classifier learns the attributes from the training "
        "images (those that are not 0 or 1 count as there above their median), and reads them in samples, whose styles "
        "then give the direction. Both are saved as CHECKPOINT's name with .attributes.safetensors and used again, "
        "unless other data are named than it learned from; samples of a checkpoint that has changed are read anew. The "
        "seed draws the images to edit, and changes nothing else.",
    )
    add_model_arguments(parser, "the checkpoint of a StyleGAN")
    add_data_arguments(parser)
    parser.add_argument(
        "--data", metavar="CLASS", help="the data module to learn from; its options follow as --data.OPTION VALUE"
    )
    parser.add_argument("--attribute", required=True, metavar="NAME", help="the attribute to change")
    parser.add_argument(
        "--strength",
        type=float,
        required=True,
        help="how far to move, in standard deviations of the styles; below 0 the attribute goes",
    )
    parser.add_argument("--keep", metavar="A,B,…", help="attributes whose directions are left alone")
    parser.add_argument("--styles", metavar="FILE", help="styles to edit, as genmodels project writes (default: drawn)")
    parser.add_argument("--count", type=int, help=f"images to edit (default: {COUNT}, or all of --styles)")
    parser.add_argument("--samples", type=int, default=4000, help="from which to find the direction (default: 4000)")
    add_truncation(parser)
    parser.add_argument("--output", required=True, metavar="FILE.png", help="the picture to write")
    options, words = parser.parse_known_args(argv)
    if words and options.data is None:
        parser.error(f"unrecognized arguments: {' '.join(words)}")
    check_options_of(options)
    model = styled_model_on_device(options)
    check_writable(Path(options.output))
    styles = styles_to_edit(model, options)
    known = known_attributes(model, options, words)
    name, samples = options.attribute, draw_samples(model, options.samples)
    direction, accuracy = attribute_direction(samples, known.scores[:, known.names.index(name)], name)
    print(f"The direction tells {name} of held-out samples in {100 * accuracy:.1f} % (by chance: 50 %)")
    if options.keep is not None:
        others = [attribute_direction(samples, known.scores[:, known.names.index(other)], other)[0]
                  for other in options.keep.split(",")]  # fmt: skip
        direction = conditioned(direction, others)
    deviation = deviation_along(samples, direction)
    strengths = [options.strength * column / (COLUMNS - 1) for column in range(COLUMNS)]
    moved = torch.stack([move(styles, direction, strength, deviation) for strength in strengths], 1)
    images = images_of(model, moved.flatten(0, 1))
    with writing(f"--output {options.output}"):
        save_png(image_grid(images, columns=COLUMNS), options.output)
    read = attribute_logits(known.classifier, images)[:, known.names.index(name)].sigmoid().view(-1, COLUMNS).mean(0)
    print(
        f"{name}, as the classifier reads it: {read[0]:.2f} in the first column, {read[-1]:.2f} in the last, on average"
    )
    print(f"{len(styles)} image{'s' if len(styles) > 1 else ''}, strength 0 to {options.strength:g}: {options.output}")


def check_options_of(options: argparse.Namespace) -> None:
    """Raises GenmodelsError for an option out of its range."""
    check_png(Path(options.output))
    if options.strength == 0 or not math.isfinite(options.strength):
        raise GenmodelsError(f"--strength is {options.strength:g}; expected a number above or below 0, such as 2.")
    if options.count is not None and options.count < 1:
        raise GenmodelsError(f"--count is {options.count}; expected 1 or more.")
    if options.samples < LEAST_SAMPLES:
        raise GenmodelsError(f"--samples is {options.samples}; expected {LEAST_SAMPLES} or more.")
    truncation_of(options)
    if options.truncation is not None and options.styles is not None:
        raise GenmodelsError("--truncation is of drawn styles, and --styles names others; expected one of them.")
    if options.data is not None and options.config is not None:
        raise GenmodelsError("--data and --config both say which data to take; expected one of them.")


def styles_to_edit(model: Any, options: argparse.Namespace) -> Tensor:
    """(N, Z) drawn styles, or (N, Z) or (N, L, Z) of the file.

    Raises:
        GenmodelsError: for a file that holds none of the model's.
    """
    if options.styles is None:
        generator = torch.Generator().manual_seed(options.seed)
        return draw_styles(model, options.count or COUNT, generator, truncation_of(options))
    try:
        styles = load_file(options.styles).get("styles")
    except (SafetensorError, OSError) as error:
        raise GenmodelsError(
            f"--styles {options.styles} cannot be read ({error}); expected a file of genmodels project."
        ) from error
    shapes = ((model.latent_dim,), (model.style_layers, model.latent_dim))
    if styles is None or tuple(styles.shape[1:]) not in shapes or not len(styles):
        found = "holds no styles" if styles is None else f"holds styles of {tuple(styles.shape)}"
        raise GenmodelsError(
            f"--styles {options.styles} {found}; expected (N, {model.latent_dim}) or (N, {model.style_layers}, "
            f"{model.latent_dim}), as this checkpoint has them."
        )
    if not styles.isfinite().all():
        raise GenmodelsError(f"--styles {options.styles} holds styles that are not finite; expected numbers.")
    return styles[: options.count].to(model.style_average)


def draw_samples(model: Any, count: int) -> Tensor:
    """(count, Z), the same each time."""
    return draw_styles(model, count, torch.Generator().manual_seed(SEED))


def known_attributes(model: Any, options: argparse.Namespace, words: list[str]) -> KnownAttributes:
    """The classifier and the samples' scores, those saved where they fit; what is new is saved.

    Raises:
        GenmodelsError: for an attribute that there is not, or data that hold none.
    """
    path, checkpoint = place_beside(Path(options.checkpoint)), digest_of(Path(options.checkpoint))
    named = [f"--{option} {value}" for option in ("config", "data", "data_dir") if (value := getattr(options, option))]
    data = " ".join([*named, *words]) or RUNS_DATA
    saved = load_attributes(path, model.device) if path.is_file() else None
    if saved and saved.image_shape == model.image_shape and (data in (saved.data, RUNS_DATA)):
        known, new = saved, False
        check_attributes(options, known.names, path.name)
        print(f"{path}: a classifier of {len(known.names)} attributes, which learned from {known.data}")
    else:
        known, new = learn_attributes(model, options, words, data), True
    place = known.names.index(options.attribute)
    right, frequent = (100 * share[place].item() for share in known.accuracy)
    print(f"{options.attribute} is read rightly in {right:.1f} % of held-out images (the more frequent answer: "
          f"{frequent:.1f} %)")  # fmt: skip
    if known.checkpoint != checkpoint or len(known.scores) != options.samples:
        start = time.monotonic()
        parts = [attribute_logits(known.classifier, images_of(model, part))
                 for part in draw_samples(model, options.samples).split(100)]  # fmt: skip
        known.checkpoint, known.scores, new = checkpoint, torch.cat(parts), True
        print(f"Read {options.samples} samples in {time.monotonic() - start:.0f} s")
    if new:
        try:
            save_attributes(known, path)
        except OSError as error:
            print(f"{path} cannot be written ({error.strerror or error}): the next call will begin anew")
    return known


def check_attributes(options: argparse.Namespace, names: tuple[str, ...], where: str) -> None:
    """Raises GenmodelsError for a name in --attribute or --keep that is not among those of `where`."""
    kept = [] if options.keep is None else options.keep.split(",")
    for option, name in (("attribute", options.attribute), *(("keep", name) for name in kept)):
        if name not in names:
            close = get_close_matches(name, names, n=1)
            advice = f" (did you mean {close[0]}?)" if close else ""
            raise GenmodelsError(f"--{option} has {name!r}{advice}; expected what {where} has: {', '.join(names)}.")
    if options.attribute in kept:
        raise GenmodelsError(f"--keep has {options.attribute!r}, the --attribute to change; expected others.")


class LabelledImages:
    """A loader's batches with yes or no for each attribute, anew each time that they are gone through.

    Args:
        model: whose images they are to be like.
        datamodule: of the loader.
        loader: of batches (images, attributes).
        thresholds: (A,), above which an attribute is there.
    """

    def __init__(self, model: Any, datamodule: Any, loader: Any, thresholds: Tensor) -> None:
        self.model, self.datamodule, self.loader, self.thresholds = model, datamodule, loader, thresholds

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for images, attributes, *_ in float_batches(self.model, self.datamodule, self.loader):
            yield images, (attributes > self.thresholds).float()


def learn_attributes(model: Any, options: argparse.Namespace, words: list[str], data: str) -> KnownAttributes:
    """Trains the classifier on the training images; those held out for validation, else the test images, judge it."""
    datamodule = data_with_attributes(options, words)
    names = getattr(datamodule, "attribute_names", None)
    if not names:
        raise GenmodelsError(
            f"{type(datamodule).__name__} holds no attributes; expected attribute_names, and batches of images and "
            "attributes, float (N, A)."
        )
    check_attributes(options, names, type(datamodule).__name__)
    start = time.monotonic()
    loader = datamodule.train_dataloader()
    attributes = torch.cat([labelled(batch, names)[1] for batch in float_batches(model, datamodule, loader)])
    thresholds = label_thresholds(attributes)
    print(f"A classifier learns {len(names)} attributes of {len(attributes)} images", flush=True)
    classifier = train_classifier(
        LabelledImages(model, datamodule, loader, thresholds),
        model.image_shape,
        names,
        epochs=max(1, round(IMAGES_SHOWN / len(attributes))),
        seed=SEED,
        device=model.device,
    )
    judged = datamodule.val_dataloader() or datamodule.test_dataloader()
    accuracy = attribute_accuracy(classifier, LabelledImages(model, datamodule, judged, thresholds), names)
    right, frequent = (100 * shares.mean().item() for shares in accuracy)
    print(f"It took {time.monotonic() - start:.0f} s, and {right:.1f} % of all held-out attributes are read rightly "
          f"(the more frequent answers: {frequent:.1f} %)")  # fmt: skip
    none_read = torch.zeros(0, len(names))
    return KnownAttributes(tuple(names), model.image_shape, data, classifier, accuracy, "", none_read)


def data_with_attributes(options: argparse.Namespace, words: list[str]) -> Any:
    """The data module of `--data` and its options, else of the configuration, ready for use."""
    if options.data is None:
        return data_of(options)
    folder = [] if options.data_dir is None else ["--data.data_dir", options.data_dir]
    datamodule: Any = build_datamodule(["--data", options.data, *folder, *words], "edit")
    datamodule.prepare_data()
    datamodule.setup(None)
    return datamodule
