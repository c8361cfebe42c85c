"""`genmodels translate`: what an image-to-image model makes of pictures."""

import math
from argparse import BooleanOptionalAction, Namespace
from collections.abc import Iterator
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageSequence
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as transforms

from datamodules.decoding import IMAGE_SUFFIXES, as_seen, read_image
from datamodules.folders import pictures_in
from lightning_genmodels.cli.small import SmallParser, add_model_arguments, existing, model_on_device, writing
from lightning_genmodels.errors import GenmodelsError
from lightning_genmodels.pictures import (
    Camera,
    Picture,
    camera_of,
    class_colours,
    colour_map_beside,
    depth_colours,
    image_grid,
    in_colours,
    points_of,
    save_animation,
    save_ply,
    save_result,
    turn,
)

FIELD_OF_VIEW = 60.0  # degrees
DURATION = 0.1  # seconds that browsers show a frame which does not say how long
VIDEOS = (".mp4", ".mov", ".avi", ".mkv", ".webm")


def translate(argv: list[str]) -> None:
    """Runs the command."""
    parser = SmallParser(
        "translate",
        "Makes of a picture of any size, of each in a folder, or of each frame of a GIF or a video, what a model was "
        "trained to make of it. A video loses its sound, and the last row or column of an odd number.",
    )
    add_model_arguments(parser, "the checkpoint, or a .pth file of a published pix2pix generator")
    parser.add_argument("--input", required=True, metavar="PATH", help="a picture, a folder, a GIF or a video")
    parser.add_argument(
        "--output", required=True, metavar="PATH", help="the picture (.png), the folder, the GIF or the video to write"
    )
    parser.add_argument(
        "--resize",
        action=BooleanOptionalAction,
        help="look at each picture at the size that the model was trained at, and bring the result to the picture's; "
        "by default for depth alone, which is misjudged at another size",
    )
    parser.add_argument("--points", metavar="FILE.ply", help="of a picture's depth: its points in space")
    parser.add_argument("--turn", metavar="FILE.gif", help="of a picture's depth: what a camera sees that sways")
    parser.add_argument(
        "--field_of_view", type=float, help=f"of the picture's camera, in degrees (default: {FIELD_OF_VIEW})"
    )
    parser.add_argument(
        "--intrinsics", type=float, nargs=4, metavar=("FX", "FY", "CX", "CY"), help="of that camera, in pixels, instead"
    )
    options = parser.parse_args(argv)
    source = existing("input", options.input, "a picture, a folder, a GIF or a video")
    output = Path(options.output)
    check_output(source, output)
    check_scene(source, options)
    model: Any = model_on_device(options)
    if not hasattr(model, "translate"):
        raise GenmodelsError(
            f"--checkpoint {options.checkpoint} does not translate: its model is {type(model).__name__}; expected an "
            "image-to-image model."
        )
    if (options.points or options.turn) and not hasattr(model, "depth_cap"):
        raise GenmodelsError(
            f"--points and --turn: {type(model).__name__} estimates no depth; expected a DepthEstimation's checkpoint."
        )
    if options.resize is None:
        options.resize = hasattr(model, "depth_cap")
    if options.resize and hasattr(model, "scale"):
        raise GenmodelsError(f"--resize: {type(model).__name__} makes pictures larger; expected another model.")
    if output.suffix.lower() == ".gif":
        translate_gif(model, source, output, options)
    elif source.suffix.lower() in VIDEOS:
        translate_video(model, source, output, options)
    else:
        translate_pictures(model, source, output, options)


def check_output(source: Path, output: Path) -> None:
    """Raises GenmodelsError for an output that does not fit what is put in."""
    suffix = source.suffix.lower()
    if source.is_dir():
        fits = not output.is_file() and output.suffix.lower() not in IMAGE_SUFFIXES
        expected = "a folder"
    elif suffix in IMAGE_SUFFIXES or suffix in VIDEOS:
        endings = (".gif", ".png") if suffix == ".gif" else (".mp4",) if suffix in VIDEOS else (".png",)
        fits = not output.is_dir() and output.suffix.lower() in endings
        expected = f"a file name that ends in {' or '.join(endings)}"
    else:
        known = ", ".join(sorted({*IMAGE_SUFFIXES, *VIDEOS}))
        raise GenmodelsError(f"--input is {source}; expected a folder, or a file that ends in {known}.")
    if not fits:
        raise GenmodelsError(f"--output is {output}; expected {expected} for {source}.")
    if output.resolve() == source.resolve():
        raise GenmodelsError(f"--output is {output}, the input itself; expected another place.")


def check_scene(source: Path, options: Namespace) -> None:
    """Raises GenmodelsError for options of a scene in space that do not fit."""
    for option, value, suffix in (("points", options.points, ".ply"), ("turn", options.turn, ".gif")):
        if value is None:
            continue
        if source.suffix.lower() not in IMAGE_SUFFIXES or Path(options.output).suffix.lower() != ".png":
            raise GenmodelsError(f"--{option}: --input is {source}; expected one picture, and --output to be a .png.")
        if Path(value).suffix.lower() != suffix or Path(value).is_dir():
            raise GenmodelsError(f"--{option} is {value}; expected a file name that ends in {suffix}.")
    if options.field_of_view is not None and not 0 < options.field_of_view < 180:
        raise GenmodelsError(f"--field_of_view is {options.field_of_view}; expected above 0 and below 180 degrees.")
    if options.intrinsics is not None and not (
        min(options.intrinsics[:2]) > 0 and all(map(math.isfinite, options.intrinsics))
    ):
        raise GenmodelsError(
            f"--intrinsics are {options.intrinsics}; expected finite numbers, the two focal lengths above 0."
        )
    for option in ("field_of_view", "intrinsics"):
        if getattr(options, option) is not None and not (options.points or options.turn):
            raise GenmodelsError(f"--{option} is of points in space; expected --points or --turn beside it.")


def check_places(pictures: list[Path], places: list[Path]) -> None:
    """Raises GenmodelsError where a file to be written is one of the pictures, or is to be written twice."""
    known = {path.resolve(): f"the picture {path}" for path in pictures}
    for place in places:
        if place.resolve() in known:
            raise GenmodelsError(
                f"{place} would be written over {known[place.resolve()]}; expected names of their own for all files."
            )
        known[place.resolve()] = "another result"


def translated(model: Any, image: Tensor, options: Namespace) -> Tensor:
    """uint8 (C, H, W) -> (C', H, W) in [0, 1], or (H, W) classes; each by the same draws, alone and among others."""
    generator = torch.Generator().manual_seed(options.seed)
    size = list(image.shape[1:])
    if options.resize:
        image = transforms.resize(image, list(model.image_shape[1:]), antialias=True)
    made: Tensor = model.translate(image[None].to(model.device).float() / 255, generator=generator)
    if options.resize:
        classes = made.ndim == 3
        way = InterpolationMode.NEAREST_EXACT if classes else InterpolationMode.BILINEAR
        made = transforms.resize(made, size, way, antialias=True)
    return made[0]


def as_frame(model: Any, result: Tensor) -> Picture:
    """(C', H, W) in [0, 1], (H, W) classes, or depth from 0 to the cap -> uint8 (H, W, 3)."""
    image = class_colours(result[None]) if result.ndim == 2 else in_colours(result[None])
    if hasattr(model, "depth_cap"):
        image = depth_colours(image, 0, model.depth_cap)
    return image_grid(image, smallest=1, margin=0)


def translate_pictures(model: Any, source: Path, output: Path, options: Namespace) -> None:
    """Of one picture, or of a folder's."""
    folder, depth = source.is_dir(), hasattr(model, "depth_cap")
    pictures = pictures_in(source) if folder else [source]
    places = [output / f"{path.stem}.png" if folder else output for path in pictures]
    scene = [Path(path) for path in (options.points, options.turn) if path is not None]
    check_places(pictures, [*places, *(colour_map_beside(place) for place in places if depth), *scene])
    for path, place in zip(pictures, places, strict=True):
        image = read_image(path, channels_of(model))
        result = translated(model, image, options)
        with writing(place):
            save_result(result, place, depth)
        save_scene(result, image, options)
    print(f"{len(pictures)} picture{'s' if len(pictures) > 1 else ''}: {output}")


def save_scene(depth: Tensor, image: Tensor, options: Namespace) -> None:
    """Writes the points of a picture's depth, and a turn around them, where they are asked for."""
    if options.points is None and options.turn is None:
        return
    size = (image.shape[1], image.shape[2])
    camera = (
        camera_of(size, options.field_of_view or FIELD_OF_VIEW)
        if options.intrinsics is None
        else Camera(*options.intrinsics)
    )
    points, colours = points_of(depth, image / 255, camera)
    if options.points is not None:
        with writing(options.points):
            save_ply(points, colours, options.points)
        print(f"{len(points)} points: {options.points}")
    if options.turn is not None:
        frames = turn(points, colours, camera, size)
        with writing(options.turn):
            save_animation(frames, options.turn)
        print(f"a turn: {options.turn}")


def translate_gif(model: Any, source: Path, output: Path, options: Namespace) -> None:
    """Of each frame, shown as long as it was."""
    read_image(source)  # which names a file that is damaged
    channels = channels_of(model)
    try:
        with Image.open(source) as opened:
            shown = [(as_seen(frame, channels), frame.info.get("duration", 0) / 1000 or DURATION)
                     for frame in ImageSequence.Iterator(opened)]  # fmt: skip
    except (OSError, EOFError, SyntaxError, ValueError) as error:
        raise GenmodelsError(f"--input {source} is damaged ({error}); expected a whole GIF.") from error
    made = [as_frame(model, translated(model, frame, options)) for frame, _ in shown]
    with writing(output):
        save_animation(made, output, [seconds for _, seconds in shown])
    print(f"{len(made)} frames: {output}")


def translate_video(model: Any, source: Path, output: Path, options: Namespace) -> None:
    """Of each frame, at the same rate; without its sound, and of odd sides without the last row or column."""
    try:
        import av
    except ImportError as error:
        raise GenmodelsError(
            f"--input {source}: videos need the package av; expected it installed, e.g. by pip install av."
        ) from error
    channels, count = channels_of(model), 0
    try:
        opened = av.open(str(source))
        if not opened.streams.video:
            raise GenmodelsError(f"--input {source} holds no pictures; expected a video.")
        rate: Fraction = opened.streams.video[0].average_rate or Fraction(25)
        frames = frames_of(opened, channels, source)
        first = next(frames, None)
    except av.error.FFmpegError as error:
        raise GenmodelsError(f"--input {source} cannot be read as a video ({error.strerror}).") from error
    if first is None or min(first.shape[1:]) < 2:
        raise GenmodelsError(f"--input {source} holds no frame of 2x2 pixels or more; expected a video.")
    with writing(output), opened:
        output.parent.mkdir(parents=True, exist_ok=True)
        with av.open(str(output), "w") as written:
            stream: Any = None
            for frame in chain([first], frames):
                picture = as_frame(model, translated(model, frame, options))
                picture = picture[: picture.shape[0] // 2 * 2, : picture.shape[1] // 2 * 2]  # as the format wants them
                if stream is None:
                    stream = written.add_stream("libx264", rate=rate)
                    stream.height, stream.width, stream.pix_fmt = *picture.shape[:2], "yuv420p"
                written.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")))
                count += 1
            written.mux(stream.encode(None))
    print(f"{count} frames: {output}")


def frames_of(opened: Any, channels: int, source: Path) -> Iterator[Tensor]:
    """uint8 (channels, H, W) each, the way up that it is shown; GenmodelsError where the file is damaged."""
    from av.error import FFmpegError

    count = 0
    try:
        for frame in opened.decode(video=0):
            upright = np.rot90(frame.to_ndarray(format="rgb24" if channels == 3 else "gray"), frame.rotation // 90)
            yield as_tensor(upright.copy())
            count += 1
    except FFmpegError as error:
        raise GenmodelsError(
            f"--input {source} is damaged after {count} frames ({error.strerror}); expected a whole video."
        ) from error


def as_tensor(pixels: Any) -> Tensor:
    """uint8 (H, W) or (H, W, 3) -> (1, H, W) or (3, H, W)."""
    image = torch.from_numpy(np.atleast_3d(pixels))
    return image.permute(2, 0, 1)


def channels_of(model: Any) -> int:
    """Of the sources, 1 or 3; GenmodelsError for others."""
    channels = int(model.image_shape[0])
    if channels not in (1, 3):
        raise GenmodelsError(f"--checkpoint: the model's images have {channels} channels; expected 1 or 3.")
    return channels
