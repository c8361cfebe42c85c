"""`genmodels data check | preview`: looks at a data set without training on it."""

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor

from lightning_genmodels.cli.arguments import resolve_config
from lightning_genmodels.cli.data import build_datamodule, data_section
from lightning_genmodels.cli.small import SmallParser, writing
from lightning_genmodels.errors import GenmodelsError
from lightning_genmodels.pictures import (
    POINT,
    POINTS,
    class_colours,
    depth_colours,
    image_grid,
    picture_of,
    save_png,
    with_caption,
)

SUFFIX = ".png"
IMAGES = 16  # drawn


def look_at_data(argv: list[str]) -> None:
    """Runs the command."""
    tasks = {"check": check, "preview": preview}
    if argv[:1] in (["--help"], ["-h"]):
        print("usage: genmodels data check | preview [options]; genmodels data check --help lists the options")
        return
    if not argv or argv[0] not in tasks:
        found = argv[0] if argv else "nothing"
        raise GenmodelsError(f"data: {found} is no task; expected data check or data preview.")
    tasks[argv[0]](argv[1:])


def check(argv: list[str]) -> None:
    """Runs `data check`."""
    parser = SmallParser("data check", "Looks at a whole data set and names every file that cannot be used.")
    _, datamodule = _parse(parser, argv)
    faults = list(datamodule.faults()) if hasattr(datamodule, "faults") else _setup_faults(datamodule)
    for fault in faults:
        print(fault)
    if faults:
        raise GenmodelsError(f"data check: {len(faults)} fault(s) in {type(datamodule).__name__}, named above.")
    lengths = datamodule.lengths() if hasattr(datamodule, "lengths") else {}
    counts = ", ".join(f"{count:,} {split}" for split, count in lengths.items())
    classes = f", {len(names)} classes" if (names := getattr(datamodule, "class_names", ())) else ""
    print(f"{type(datamodule).__name__}: nothing is wrong with it" + (f": {counts}{classes}." if counts else "."))


def _setup_faults(datamodule: Any) -> list[str]:
    """Of a data module of the user's own: that it can be set up is all that is known of it."""
    datamodule.setup(None)
    return []


def preview(argv: list[str]) -> None:
    """Runs `data preview`."""
    parser = SmallParser(
        "data preview",
        "Draws training items as the model will see them: pairs side by side, depth in colours, near dark and far "
        "bright, points in the plane where they lie.",
    )
    parser.add_argument("--output", required=True, metavar="FILE", help="the picture to write, .png")
    parser.add_argument("--count", type=int, help=f"items to draw (default: {IMAGES}, or {POINTS} points)")
    options, datamodule = _parse(parser, argv)
    output = Path(options.output)
    if output.suffix.lower() != SUFFIX or output.is_dir():
        raise GenmodelsError(f"--output is {output}; expected a file name that ends in {SUFFIX}.")
    if options.count is not None and options.count < 1:
        raise GenmodelsError(f"--count is {options.count}; expected 1 or more.")
    datamodule.prepare_data()
    datamodule.setup("fit")
    if hasattr(datamodule, "lengths"):  # a small set need not fill a batch to be looked at
        datamodule.batch_size = max(1, min(datamodule.batch_size, len(datamodule.split("train"))))
    count = options.count or (POINTS if getattr(datamodule, "image_shape", None) == POINT else IMAGES)
    batches, shown = iter(datamodule.train_dataloader()), 0
    parts: list[Any] = []
    generator = torch.Generator().manual_seed(0)
    while shown < count and (batch := next(batches, None)) is not None:
        seen: Any = datamodule.change(batch, generator) if hasattr(datamodule, "change") else batch
        parts.append(seen)
        shown += len(seen[0])
    kind = type(parts[0])
    tensors = [torch.cat(part)[:count] for part in zip(*parts, strict=True)]
    picture, text = draw(tensors, paired=getattr(kind, "_fields", ("",))[0] == "source")
    with writing(f"--output {output}"):
        save_png(with_caption(picture, f"{type(datamodule).__name__}: {text}"), output)
    print(f"{text}: {output}")


def draw(batch: list[Tensor], paired: bool) -> tuple[Any, str]:
    """A batch as a picture and a line about it: images, points, or sources each with its target to the right."""
    images = batch[0]
    size = f"{images.shape[3]}x{images.shape[2]}"
    if not paired:
        labels = batch[1] if len(batch) > 1 and batch[1].ndim == 1 else None
        what = "points in the unit square" if images.shape[1:] == POINT else f"images of {size}"
        return picture_of(images, labels), f"{len(images)} {what}"
    target, text = batch[1], ""
    if target.ndim == 3:
        target, text = class_colours(target), f", classes {int(target.min())} to {int(target.max())}"
    elif target.shape[1] < images.shape[1] or target.max() > 1:
        measured = target[target > 0]
        low, high = (measured.min().item(), measured.max().item()) if len(measured) else (0.0, 0.0)
        target, text = (
            depth_colours(target, low, high),
            f", depth {low:.2f} m (dark) to {high:.2f} m (bright), black: none",
        )
    pairs = torch.stack([part.expand(-1, 3, -1, -1) for part in (images, target)], 1).flatten(0, 1)
    columns = 2 * max(1, round((len(images) / 2) ** 0.5))
    return image_grid(pairs, columns), f"{len(images)} pairs of {size}{text}"


def _parse(parser: SmallParser, argv: list[str]) -> tuple[Any, Any]:
    """The command's own options, and the data module that `--config` or `--data` describe."""
    parser.add_argument("--config", help="whose data to take: a path or a packaged name")
    parser.add_argument(
        "--data",
        metavar="CLASS",
        help="the data module; its options follow as --data.OPTION VALUE: genmodels fit --data.help CLASS lists them",
    )
    options, others = parser.parse_known_args(argv)
    words = [*(["--data", data_section(resolve_config(options.config))] if options.config else [])]
    words += ["--data", options.data] if options.data else []
    if not words:
        raise GenmodelsError(f"{parser.prog.removeprefix('genmodels ')}: expected --data CLASS or --config NAME.")
    datamodule: LightningDataModule = build_datamodule([*words, *others], parser.prog.removeprefix("genmodels "))
    return options, datamodule
