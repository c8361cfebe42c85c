import re
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from datamodules import DataError
from datamodules.decoding import read_image, read_numbers

ORIENTATION = 0x0112
# What turns a stored picture as each value of the EXIF orientation asks.
TURNS = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a),
}
GREY = np.arange(48, dtype=np.uint8).reshape(6, 8) * 5
COLOUR = np.stack([GREY, 255 - GREY, GREY[::-1, ::-1]], -1)


def pixels(tensor):
    """(C, H, W) as (H, W, C), or (H, W) where it is grey."""
    return tensor.permute(1, 2, 0).numpy().squeeze(-1) if len(tensor) == 1 else tensor.permute(1, 2, 0).numpy()


def oriented(value):
    exif = Image.Exif()
    exif[ORIENTATION] = value
    return exif


def chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def write_png(path, bits, colour, size, rows, extra=b""):
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", *size, bits, colour, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows)))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + extra + body + chunk(b"IEND", b""))
    return path


def fault(read, path, *arguments):
    """The message of the DataError, which has to be one sentence that begins with the file."""
    with pytest.raises(DataError) as error:
        read(path, *arguments)
    message = str(error.value)
    assert message.startswith(f"{path} ")
    assert "\n" not in message
    assert message.endswith(".")
    assert ". " not in message.removeprefix(str(path))
    return message


@pytest.mark.parametrize("name", ["a.png", "a.webp", "a.bmp", "a.tif", "a.ppm", "a.gif"])
def test_colours_of_a_lossless_file_are_the_stored_ones(name):
    image = Image.fromarray(COLOUR)
    image.quantize(48).convert("RGB").save(name, **({"lossless": True} if name.endswith("webp") else {}))
    read = read_image(Path(name))
    assert read.dtype == torch.uint8
    assert read.is_contiguous()
    assert np.array_equal(pixels(read), np.array(image.quantize(48).convert("RGB")))


def test_jpeg_is_what_pillow_sees():
    smooth = Image.fromarray(COLOUR).resize((64, 48), Image.Resampling.BICUBIC)
    smooth.save("a.jpg", quality=95, subsampling=0)
    read = pixels(read_image(Path("a.jpg"))).astype(int)
    assert np.abs(read - np.array(Image.open("a.jpg")).astype(int)).max() <= 2


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
@pytest.mark.parametrize("value", TURNS)
def test_picture_is_turned_as_its_exif_data_say(suffix, value):
    corners = np.array([[0, 60, 120], [180, 220, 250]], np.uint8).repeat(16, 0).repeat(16, 1)
    Image.fromarray(corners).convert("RGB").save(f"a.{suffix}", quality=95, exif=oriented(value))
    read = pixels(read_image(Path(f"a.{suffix}"), 1)).astype(int)
    expected = TURNS[value](corners).astype(int)
    assert read.shape == expected.shape
    assert np.abs(read - expected)[4::8, 4::8].max() <= 8


@pytest.mark.parametrize("value", TURNS)
def test_16_bit_picture_is_turned_as_its_exif_data_say(value):
    Image.fromarray(GREY.astype(np.uint16) * 257).save("a.png", exif=oriented(value))
    assert np.array_equal(pixels(read_image(Path("a.png"), 1)), TURNS[value](GREY))


@pytest.mark.parametrize("suffix", ["png", "webp"])
def test_transparency_lies_on_white(suffix):
    colours = np.full((2, 2, 4), (200, 100, 0, 0), np.uint8)
    colours[..., 3] = [[255, 0], [128, 51]]
    Image.fromarray(colours).save(f"a.{suffix}", lossless=True, exact=True)
    shares = colours[..., 3:] / 255
    expected = colours[..., :3] * shares + 255 * (1 - shares)
    assert pixels(read_image(Path(f"a.{suffix}"))) == pytest.approx(expected, abs=1)


def test_transparent_grey_lies_on_white():
    Image.fromarray(np.array([[[10, 255], [10, 0]]], np.uint8), "LA").save("a.png")
    assert read_image(Path("a.png"), 1).flatten().tolist() == [10, 255]
    assert read_image(Path("a.png"), 3)[:, 0].T.tolist() == [[10] * 3, [255] * 3]


def test_transparent_colour_and_grey_of_a_png_are_white():
    clear = chunk(b"tRNS", bytes([0, 4, 0, 5, 0, 6]))
    clear = write_png(Path("colour.png"), 8, 2, (2, 1), [bytes([1, 2, 3, 4, 5, 6])], clear)
    assert read_image(clear)[:, 0].T.tolist() == [[1, 2, 3], [255, 255, 255]]
    clear = write_png(Path("grey.png"), 8, 0, (2, 1), [bytes([7, 9])], chunk(b"tRNS", bytes([0, 7])))
    assert read_image(clear, 1).flatten().tolist() == [255, 9]
    clear = write_png(Path("deep.png"), 16, 0, (2, 1), [bytes([0x12, 0x34, 0x12, 0x35])], chunk(b"tRNS", b"\x12\x34"))
    assert read_image(clear, 1).flatten().tolist() == [255, 0x12]


def test_palette_is_its_colours():
    image = Image.fromarray(np.array([[0, 1], [2, 1]], np.uint8), "P")
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    image.save("a.png")
    assert read_image(Path("a.png"))[:, 0].T.tolist() == [[255, 0, 0], [0, 255, 0]]
    assert read_image(Path("a.png"))[:, 1].T.tolist() == [[0, 0, 255], [0, 255, 0]]


@pytest.mark.parametrize(
    ("transparency", "expected"),
    [(1, [[255, 0, 0], [255, 255, 255]]), (bytes([255, 51]), [[255, 0, 0], [204, 255, 204]])],
)
def test_transparent_colours_of_a_palette_lie_on_white(transparency, expected):
    image = Image.fromarray(np.array([[0, 1]], np.uint8), "P")
    image.putpalette([255, 0, 0, 0, 255, 0])
    image.save("a.png", transparency=transparency)
    assert read_image(Path("a.png"))[:, 0].T.numpy() == pytest.approx(np.array(expected), abs=1)


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("channels", [1, 3])
def test_16_bits_become_8_over_the_whole_range(suffix, channels):
    values = np.array([[0, 128, 129, 257, 32768, 65535]], np.uint16)
    Image.fromarray(values).save(f"a.{suffix}")
    read = read_image(Path(f"a.{suffix}"), channels)
    assert read.dtype == torch.uint8
    assert read.tolist() == [[[0, 0, 1, 1, 128, 255]]] * channels


def test_grey_in_three_channels_is_the_same_three_times():
    Image.fromarray(GREY).save("a.png")
    read = read_image(Path("a.png"))
    assert all(np.array_equal(channel, GREY) for channel in read.numpy())


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_colour_in_one_channel_is_its_luminance(suffix):
    Image.fromarray(np.full((16, 16, 3), (200, 100, 50), np.uint8)).save(f"a.{suffix}", quality=95)
    read = read_image(Path(f"a.{suffix}"), 1)
    assert read.shape == (1, 16, 16)
    assert read.float().mean().item() == pytest.approx(0.299 * 200 + 0.587 * 100 + 0.114 * 50, abs=2)


@pytest.mark.parametrize("suffix", ["jpg", "tif"])
def test_cmyk_comes_out_in_its_colours(suffix):
    Image.new("CMYK", (16, 16), (55, 225, 195, 0)).save(f"a.{suffix}", quality=95)
    assert read_image(Path(f"a.{suffix}"))[:, 8, 8].tolist() == pytest.approx([200, 30, 60], abs=3)


@pytest.mark.parametrize("channels", [1, 3])
def test_one_bit_is_black_and_white(channels):
    Image.fromarray(np.array([[True, False, True]])).save("a.png")
    assert read_image(Path("a.png"), channels).tolist() == [[[255, 0, 255]]] * channels


def test_first_picture_of_an_animation_is_taken():
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    frames[0].save("a.gif", save_all=True, append_images=frames[1:])
    assert read_image(Path("a.gif"))[:, 0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize(
    ("stored", "bits", "dtype", "name"),
    [
        (np.array([[0, 7, 255]], np.uint8), 8, torch.uint8, "a.png"),
        (np.array([[0, 7, 256, 65535]], np.uint16), 16, torch.int32, "a.png"),
        (np.array([[0, 7, 256, 65535]], np.uint16), 16, torch.int32, "a.tif"),
        (np.array([[0.0, 0.1, 3e9, np.nan]], np.float32), 32, torch.float32, "a.tif"),
    ],
)
def test_numbers_are_the_stored_ones_unscaled(stored, bits, dtype, name):
    Image.fromarray(stored).save(name)
    read = read_numbers(Path(name), bits)
    assert read.dtype == dtype
    assert read.shape == (1, *stored.shape)
    assert np.array_equal(read[0].numpy(), stored.astype(read.numpy().dtype), equal_nan=bits == 32)


def test_numbers_of_a_palette_are_its_indices():
    image = Image.fromarray(np.array([[0, 2, 1]], np.uint8), "P")
    image.putpalette([9, 9, 9, 200, 0, 0, 0, 200, 0])
    image.save("a.png", bits=2)
    assert read_numbers(Path("a.png"), 8).tolist() == [[[0, 2, 1]]]


@pytest.mark.parametrize(
    ("stored", "bits", "found"),
    [
        (np.zeros((2, 2), np.uint8), 16, "8 bits"),
        (np.zeros((2, 2), np.uint16), 8, "16 bits"),
        (np.zeros((2, 2), np.uint16), 32, "16 bits"),
        (np.zeros((2, 2), bool), 8, "1 bit"),
        (np.zeros((2, 2, 3), np.uint8), 16, "3 channels (RGB)"),
        (np.zeros((2, 2, 4), np.uint8), 8, "4 channels (RGBA)"),
    ],
)
def test_numbers_of_other_bits_are_an_error(stored, bits, found):
    Image.fromarray(stored).save("a.png")
    assert fault(read_numbers, Path("a.png"), bits) == f"a.png has {found}; expected one channel of {bits} bits."


def test_fewer_bits_than_8_are_not_taken_for_8():
    path = write_png(Path("a.png"), 4, 0, (2, 1), [b"\x12"])
    assert fault(read_numbers, path, 8) == "a.png has 4 bits; expected one channel of 8 bits."


BOTH = pytest.mark.parametrize(("read", "argument"), [(read_image, 3), (read_numbers, 8)])


@BOTH
def test_missing_file_is_named(read, argument):
    message = fault(read, Path("none.png"), argument)
    assert message == "none.png cannot be read (No such file or directory); expected a picture."


@BOTH
def test_name_that_no_file_can_have_is_an_error(read, argument):
    assert fault(read, Path("a\0.png"), argument) == "a\0.png cannot be read (embedded null byte); expected a picture."


@BOTH
def test_folder_is_no_file(read, argument):
    Path("a.png").mkdir()
    assert fault(read, Path("a.png"), argument) == "a.png cannot be read (Is a directory); expected a picture."


@BOTH
def test_file_that_cannot_be_opened_is_named(read, argument, monkeypatch):
    def refuse(*args, **options):
        raise PermissionError(13, "Permission denied")

    Image.fromarray(GREY).save("a.png")
    monkeypatch.setattr(Path, "read_bytes", refuse)
    assert fault(read, Path("a.png"), argument) == "a.png cannot be read (Permission denied); expected a picture."


@BOTH
def test_empty_file_is_named(read, argument):
    Path("a.png").touch()
    assert fault(read, Path("a.png"), argument) == "a.png is empty; expected a picture."


@BOTH
@pytest.mark.parametrize("content", [b"<html>Not found</html>", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"\0" * 100])
def test_file_that_is_no_picture_is_named(read, argument, content):
    Path("a.png").write_bytes(content)
    assert fault(read, Path("a.png"), argument) == "a.png is damaged or no picture (of no known format)."


def noise(name, **options):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 32), np.uint8)).save(name, **options)
    return Path(name)


@BOTH
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif", "bmp"])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.9])
def test_truncated_picture_is_named(suffix, share, read, argument):
    path = noise(f"a.{suffix}")
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    assert re.fullmatch(r"a\.\w+ is damaged or no picture \(.+\)\.", fault(read, path, argument))


# torchvision's decoder of PNGs ended the process here.
def test_flipped_byte_in_the_pixels_of_a_png_is_named():
    path = noise("a.png")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    assert fault(read_image, path, 3).startswith("a.png is damaged or no picture (")


def test_jpeg_that_claims_to_be_huge_is_refused_before_it_takes_the_memory():
    path = noise("a.jpg")
    content = bytearray(path.read_bytes())
    place = content.index(b"\xff\xc0")  # start of frame: length, bits, height, width
    content[place + 5 : place + 9] = struct.pack(">HH", 30000, 30000)
    path.write_bytes(content)
    assert "(Image size (900000000 pixels) exceeds limit" in fault(read_image, path, 3)


def test_floating_point_values_are_no_picture():
    Image.fromarray(np.zeros((2, 2), np.float32)).save("a.tif")
    message = fault(read_image, Path("a.tif"), 3)
    assert message == "a.tif is damaged or no picture (floating-point values have no colour)."


@pytest.mark.parametrize(("bits", "top"), [(16, 1023), (8, 15)])
def test_values_that_pillow_has_scaled_are_refused(in_tmp, bits, top):
    kind = ">u2" if top > 255 else np.uint8
    content = f"P5\n# made\n3 2\n{top}\n".encode() + np.full((2, 3), top, kind).tobytes()
    Path("a.pgm").write_bytes(content)
    with pytest.raises(DataError, match=rf"^a\.pgm has values up to {top}; expected up to {2**bits - 1}\.$"):
        read_numbers(Path("a.pgm"), bits)
    Path("b.pgm").write_bytes(b"P5 3 2 65535\n" + np.full((2, 3), 1000, ">u2").tobytes())
    assert read_numbers(Path("b.pgm"), 16).unique().tolist() == [1000]


def test_tiff_of_32_bits_is_not_taken_for_one_of_16(in_tmp):
    Image.fromarray(np.array([[70000, -5]], np.int32)).save("a.tif")
    with pytest.raises(DataError, match=r"^a\.tif holds -5 to 70000; expected 16 bits, 0 to 65535\.$"):
        read_numbers(Path("a.tif"), 16)
