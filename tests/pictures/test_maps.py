import numpy as np
import torch
from PIL import Image

from lightning_genmodels.pictures import (
    class_colours,
    depth_colours,
    depth_panel,
    in_colours,
    save_classes,
    save_depth,
    save_result,
    to_uint8,
)

CLASSES = torch.tensor([[0, 1, 2], [255, 11, 7]])


def test_classes_are_read_back_as_numbers_and_seen_as_their_colours(tmp_path):
    save_classes(CLASSES, tmp_path / "a" / "b.png")
    with Image.open(tmp_path / "a/b.png") as opened:
        assert opened.mode == "P"
        assert (np.asarray(opened) == CLASSES.numpy()).all()
        seen = np.asarray(opened.convert("RGB"))
    assert (seen == to_uint8(class_colours(CLASSES[None]))[0].permute(1, 2, 0).numpy()).all()


def test_depth_is_read_back_in_millimetres_and_seen_in_colours(tmp_path):
    depth = torch.tensor([[0.0, 1.2344, 2.0], [65.535, 65.6, 3.0]])[None]
    save_depth(depth, tmp_path / "d.png")
    with Image.open(tmp_path / "d.png") as opened:
        assert np.asarray(opened).tolist() == [[0, 1234, 2000], [65535, 0, 3000]]
    seen = np.asarray(Image.open(tmp_path / "d_color.png"))
    assert seen[0, 0].tolist() == [0, 0, 0]
    expected = depth_colours(depth[None], 1.2344, 65.6)
    assert (seen == to_uint8(expected)[0].permute(1, 2, 0).numpy()).all()


def test_a_panel_has_one_scale_for_both_depths_and_its_own_for_the_error():
    source = torch.rand(2, 3, 2, 2)
    target = torch.tensor([[[1.0, 5.0], [0.0, 2.0]], [[3.0, 4.0], [2.0, 2.0]]])[:, None]
    made = target + torch.tensor([0.0, 0.5, 0.25, 1.0]).view(1, 1, 2, 2)
    (shown, estimate, measured, error), line = depth_panel(source, made, target)
    assert torch.equal(shown, source)
    assert torch.equal(estimate, depth_colours(made, 1.0, 5.0))
    assert torch.equal(measured, depth_colours(target, 1.0, 5.0))
    brightest = depth_colours(torch.full((1, 1, 1, 1), 1.0), 0, 1.0).flatten()
    assert torch.equal(error[0, :, 1, 1], brightest)  # an error of a metre, a quarter of the scale
    assert not error[0, :, 1, 0].any()  # nothing measured
    assert line == "depth 1.00 to 5.00 m; error 0 to 1.00 m"


def test_pictures_of_other_channels_show_the_first():
    images = torch.rand(2, 5, 3, 3)
    assert torch.equal(in_colours(images), images[:, :3])
    assert torch.equal(in_colours(images[:, :2]), images[:, :1])
    assert torch.equal(in_colours(images[:, :1]), images[:, :1])


def test_a_result_is_written_as_what_it_is(tmp_path):
    save_result(CLASSES, tmp_path / "classes.png")
    save_result(torch.tensor([0.0, 0.5, 1.0]).view(3, 1, 1).expand(3, 2, 4), tmp_path / "image.png")
    assert Image.open(tmp_path / "classes.png").mode == "P"
    image = np.asarray(Image.open(tmp_path / "image.png"))
    assert image.shape == (2, 4, 3)
    assert image[0, 0].tolist() == [0, 128, 255]
