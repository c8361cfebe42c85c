"""Archives from the network: fetched whole, verified, and unpacked where they should be and nowhere else."""

import lzma
import os
import shutil
import stat
import struct
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from urllib.error import URLError

from filelock import FileLock
from torch.hub import download_url_to_file

from datamodules.errors import DataError

# Besides an OSError without a number, what a damaged archive raises; NotImplementedError is of an unknown compression.
BROKEN = (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, ValueError, IndexError,
          OverflowError, RuntimeError, struct.error)  # fmt: skip


@contextmanager
def leaving_no_empty_folders(folder: Path) -> Iterator[None]:
    """Where what is done meanwhile fails, removes the folder and those that lead to it, if it made them."""
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        yield
    except BaseException:
        for path in made:
            with suppress(OSError):  # not there, or not empty
                path.rmdir()
        raise


@contextmanager
def downloading(folder: Path, stale: Sequence[str]) -> Iterator[None]:
    """Makes a folder for a download that one process does, while others wait; nothing is left there where it fails.

    Args:
        folder: where.
        stale: patterns of what killed downloads have left there, which is removed first.

    Raises:
        DataError: where it cannot be written.
    """
    with leaving_no_empty_folders(folder):
        lock = folder / ".download.lock"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with FileLock(lock):
                try:
                    for path in [path for pattern in stale for path in folder.glob(pattern)]:
                        shutil.rmtree(path) if path.is_dir() else path.unlink()
                    yield
                finally:
                    lock.unlink(missing_ok=True)
        except OSError as error:
            raise DataError(f"{folder} cannot be written ({error.strerror}); expected a folder for data.") from error


def fetch_archive(url: str, folder: Path, inside: str, place: Path | None = None) -> None:
    """Downloads a .tar.gz or .zip and puts the folder that it holds in its place.

    All of it happens beside that place; nothing of an interrupted download or of a broken archive is left there.

    Args:
        url: where it is.
        folder: where the archive's folder `inside` shall be; it must not exist.
        inside: the folder in the archive.
        place: where the set shall be in the end, which errors name; None is `folder`.

    Raises:
        DataError: where the download fails, or the archive is broken, points outside or lacks the folder.
    """
    with leaving_no_empty_folders(folder.parent):
        _fetch(url, folder, inside, place or folder)


def _fetch(url: str, folder: Path, inside: str, place: Path) -> None:
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        scratch_folder = tempfile.TemporaryDirectory(dir=folder.parent, prefix=".download-")
    except OSError as error:
        raise DataError(
            f"{folder.parent} cannot be written ({error.strerror}); expected a folder for {url}."
        ) from error
    with scratch_folder as scratch:
        archive = Path(scratch, Path(url).name)
        try:
            download_url_to_file(url, str(archive))
        except (URLError, HTTPException, OSError) as error:
            raise DataError(
                f"{place} does not exist, and {url} could not be downloaded ({' '.join(str(error).split())}); expected "
                f"the set there (give the folder above {place.name} as data_dir), or a working network."
            ) from error
        unpack(archive, Path(scratch, "unpacked"), url)
        found = Path(scratch, "unpacked", inside)
        if not found.is_dir():
            raise DataError(f"{url} holds no folder {inside}; expected the set as it was published.")
        try:
            os.replace(found, folder)
        except OSError:
            if not folder.is_dir():  # else another process was faster, with the same
                raise


def unpack(archive: Path, folder: Path, name: str | None = None) -> None:
    """Unpacks a .tar, .tar.gz or .zip; plain files and folders only, and these within the folder.

    Args:
        archive: the file.
        folder: where to; made where it is missing.
        name: what errors call the archive; None is its path.

    Raises:
        DataError: where the archive is broken, or a member is a link, a device or points outside; nothing of it is
            kept then.
    """
    name = name or str(archive)
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as opened_zip:
                for info in opened_zip.infolist():
                    kind = stat.S_IFMT(info.external_attr >> 16)
                    _check_member(name, info.filename, kind in (0, stat.S_IFREG, stat.S_IFDIR))
                opened_zip.extractall(folder)
        else:
            with tarfile.open(archive) as opened_tar:
                for member in opened_tar.getmembers():
                    _check_member(name, member.name, member.isfile() or member.isdir())
                while opened_tar.fileobj is not None and opened_tar.fileobj.read(2**20):
                    pass  # to the very end, where gzip has its checksum
                if hasattr(tarfile, "data_filter"):  # not before Python 3.10.12; owners and odd modes are left out
                    opened_tar.extraction_filter = tarfile.data_filter
                opened_tar.extractall(folder)
    except (OSError, *BROKEN) as error:
        shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, OSError) and error.errno:
            raise DataError(
                f"{name} cannot be unpacked into {folder} ({error.strerror}); expected space and leave to write."
            ) from error
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{name} is broken ({reason}); expected a whole archive.") from error


def _check_member(archive: str, name: str, plain: bool) -> None:
    path = PurePosixPath(name.replace("\\", "/"))
    if not plain:
        raise DataError(f"{archive}: {name!r} is a link or a device; expected plain files and folders.")
    if path.is_absolute() or ".." in path.parts or ":" in name:
        raise DataError(f"{archive}: {name!r} points outside of the archive; expected names below its folder.")
