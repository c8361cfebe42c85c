import csv

import numpy as np
import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_genmodels import GenmodelsError
from lightning_genmodels.callbacks import LabelledTable
from lightning_genmodels.callbacks.labelled_table import label_texts
from lightning_genmodels.pictures import image_grid

IMAGES = torch.rand(12, 1, 8, 8, generator=torch.Generator().manual_seed(0))
CLASSES = torch.arange(12) % 3


class Plain(LightningModule):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def training_step(self, batch, batch_idx):
        return (self.weight - 1).square().sum()

    def validation_step(self, batch, batch_idx):
        pass

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Conditional(Plain):
    """Each of its samples is as bright as its label, and has a pixel of noise."""

    label_names = ("dark", "grey", "bright")

    def sample(self, n, *, labels, generator):
        images = (labels / 2).view(-1, 1, 1, 1).expand(n, 1, 8, 8).clone()
        images[:, 0, 0, 0] = torch.rand(n, generator=generator)
        return images


class Inverter(Plain):
    def reconstruct(self, images):
        return 1 - images


class Generator(Plain):
    def sample(self, n, *, generator=None):
        return torch.rand(n, 1, 8, 8, generator=generator)


def fit(root, model, *data, epochs=1, **options):
    loader = DataLoader(TensorDataset(*data), batch_size=4)
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}
    callbacks = [LabelledTable(**options)]
    Trainer(
        max_epochs=epochs, logger=False, accelerator="cpu", default_root_dir=root, callbacks=callbacks, **quiet
    ).fit(model, loader, loader)


def read_labels(path):
    with path.open() as file:
        return [(int(row["row"]), row["label"]) for row in csv.DictReader(file)]


def read_rows(path, count):
    """The two images of each row, in their own 8x8 pixels, from cells of 70 pixels and 8 between, 56 high."""
    picture = np.asarray(Image.open(path))
    across = picture.shape[1] // 78
    corners = [(number // across * 56, number % across * 78) for number in range(count)]
    return [
        [picture[top + 2 : top + 34 : 4, left + x : left + x + 32 : 4, 0] for x in (2, 36)] for top, left in corners
    ]


def as_bytes(image):
    return (image[0] * 255).round().to(torch.uint8).numpy()


def test_a_conditional_model_is_asked_for_the_first_validation_labels(tmp_path):
    model = Conditional()
    fit(tmp_path, model, IMAGES, CLASSES, epochs=2, seed=3)
    files = sorted(path.name for path in (tmp_path / "tables").iterdir())
    assert files == [f"labelled-0000000{step}.{kind}" for step in (2, 5) for kind in ("csv", "png")]
    samples = model.sample(4, labels=CLASSES[:4], generator=torch.Generator().manual_seed(3))
    for step in (2, 5):  # of the same latents
        path = tmp_path / "tables" / f"labelled-0000000{step}.csv"
        assert read_labels(path) == [(0, "dark"), (1, "grey"), (2, "bright"), (3, "dark")]
        rows = read_rows(path.with_suffix(".png"), 4)
        for (sample, image), drawn, real in zip(rows, samples, IMAGES[:4], strict=True):
            np.testing.assert_array_equal(sample, as_bytes(drawn))
            np.testing.assert_array_equal(image, as_bytes(real))


def test_an_autoencoders_images_stand_beside_their_reconstructions(tmp_path):
    fit(tmp_path, Inverter(), IMAGES, CLASSES, count=3, dirpath=str(tmp_path / "here"))
    assert read_labels(tmp_path / "here/labelled-00000002.csv") == [(0, "0"), (1, "1"), (2, "2")]  # no names
    for found, image in zip(read_rows(tmp_path / "here/labelled-00000002.png", 3), IMAGES[:3], strict=True):
        np.testing.assert_array_equal(found, [as_bytes(image), as_bytes(1 - image)])


def test_a_label_stands_below_its_images(tmp_path):
    fit(tmp_path, Inverter(), IMAGES, CLASSES, count=2)
    picture = np.asarray(Image.open(tmp_path / "tables/labelled-00000002.png"))
    captions = [picture[36:56, left : left + 70] for left in (0, 78)] if picture.shape[0] == 56 else [
        picture[top + 36 : top + 56, :70] for top in (0, 56)
    ]  # fmt: skip
    assert all(caption.min() < 100 for caption in captions)
    assert not np.array_equal(*captions)  # "0" and "1"
    np.testing.assert_array_equal(picture[:36, :70], image_grid(torch.stack([IMAGES[0], 1 - IMAGES[0]]), 2))


@pytest.mark.parametrize(
    ("model", "data", "options"),
    [
        (Inverter, (IMAGES,), {}),
        (Inverter, (IMAGES, IMAGES), {}),  # pairs
        (Generator, (IMAGES, CLASSES), {}),
        (Inverter, (torch.rand(12, 2, 1, 1), CLASSES), {}),  # points in the plane
        (Inverter, (IMAGES, CLASSES), {"count": 0}),
    ],
    ids=["no_labels", "pairs", "nothing_to_ask_for", "points", "none_wanted"],
)
def test_without_labels_or_a_use_of_them_there_is_no_table(tmp_path, model, data, options):
    fit(tmp_path, model(), *data, **options)
    assert not (tmp_path / "tables").exists()


def test_texts_of_labels():
    assert label_texts(torch.tensor([1, 0, 7]), ["a", "b"]) == ["b", "a", "7"]
    attributes = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 0.0]])
    assert label_texts(attributes, ["Young", "Male", "Smiling"]) == ["Young, Smiling", "none"]
    assert label_texts(torch.tensor([[0.5, -2.0]]), ["slant"]) == ["slant 0.5, 1 -2"]


def test_a_count_below_zero_is_refused():
    with pytest.raises(GenmodelsError, match="count is -1; expected 0 or more"):
        LabelledTable(count=-1)
