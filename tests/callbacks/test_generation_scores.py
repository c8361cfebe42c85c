import csv
import re
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from command import QUIET, genmodels, process
from command import fit as fit_by_command
from drawing import all_digits
from forked import two_processes
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from toy import same_weights

from datamodules import DigitsDataModule, GridDataModule, RingDataModule
from lightning_genmodels import GAN, VAE, Autoencoder, ConditionalGAN, GenmodelsError, load_model
from lightning_genmodels.callbacks import ExactResume, GenerationScores, LastCheckpoint, generation_scores
from lightning_genmodels.metrics import (
    DensityCoverage,
    FrechetDistance,
    KernelDistance,
    ModeCoverage,
    PairSimilarity,
    PrecisionRecall,
    SlicedWasserstein,
)
from lightning_genmodels.seeding import derive_seed

BY_FEATURES = ("fid", "kid", "precision", "recall", "density", "coverage")
ALL = {"features": "digits", "modes": "digits", "sliced_wasserstein": True, "similarity": True}
LABELS = torch.from_numpy(load_digits().target).long()


def names(features, stage="val"):
    return {f"{stage}/{name}_{features}" for name in BY_FEATURES}


class Drawn(LightningModule):
    """Samples are digits under noise, which fades with the weight; it grows by 1 in each step."""

    def __init__(self, size=8, weight=1.0):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(float(weight)))
        self.digits = nn.functional.interpolate(all_digits()[:300], size)
        self.asked = []

    def sample(self, n, *, generator=None):
        self.asked.append(n)
        noise = torch.rand(n, *self.digits.shape[1:], generator=generator)
        chosen = torch.randint(len(self.digits), (n,), generator=generator)
        return self.digits[chosen].lerp(noise, (0.9**self.weight).item())

    def training_step(self, batch, batch_idx):
        return -self.weight

    def validation_step(self, batch, batch_idx):
        pass

    test_step = validation_step

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=1.0)


class OfLabels(Drawn):
    """Samples are the first digit of their label; there are none without labels."""

    label_names = tuple("0123456789")

    def sample(self, n, *, labels, generator=None):
        assert len(labels) == n
        self.asked += labels.tolist()
        return torch.stack([all_digits()[label == LABELS][0] for label in labels])


def loader(start=600, stop=900, size=8, batch_size=100):
    images = nn.functional.interpolate(all_digits()[start:stop], size)
    return DataLoader(TensorDataset(images, LABELS[start:stop]), batch_size)


def trainer_of(*callbacks, **options):
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False}
    defaults = {"accelerator": "cpu", "max_epochs": 1, "enable_checkpointing": False, "num_sanity_val_steps": 0}
    return Trainer(**{**quiet, **defaults, **options}, callbacks=list(callbacks))


def fit(model, *callbacks, data=None, ckpt_path=None, **options):
    trainer = trainer_of(*callbacks, **options)
    data = {"train_dataloaders": loader(0, 600), "val_dataloaders": loader()} if data is None else {"datamodule": data}
    trainer.fit(model, **data, ckpt_path=ckpt_path, weights_only=True)
    return trainer


def scored(model, data=None, stage="validate", **options):
    """What an evaluation logs."""
    trainer = trainer_of(GenerationScores(**options))
    data = {"dataloaders": loader()} if data is None else data
    return getattr(trainer, stage)(model, **data, verbose=False)[0]


def by_hand(real, fake, features=None, modes=None, sliced_wasserstein=False, similarity=False, **places):
    """The metrics' values of these images and samples, under the names that are to be logged."""
    found = {}
    if features is not None:
        for kind in (FrechetDistance, KernelDistance, PrecisionRecall, DensityCoverage):
            metric = kind(features)
            metric.update(real, real=True)
            metric.update(fake, real=False)
            found |= {f"{name.removesuffix(f'_{features}')}_{features}": v for name, v in metric.compute().items()}
    if sliced_wasserstein:
        metric = SlicedWasserstein()
        metric.update(real, real=True)
        metric.update(fake, real=False)
        found |= metric.compute()
    if similarity:
        for images, name in ((real, "ms_ssim_real"), (fake, "ms_ssim")):
            metric = PairSimilarity()
            metric.update(images)
            found[name] = metric.compute()["ms_ssim"]
    if modes is not None:
        metric = ModeCoverage(modes, **places)
        metric.update(fake)
        found |= metric.compute()
    return {name: pytest.approx(value.item(), rel=1e-3, abs=1e-5) for name, value in found.items()}


def samples_of(model, sizes, seed=0, rank=0):
    """The same as those scored: of a generator that begins anew at every validation."""
    generator = torch.Generator().manual_seed(derive_seed(seed, rank))
    return torch.cat([model.sample(size, generator=generator) for size in sizes])


def staged(scores, stage="val"):
    return {f"{stage}/{name}": value for name, value in scores.items()}


# What is logged


@pytest.mark.parametrize(
    "options",
    [
        {"features": "digits"},
        {"features": "pixels", "modes": "digits"},
        {"features": None, "modes": "digits"},
        {"features": None, "sliced_wasserstein": True},
        {"features": None, "similarity": True},
        ALL,
    ],
    ids=["digits", "pixels_modes", "modes", "swd", "similarity", "all"],
)
def test_the_scores_are_those_of_the_metrics_by_hand(options):
    model = Drawn(size=16)
    found = scored(model, {"dataloaders": loader(size=16)}, **options)
    real = nn.functional.interpolate(all_digits()[600:900], 16)
    assert found == staged(by_hand(real, samples_of(model, (100, 100, 100)), **options))
    assert set(found) >= (names(options["features"]) if options["features"] else set())


def test_the_scores_tell_good_samples_from_bad_ones():
    bad, good = (scored(Drawn(weight=weight), modes="digits") for weight in (5, 100))
    assert good["val/fid_digits"] < 0.1 * bad["val/fid_digits"]
    assert good["val/kid_digits"] < 0.1 * bad["val/kid_digits"]
    for name in ("precision_digits", "recall_digits", "coverage_digits"):
        assert good[f"val/{name}"] > 0.6 > 0.1 > bad[f"val/{name}"]
    assert good["val/modes_digits"] > 7 > 2 >= bad["val/modes_digits"]


@pytest.mark.parametrize(("count", "sizes"), [(6, [6]), (100, [100]), (250, [100, 100, 50]), (10_000, [100, 100, 100])])
def test_the_first_images_are_compared_with_as_many_samples(count, sizes):
    model = Drawn()
    found = scored(model, count=count, seed=3)
    assert model.asked == sizes
    assert found == staged(by_hand(all_digits()[600:900][:count], samples_of(model, sizes, seed=3), "digits"))


def test_a_conditional_models_samples_are_of_the_labels_of_the_images():
    model = OfLabels()
    found = scored(model, features="pixels", modes="digits", count=150)
    assert model.asked == LABELS[600:750].tolist()
    fake = torch.stack([all_digits()[label == LABELS][0] for label in LABELS[600:750]])
    assert found == staged(by_hand(all_digits()[600:750], fake, "pixels", "digits"))


@pytest.mark.parametrize("kind", [GAN, ConditionalGAN, VAE])
def test_our_models_are_scored_beside_their_own_scores(kind):
    model = kind((1, 8, 8))
    trainer = fit(model, GenerationScores("pixels"), data=DigitsDataModule(), limit_train_batches=1)
    assert names("pixels") <= {*trainer.callback_metrics}
    own = {"val/precision", "val/coverage"} if isinstance(model, GAN) else {"val/loss"}
    assert own <= {*trainer.callback_metrics}


def test_the_test_stage_logs_under_its_own_name():
    model = Drawn()
    found = scored(model, stage="test", every_n_validations=7)  # which counts for trainings only
    expected = by_hand(all_digits()[600:900], samples_of(model, (100, 100, 100)), "digits")
    assert found == staged(expected, "test")
    assert set(found) == names("digits", "test")


@pytest.mark.parametrize(("data", "count"), [(RingDataModule(), 8), (GridDataModule(), 25)], ids=["ring", "grid"])
@pytest.mark.parametrize("features", [None, "pixels"])
def test_modes_of_points_are_those_of_the_data_module(data, count, features):
    class OnCentres(Drawn):
        def sample(self, n, *, generator=None):
            noise = data.sigma * torch.randn(n, 2, generator=generator)
            points = data.centres[: count - 2].repeat(n, 1)[:n] + noise
            return data.to_images(points)

    model = OnCentres()
    found = scored(model, {"datamodule": data}, features=features, modes="centres")
    sizes = [100] * 25
    places = {"centres": data.centres, "sigma": data.sigma, "extent": data.extent}
    real = torch.cat([batch.image for batch in data.val_dataloader()])
    assert found == staged(by_hand(real, samples_of(model, sizes), features, "centres", **places))
    assert found["val/modes"] == count - 2
    assert found["val/mode_spread"] == pytest.approx(0.974, abs=0.03)


def test_the_places_are_those_of_the_data_module_at_hand():
    scores = GenerationScores(None, "centres")
    for data, modes in ((RingDataModule(), 8), (GridDataModule(), 25)):
        model = Drawn()
        model.sample = lambda n, generator, data=data: data.to_images(data.centres.repeat(n, 1)[:n])
        trainer = trainer_of(scores)
        assert trainer.validate(model, datamodule=data, verbose=False)[0]["val/modes"] == modes


# When


def read_steps(folder, name="val/fid_digits"):
    texts = [path.read_text() for path in folder.rglob("metrics.csv")]
    return [int(row["step"]) for text in texts for row in csv.DictReader(text.splitlines()) if row.get(name)]


@pytest.mark.parametrize(("every", "steps"), [(1, [5, 11, 17, 23]), (3, [17]), (5, [])])
def test_every_nth_validation_is_scored_at_its_step(in_tmp, every, steps):
    model, scores = Drawn(), GenerationScores(count=20, every_n_validations=every)
    fit(model, scores, max_epochs=4, logger=CSVLogger(in_tmp), log_every_n_steps=1)
    assert read_steps(in_tmp) == steps
    assert model.asked == [20] * len(steps)


def test_the_count_of_validations_goes_on_after_a_resume(in_tmp):
    options = {"count": 20, "every_n_validations": 3}
    fit(Drawn(), GenerationScores(**options), max_epochs=2).save_checkpoint("run.ckpt")
    trainer = fit(Drawn(), GenerationScores(**options), max_epochs=5, ckpt_path="run.ckpt", logger=CSVLogger(in_tmp))
    assert trainer.current_epoch == 5
    assert read_steps(in_tmp) == [17]


def test_an_evaluation_does_not_count_as_one_of_the_n_validations():
    model, scores = Drawn(), GenerationScores(count=20, every_n_validations=2)
    trainer_of(scores).validate(model, loader(), verbose=False)
    assert not names("digits") & {*fit(model, scores).callback_metrics}


def test_the_sanity_check_draws_one_image_and_logs_nothing():
    model = Drawn()
    trainer = fit(model, GenerationScores(), num_sanity_val_steps=2, limit_val_batches=2, check_val_every_n_epoch=3)
    assert model.asked == [1]
    assert not names("digits") & {*trainer.callback_metrics}


def test_the_sanity_check_leaves_the_scores_alone():
    values = []
    for steps in (0, 2):
        trainer = fit(Drawn(), GenerationScores(), num_sanity_val_steps=steps)
        values.append({name: trainer.callback_metrics[name].item() for name in names("digits")})
    assert values[0] == values[1]


def test_the_samples_are_the_same_at_every_validation():
    model, scores = Drawn(), GenerationScores(count=50)
    once, again, other = (
        trainer_of(callback).validate(model, loader(), verbose=False)[0]
        for callback in (scores, scores, GenerationScores(count=50, seed=1))
    )
    assert once == again
    assert once["val/fid_digits"] != other["val/fid_digits"]


# What it costs, and leaves alone


def test_features_are_found_once_for_all_scores_and_not_kept(monkeypatch):
    found = []

    def counted(images, name):
        found.append(len(images))
        return features_of(images, name)

    features_of = generation_scores.features_of
    monkeypatch.setattr(generation_scores, "features_of", counted)
    scores = GenerationScores(modes="digits", count=150)
    trainer_of(scores).validate(Drawn(), loader(), verbose=False)
    assert found == [100, 100, 50, 50]
    assert all(not metric.real and not metric.fake for metric in scores._metrics["features"].values(copy_state=False)
               if isinstance(metric, KernelDistance | PrecisionRecall | DensityCoverage))  # fmt: skip


def test_two_of_them_may_be_in_one_training(in_tmp):
    pair = [GenerationScores("digits", count=20), GenerationScores("pixels", count=20, every_n_validations=2)]
    trainer = fit(Drawn(), *pair, max_epochs=1)
    assert names("digits") <= {*trainer.callback_metrics}
    trainer.save_checkpoint("run.ckpt")
    pair = [GenerationScores("digits", count=20), GenerationScores("pixels", count=20, every_n_validations=2)]
    trainer = fit(Drawn(), *pair, max_epochs=2, ckpt_path="run.ckpt")
    assert names("digits") | names("pixels") <= {*trainer.callback_metrics}


class Shuffled(VAE):
    """Draws from the global generator in training, as dropout would."""

    def training_step(self, batch, batch_idx):
        return super().training_step((batch[0] * (torch.rand_like(batch[0]) > 0.3), batch[1]), batch_idx)


class PowerCut(Callback):
    """Ends the training at a step, without the validation of one that is asked to stop."""

    def __init__(self, step):
        self.step = step

    def on_train_batch_start(self, trainer, *_):
        if trainer.global_step == self.step:
            raise InterruptedError


SCORES = {"modes": "digits", "count": 40}


@pytest.mark.parametrize("options", [{}, {"val_check_interval": 0.34}], ids=["each_epoch", "within_an_epoch"])
def test_training_goes_exactly_as_without_it(options):
    trained, numbers = [], []
    for callbacks in ([], [GenerationScores(**SCORES)]):
        torch.manual_seed(0)
        model = Shuffled((1, 8, 8), latent_dim=4, hidden_sizes=(16,))
        data = DigitsDataModule(batch_size=200, augment=0.7)
        trainer = fit(model, *callbacks, data=data, max_epochs=3, num_sanity_val_steps=2, **options)
        trained.append(model)
        numbers.append(torch.rand(3))  # the random state as well
    assert names("digits") <= {*trainer.callback_metrics}
    assert same_weights(*trained)
    assert torch.equal(*numbers)


@pytest.mark.parametrize("every", [1, 2, 3])
def test_a_training_resumed_within_an_epoch_goes_exactly_as_one_in_one_piece(in_tmp, every):
    models, rows = [], []
    for name, cut, ckpt_path in (("whole", None, None), ("first", 5, None), ("second", None, "last.ckpt")):
        torch.manual_seed(0)
        model = Shuffled((1, 8, 8), latent_dim=4, hidden_sizes=(16,))
        callbacks = [GenerationScores(**SCORES, every_n_validations=every), ExactResume(), PowerCut(cut)]
        callbacks += [LastCheckpoint("last.ckpt", every_n_steps=4)] if cut else []
        options = {"max_epochs": 4, "val_check_interval": 3, "logger": CSVLogger(in_tmp, name), "ckpt_path": ckpt_path,
                   "data": DigitsDataModule(batch_size=200), "enable_checkpointing": cut is not None}  # fmt: skip
        if cut:
            with pytest.raises(InterruptedError):
                fit(model, *callbacks, **options)
        else:
            fit(model, *callbacks, **options)
        models.append(model)
        (path,) = Path(name).rglob("metrics.csv")
        with path.open() as file:
            rows.append([(row["step"], row["val/fid_digits"]) for row in csv.DictReader(file)
                         if row.get("val/fid_digits")])  # fmt: skip
    assert torch.load("last.ckpt", weights_only=True)["global_step"] == 4
    assert same_weights(models[0], models[2])
    assert rows[0] == rows[1] + rows[2]
    assert len(rows[0]) == 8 // every


def hooks(model, batches, options, device="cpu", rank=0, world_size=1):
    """What a validation logs, without a Trainer."""
    logged = {}
    module = SimpleNamespace(device=torch.device(device), sample=model.sample,
                             log_dict=lambda found, sync_dist: logged.update(found))  # fmt: skip
    state = SimpleNamespace(fn="validate")
    trainer = SimpleNamespace(world_size=world_size, global_rank=rank, sanity_checking=False, state=state)
    scores = GenerationScores(**options)
    scores.setup(trainer, module, "validate")
    scores.on_validation_epoch_start(trainer, module)
    for number, batch in enumerate(batches):
        scores.on_validation_batch_end(trainer, module, None, batch, number)
    scores.on_validation_epoch_end(trainer, module)
    return {name: value.item() for name, value in logged.items()}


def test_on_apples_devices_it_computes_on_the_cpu():
    assert hooks(Drawn(), loader(), {"modes": "digits"}, device="mps") == scored(Drawn(), modes="digits")


# The best checkpoint

WAVERING = """
import torch
from sklearn.datasets import load_digits

from lightning_genmodels import GAN

DIGITS = torch.from_numpy(load_digits().images).float().div(16).unsqueeze(1)


class Wavering(GAN):
    # At its best after the second of three epochs.

    def sample(self, n, *, generator=None):
        images = super().sample(n, generator=generator)
        return images.lerp(DIGITS[:n], (0.1, 0.95, 0.5)[min(self.current_epoch, 2)])
"""


def rows_of(run):
    with Path(run, "metrics.csv").open() as file:
        return [row for row in csv.DictReader(file) if row["val/fid_digits"]]


@pytest.mark.parametrize("model", ["wavering.Wavering", "GAN"])
def test_the_best_checkpoint_has_the_lowest_logged_score(in_tmp, monkeypatch, capsys, model):
    Path("wavering.py").write_text(WAVERING)
    monkeypatch.syspath_prepend(str(in_tmp))
    fit_by_command("--model", model, "--data", "DigitsDataModule", "--trainer.max_epochs", 3,
                   "--trainer.check_val_every_n_epoch", 1, "--trainer.callbacks", "GenerationScores",
                   "--checkpoint.monitor", "val/fid_digits", "--checkpoint.mode", "min")  # fmt: skip
    run = Path("runs", f"{model.rpartition('.')[2].lower()}_digits", "0")
    rows = rows_of(run)
    assert len(rows) == 3
    lowest = min(rows, key=lambda row: float(row["val/fid_digits"]))
    best = torch.load(run / "checkpoints/best.ckpt", weights_only=True)
    assert best["global_step"] == int(lowest["step"]) + 1
    assert f"(val/fid_digits {float(lowest['val/fid_digits']):.4g})" in capsys.readouterr().out
    if model != "GAN":
        assert lowest is rows[1]
        return
    # Its weights have that score again, and one of the test split.
    for command in ("validate", "test"):
        assert genmodels(command, "--ckpt_path", run / "checkpoints/best.ckpt", *QUIET[:4]) == 0
    told = capsys.readouterr().out
    again = re.search(r"val/fid_digits\s+([\d.]+)", told).group(1)
    assert float(again) == pytest.approx(float(lowest["val/fid_digits"]), rel=1e-5)
    assert "test/fid_digits" in told


# Two processes


def test_two_processes_share_the_first_images_out(in_tmp):
    # Not a GAN, whose running means are each process's own.
    arguments = ("--model", "VAE", "--data", "DigitsDataModule", "--data.batch_size", 32, "--trainer.max_epochs", 1,
                 "--trainer.callbacks", "GenerationScores", "--trainer.callbacks.count", 71,
                 "--trainer.callbacks.modes", "digits")  # fmt: skip
    done = process("fit", *arguments, "--trainer.strategy", "ddp", "--trainer.devices", 2, *QUIET, cwd=in_tmp)
    assert done.returncode == 0, done.stderr
    assert "sync_dist" not in done.stderr
    (row,) = rows_of("runs/vae_digits/0")
    model, data = load_model("runs/vae_digits/0/checkpoints/last.ckpt"), DigitsDataModule()
    data.setup()
    images = torch.cat([data.to_float(batch).image for batch in data.val_dataloader()])[:71]
    fake = [samples_of(model, (32, share), rank=rank) for rank, share in ((0, 4), (1, 3))]
    expected = staged(by_hand(torch.cat([images[::2], images[1::2]]), torch.cat(fake), "digits", "digits"))
    assert {name: float(row[name]) for name in expected} == expected


def with_images_on_the_first(rank, world_size):
    return hooks(Drawn(16), loader(size=16) if rank == 0 else (), ALL, rank=rank, world_size=world_size)


def test_a_process_without_images_waits_for_nobody(tmp_path):
    found = two_processes(with_images_on_the_first, tmp_path)
    real, fake = next(iter(loader(size=16, batch_size=300)))[0], samples_of(Drawn(16), (100, 100, 100))
    assert found[0] == found[1] == staged(by_hand(real, fake, **ALL))


# What it refuses


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"features": "faces"}, r"features is 'faces'; expected one of ['pixels', 'digits', 'inception']"),
        (
            {"modes": "faces"},
            "modes is 'faces'; expected one of ['digits', 'stacked_digits', 'centres'], or None",
        ),
        ({"count": 5}, "count is 5; expected 6 or more"),
        ({"count": 1, "features": None, "sliced_wasserstein": True}, "count is 1; expected 2 or more"),
        ({"count": 1, "features": None, "similarity": True}, "count is 1; expected 2 or more"),
        ({"count": 0, "features": None, "modes": "digits"}, "count is 0; expected 1 or more"),
        ({"every_n_validations": 0}, "every_n_validations is 0; expected 1 or more"),
        ({"seed": -1}, "seed is -1; expected 0 or more"),
        (
            {"features": None},
            "features and modes are None, sliced_wasserstein and similarity are False; expected one of the four",
        ),
        (
            {"modes": "centres"},
            "modes is 'centres', of points, and features is 'digits'; expected 'pixels' or None",
        ),
    ],
)
def test_bad_option_is_named_with_its_value_and_what_was_expected(options, message):
    with pytest.raises(GenmodelsError) as error:
        GenerationScores(**options)
    assert str(error.value) == f"GenerationScores: {message}."


@pytest.mark.skipif(find_spec("torch_fidelity") is not None, reason="needs the package away")
def test_inception_without_its_package_is_refused_at_once():
    with pytest.raises(GenmodelsError, match="GenerationScores: features 'inception' needs the package torch-fidelity"):
        GenerationScores("inception")


def error_before_the_first_step(model, scores, **options):
    with pytest.raises(GenmodelsError) as error:
        fit(model, scores, num_sanity_val_steps=1, **options)
    assert getattr(model, "weight", torch.ones(1)).item() == 1
    return str(error.value)


def test_a_model_without_samples_is_refused():
    told = error_before_the_first_step(Autoencoder((1, 8, 8)), GenerationScores())
    assert told == "GenerationScores: Autoencoder has no sample(n); expected a generative model."


@pytest.mark.parametrize(
    ("data", "given"), [(None, "there is no data module"), (DigitsDataModule(), "DigitsDataModule has none")]
)
def test_data_without_centres_are_refused(data, given):
    told = error_before_the_first_step(Drawn(), GenerationScores(None, "centres"), data=data)
    assert told == (
        f"GenerationScores: modes is 'centres', but {given}; expected one with centres, sigma, extent, as "
        "RingDataModule."
    )


def test_images_that_do_not_fit_are_refused_before_the_first_step():
    told = error_before_the_first_step(Drawn(), GenerationScores(None, "stacked_digits"))
    assert told == "ModeCoverage: images are (1, 1, 8, 8) for the modes 'stacked_digits'; expected (N, 3, H, W)."
    told = error_before_the_first_step(Drawn(), GenerationScores(None, similarity=True))
    assert told == "PairSimilarity: images are (1, 8, 8); expected 11 pixels or more."


def test_too_few_images_are_one_sentence():
    with pytest.raises(GenmodelsError, match=r"^PrecisionRecall: 3 real images; expected more than k = 3\.$"):
        scored(Drawn(), {"dataloaders": loader(600, 603)})
