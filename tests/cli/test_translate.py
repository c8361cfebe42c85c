import re
import struct
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from command import fit, genmodels
from made_files import save
from PIL import Image, ImageSequence
from published import published_unet_state
from torch.nn import functional
from torchvision.transforms.v2.functional import resize

from lightning_genmodels import Pix2Pix, load_model
from lightning_genmodels.cli import translate as command
from lightning_genmodels.pictures import class_colours, depth_colours, image_grid

CHECKPOINT = "runs/pix2pix_shapepairs/0/checkpoints/last.ckpt"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        fit("--model", "Pix2Pix", "--model.width", 8, "--data", "ShapePairsDataModule", "--data.image_size", 64,
            "--data.train_count", 16, "--trainer.max_steps", 1, "--trainer.limit_val_batches", 0)  # fmt: skip
    return folder / CHECKPOINT


def picture(number, height=21, width=30, channels=3):
    draw = torch.Generator().manual_seed(number)
    return torch.randint(0, 256, (channels, height, width), generator=draw, dtype=torch.uint8)


def run(checkpoint, source, output, *options):
    return genmodels("translate", "--checkpoint", checkpoint, "--input", source, "--output", output, *options)


def pixels(path):
    return np.asarray(Image.open(path))


def expected(checkpoint, image, seed=0):
    made = Pix2Pix.load_from_checkpoint(checkpoint, weights_only=True).translate(
        image[None] / 255, generator=torch.Generator().manual_seed(seed)
    )
    return (made[0] * 255).round().byte().permute(1, 2, 0).numpy()


def test_a_picture_of_any_size_keeps_it(checkpoint, in_tmp, capsys):
    save(in_tmp / "a.png", picture(0))
    assert run(checkpoint, "a.png", "made/b.png") == 0
    assert "1 picture: made/b.png" in capsys.readouterr().out
    assert (pixels("made/b.png") == expected(checkpoint, picture(0))).all()


def test_a_picture_of_a_folder_becomes_what_it_becomes_alone(checkpoint, in_tmp, capsys):
    for number in range(3):
        save(in_tmp / f"photos/{number}.png", picture(number, height=16 + 3 * number))
    assert run(checkpoint, "photos", "made", "--seed", 5) == 0
    assert "3 pictures: made" in capsys.readouterr().out
    assert sorted(path.name for path in (in_tmp / "made").iterdir()) == ["0.png", "1.png", "2.png"]
    assert run(checkpoint, "photos/2.png", "alone.png", "--seed", 5) == 0
    assert (pixels("made/2.png") == pixels("alone.png")).all()


def test_what_dropout_drops_is_drawn_by_the_seed(checkpoint, in_tmp):
    save(in_tmp / "a.png", picture(0))
    for name, seed in (("one", 1), ("again", 1), ("two", 2)):
        assert run(checkpoint, "a.png", f"{name}.png", "--seed", seed) == 0
    assert (pixels("one.png") == pixels("again.png")).all()
    assert (pixels("one.png") != pixels("two.png")).any()
    assert (pixels("two.png") == expected(checkpoint, picture(0), seed=2)).all()


def test_a_gif_keeps_its_frames_and_their_times(checkpoint, in_tmp, capsys):
    frames = [Image.fromarray(picture(number).permute(1, 2, 0).numpy()) for number in range(3)]
    frames[0].save("a.gif", save_all=True, append_images=frames[1:], duration=[100, 250, 40])
    assert run(checkpoint, "a.gif", "b.gif") == 0
    assert "3 frames: b.gif" in capsys.readouterr().out
    with Image.open("b.gif") as made:
        assert made.size == (30, 21)
        assert [frame.info["duration"] for frame in ImageSequence.Iterator(made)] == [100, 250, 40]
    assert run(checkpoint, "a.gif", "first.png") == 0
    assert pixels("first.png").shape == (21, 30, 3)


def test_what_a_gif_leaves_out_is_white_as_in_a_picture(checkpoint, in_tmp):
    seen = np.zeros((16, 16, 4), np.uint8)
    seen[:, :8] = (200, 30, 60, 255)
    frames = [Image.fromarray(seen), Image.fromarray(seen[:, ::-1].copy())]
    frames[0].save("a.gif", save_all=True, append_images=frames[1:], disposal=2)
    white = np.where(seen[..., 3:] > 0, seen[..., :3], 255)
    for name, frame in (("left", white), ("right", white[:, ::-1])):
        save(in_tmp / f"{name}.png", torch.from_numpy(frame.copy()).permute(2, 0, 1))
        assert run(checkpoint, f"{name}.png", f"{name}-made.png") == 0
    assert run(checkpoint, "a.gif", "b.gif") == 0
    with Image.open("b.gif") as made:
        for name, frame in zip(("left", "right"), ImageSequence.Iterator(made), strict=True):
            apart = np.asarray(frame.convert("RGB")).astype(int) - pixels(f"{name}-made.png")
            assert np.abs(apart).mean() < 4  # of the palette


def write_video(path, frames):
    av = pytest.importorskip("av")
    with av.open(path, "w") as written:
        stream = written.add_stream("libx264", rate=12)
        stream.height, stream.width, stream.pix_fmt = 22, 30, "yuv420p"
        for number in range(frames):
            pixels = np.ascontiguousarray(picture(number, 22).permute(1, 2, 0).numpy())
            written.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        written.mux(stream.encode(None))
    return av


def test_a_video_keeps_its_rate_and_frames(checkpoint, in_tmp, capsys):
    av = write_video("a.mp4", 4)
    assert run(checkpoint, "a.mp4", "b.mp4") == 0
    assert "4 frames: b.mp4" in capsys.readouterr().out
    with av.open("b.mp4") as made:
        assert made.streams.video[0].average_rate == 12
        assert [(frame.width, frame.height) for frame in made.decode(video=0)] == [(30, 22)] * 4
    (in_tmp / "bad.mp4").write_bytes(b"no video")
    assert run(checkpoint, "bad.mp4", "c.mp4") == 2
    assert "--input bad.mp4 cannot be read as a video" in capsys.readouterr().err


def test_a_video_that_is_damaged_further_on_is_one_sentence(checkpoint, in_tmp, capsys):
    write_video("a.mp4", 40)
    whole = (in_tmp / "a.mp4").read_bytes()
    begin = whole.index(b"mdat") + 4
    end = whole.index(b"moov")
    middle = (begin + end) // 2
    (in_tmp / "damaged.mp4").write_bytes(whole[:middle] + bytes(end - 4 - middle) + whole[end - 4 :])
    assert run(checkpoint, "damaged.mp4", "b.mp4") == 2
    assert re.search(
        r"--input damaged.mp4 is damaged after \d+ frames \(.*\); expected a whole video", capsys.readouterr().err
    )


def test_a_video_held_upright_is_translated_upright(checkpoint, in_tmp):
    """As a telephone writes it: lying, with a matrix that turns it clockwise by a quarter."""
    av = write_video("a.mp4", 2)
    lying = bytearray((in_tmp / "a.mp4").read_bytes())
    matrix = lying.index(b"tkhd") + 44
    lying[matrix : matrix + 20] = struct.pack(">5i", 0, 1 << 16, 0, -1 << 16, 0)
    (in_tmp / "upright.mp4").write_bytes(lying)
    with av.open("a.mp4") as opened:
        plain = list(command.frames_of(opened, 3, in_tmp))
    with av.open("upright.mp4") as opened:
        turned = list(command.frames_of(opened, 3, in_tmp))
    assert torch.equal(turned[1], plain[1].rot90(-1, (1, 2)))
    assert run(checkpoint, "upright.mp4", "b.mp4") == 0
    with av.open("b.mp4") as made:
        assert [(frame.width, frame.height) for frame in made.decode(video=0)] == [(22, 30)] * 2


def test_a_video_without_the_package_is_one_sentence(checkpoint, in_tmp, capsys, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "av", None)
    (in_tmp / "a.mp4").write_bytes(b"")
    assert run(checkpoint, "a.mp4", "b.mp4") == 2
    assert "--input a.mp4: videos need the package av; expected it installed" in capsys.readouterr().err


def test_a_published_generator_translates(in_tmp):
    torch.save(published_unet_state(7, 1, (3, 3)), "net_G.pth")
    save(in_tmp / "a.png", picture(0))
    assert run("net_G.pth", "a.png", "b.png") == 0
    assert pixels("b.png").shape == (21, 30, 3)


def test_grey_pictures_are_read_as_the_model_needs_them(in_tmp, monkeypatch):
    grey = SimpleNamespace(
        image_shape=(1, 16, 16), device=torch.device("cpu"), translate=lambda source, generator: 1 - source
    )
    monkeypatch.setattr(command, "model_on_device", lambda options: grey)
    save(in_tmp / "a.png", picture(0))
    assert run("any.ckpt", "a.png", "b.png") == 0
    luminance = np.asarray(Image.open("a.png").convert("L")).astype(int)
    assert (pixels("b.png")[..., 0] == 255 - luminance).all()
    grey.image_shape = (2, 16, 16)
    assert run("any.ckpt", "a.png", "b.png") == 2


@pytest.mark.parametrize(
    ("source", "output", "message"),
    [
        ("none.png", "b.png", "--input none.png does not exist; expected a picture, a folder, a GIF or a video."),
        ("a.txt", "b.png", "--input is a.txt; expected a folder, or a file that ends in .avi, .bmp"),
        ("a.png", "b.jpg", "--output is b.jpg; expected a file name that ends in .png for a.png."),
        ("a.png", "photos", "--output is photos; expected a file name that ends in .png for a.png."),
        ("a.png", "a.png", "--output is a.png, the input itself; expected another place."),
        ("photos", "b.png", "--output is b.png; expected a folder for photos."),
        ("photos", "a.png", "--output is a.png; expected a folder for photos."),
        ("photos", "./photos", "--output is photos, the input itself; expected another place."),
        ("a.gif", "b.mp4", "--output is b.mp4; expected a file name that ends in .gif or .png for a.gif."),
        ("a.mp4", "b.gif", "--output is b.gif; expected a file name that ends in .mp4 for a.mp4."),
        ("damaged.png", "b.png", "damaged.png is damaged or no picture"),
        ("empty", "made", "empty holds no pictures"),
        ("a.png", "a.txt/b.png", "a.txt/b.png cannot be written"),
        ("twice", "made", "made/a.png would be written over another result; expected names of their own"),
    ],
)
def test_what_is_wrong_is_one_sentence(checkpoint, in_tmp, capsys, source, output, message):
    for name in ("a.txt", "a.gif", "a.mp4", "damaged.png"):
        (in_tmp / name).write_text("text")
    save(in_tmp / "a.png", picture(0))
    save(in_tmp / "photos/a.png", picture(0))
    for name in ("a.png", "a.bmp"):
        save(in_tmp / "twice" / name, picture(0))
    (in_tmp / "empty").mkdir()
    assert run(checkpoint, source, output) == 2
    assert message in capsys.readouterr().err


def test_a_model_that_does_not_translate_is_one_sentence(in_tmp, capsys):
    fit("--model", "GAN", "--data", "DigitsDataModule", "--trainer.max_steps", 1, "--trainer.limit_val_batches", 0)
    save(in_tmp / "a.png", picture(0))
    assert run("runs/gan_digits/0/checkpoints/last.ckpt", "a.png", "b.png") == 2
    assert "does not translate: its model is GAN; expected an image-to-image model." in capsys.readouterr().err


@pytest.fixture(scope="module")
def depth_checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("depth")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        data = ("--data", "DepthScenesDataModule", "--data.image_size", "[16, 16]", "--data.train_count", 16)
        fit("--model", "DepthEstimation", *data, "--trainer.max_steps", 1, "--trainer.limit_val_batches", 0)
    return folder / "runs/depthestimation_depthscenes/0/checkpoints/last.ckpt"


def test_a_scene_is_written_as_points_and_as_a_turn(depth_checkpoint, in_tmp, capsys):
    save(in_tmp / "a.png", picture(0))
    assert run(depth_checkpoint, "a.png", "b.png", "--points", "c.ply", "--turn", "d.gif") == 0
    told = capsys.readouterr().out
    assert "630 points: c.ply" in told
    assert "a turn: d.gif" in told
    assert b"element vertex 630" in (in_tmp / "c.ply").read_bytes()
    with Image.open("d.gif") as made:
        assert made.size == (30, 21)
        assert made.n_frames > 1
    assert Image.open("b_color.png").size == (30, 21)


def test_depth_is_judged_at_the_size_of_the_training_unless_told_otherwise(depth_checkpoint, in_tmp):
    save(in_tmp / "a.png", picture(0, height=48, width=64))
    model = load_model(depth_checkpoint)
    small = resize(picture(0, height=48, width=64), list(model.image_shape[1:]), antialias=True)
    judged = model.translate(small[None] / 255, generator=torch.Generator().manual_seed(0))
    for options, metres in (
        ((), functional.interpolate(judged, (48, 64), mode="bilinear")),
        (("--no-resize",), model.translate(picture(0, height=48, width=64)[None] / 255)),
    ):
        assert run(depth_checkpoint, "a.png", "b.png", *options) == 0
        assert np.abs(pixels("b.png").astype(int) - 1000 * metres[0, 0].numpy()).max() <= 1
    assert np.abs(1000 * (functional.interpolate(judged, (48, 64)) - metres)).max() > 5  # the two are not the same


def test_a_result_is_brought_back_to_the_pictures_size(checkpoint, in_tmp):
    save(in_tmp / "a.png", picture(0))
    small = resize(picture(0), [64, 64], antialias=True)
    assert run(checkpoint, "a.png", "b.png", "--resize") == 0
    made = Pix2Pix.load_from_checkpoint(checkpoint, weights_only=True).translate(
        small[None] / 255, generator=torch.Generator().manual_seed(0)
    )
    back = functional.interpolate(made, (21, 30), mode="bilinear", antialias=True)[0]
    assert np.abs(pixels("b.png").astype(int) - 255 * back.permute(1, 2, 0).numpy()).max() <= 1


def test_an_enlarging_model_has_no_size_to_bring_results_back_to(in_tmp, capsys):
    fit("--model", "SuperResolution", "--model.width", 4, "--model.blocks", 1, "--data", "DigitsDataModule",
        "--data.image_size", 28, "--trainer.max_steps", 1, "--trainer.limit_val_batches", 0)  # fmt: skip
    save(in_tmp / "a.png", picture(0))
    assert run("runs/superresolution_digits/0/checkpoints/last.ckpt", "a.png", "b.png", "--resize") == 2
    assert "--resize: SuperResolution makes pictures larger; expected another model." in capsys.readouterr().err


@pytest.mark.parametrize("option", [("--intrinsics", 9, 9, 0, 0), ("--field_of_view", 50)])
def test_a_camera_without_a_scene_is_one_sentence(depth_checkpoint, in_tmp, capsys, option):
    save(in_tmp / "a.png", picture(0))
    assert run(depth_checkpoint, "a.png", "b.png", *option) == 2
    assert f"{option[0]} is of points in space; expected --points or --turn beside it." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--points", "c.txt"), "--points is c.txt; expected a file name that ends in .ply."),
        (("--turn", "c.png"), "--turn is c.png; expected a file name that ends in .gif."),
        (("--intrinsics", "9", "nan", "0", "0"), "expected finite numbers, the two focal lengths above 0."),
        (("--intrinsics", "9", "9", "inf", "0"), "expected finite numbers, the two focal lengths above 0."),
        (("--intrinsics", "9", "0", "0", "0"), "expected finite numbers, the two focal lengths above 0."),
        (("--field_of_view", "180"), "--field_of_view is 180.0; expected above 0 and below 180 degrees."),
    ],
)
def test_what_is_wrong_with_a_scene_is_one_sentence(depth_checkpoint, in_tmp, capsys, options, message):
    save(in_tmp / "a.png", picture(0))
    assert run(depth_checkpoint, "a.png", "b.png", *options) == 2
    assert message in capsys.readouterr().err


def test_frames_of_depth_are_in_colours_from_0_to_the_cap(in_tmp, monkeypatch):
    metres = torch.linspace(0, 8, 21 * 30).view(1, 1, 21, 30)
    model = SimpleNamespace(
        image_shape=(3, 16, 16), device=torch.device("cpu"), depth_cap=8.0, translate=lambda source, generator: metres
    )
    monkeypatch.setattr(command, "model_on_device", lambda options: model)
    save(in_tmp / "a.png", picture(0))
    Image.open("a.png").save("a.gif")
    assert run("any.ckpt", "a.gif", "b.gif") == 0
    shown = image_grid(depth_colours(metres, 0, 8), smallest=1, margin=0).astype(int)
    with Image.open("b.gif") as made:
        assert np.abs(np.asarray(made.convert("RGB")) - shown).mean() < 3  # of the palette
    assert np.abs(shown[0, 0] - shown[-1, -1]).sum() > 100


def test_frames_of_classes_are_in_their_colours(in_tmp, monkeypatch):
    classes = (torch.arange(21 * 30) // 200).view(1, 21, 30)
    model = SimpleNamespace(
        image_shape=(3, 16, 16), device=torch.device("cpu"), translate=lambda source, generator: classes
    )
    monkeypatch.setattr(command, "model_on_device", lambda options: model)
    save(in_tmp / "a.png", picture(0))
    Image.open("a.png").save("a.gif")
    assert run("any.ckpt", "a.gif", "b.gif") == 0
    shown = (255 * class_colours(classes)[0].permute(1, 2, 0)).round().numpy()
    with Image.open("b.gif") as made:
        assert np.abs(np.asarray(made.convert("RGB")) - shown).max() <= 1


def test_nothing_is_written_over_a_picture_that_is_read(depth_checkpoint, in_tmp, capsys):
    save(in_tmp / "photo_color.png", picture(0))
    assert run(depth_checkpoint, "photo_color.png", "photo.png") == 2
    assert "photo_color.png would be written over the picture photo_color.png" in capsys.readouterr().err
    assert (pixels("photo_color.png") == picture(0).permute(1, 2, 0).numpy()).all()


def test_intrinsics_take_the_place_of_the_field_of_view(depth_checkpoint, in_tmp):
    save(in_tmp / "a.png", picture(0))
    focal = 15 / np.tan(np.pi / 6)
    assert run(depth_checkpoint, "a.png", "b.png", "--points", "c.ply") == 0
    camera = ("--intrinsics", focal, focal, 14.5, 10)
    assert run(depth_checkpoint, "a.png", "b.png", "--points", "d.ply", *camera) == 0
    assert (in_tmp / "c.ply").read_bytes()[:200] == (in_tmp / "d.ply").read_bytes()[:200]
    assert run(depth_checkpoint, "a.png", "b.png", "--points", "d.ply", "--intrinsics", 9, 9, 0, 0) == 0
    assert (in_tmp / "c.ply").read_bytes() != (in_tmp / "d.ply").read_bytes()


def test_a_scene_needs_depth_and_one_picture(checkpoint, depth_checkpoint, in_tmp, capsys):
    save(in_tmp / "photos/a.png", picture(0))
    assert run(checkpoint, "photos/a.png", "b.png", "--points", "c.ply") == 2
    assert "--points and --turn: Pix2Pix estimates no depth" in capsys.readouterr().err
    assert run(depth_checkpoint, "photos", "made", "--turn", "c.gif") == 2
    assert "--turn: --input is photos; expected one picture, and --output to be a .png." in capsys.readouterr().err
