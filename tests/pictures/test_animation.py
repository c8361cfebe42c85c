import numpy as np
import pytest
import torch
from PIL import Image, ImageSequence

from lightning_genmodels.pictures import image_grid, save_animation


def frames(n=5, channels=1):
    images = torch.rand(n, 4, channels, 8, 8, generator=torch.Generator().manual_seed(0))
    return [image_grid(batch) for batch in images]


def read(path):
    with Image.open(path) as image:
        assert image.format == "GIF"
        return [np.asarray(frame.convert("RGB")).astype(int) for frame in ImageSequence.Iterator(image)]


@pytest.mark.parametrize("channels", [1, 3])
def test_frames_read_back_in_their_order(tmp_path, channels):
    written = frames(channels=channels)
    save_animation(written, tmp_path / "a.gif")
    found = read(tmp_path / "a.gif")
    assert [frame.shape for frame in found] == [frame.shape for frame in written]
    errors = np.array([[np.abs(a - b).mean() for b in written] for a in found])
    # Up to 256 colours are kept as they are; each colour frame here has no more than 257.
    assert errors.diagonal().max() < 2
    assert (errors + 100 * np.eye(5)).min() > 20


def test_a_webp_keeps_every_colour_and_repeats_without_end(tmp_path):
    written = frames(channels=3)
    save_animation(written, tmp_path / "a.WebP", seconds=0.5)
    with Image.open(tmp_path / "a.WebP") as image:
        assert (image.format, image.n_frames, image.info["loop"]) == ("WEBP", 5, 0)
        for number, frame in enumerate(written):
            image.seek(number)
            assert np.array_equal(np.asarray(image.convert("RGB")), frame)
            assert image.info["duration"] == 500


@pytest.mark.parametrize(("seconds", "milliseconds"), [({}, 80), ({"seconds": 0.5}, 500), ({"seconds": 0.02}, 20)])
def test_it_repeats_without_end_and_shows_each_frame_as_long_as_told(tmp_path, seconds, milliseconds):
    save_animation(frames(), tmp_path / "a.gif", **seconds)
    with Image.open(tmp_path / "a.gif") as image:
        assert image.info["loop"] == 0  # GIF's word for ever
        for number in range(image.n_frames):
            image.seek(number)
            assert image.info["duration"] == milliseconds


def test_the_folders_on_the_way_are_made(tmp_path):
    save_animation(frames(2), tmp_path / "new" / "folder" / "a.gif")
    save_animation(frames(2), str(tmp_path / "b.gif"))
    assert (tmp_path / "new/folder/a.gif").read_bytes() == (tmp_path / "b.gif").read_bytes()


def test_one_frame_is_a_picture_that_stands(tmp_path):
    (only,) = frames(1)
    save_animation([only], tmp_path / "a.gif")
    (found,) = read(tmp_path / "a.gif")
    assert np.abs(found - only).max() <= 1


def test_a_frame_like_the_one_before_is_shown_as_long_as_any(tmp_path):
    first, second = frames(2)
    save_animation([first, first, second], tmp_path / "a.gif", seconds=0.1)
    with Image.open(tmp_path / "a.gif") as image:
        durations = []
        for number in range(image.n_frames):
            image.seek(number)
            durations.append(image.info["duration"])
    assert sum(durations) == 300
