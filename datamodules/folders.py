"""Finding files in folders."""

import os
import re
from collections.abc import Callable
from pathlib import Path

from datamodules.decoding import IMAGE_SUFFIXES
from datamodules.errors import DataError

SPLITS = ("train", "val", "test")


def default_data_dir() -> str:
    """The folder of all data sets: the environment variable GENMODELS_DATA, else `data`."""
    return os.environ.get("GENMODELS_DATA", "data")


def natural_order(name: str) -> tuple[list[tuple[int, str]], str]:
    """A sort key under which 2.jpg comes before 10.jpg; no two names have the same."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)], name


def pictures_in(folder: Path) -> list[Path]:
    """The pictures of a folder itself, in natural order.

    Hidden files are left out.

    Raises:
        DataError: where there is no such folder, or no picture in it.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is no folder; expected pictures in it.")
    found = _pictures(folder)
    if not found:
        raise DataError(f"{folder} holds no pictures; expected files that end in {', '.join(sorted(IMAGE_SUFFIXES))}.")
    return sorted(found, key=lambda path: natural_order(path.name))


def pictures_by_stem(folder: Path) -> dict[str, Path]:
    """The pictures of a folder itself by their names without suffix.

    Raises:
        DataError: as `pictures_in` does, and where two have the same name but for the suffix.
    """
    found: dict[str, Path] = {}
    for path in pictures_in(folder):
        if path.stem in found:
            raise DataError(f"{path} has the same name as {found[path.stem].name}; expected one picture of a name.")
        found[path.stem] = path
    return found


def partners(first: Path, second: Path, report: Callable[[str], None]) -> list[tuple[str, str]]:
    """The pictures of two folders that have the same names without suffix, in natural order.

    Args:
        first: a folder.
        second: the other.
        report: is told, in a sentence, of each picture without a partner; it may raise.

    Raises:
        DataError: as `pictures_by_stem` does.
    """
    ones, others = pictures_by_stem(first), pictures_by_stem(second)
    for own, other, side in ((ones, others, second), (others, ones, first)):
        for stem, path in own.items():
            if stem not in other:
                report(f"{path} has no partner; expected {side / stem} with any picture's suffix.")
    return [(str(path), str(others[stem])) for stem, path in ones.items() if stem in others]


def holds_pictures(folder: Path) -> bool:
    """Whether there is a picture in the folder itself."""
    return folder.is_dir() and bool(_pictures(folder))


def subfolders(folder: Path) -> list[Path]:
    """The folders in it, in natural order; none where it is no folder. Hidden ones are left out."""
    found = [path for path in folder.iterdir() if path.is_dir()] if folder.is_dir() else []
    return sorted((p for p in found if not p.name.startswith(".")), key=lambda path: natural_order(path.name))


def folders_of_pictures(folder: Path) -> tuple[str, ...]:
    """Names of the folders in it that hold pictures, in natural order."""
    return tuple(path.name for path in subfolders(folder) if holds_pictures(path))


def _pictures(folder: Path) -> list[Path]:
    try:
        return [p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and not p.name.startswith(".")]
    except OSError as error:
        raise DataError(f"{folder} cannot be read ({error.strerror}); expected a folder of pictures.") from error
