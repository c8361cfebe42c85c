"""Archives from the network: fetched whole, verified, and unpacked where they should be and nowhere else."""

import os
import shutil
import stat
import tarfile
import tempfile
import zipfile
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from urllib.error import URLError

from torch.hub import download_url_to_file

from datamodules.errors import DataError


def fetch_archive(url: str, folder: Path, inside: str) -> None:
    """Downloads a .tar.gz or .zip and puts the folder that it holds in its place.

    All of it happens beside that place; nothing of an interrupted download or of a broken archive is left there.

    Args:
        url: where it is.
        folder: where the archive's folder `inside` shall be; it must not exist.
        inside: the folder in the archive.

    Raises:
        DataError: where the download fails, or the archive is broken, points outside or lacks the folder.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".download-") as scratch:
        archive = Path(scratch, Path(url).name)
        try:
            download_url_to_file(url, str(archive))
        except (URLError, HTTPException, OSError) as error:
            raise DataError(
                f"{url} could not be downloaded ({' '.join(str(error).split())}); expected a working network, or the "
                f"set in {folder}."
            ) from error
        unpack(archive, Path(scratch, "unpacked"))
        found = Path(scratch, "unpacked", inside)
        if not found.is_dir():
            raise DataError(f"{url} holds no folder {inside}; expected the set as it was published.")
        os.replace(found, folder)


def unpack(archive: Path, folder: Path) -> None:
    """Unpacks a .tar, .tar.gz or .zip; plain files and folders only, and these within the folder.

    Raises:
        DataError: where the archive is broken, or a member is a link, a device or points outside; nothing of it is
            kept then.
    """
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as opened_zip:
                for info in opened_zip.infolist():
                    kind = stat.S_IFMT(info.external_attr >> 16)
                    _check_member(archive, info.filename, kind in (0, stat.S_IFREG, stat.S_IFDIR))
                opened_zip.extractall(folder)
        else:
            with tarfile.open(archive) as opened_tar:
                for member in opened_tar.getmembers():
                    _check_member(archive, member.name, member.isfile() or member.isdir())
                opened_tar.extractall(folder)
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, OSError, ValueError) as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise DataError(f"{archive} is broken ({error}); expected a whole archive.") from error


def _check_member(archive: Path, name: str, plain: bool) -> None:
    path = PurePosixPath(name.replace("\\", "/"))
    if not plain:
        raise DataError(f"{archive}: {name} is a link or a device; expected plain files and folders.")
    if path.is_absolute() or ".." in path.parts or ":" in name:
        raise DataError(f"{archive}: {name} points outside of the archive; expected names below its folder.")
