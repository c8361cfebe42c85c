import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_genmodels import GAN, Autoencoder, GenmodelsError
from lightning_genmodels.callbacks import PictureGrid

CELL, MARGIN = 32, 2  # an 8x8 image is drawn as 32x32, with two pixels between


class Plain(LightningModule):
    """Has a weight to train, and neither `sample` nor `reconstruct`."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def training_step(self, batch, batch_idx):
        return (self.weight - torch.rand(1)).square().sum()  # draws from the global generator, as dropout would

    def validation_step(self, batch, batch_idx):
        self.log("val/weight", self.weight.detach())

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Sampler(Plain):
    """Its samples are the generator's draws themselves."""

    def __init__(self):
        super().__init__()
        self.drawn = []

    def sample(self, n, *, generator=None):
        self.drawn.append(torch.rand(n, 1, 8, 8, generator=generator))
        return self.drawn[-1]


class Inverter(Plain):
    def reconstruct(self, images):
        return 1 - images


def images(n):
    return torch.rand(n, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def loader(n=24, batch_size=8):
    return DataLoader(TensorDataset(images(n)), batch_size=batch_size)


def make_trainer(root, *callbacks, **options):
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}
    defaults = {"max_epochs": 1, "logger": False, "accelerator": "cpu", "default_root_dir": root, **quiet}
    return Trainer(**{**defaults, **options}, callbacks=[*callbacks])


def read_cells(path):
    """The images of a grid, row by row, in their own 8x8 pixels, and the number of columns."""
    picture = np.asarray(Image.open(path))
    rows, columns = ((side - MARGIN) // (CELL + MARGIN) for side in picture.shape[:2])
    corners = [
        (MARGIN + r * (CELL + MARGIN), MARGIN + c * (CELL + MARGIN)) for r in range(rows) for c in range(columns)
    ]
    return [picture[top : top + CELL : 4, left : left + CELL : 4, 0] for top, left in corners], columns


def as_bytes(image):
    return (image[0] * 255).round().to(torch.uint8).numpy()


def test_samples_come_from_the_same_latents_at_every_validation_and_after_a_resume(tmp_path):
    model = Sampler()
    trainer = make_trainer(tmp_path, PictureGrid(count=4), max_epochs=2)
    trainer.fit(model, loader(), loader())
    trainer.save_checkpoint(tmp_path / "run.ckpt")
    resumed = Sampler()
    make_trainer(tmp_path, PictureGrid(count=4), max_epochs=4).fit(
        resumed, loader(), loader(), ckpt_path=tmp_path / "run.ckpt", weights_only=True
    )
    assert (len(model.drawn), len(resumed.drawn)) == (2, 2)
    assert all(torch.equal(draws, model.drawn[0]) for draws in [*model.drawn, *resumed.drawn])


def test_the_seed_chooses_the_latents_and_count_their_number(tmp_path):
    drawn = []
    for seed in (0, 1):
        model = Sampler()
        make_trainer(tmp_path, PictureGrid(count=5, seed=seed)).fit(model, loader(), loader())
        drawn.append(model.drawn[0])
    assert [len(draws) for draws in drawn] == [5, 5]
    assert not torch.equal(*drawn)


def test_the_samples_picture_shows_every_sample(tmp_path):
    model = Sampler()
    make_trainer(tmp_path, PictureGrid(count=4)).fit(model, loader(), loader())
    cells, columns = read_cells(tmp_path / "pictures" / "samples-00000002.png")
    assert columns == 2
    for cell, image in zip(cells, model.drawn[0], strict=True):
        np.testing.assert_array_equal(cell, as_bytes(image))


def test_reconstructions_show_each_of_the_first_validation_images_beside_its_reconstruction(tmp_path):
    make_trainer(tmp_path, PictureGrid(count=4)).fit(Inverter(), loader(), loader())
    cells, columns = read_cells(tmp_path / "pictures" / "reconstructions-00000002.png")
    assert columns % 2 == 0  # no pair is broken over two rows
    for pair, image in zip(zip(cells[::2], cells[1::2], strict=True), images(24)[:4], strict=True):
        np.testing.assert_array_equal(pair, [as_bytes(image), as_bytes(1 - image)])


def test_a_validation_batch_smaller_than_count_is_drawn_whole(tmp_path):
    make_trainer(tmp_path, PictureGrid(count=64)).fit(Inverter(), loader(), loader(n=3))
    cells, _ = read_cells(tmp_path / "pictures" / "reconstructions-00000002.png")
    assert sum(cell.std() > 0 for cell in cells) == 6  # the rest of the grid is flat


def test_a_model_with_neither_method_draws_nothing(tmp_path):
    make_trainer(tmp_path, PictureGrid()).fit(Plain(), loader(), loader())
    assert not list(tmp_path.rglob("*.png"))


def test_file_names_carry_the_step_of_the_scalars_logged_meanwhile(tmp_path):
    logger = CSVLogger(tmp_path, "", "run")
    trainer = make_trainer(tmp_path, PictureGrid(count=1), max_epochs=2, logger=logger, log_every_n_steps=1)
    trainer.fit(Sampler(), loader(), loader())
    with Path(logger.log_dir, "metrics.csv").open() as file:
        steps = [int(row["step"]) for row in csv.DictReader(file) if row["val/weight"]]
    assert steps == [2, 5]
    names = [path.name for path in sorted(Path(logger.log_dir, "pictures").iterdir())]
    assert names == [f"samples-{step:08d}.png" for step in steps]


@pytest.mark.parametrize(("epochs", "steps"), [(2, [5]), (3, [5, 8])])
def test_the_end_of_training_is_drawn_once(tmp_path, epochs, steps):
    model = Sampler()
    trainer = make_trainer(tmp_path, PictureGrid(count=1), max_epochs=epochs, check_val_every_n_epoch=2)
    trainer.fit(model, loader(), loader())
    assert [path.name for path in sorted(tmp_path.glob("pictures/*"))] == [f"samples-{s:08d}.png" for s in steps]
    assert len(model.drawn) == len(steps)


def test_an_evaluation_and_the_sanity_check_draw_nothing(tmp_path):
    model = Sampler()
    grid = PictureGrid(count=1)
    make_trainer(tmp_path, grid).validate(model, loader(), verbose=False)
    make_trainer(tmp_path, grid, check_val_every_n_epoch=5, max_epochs=1, num_sanity_val_steps=2).fit(
        model, loader(), loader()
    )
    assert len(model.drawn) == 1  # the end of the fit


def test_dirpath_chooses_the_folder(tmp_path):
    make_trainer(tmp_path, PictureGrid(count=1, dirpath=str(tmp_path / "here"))).fit(Sampler(), loader(), loader())
    assert [path.name for path in (tmp_path / "here").iterdir()] == ["samples-00000002.png"]


class Snapshots(Callback):
    """Everything that drawing must leave alone, whenever the grid is drawn."""

    def __init__(self):
        self.taken = []

    def on_validation_end(self, trainer, pl_module):
        modes = {name: module.training for name, module in pl_module.named_modules()}
        weights = {name: value.clone() for name, value in pl_module.state_dict().items()}
        self.taken.append((torch.get_rng_state(), modes, weights))

    on_train_end = on_validation_end


@pytest.mark.parametrize(
    "model",
    [
        GAN((1, 8, 8), ema_decay=0.0),  # draws with the network in training itself, batch normalisation and all
        GAN((1, 8, 8), ema_decay=0.9),
        Autoencoder((1, 8, 8)),
    ],
    ids=["gan", "averaged_gan", "autoencoder"],
)
def test_drawing_leaves_the_random_state_the_modes_and_the_weights_alone(tmp_path, model):
    before, after = Snapshots(), Snapshots()
    # Validated in eval mode after the second epoch; the end comes after the third, in train mode.
    trainer = make_trainer(
        tmp_path, before, PictureGrid(count=4), after, max_epochs=3, check_val_every_n_epoch=2, num_sanity_val_steps=0
    )
    trainer.fit(model, loader(), loader())
    assert len({p.name.rpartition("-")[2] for p in tmp_path.glob("pictures/*.png")}) == 2
    assert [model_modes[""] for _, model_modes, _ in before.taken] == [False, True]
    for (rng, modes, weights), (rng_after, modes_after, weights_after) in zip(before.taken, after.taken, strict=True):
        assert torch.equal(rng, rng_after)
        assert modes == modes_after
        assert all(torch.equal(value, weights_after[name]) for name, value in weights.items())


@pytest.mark.parametrize("count", [0, -1])
def test_a_count_below_one_is_refused(count):
    with pytest.raises(GenmodelsError, match=f"count is {count}; expected 1 or more"):
        PictureGrid(count=count)
