import errno
import multiprocessing
import os
import pickle
import re
import shutil
import signal
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from datamodules import DataError, cache
from datamodules.cache import Field, MappedField, build, cache_key, default_cache_dir
from datamodules.loader import EpochSampler, ResumableLoader

FIELDS = [Field((3, 4, 5), torch.uint8), Field((1, 2), torch.float32)]
ITEMS = [(str(number),) for number in range(600)]
FOLDER = Path("caches", "set")
FORK = multiprocessing.get_context("fork")


def decode(item):
    draw = torch.Generator().manual_seed(int(item[0]))
    return torch.randint(256, (3, 4, 5), generator=draw, dtype=torch.uint8), torch.randn(1, 2, generator=draw)


def decode_and_note(item):
    with open("decoded", "a") as file:
        file.write(f"{item[0]}\n")
    return decode(item)


def noted():
    return sorted(Path("decoded").read_text().split(), key=int)


def fields(folder=FOLDER, budget=2**30):
    return [MappedField(folder / f"{number}.bin", field, budget) for number, field in enumerate(FIELDS)]


def is_whole():
    read = [field[torch.arange(len(ITEMS))] for field in fields()]
    decoded = [torch.stack(parts) for parts in zip(*map(decode, ITEMS), strict=True)]
    return all(torch.equal(a, b) for a, b in zip(read, decoded, strict=True))


def left_behind():
    """What is in the folder of the caches; a lock's file is to stay, for whoever waits for it."""
    return sorted(path.name for path in FOLDER.parent.iterdir() if path.suffix != ".lock")


def in_a_process(target):
    process = FORK.Process(target=target)
    process.start()
    return process


def test_what_is_read_back_is_what_was_decoded():
    build(FOLDER, ITEMS, FIELDS, decode)
    index = torch.tensor([599, 0, 255, 256, 0])
    for number, field in enumerate(fields()):
        read = field[index]
        assert read.dtype == FIELDS[number].dtype
        assert torch.equal(read, torch.stack([decode(ITEMS[row])[number] for row in index.tolist()]))
    assert is_whole()
    assert left_behind() == ["set"]


def test_views_with_strides_are_written_as_what_they_show():
    def transposed(item):
        return decode(item)[0].permute(2, 1, 0).contiguous().permute(2, 1, 0), decode(item)[1]

    build(FOLDER, ITEMS, FIELDS, transposed)
    assert is_whole()


def test_what_was_read_may_be_written_to():
    build(FOLDER, ITEMS, FIELDS, decode)
    for field in fields():
        field[torch.arange(4)].zero_()
    assert is_whole()


def test_second_build_decodes_nothing():
    build(FOLDER, ITEMS, FIELDS, decode_and_note)
    build(FOLDER, ITEMS, FIELDS, decode_and_note)
    assert noted() == [item[0] for item in ITEMS]


def test_progress_is_shown_by_the_build_alone(capfd):
    build(FOLDER, ITEMS, FIELDS, decode)
    assert re.search(rf"Decoding into {FOLDER}: 100%.* 600/600 ", capfd.readouterr().err)
    build(FOLDER, ITEMS, FIELDS, decode)
    assert capfd.readouterr().err == ""


def test_key_changes_with_the_files_their_sizes_their_times_and_the_options():
    names = ["a", "b"]
    for name in names:
        Path(name).write_text("1234")
        os.utime(name, ns=(10**18, 10**18))
    key = cache_key(names, ("crop", 178))
    assert re.fullmatch("[0-9a-f]{16}", key)
    assert cache_key(names, ("crop", 178)) == key
    others = {cache_key(names, ("crop", 108)), cache_key(["a"], ("crop", 178)), cache_key(["b", "a"], ("crop", 178))}
    os.utime("b", ns=(10**18, 10**18 + 1))
    others.add(cache_key(names, ("crop", 178)))
    Path("b").write_text("12345")
    os.utime("b", ns=(10**18, 10**18))
    others.add(cache_key(names, ("crop", 178)))
    assert len(others - {key}) == 5
    Path("b").write_text("4321")
    os.utime("b", ns=(10**18, 10**18))
    assert cache_key(names, ("crop", 178)) == key


def test_key_of_a_missing_file_names_it():
    with pytest.raises(DataError) as error:
        cache_key(["none.jpg"], None)
    assert str(error.value) == "none.jpg cannot be read (No such file or directory)."


def test_folder_of_caches_is_the_environments(monkeypatch):
    monkeypatch.setenv("GENMODELS_CACHE", "/own")
    monkeypatch.setenv("XDG_CACHE_HOME", "/user")
    assert default_cache_dir() == "/own"
    monkeypatch.delenv("GENMODELS_CACHE")
    assert default_cache_dir() == "/user/genmodels"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert default_cache_dir() == "~/.cache/genmodels"


def test_processes_that_build_at_once_decode_every_item_once():
    together = FORK.Barrier(3)

    def build_with_others():
        together.wait()
        build(FOLDER, ITEMS, FIELDS, decode_and_note)
        assert is_whole()

    processes = [in_a_process(build_with_others) for _ in range(3)]
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert noted() == [item[0] for item in ITEMS]
    assert is_whole()
    assert left_behind() == ["set"]


@pytest.mark.parametrize("last", [3, 300, 599])
def test_killed_build_leaves_nothing_half_used(last):
    def decode_until_killed(item):
        if item[0] == str(last):
            os.kill(os.getpid(), signal.SIGKILL)
        return decode(item)

    process = in_a_process(lambda: build(FOLDER, ITEMS, FIELDS, decode_until_killed))
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    assert left_behind() == ["set.partial"]
    build(FOLDER, ITEMS, FIELDS, decode_and_note)
    assert len(noted()) == len(ITEMS)
    assert is_whole()
    assert left_behind() == ["set"]


def test_build_stopped_by_the_user_leaves_nothing():
    def interrupted(item):
        if item[0] == "300":
            raise KeyboardInterrupt
        return decode(item)

    with pytest.raises(KeyboardInterrupt):
        build(FOLDER, ITEMS, FIELDS, interrupted)
    assert left_behind() == []


def sentence_of_a_failed_build():
    with pytest.raises(DataError) as error:
        build(FOLDER, ITEMS, FIELDS, decode)
    return str(error.value)


def test_disk_with_too_little_space_is_told_before_anything_is_decoded(monkeypatch):
    needed = 600 * (60 + 8)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=needed - 1))
    with pytest.raises(DataError) as error:
        build(FOLDER, ITEMS, FIELDS, decode_and_note)
    assert str(error.value) == (
        "the cache caches/set cannot be written (0.00 GiB are free); expected 0.00 GiB there: give another place as "
        "cache_dir, or set cache to false."
    )
    assert not Path("decoded").exists()
    assert left_behind() == []
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=needed))
    build(FOLDER, ITEMS, FIELDS, decode)
    assert is_whole()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
@pytest.mark.parametrize("full", ["0.bin", "1.bin"])
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_disk_that_fills_while_the_cache_is_written_is_one_sentence(monkeypatch, full):
    def open_on_a_full_disk(path, mode):
        return open("/dev/full" if path.name == full else path, mode)

    monkeypatch.setattr(cache, "open", open_on_a_full_disk, raising=False)
    assert sentence_of_a_failed_build() == (
        "the cache caches/set cannot be written (No space left on device); expected 0.00 GiB there: give another place "
        "as cache_dir, or set cache to false."
    )
    assert left_behind() == []


def test_place_that_cannot_be_written_is_one_sentence(monkeypatch):
    FOLDER.parent.write_text("a file")
    assert sentence_of_a_failed_build().startswith("the cache caches/set cannot be written (File exists); expected ")
    FOLDER.parent.unlink()

    def refuse(*args, **options):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(Path, "mkdir", refuse)
    assert sentence_of_a_failed_build().startswith("the cache caches/set cannot be written (Permission denied); ")


def test_bad_file_names_itself_and_leaves_nothing_behind():
    def decode_all_but_one(item):
        if item[0] == "400":
            raise DataError("400.jpg is damaged or no picture (truncated).")
        return decode(item)

    with pytest.raises(DataError) as error:
        build(FOLDER, ITEMS, FIELDS, decode_all_but_one)
    assert str(error.value) == "400.jpg is damaged or no picture (truncated)."
    assert left_behind() == []
    build(FOLDER, ITEMS, FIELDS, decode)
    assert is_whole()


ROWS, LARGE = 2048, Field((3, 64, 64), torch.uint8)
BUDGET = 4 * 2**20


def write_large():
    """24 MiB; each row is filled with its number, modulo 251."""
    np.broadcast_to((np.arange(ROWS) % 251).astype(np.uint8)[:, None], (ROWS, LARGE.nbytes)).tofile("large.bin")
    return MappedField(Path("large.bin").absolute(), LARGE, BUDGET)


def resident(path):
    """Bytes of a file that count as this process's memory."""
    of_file, total = False, 0
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if re.match("[0-9a-f]+-[0-9a-f]+ ", line):
            of_file = line.endswith(str(path))
        elif of_file and line.startswith("Rss:"):
            total += int(line.split()[1]) * 1024
    return total


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="the system does not tell what is resident")
@pytest.mark.parametrize("batch", [1, 32, ROWS])
def test_mapped_set_stays_within_its_budget_of_memory(batch):
    field = write_large()
    order = torch.randperm(ROWS, generator=torch.Generator().manual_seed(0))
    peak = 0
    for number, index in enumerate(order.split(batch)):
        read = field[index]
        assert torch.equal(read[:, 0, 0, 0].long(), index % 251)
        if number % max(1, 150 // batch) == 0:  # to ask is slow
            peak = max(peak, resident(field.path))
    assert 0 < peak <= BUDGET < ROWS * LARGE.nbytes


def test_mapped_set_pickles_after_it_was_read():
    field = write_large()
    index = torch.tensor([2047, 5])
    again = pickle.loads(pickle.dumps((field, field[index])[0]))
    assert torch.equal(again[index], field[index])
    assert len(pickle.dumps(field)) < 1000


def test_mapped_set_is_read_in_workers():
    field = write_large()
    field[torch.arange(3)]  # the workers are born with it open
    loader = ResumableLoader(field.__getitem__, EpochSampler(ROWS, 256, shuffle=False), num_workers=2)
    read = torch.cat([batch[:, 2, 63, 63] for batch in loader])
    assert torch.equal(read.long(), torch.arange(ROWS) % 251)


@pytest.mark.parametrize("fault", ["cut short", "deleted"])
def test_a_cache_that_lost_a_part_is_built_anew(tmp_path, fault):
    items, fields = [("0",), ("1",)], [Field((3,), torch.uint8)]
    calls = []

    def decode(item):
        calls.append(item)
        return (torch.full((3,), int(item[0]), dtype=torch.uint8),)

    folder = tmp_path / "sets" / "one"
    build(folder, items, fields, decode)
    build(folder, items, fields, decode)
    assert len(calls) == 2
    if fault == "deleted":
        (folder / "0.bin").unlink()
    else:
        (folder / "0.bin").write_bytes(b"\0")
    build(folder, items, fields, decode)
    assert len(calls) == 4
    assert (folder / "0.bin").read_bytes() == bytes([0, 0, 0, 1, 1, 1])


def test_whole_cache_is_used_where_nothing_can_be_written(monkeypatch):
    build(FOLDER, ITEMS, FIELDS, decode)
    monkeypatch.setattr("datamodules.cache.FileLock", lambda path: pytest.fail("a lock would be written"))
    build(FOLDER, ITEMS, FIELDS, decode)
