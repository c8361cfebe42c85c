import numpy as np
import torch
from PIL import Image

from lightning_genmodels.pictures import class_colours, save_classes, save_result, to_uint8

CLASSES = torch.tensor([[0, 1, 2], [255, 11, 7]])


def test_classes_are_read_back_as_numbers_and_seen_as_their_colours(tmp_path):
    save_classes(CLASSES, tmp_path / "a" / "b.png")
    with Image.open(tmp_path / "a/b.png") as opened:
        assert opened.mode == "P"
        assert (np.asarray(opened) == CLASSES.numpy()).all()
        seen = np.asarray(opened.convert("RGB"))
    assert (seen == to_uint8(class_colours(CLASSES[None]))[0].permute(1, 2, 0).numpy()).all()


def test_a_result_is_written_as_what_it_is(tmp_path):
    save_result(CLASSES, tmp_path / "classes.png")
    save_result(torch.tensor([0.0, 0.5, 1.0]).view(3, 1, 1).expand(3, 2, 4), tmp_path / "image.png")
    assert Image.open(tmp_path / "classes.png").mode == "P"
    image = np.asarray(Image.open(tmp_path / "image.png"))
    assert image.shape == (2, 4, 3)
    assert image[0, 0].tolist() == [0, 128, 255]
