import csv

import pytest
import torch
from command import QUIET, process
from command import fit as fit_by_command
from drawing import all_digits
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset
from toy import same_weights

from datamodules import DigitsDataModule
from lightning_genmodels import GAN, Autoencoder, GenmodelsError
from lightning_genmodels.callbacks import ExactResume, FeatureProbe, LastCheckpoint
from lightning_genmodels.metrics import probe_codes

KEYS = ("val/probe_logistic", "val/probe_knn")


class Pixels(LightningModule):
    """Its codes are the pixels and a weight, which grows by 1 in each step: no two validations have the same."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.seen = []

    def encode(self, images):
        self.seen.append((self.training, torch.is_grad_enabled()))
        return images.flatten(1)[:, ::4] + 0.1 * self.weight * images.flatten(1)[:, 1::4]

    def training_step(self, batch, batch_idx):
        return -self.weight.sum()

    def validation_step(self, batch, batch_idx):
        self.log("val/weight", self.weight.detach())

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=1.0)


def digits(start, stop):
    labels = torch.from_numpy(load_digits().target).long()
    return TensorDataset(all_digits()[start:stop], labels[start:stop])


def loader(start=0, stop=600, batch_size=100, **options):
    return DataLoader(digits(start, stop), batch_size, **options)


def fit(model, callbacks, train=None, val=None, **options):
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False}
    defaults = {"accelerator": "cpu", "max_epochs": 1, "enable_checkpointing": False, "num_sanity_val_steps": 0}
    ckpt_path = options.pop("ckpt_path", None)
    trainer = Trainer(**{**quiet, **defaults, **options}, callbacks=callbacks)
    if isinstance(train, DigitsDataModule):
        trainer.fit(model, datamodule=train, ckpt_path=ckpt_path, weights_only=True)
    else:
        data = (loader() if train is None else train, loader(600, 900) if val is None else val)
        trainer.fit(model, *data, ckpt_path=ckpt_path, weights_only=True)
    return trainer


def probed(trainer):
    return {key: trainer.callback_metrics[key].item() for key in KEYS}


def by_hand(model, train, val, **options):
    """What the probe is to log of these images and labels."""
    with torch.no_grad():
        codes = [part for images, labels in (train, val) for part in (model.eval().encode(images), labels)]
    errors = probe_codes(*codes, **{"inverse_penalty": 0.1, "neighbours": 5, **options})
    return {f"val/probe_{name}": pytest.approx(error) for name, error in errors.items()}


# What is logged


@pytest.mark.parametrize(
    ("options", "count"),
    [({}, 600), ({"train_count": 250}, 250), ({"train_count": 300, "inverse_penalty": 1e-3, "neighbours": 40}, 300)],
)
def test_the_errors_are_those_of_codes_made_by_hand(options, count):
    model = Pixels()
    trainer = fit(model, [FeatureProbe(**options)], max_epochs=2)  # the second's codes are others, and alone count
    classifiers = {name: value for name, value in options.items() if name != "train_count"}
    assert probed(trainer) == by_hand(model, digits(0, count).tensors, digits(600, 900).tensors, **classifiers)
    # The options matter here, so that a probe which ignored them would be found out.
    assert count == 600 or probed(trainer) != by_hand(model, digits(0, 600).tensors, digits(600, 900).tensors)


@pytest.mark.parametrize("options", [{}, {"augment": 1.0}, {"binarize": "dynamic"}])
def test_with_a_data_module_they_are_those_of_its_images_without_augmentation(options):
    model, data = Autoencoder((1, 8, 8), latent_dim=6), DigitsDataModule(batch_size=100, **options)
    trainer = fit(model, [FeatureProbe(train_count=450)], data)
    train, val = (
        [torch.cat(parts) for parts in zip(*map(data.to_float, batches), strict=True)]
        for batches in (data.train_dataloader(), data.val_dataloader())
    )
    assert probed(trainer) == by_hand(model, [part[:450] for part in train], val)
    for images, _ in (train, val):
        assert images.unique().numel() == (2 if "binarize" in options else 17)


def test_the_codes_are_made_in_eval_mode_without_a_graph():
    model = Pixels()
    fit(model, [FeatureProbe(train_count=250)])
    assert model.seen == [(False, False)] * 6  # three batches to train on, which hold 250 images, and three to judge


def test_a_trained_autoencoders_codes_tell_the_digits_apart():
    torch.manual_seed(0)
    model = Autoencoder((1, 8, 8), latent_dim=16, learning_rate=3e-3)
    trainer = fit(model, [FeatureProbe()], DigitsDataModule(), max_epochs=10, check_val_every_n_epoch=10)
    errors = probed(trainer)
    assert errors["val/probe_knn"] < 0.1  # chance is .9
    assert errors["val/probe_logistic"] < 0.2


def read_steps(folder):
    (path,) = folder.rglob("metrics.csv")
    with path.open() as file:
        rows = list(csv.DictReader(file))
    return {key: [int(row["step"]) for row in rows if row.get(key)] for key in KEYS}


@pytest.mark.parametrize(("every", "steps"), [(1, [5, 11, 17, 23, 29]), (2, [11, 23]), (3, [17]), (6, [])])
def test_every_nth_validation_is_probed_at_its_step(in_tmp, every, steps):
    probe = FeatureProbe(train_count=50, every_n_validations=every)
    fit(Pixels(), [probe], max_epochs=5, logger=CSVLogger(in_tmp), log_every_n_steps=1, num_sanity_val_steps=2)
    assert read_steps(in_tmp) == dict.fromkeys(KEYS, steps)


def test_the_count_of_validations_goes_on_after_a_resume(in_tmp):
    probe = {"train_count": 50, "every_n_validations": 3}
    fit(Pixels(), [FeatureProbe(**probe)], max_epochs=2).save_checkpoint("run.ckpt")
    trainer = fit(Pixels(), [FeatureProbe(**probe)], max_epochs=5, ckpt_path="run.ckpt", logger=CSVLogger(in_tmp))
    assert trainer.current_epoch == 5
    assert read_steps(in_tmp) == {key: [17] for key in KEYS}


def test_neither_the_sanity_check_nor_an_evaluation_is_probed():
    model, probe = Pixels(), FeatureProbe(train_count=50)
    trainer = fit(model, [probe], num_sanity_val_steps=2, limit_val_batches=2, check_val_every_n_epoch=3, max_epochs=2)
    trainer.validate(model, loader(600, 900), verbose=False)
    assert model.seen == []
    assert not {*KEYS} & {*trainer.callback_metrics}


def test_an_evaluation_does_not_count_as_one_of_the_n_validations():
    model, probe = Pixels(), FeatureProbe(train_count=50, every_n_validations=2)
    Trainer(accelerator="cpu", callbacks=[probe], logger=False, enable_checkpointing=False,
            enable_progress_bar=False).validate(model, loader(600, 900), verbose=False)  # fmt: skip
    assert not {*KEYS} & {*fit(model, [probe], max_epochs=1).callback_metrics}


class Stream(IterableDataset):
    """Images and labels without a known number."""

    def __iter__(self):
        return iter(digits(0, 600))


def test_data_of_unknown_length_can_be_probed():
    model = Pixels()
    trainer = fit(model, [FeatureProbe(train_count=250)], DataLoader(Stream(), batch_size=100))
    assert probed(trainer) == by_hand(model, digits(0, 250).tensors, digits(600, 900).tensors)


# What others make of it


def test_a_checkpoint_can_be_chosen_by_it_and_training_ended_by_it(in_tmp):
    model = Pixels()
    best = ModelCheckpoint("best", monitor="val/probe_knn", mode="min")
    stop = EarlyStopping("val/probe_logistic", stopping_threshold=1.0)  # every error is below
    trainer = fit(model, [FeatureProbe(), stop, best], max_epochs=3, enable_checkpointing=True)
    assert trainer.current_epoch == 1
    assert best.best_model_score.item() == probed(trainer)["val/probe_knn"]


# What it leaves alone


class Shuffled(Autoencoder):
    """Draws from the global generator in training, as dropout would."""

    def training_step(self, batch, batch_idx):
        return super().training_step((batch[0] * (torch.rand_like(batch[0]) > 0.3), batch[1]), batch_idx)


def plain_loader():
    return loader(stop=500, batch_size=50, shuffle=True)


def data_module():
    return DigitsDataModule(batch_size=200)


def augmented():
    return DigitsDataModule(batch_size=200, augment=0.7)


def own_generator():
    return loader(stop=500, batch_size=50, shuffle=True, generator=torch.Generator().manual_seed(0))


def persistent_workers():
    return loader(stop=500, batch_size=50, shuffle=True, num_workers=1, persistent_workers=True)


@pytest.mark.parametrize("data", [plain_loader, data_module, augmented, own_generator, persistent_workers])
@pytest.mark.parametrize("options", [{}, {"val_check_interval": 0.34}], ids=["each_epoch", "within_an_epoch"])
def test_training_goes_exactly_as_without_it(data, options):
    trained, numbers = [], []
    for callbacks in ([], [FeatureProbe(train_count=120)]):
        torch.manual_seed(0)
        model = Shuffled((1, 8, 8), latent_dim=4, hidden_sizes=(16,))
        trainer = fit(model, callbacks, data(), max_epochs=3, **options)
        trained.append(model)
        numbers.append(torch.rand(3))  # the random state as well
    assert {*KEYS} <= {*trainer.callback_metrics}
    assert same_weights(*trained)
    assert torch.equal(*numbers)


class StopAt(Callback):
    def __init__(self, step):
        self.step = step

    def on_train_batch_end(self, trainer, *_):
        trainer.should_stop = trainer.global_step == self.step


def test_a_training_resumed_within_an_epoch_goes_exactly_as_one_in_one_piece(in_tmp):
    models = []
    for stop, ckpt_path in ((None, None), (4, None), (None, "last.ckpt")):
        torch.manual_seed(0)
        model = Shuffled((1, 8, 8), latent_dim=4, hidden_sizes=(16,))
        callbacks = [FeatureProbe(train_count=120), ExactResume(), StopAt(stop)]
        if stop:
            callbacks.append(LastCheckpoint("last.ckpt", every_n_steps=stop))
        # Epochs of six steps, probed after the third of each: the next one's place in the data is what is saved.
        fit(model, callbacks, DigitsDataModule(batch_size=200), max_epochs=3, val_check_interval=3,
            enable_checkpointing=stop is not None, ckpt_path=ckpt_path)  # fmt: skip
        models.append(model)
    whole, first, second = models
    assert torch.load("last.ckpt", weights_only=True)["global_step"] == 4
    assert same_weights(whole, second)
    assert not same_weights(whole, first)


# Two processes


def test_two_processes_log_what_one_does_with_twice_the_batch(in_tmp):
    arguments = ("--model", "Autoencoder", "--data", "DigitsDataModule", "--trainer.max_epochs", 2,
                 "--trainer.callbacks", "FeatureProbe", "--trainer.callbacks.train_count", 640,
                 "--trainer.callbacks.inverse_penalty", 1e-3)  # fmt: skip
    done = process("fit", *arguments, "--data.batch_size", 32, "--trainer.strategy", "ddp", "--trainer.devices", 2,
                   *QUIET, cwd=in_tmp)  # fmt: skip
    assert done.returncode == 0, done.stderr
    fit_by_command(*arguments, "--data.batch_size", 64, "--trainer.devices", 1)
    found = []
    for number in (0, 1):
        with open(f"runs/autoencoder_digits/{number}/metrics.csv") as file:
            found.append([{key: float(row[key]) for key in KEYS} for row in csv.DictReader(file) if row[KEYS[0]]])
    two, one = found
    assert len(two) == len(one) == 2
    for a, b in zip(two, one, strict=True):
        # The weights differ by rounding: of 359 images, a few may lie on a border.
        assert a == {
            KEYS[0]: pytest.approx(b[KEYS[0]], abs=3.5 / 359),
            KEYS[1]: pytest.approx(b[KEYS[1]], abs=1.5 / 359),
        }
        assert max(b.values()) < 0.8


OWN_DATA = """
import torch
from lightning.pytorch import LightningDataModule
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset

class Mine(LightningDataModule):
    image_shape = (1, 8, 8)

    def __init__(self, batch_size: int = 32):
        super().__init__()
        self.batch_size = batch_size
        images, labels = load_digits(return_X_y=True)
        self.data = TensorDataset(torch.from_numpy(images).float().div(16).view(-1, 1, 8, 8), torch.from_numpy(labels))

    def train_dataloader(self):
        return DataLoader(torch.utils.data.Subset(self.data, range(960)), self.batch_size)

    def val_dataloader(self):
        return DataLoader(torch.utils.data.Subset(self.data, range(1000, 1360)), self.batch_size)
"""


def test_two_processes_share_out_another_projects_data(in_tmp):
    (in_tmp / "mine.py").write_text(OWN_DATA)
    # A frozen model, so that the errors differ only by which images were used.
    arguments = ("--model", "Autoencoder", "--model.learning_rate", 1e-30, "--model.image_shape", "[1, 8, 8]",
                 "--data", "mine.Mine", "--trainer.max_epochs", 1, "--trainer.callbacks", "FeatureProbe",
                 "--trainer.callbacks.train_count", 64)  # fmt: skip
    found = []
    for devices, batch_size in ((2, 16), (1, 32)):
        done = process("fit", *arguments, "--data.batch_size", batch_size, "--trainer.strategy", "ddp",
                       "--trainer.devices", devices, *QUIET, cwd=in_tmp)  # fmt: skip
        assert done.returncode == 0, done.stderr
        with open(f"runs/autoencoder_mine/{len(found)}/metrics.csv") as file:
            found += [{key: float(row[key]) for key in KEYS} for row in csv.DictReader(file) if row[KEYS[0]]]
    two, one = found
    assert two == pytest.approx(one, abs=1e-6)


# What it refuses


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"train_count": 4}, "train_count is 4; expected 5 or more, the number of neighbours"),
        ({"every_n_validations": 0}, "every_n_validations is 0; expected 1 or more"),
        ({"neighbours": -1}, "neighbours is -1; expected 1 or more"),
        ({"inverse_penalty": 0.0}, r"inverse_penalty is 0\.0; expected above 0, and finite"),
        ({"inverse_penalty": float("nan")}, "inverse_penalty is nan; expected above 0, and finite"),
        ({"inverse_penalty": float("inf")}, "inverse_penalty is inf; expected above 0, and finite"),
    ],
)
def test_bad_option_is_named_with_its_value_and_what_was_expected(options, message):
    with pytest.raises(GenmodelsError, match=rf"^FeatureProbe: {message}\.$"):
        FeatureProbe(**options)


def test_a_model_without_codes_is_refused_before_the_first_step():
    with pytest.raises(GenmodelsError, match=r"^FeatureProbe: GAN has no encode\(images\); expected an autoencoder\.$"):
        fit(GAN((1, 8, 8)), [FeatureProbe()])


@pytest.mark.parametrize(
    "rest",
    [(), (torch.rand(50),), (torch.zeros(50, 10, dtype=torch.int64),), (["seven"] * 50,)],
    ids=["no_labels", "numbers", "one_hot", "words"],
)
def test_batches_without_classes_are_refused(rest):
    batches = DataLoader([(all_digits()[:50], *rest)], batch_size=None)
    message = r"^FeatureProbe: the batches hold no classes; expected \(images, labels\), labels int64 \(N,\)\.$"
    with pytest.raises(GenmodelsError, match=message):
        fit(Pixels(), [FeatureProbe()], batches, batches)


def test_batches_without_classes_are_refused_before_the_first_step():
    model, bad = Pixels(), DataLoader([(all_digits()[:50],)], batch_size=None)
    with pytest.raises(GenmodelsError, match="the batches hold no classes"):
        fit(model, [FeatureProbe()], val=bad, num_sanity_val_steps=1)
    assert model.weight.item() == 1


def test_one_class_alone_is_refused():
    batches = DataLoader([(all_digits()[:50], torch.zeros(50, dtype=torch.int64))], batch_size=None)
    with pytest.raises(GenmodelsError, match=r"^probe: 50 training codes of 1 class\(es\); expected 5 codes or more"):
        fit(Pixels(), [FeatureProbe()], batches, batches)
