import errno
import os
import shutil

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_genmodels import GAN, Autoencoder, GenmodelsError
from lightning_genmodels.callbacks import ExactResume, LastCheckpoint, PictureGrid


class Manual(LightningModule):
    def __init__(self):
        super().__init__()
        self.automatic_optimization = False
        self.weight = nn.Parameter(torch.zeros(1))

    def training_step(self, batch, batch_idx):
        optimizer = self.optimizers()
        optimizer.zero_grad()
        self.manual_backward((self.weight - 1).square().sum())
        optimizer.step()

    def validation_step(self, batch, batch_idx):
        pass

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=0.1)


class RecordingTrainer(Trainer):
    """Notes the step of each checkpoint that lies in its file."""

    def __init__(self, root, *callbacks, **options):
        quiet = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False}
        super().__init__(**quiet, accelerator="cpu", default_root_dir=root, callbacks=[*callbacks], **options)
        self.saved = []

    def save_checkpoint(self, filepath, *args, **kwargs):
        super().save_checkpoint(filepath, *args, **kwargs)
        self.saved.append(torch.load(filepath, weights_only=True)["global_step"])


def loader(batches=4):
    images = torch.rand(8 * batches, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    return DataLoader(TensorDataset(images), batch_size=8)


@pytest.mark.parametrize(
    ("options", "steps"),
    [
        ({"max_epochs": 3}, {4, 8, 12}),
        ({"max_epochs": 3, "check_val_every_n_epoch": 2}, {8, 12}),  # the last one is the end's
        ({"max_epochs": 1, "val_check_interval": 2}, {2, 4}),
        ({"max_epochs": 2, "limit_val_batches": 0}, {8}),
        ({"max_epochs": 2, "limit_val_batches": 0, "limit_train_batches": 3}, {6}),
        ({"max_steps": 6, "limit_val_batches": 0}, {6}),
    ],
    ids=["each_epoch", "every_second_epoch", "within_the_epoch", "no_validation", "limited_batches", "max_steps"],
)
def test_a_file_is_written_after_every_validation_and_at_the_end(tmp_path, options, steps):
    trainer = RecordingTrainer(tmp_path, LastCheckpoint(tmp_path / "last.ckpt"), **options)
    trainer.fit(Manual(), loader(), loader())
    assert set(trainer.saved) == steps
    assert trainer.saved == sorted(trainer.saved)
    assert [path.name for path in tmp_path.iterdir()] == ["last.ckpt"]


class StopAfterTheFirst(Callback):
    """Stops the training as EarlyStopping and Timer do, after a batch or an epoch."""

    def __init__(self, hook):
        setattr(self, hook, self.stop)

    def stop(self, trainer, *_):
        trainer.should_stop = True


@pytest.mark.parametrize(("hook", "step"), [("on_train_batch_end", 1), ("on_train_epoch_end", 4)])
def test_a_file_is_written_where_a_callback_ends_the_training(tmp_path, hook, step):
    callbacks = (StopAfterTheFirst(hook), LastCheckpoint(tmp_path / "last.ckpt"))
    trainer = RecordingTrainer(tmp_path, *callbacks, max_epochs=3)
    trainer.fit(Manual(), loader())
    assert trainer.global_step == step
    assert trainer.saved[-1:] == [step]


def test_a_file_is_written_every_n_steps_and_at_the_end(tmp_path):
    trainer = RecordingTrainer(tmp_path, LastCheckpoint(tmp_path / "last.ckpt", every_n_steps=3), max_epochs=2)
    trainer.fit(Manual(), loader())
    assert trainer.saved == [3, 6, 8]


def test_an_evaluation_writes_nothing(tmp_path):
    trainer = RecordingTrainer(tmp_path, LastCheckpoint(tmp_path / "last.ckpt"))
    trainer.validate(Manual(), loader(), verbose=False)
    assert not (tmp_path / "last.ckpt").exists()


def test_it_stands_in_for_lightnings_own_checkpoint(tmp_path):
    trainer = RecordingTrainer(tmp_path, LastCheckpoint(tmp_path / "last.ckpt"), max_epochs=1)
    assert [type(callback) for callback in trainer.checkpoint_callbacks] == [LastCheckpoint]


@pytest.mark.parametrize("model_class", [GAN, Autoencoder])
def test_the_file_loads_as_plain_data_and_a_new_trainer_goes_on_from_it(tmp_path, model_class):
    def trainer(epochs):
        callbacks = (PictureGrid(count=1), ExactResume(), LastCheckpoint(tmp_path / "last.ckpt"))
        return RecordingTrainer(tmp_path, *callbacks, max_epochs=epochs)

    model = model_class((1, 8, 8))
    trainer(1).fit(model, loader(), loader())
    state = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert state["global_step"] == 4
    assert all(torch.equal(value, state["state_dict"][name]) for name, value in model.state_dict().items())
    second = trainer(2)
    second.fit(model_class((1, 8, 8)), loader(), loader(), ckpt_path=tmp_path / "last.ckpt", weights_only=True)
    assert set(second.saved) == {8}


def test_manual_optimisation_with_a_step_interval_warns_of_nothing(tmp_path, recwarn):
    trainer = RecordingTrainer(tmp_path, LastCheckpoint(tmp_path / "last.ckpt", every_n_steps=2), max_epochs=1)
    trainer.fit(Manual(), loader())
    assert trainer.saved == [2, 4]
    # ModelCheckpoint would speak of "manual optimization" and of a state that "was not saved".
    assert not [
        str(w.message) for w in recwarn if "checkpoint" in str(w.message).lower() or "optimiz" in str(w.message)
    ]


def test_a_write_that_fails_half_way_keeps_the_file_before(tmp_path, monkeypatch):
    def trainer(steps):
        return RecordingTrainer(tmp_path, LastCheckpoint(tmp_path / "last.ckpt"), max_steps=steps)

    trainer(3).fit(Manual(), loader())
    rename = os.rename

    # The temporary files lie on another disk than the runs do, and the runs' disk is full.
    def rename_on_one_disk(source, target, **options):
        if os.path.dirname(source) != os.path.dirname(target):
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        rename(source, target, **options)

    def copy_half(source, target, **options):
        with open(source, "rb") as read, open(target, "wb") as write:
            write.write(read.read(os.path.getsize(source) // 2))
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "rename", rename_on_one_disk)
    monkeypatch.setattr(shutil, "copyfile", copy_half)
    with pytest.raises(OSError, match="No space left"):
        trainer(4).fit(Manual(), loader())
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["global_step"] == 3


def test_an_interval_below_one_is_refused(tmp_path):
    with pytest.raises(GenmodelsError, match="every_n_steps is 0; expected 1 or more"):
        LastCheckpoint(tmp_path / "last.ckpt", every_n_steps=0)
