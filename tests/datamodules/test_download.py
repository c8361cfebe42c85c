import errno
import io
import multiprocessing
import os
import re
import shutil
import signal
import stat
import tarfile
import threading
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

from datamodules import DataError, download
from datamodules.download import downloading, fetch_archive, unpack

FILES = {"set/train/1.txt": b"one", "set/train/2.txt": b"two", "set/test/3.bin": bytes(range(256)) * 300}
FOLDER = Path("data/set")


def write_tar(path, files=FILES, *members):
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        for member in members:
            archive.addfile(member)


def write_zip(path, files=FILES, *members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
        for member, content in members:
            archive.writestr(member, content)


WRITERS = {"set.tar.gz": write_tar, "set.zip": write_zip}
BOTH = pytest.mark.parametrize("name", WRITERS)


def url(name):
    return Path(name).absolute().as_uri()


def files_below(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}


def fault(name, folder=FOLDER, inside="set"):
    """The one sentence that a download ends with; it leaves nothing behind."""
    before = files_below(".")
    with pytest.raises(DataError) as error:
        fetch_archive(url(name), folder, inside)
    assert files_below(".") == before
    assert not folder.exists()
    assert not folder.parent.exists()
    message = str(error.value)
    assert "\n" not in message
    assert ". " not in message.removesuffix(".").replace(url(name), "")
    assert message.endswith(".")
    return message


@BOTH
def test_archive_arrives_whole_and_alone(name):
    WRITERS[name](name)
    fetch_archive(url(name), FOLDER, "set")
    assert files_below("data") == FILES
    assert [path.name for path in Path("data").iterdir()] == ["set"]


def test_folder_below_others_in_the_archive_is_taken():
    write_tar("set.tar.gz")
    fetch_archive(url("set.tar.gz"), Path("data/test"), "set/test")
    assert files_below("data") == {"test/3.bin": FILES["set/test/3.bin"]}


@BOTH
def test_missing_archive_is_named(name):
    message = fault(name)
    assert message.startswith(f"{FOLDER} does not exist, and {url(name)} could not be downloaded (")
    assert "No such file or directory" in message
    above = f"give the folder above {FOLDER.name} as data_dir"
    assert message.endswith(f"); expected the set there ({above}), or a working network.")


def test_network_that_fails_is_one_sentence(monkeypatch):
    def fail(*args, **options):
        raise ConnectionResetError(errno.ECONNRESET, "Connection\nreset")

    monkeypatch.setattr(download, "download_url_to_file", fail)
    assert "set.zip could not be downloaded ([Errno 104] Connection reset); expected the set there" in fault("set.zip")


@BOTH
@pytest.mark.parametrize("kept", [0.0, 0.01, 0.3, 0.6, 0.95])
def test_truncated_archive_is_named(name, kept):
    WRITERS[name](name, {"set/noise": np.random.default_rng(0).bytes(50_000)})
    content = Path(name).read_bytes()
    Path(name).write_bytes(content[: int(kept * len(content))])
    message = fault(name)
    assert message.startswith(f"{url(name)} is broken (")
    assert message.endswith("); expected a whole archive.")


@BOTH
@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
def test_archive_with_flipped_bytes_is_named(name, share):
    WRITERS[name](name, {"set/text": b" ".join(b"%d" % number for number in range(10_000))})
    content = bytearray(Path(name).read_bytes())
    place = int(share * len(content))
    content[place : place + 8] = bytes(255 - byte for byte in content[place : place + 8])
    Path(name).write_bytes(content)
    assert fault(name).startswith(f"{url(name)} is broken (")


def test_page_of_a_server_is_no_archive():
    Path("set.tar.gz").write_text("<html>Not found</html>")
    assert fault("set.tar.gz").startswith(f"{url('set.tar.gz')} is broken (")


@BOTH
def test_archive_without_the_folder_is_named(name):
    WRITERS[name](name)
    assert fault(name, inside="other") == f"{url(name)} holds no folder other; expected the set as it was published."


@BOTH
@pytest.mark.parametrize(
    "member",
    ["/tmp/outside.txt", "../outside.txt", "set/../../outside.txt", "set\\..\\..\\outside.txt", "C:outside.txt"],
)
def test_member_that_points_outside_is_refused(name, member):
    WRITERS[name](name, {**FILES, member: b"!"})
    message = fault(name)
    assert message == f"{url(name)}: {member!r} points outside of the archive; expected names below its folder."
    assert not Path("/tmp/outside.txt").exists()


def linked(kind, target):
    info = tarfile.TarInfo("set/strange")
    info.type = kind
    info.linkname = target
    return info


@pytest.mark.parametrize(
    "member",
    [
        linked(tarfile.SYMTYPE, "/etc/passwd"),
        linked(tarfile.SYMTYPE, "train/1.txt"),
        linked(tarfile.LNKTYPE, "set/train/1.txt"),
        linked(tarfile.LNKTYPE, "../../outside.txt"),
        linked(tarfile.CHRTYPE, ""),
        linked(tarfile.BLKTYPE, ""),
        linked(tarfile.FIFOTYPE, ""),
    ],
    ids=["symlink outside", "symlink", "hard link", "hard link outside", "character device", "block device", "fifo"],
)
def test_link_or_device_in_a_tar_is_refused(member):
    write_tar("set.tar.gz", FILES, member)
    message = fault("set.tar.gz")
    assert message == (f"{url('set.tar.gz')}: 'set/strange' is a link or a device; expected plain files and folders.")


def test_symlink_in_a_zip_is_refused():
    info = zipfile.ZipInfo("set/strange")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    write_zip("set.zip", FILES, (info, "/etc/passwd"))
    message = fault("set.zip")
    assert message == f"{url('set.zip')}: 'set/strange' is a link or a device; expected plain files and folders."


def test_name_of_several_lines_stays_in_one():
    write_tar("set.tar.gz", {"../a\nb": b""})
    assert "'../a\\nb' points outside" in fault("set.tar.gz")


def test_encrypted_zip_is_named():
    write_zip("set.zip")
    content = bytearray(Path("set.zip").read_bytes())
    for signature, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):  # the bit that says so
        content[content.index(signature) + place] |= 1
    Path("set.zip").write_bytes(content)
    assert re.search(
        r"set\.zip is broken \(File .*set/train/1\.txt.* is encrypted, password required", fault("set.zip")
    )


def test_zip_with_an_unknown_compression_is_named():
    write_zip("set.zip")
    content = bytearray(Path("set.zip").read_bytes())
    for signature, place in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        content[content.index(signature) + place] = 77
    Path("set.zip").write_bytes(content)
    assert "is broken (That compression method is not supported)" in fault("set.zip")


@BOTH
def test_full_disk_is_not_taken_for_a_broken_archive(name, monkeypatch):
    def fail(*args, **options):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    WRITERS[name](name)
    monkeypatch.setattr(shutil, "copyfileobj", fail)
    monkeypatch.setattr(tarfile, "copyfileobj", fail)
    message = fault(name)
    assert message.startswith(f"{url(name)} cannot be unpacked into ")
    assert message.endswith("(No space left on device); expected space and leave to write.")


def test_place_that_cannot_be_written_is_one_sentence():
    write_tar("set.tar.gz")
    Path("data").write_text("a file")
    with pytest.raises(DataError) as error:
        fetch_archive(url("set.tar.gz"), FOLDER, "set")
    assert str(error.value) == f"data cannot be written (File exists); expected a folder for {url('set.tar.gz')}."


@BOTH
def test_nothing_is_unpacked_of_an_archive_with_one_bad_member(name):
    WRITERS[name](name, {**FILES, "../outside.txt": b"!"})
    with pytest.raises(DataError):
        unpack(Path(name), Path("unpacked"))
    assert not Path("unpacked").exists()


def test_archive_is_called_by_its_path_where_it_has_no_other_name():
    Path("set.tar.gz").write_bytes(b"?")
    with pytest.raises(DataError, match=r"^set\.tar\.gz is broken \("):
        unpack(Path("set.tar.gz"), Path("unpacked"))


@pytest.mark.parametrize("moment", ["download_url_to_file", "unpack", "os.replace"])
def test_interrupted_download_is_never_half_used(moment, monkeypatch):
    write_tar("set.tar.gz")

    def stop_half_way():
        def killed(source, *args):
            if moment == "download_url_to_file":
                Path(args[0]).write_bytes(Path("set.tar.gz").read_bytes()[:100])
            if moment == "unpack":
                Path(args[0], "set/train").mkdir(parents=True)
            os.kill(os.getpid(), signal.SIGKILL)

        owner, _, name = moment.rpartition(".")
        monkeypatch.setattr(os if owner else download, name, killed)
        fetch_archive(url("set.tar.gz"), FOLDER, "set")

    process = multiprocessing.get_context("fork").Process(target=stop_half_way)
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    assert not FOLDER.exists()
    fetch_archive(url("set.tar.gz"), FOLDER, "set")
    assert files_below(FOLDER) == {name.removeprefix("set/"): content for name, content in FILES.items()}


def test_set_that_another_process_has_put_there_meanwhile_is_kept(monkeypatch):
    write_tar("set.tar.gz")
    real = os.replace

    def second(source, target):
        if not Path(target).exists():
            shutil.copytree(source, target)
        real(source, target)

    monkeypatch.setattr(os, "replace", second)
    fetch_archive(url("set.tar.gz"), FOLDER, "set")
    assert files_below("data") == FILES


def fail_in(folder):
    with downloading(folder, ("*.partial*",)):
        assert folder.is_dir()
        raise DataError("no network")


def test_downloading_sweeps_what_was_left_and_leaves_nothing_where_it_fails():
    folder = Path("data/sets")
    with pytest.raises(DataError, match="no network"):
        fail_in(folder)
    assert not Path("data").exists()
    folder.mkdir(parents=True)
    (folder / "a.partial.123").write_bytes(b"half")
    (folder / "b.partial").mkdir()
    (folder / "b.partial/1").write_bytes(b"half")
    (folder / "mine.txt").write_text("kept")
    with downloading(folder, ("*.partial*",)):
        (folder / "whole.bin").write_bytes(b"whole")
    assert sorted(path.name for path in folder.iterdir()) == ["mine.txt", "whole.bin"]


def test_downloads_of_two_processes_take_turns():
    events = []

    def download(number):
        with downloading(Path("data"), ()):
            events.append(("begin", number))
            time.sleep(0.2)
            events.append(("end", number))

    threads = [threading.Thread(target=download, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [kind for kind, _ in events] == ["begin", "end"] * 2


def test_folder_that_cannot_be_made_is_one_sentence():
    Path("file").write_text("")
    with pytest.raises(
        DataError, match=r"^file/sets cannot be written \(Not a directory\); expected a folder for data"
    ):
        fail_in(Path("file/sets"))
