import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger
from PIL import Image
from sklearn.decomposition import PCA
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_genmodels import (
    GAN,
    VAE,
    Autoencoder,
    DenoisingAutoencoder,
    GenmodelsError,
    KSparseAutoencoder,
    SparseAutoencoder,
)
from lightning_genmodels.callbacks import PictureGrid
from lightning_genmodels.pictures import bars, image_grid, scatter

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


class Translator(Plain):
    """Draws its noise from the generator, and is grey where the source has colours."""

    def translate(self, source, *, generator=None):
        return source.mean(1, keepdim=True).lerp(torch.rand(len(source), 1, 8, 8, generator=generator), 0.5)


def test_translations_show_source_result_and_target_of_the_first_pairs(tmp_path):
    draw = torch.Generator().manual_seed(0)
    source, target = (torch.rand(12, 3, 8, 8, generator=draw) for _ in range(2))
    pairs = DataLoader(TensorDataset(source, target), batch_size=2)
    model = Translator()
    make_trainer(tmp_path, PictureGrid(count=20)).fit(model, pairs, pairs)
    expected = model.translate(source[:5], generator=torch.Generator().manual_seed(0)).expand(-1, 3, -1, -1)
    shown = torch.stack([source[:5], expected, target[:5]], 1).flatten(0, 1)
    picture = np.asarray(Image.open(tmp_path / "pictures/translations-00000005.png"))
    assert (picture == image_grid(shown, 3)).all()


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
        KSparseAutoencoder((1, 8, 8)),
        SparseAutoencoder((1, 8, 8), latent_dim=2),
        DenoisingAutoencoder((1, 8, 8)),
        VAE((1, 8, 8), latent_dim=2),
    ],
    ids=["gan", "averaged_gan", "autoencoder", "k_sparse", "sparse", "denoising", "vae"],
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


class Corrupter(Inverter):
    def corrupt(self, images, *, generator=None):
        return images * (torch.rand(images.shape, generator=generator) < 0.5)


def test_a_corrupted_version_stands_between_the_image_and_what_is_made_of_it(tmp_path):
    grids = []
    for seed in (0, 1):
        grid = PictureGrid(count=4, seed=seed, dirpath=str(tmp_path / str(seed)))
        make_trainer(tmp_path, grid, max_epochs=2).fit(Corrupter(), loader(), loader())
        first, second = (read_cells(tmp_path / str(seed) / f"reconstructions-0000000{n}.png") for n in (2, 5))
        np.testing.assert_array_equal(first[0], second[0])  # the same noise at every validation
        grids.append(first)
    (cells, columns), (other_cells, _) = grids
    assert columns % 3 == 0  # no group is broken over two rows
    assert (np.array(cells[1::3]) != other_cells[1::3]).any()
    generator = torch.Generator().manual_seed(0)
    shown = zip(cells[::3], cells[1::3], cells[2::3], strict=True)
    corrupted = Corrupter().corrupt(images(24)[:4], generator=generator)
    assert 0.3 < (corrupted == 0).float().mean() < 0.7
    for group, image, noisy in zip(shown, images(24)[:4], corrupted, strict=True):
        np.testing.assert_array_equal(group, [as_bytes(image), as_bytes(noisy), as_bytes(1 - noisy)])


class Filters(Plain):
    def __init__(self, filters):
        super().__init__()
        self.filters = lambda: filters


def drawn(folder, name, step=2):
    return np.asarray(Image.open(folder / "pictures" / f"{name}-{step:08d}.png"))


@pytest.mark.parametrize("channels", [1, 2, 3, 64])
def test_as_many_filters_are_drawn_as_images_and_of_odd_channels_the_first(tmp_path, channels):
    filters = torch.rand(9, channels, 3, 3)
    make_trainer(tmp_path, PictureGrid(count=6)).fit(Filters(filters), loader(), loader())
    shown = filters if channels == 3 else filters[:, :1]
    np.testing.assert_array_equal(drawn(tmp_path, "filters"), image_grid(shown[:6]))


def test_a_model_that_has_no_filters_to_show_draws_none(tmp_path):
    make_trainer(tmp_path, PictureGrid()).fit(Filters(torch.empty(0, 1, 8, 8)), loader(), loader())
    assert not list(tmp_path.rglob("*.png"))


class Encoder(Plain):
    """Its codes are pixels, the first one multiplied by the number of steps taken."""

    def __init__(self, places=(0, 27)):
        super().__init__()
        self.places = list(places)

    def encode(self, images):
        scale = torch.ones(len(self.places))
        scale[0] = max(self.global_step, 1)
        return images.flatten(1)[:, self.places] * scale


def labelled(labels, batch_size=8):
    return DataLoader(TensorDataset(images(len(labels)), labels), batch_size=batch_size)


def test_the_codes_of_the_validation_images_are_drawn_in_their_labels_colours(tmp_path):
    labels = torch.arange(24) % 5
    make_trainer(tmp_path, PictureGrid(count=1), max_epochs=2).fit(Encoder(), loader(), labelled(labels))
    # Each validation shows its own codes, and those of the sanity check are forgotten.
    for step in (3, 6):
        codes = images(24).flatten(1)[:, [0, 27]] * torch.tensor([step, 1.0])
        np.testing.assert_array_equal(drawn(tmp_path, "codes", step - 1), scatter(codes, labels))


def test_of_many_validation_images_two_thousand_are_drawn(tmp_path):
    labels = torch.arange(2300) % 3
    make_trainer(tmp_path, PictureGrid(count=1)).fit(Encoder(), loader(), labelled(labels, batch_size=300))
    codes = images(2300).flatten(1)[:2000, [0, 27]] * torch.tensor([3, 1.0])
    np.testing.assert_array_equal(drawn(tmp_path, "codes"), scatter(codes, labels[:2000]))


@pytest.mark.parametrize(
    "rest",
    [
        (),
        (torch.rand(24),),
        (torch.zeros(24, 3, dtype=torch.int64),),
        (["seven"] * 24,),
        (None,),
    ],
    ids=["nothing", "numbers", "several", "words", "none"],
)
def test_codes_without_classes_are_drawn_in_one_colour(tmp_path, rest):
    batches = DataLoader([(images(24), *rest)], batch_size=None)
    make_trainer(tmp_path, PictureGrid(count=1)).fit(Encoder(), loader(), batches)
    codes = images(24).flatten(1)[:, [0, 27]] * torch.tensor([3, 1.0])
    np.testing.assert_array_equal(drawn(tmp_path, "codes"), scatter(codes))


def test_longer_codes_are_drawn_by_their_first_two_principal_components(tmp_path):
    make_trainer(tmp_path, PictureGrid(count=1)).fit(Encoder((3, 8, 9, 30)), loader(), loader())
    codes = images(24).flatten(1)[:, [3, 8, 9, 30]] * torch.tensor([3, 1.0, 1.0, 1.0])
    pca = PCA(2, svd_solver="full")
    places = pca.fit_transform(codes.double().numpy())
    # A component's sign is free; ours is that of an axis whose entries have a positive sum.
    places = torch.from_numpy(places * np.sign(pca.components_.sum(1)))
    np.testing.assert_array_equal(drawn(tmp_path, "codes"), scatter(places))


def test_a_code_of_one_number_is_drawn_along_a_line(tmp_path):
    make_trainer(tmp_path, PictureGrid(count=1)).fit(Encoder((5,)), loader(), loader())
    places = torch.stack([images(24).flatten(1)[:, 5], torch.zeros(24)], 1)
    np.testing.assert_array_equal(drawn(tmp_path, "codes"), scatter(places))


class Opposed(Plain):
    """Its codes spread along an axis whose entries sum to 0."""

    def encode(self, images):
        first, second = images.flatten(1)[:, :2].T
        return torch.stack([first, -first, 0.01 * second], 1)


def test_codes_are_drawn_whatever_the_direction_of_their_axis(tmp_path):
    make_trainer(tmp_path, PictureGrid(count=1)).fit(Opposed(), loader(), loader())
    columns = (drawn(tmp_path, "codes") != 255).any(-1).any(0).nonzero()[0]
    assert columns.max() - columns.min() > 400  # of 512


class Drawer(Encoder):
    """Draws the first coordinate on the left and the second on the right of an image."""

    def decode(self, codes):
        assert not self.training
        return codes[:, :, None, None].repeat_interleave(4, 1).reshape(-1, 1, 1, 8).expand(-1, 1, 8, 8)


class GaussianDrawer(Drawer):
    """As shares of the normal distribution."""

    def decode(self, codes):
        return super().decode(torch.special.ndtr(codes))

    def sample(self, n, *, generator=None):
        return torch.zeros(n, 1, 8, 8)


def read_manifold(folder, step=2):
    """(16, 16, 2): the coordinates drawn at each place, from the top left."""
    picture = drawn(folder, "manifold", step)
    assert picture.shape == (16 * CELL, 16 * CELL, 3)
    return picture[CELL // 2 :: CELL, :, 0].reshape(16, 16, CELL)[:, :, [CELL // 4, 3 * CELL // 4]] / 255


def test_the_manifold_of_a_prior_is_drawn_at_equally_likely_places(tmp_path):
    make_trainer(tmp_path, PictureGrid(count=1)).fit(GaussianDrawer(), loader(), loader())
    found = read_manifold(tmp_path)
    shares = (np.arange(16) + 0.5) / 16
    np.testing.assert_allclose(found[..., 0], np.broadcast_to(shares, (16, 16)), atol=0.6 / 255)  # to the right
    np.testing.assert_allclose(found[..., 1], np.broadcast_to(shares[::-1, None], (16, 16)), atol=0.6 / 255)  # upwards


def test_without_a_prior_the_manifold_reaches_over_the_codes(tmp_path):
    grid = PictureGrid(count=1)
    trainer = make_trainer(tmp_path, grid, max_epochs=3, check_val_every_n_epoch=2, limit_train_batches=1)
    model = Drawer()
    trainer.fit(model, loader(), loader(n=200))
    codes = images(200).flatten(1)[:, [0, 27]].numpy() * [2, 1]  # of the validation after the second step
    low, high = np.quantile(codes, [0.02, 0.98], axis=0)
    across, up = np.linspace(low, high, 16).clip(0, 1).T
    assert (across == 1).any()  # what lies outside is clamped
    for step in (1, 2):  # after a validation, and at the end of training, in train mode
        found = read_manifold(tmp_path, step)
        np.testing.assert_allclose(found[..., 0], np.broadcast_to(across, (16, 16)), atol=0.6 / 255)
        np.testing.assert_allclose(found[..., 1], np.broadcast_to(up[::-1, None], (16, 16)), atol=0.6 / 255)
    assert model.training


def test_longer_codes_have_no_manifold(tmp_path):
    make_trainer(tmp_path, PictureGrid(count=1)).fit(Drawer((0, 1, 2)), loader(), loader())
    assert [path.name for path in tmp_path.glob("pictures/*")] == ["codes-00000002.png"]


class Active(Plain):
    rho = 0.2
    unit_activations = None

    def on_validation_epoch_end(self):
        self.unit_activations = torch.linspace(0, 1, 7) if self.global_step > 3 else None


def test_the_units_mean_activations_are_drawn_with_the_wanted_one_as_soon_as_they_are_known(tmp_path):
    make_trainer(tmp_path, PictureGrid(count=1), max_epochs=2).fit(Active(), loader(), loader())
    assert [path.name for path in tmp_path.glob("pictures/*")] == ["activations-00000005.png"]
    np.testing.assert_array_equal(drawn(tmp_path, "activations", 5), bars(torch.linspace(0, 1, 7), 0.2))


OF_ALL = {"reconstructions", "filters", "codes"}


@pytest.mark.parametrize(
    ("model", "names"),
    [
        (GAN((1, 8, 8)), {"samples"}),
        (Autoencoder((1, 8, 8), latent_dim=2), OF_ALL | {"manifold"}),
        (KSparseAutoencoder((1, 8, 8)), OF_ALL),
        (SparseAutoencoder((1, 8, 8)), OF_ALL | {"activations"}),
        (DenoisingAutoencoder((1, 8, 8), network="conv"), OF_ALL),
        (VAE((1, 8, 8)), OF_ALL | {"samples"}),
        (VAE((1, 8, 8), latent_dim=2), OF_ALL | {"samples", "manifold"}),
    ],
    ids=["gan", "autoencoder", "k_sparse", "sparse", "denoising", "vae", "vae_in_the_plane"],
)
def test_every_model_draws_what_it_can(tmp_path, model, names):
    make_trainer(tmp_path, PictureGrid(count=4)).fit(model, loader(), labelled(torch.arange(24) % 3))
    paths = [*tmp_path.glob("pictures/*.png")]
    assert {path.name for path in paths} == {f"{name}-00000002.png" for name in names}
    assert all(np.asarray(Image.open(path)).std() > 1 for path in paths)


@pytest.mark.parametrize("count", [0, -1])
def test_a_count_below_one_is_refused(count):
    with pytest.raises(GenmodelsError, match=f"count is {count}; expected 1 or more"):
        PictureGrid(count=count)
