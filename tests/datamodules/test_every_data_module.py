"""What holds for every data module."""

import pickle
from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from made_sets import OPTIONS, small_module
from torch import nn

import datamodules
from datamodules.files import FileDataModule
from datamodules.mixtures import MixtureDataModule

NAMES = sorted(
    name
    for name, found in vars(datamodules).items()
    if isinstance(found, type) and issubclass(found, LightningDataModule)
)
# Lightning says that nothing is validated, and that a folder has checkpoints already.
pytestmark = pytest.mark.filterwarnings("ignore:You passed in a", "ignore:Checkpoint directory")
every = pytest.mark.parametrize("name", NAMES)


class Recorder(LightningModule):
    """Keeps the batches that it is given."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.seen = []

    def training_step(self, batch, batch_idx):
        self.seen.append([part.clone() for part in batch])
        return self.weight.square().sum()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


def fit(datamodule, steps, ckpt_path=None):
    recorder = Recorder()
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    saving = ModelCheckpoint("saved", "{step}", every_n_train_steps=1, save_top_k=-1)
    Trainer(accelerator="cpu", max_steps=steps, limit_val_batches=0, callbacks=[saving], **quiet).fit(
        recorder, datamodule=datamodule, ckpt_path=ckpt_path, weights_only=True
    )
    return recorder.seen


def batches(datamodule):
    datamodule.setup("fit")
    return [list(batch) for batch in datamodule.train_dataloader()]


def same(one, other):
    return len(one) == len(other) and all(
        torch.equal(a, b) for parts in zip(one, other, strict=True) for a, b in zip(*parts, strict=True)
    )


def test_every_exported_data_module_is_here():
    assert list(OPTIONS) == NAMES


@every
def test_same_seed_gives_the_same_batches_with_0_and_2_workers(tmp_path, name):
    first = batches(small_module(name, tmp_path))
    assert len(first) >= 3
    # Workers are not started for files that are cached and in memory.
    uncached = {"cache": False} if issubclass(getattr(datamodules, name), FileDataModule) else {}
    assert same(first, batches(small_module(name, tmp_path, num_workers=2, **uncached)))
    other = batches(small_module(name, tmp_path, seed=1))
    assert not same(first, other)


@every
def test_batches_of_two_processes_make_the_batch_of_one(tmp_path, name):
    size = OPTIONS[name].get("batch_size", 2)
    whole = batches(small_module(name, tmp_path))
    parts = []
    for rank in range(2):
        datamodule = small_module(name, tmp_path, batch_size=size // 2)
        datamodule.trainer = SimpleNamespace(global_rank=rank, world_size=2, training=True)
        parts.append(batches(datamodule))
    assert same(whole, [[torch.cat(pair) for pair in zip(*both, strict=True)] for both in zip(*parts, strict=True)])


@every
def test_what_changes_at_random_does_not_depend_on_the_number_of_processes(tmp_path, name):
    size = OPTIONS[name].get("batch_size", 2)
    found = []
    for processes in (1, 2):
        parts = []
        for rank in range(processes):
            datamodule = small_module(name, tmp_path, batch_size=size // processes)
            datamodule.trainer = SimpleNamespace(
                global_rank=rank, world_size=processes, training=True, fit_loop=SimpleNamespace(total_batch_idx=7)
            )
            datamodule.setup("fit")
            parts.append(datamodule.on_after_batch_transfer(next(iter(datamodule.train_dataloader())), 0))
        found.append([torch.cat(pieces) for pieces in zip(*parts, strict=True)])
    for one, both in zip(*found, strict=True):
        torch.testing.assert_close(one, both)


@every
def test_training_draws_are_the_same_after_a_resume(tmp_path, name):
    whole = fit(small_module(name, tmp_path), 5)  # the second epoch is reached by most
    resumed = fit(small_module(name, tmp_path), 5, "saved/step=2.ckpt")
    assert same(resumed, whole[2:])
    assert whole[0][0].dtype == torch.float32
    assert all(0 <= batch[0].min() <= batch[0].max() <= 1 for batch in whole)


@every
def test_shape_is_known_before_anything_is_read_and_is_that_of_a_batch(tmp_path, name):
    datamodule = small_module(name, tmp_path)
    shape = datamodule.image_shape
    datamodule.setup()
    batch = next(iter(datamodule.test_dataloader()))
    # Points are no pictures, and float already.
    assert batch[0].dtype == (torch.float32 if isinstance(datamodule, MixtureDataModule) else torch.uint8)
    image, second = datamodule.to_float(batch)
    assert tuple(image.shape[1:]) == shape
    if isinstance(batch, datamodules.PairBatch):
        assert second.shape == (len(image), datamodule.target_channels, *shape[1:])


@every
def test_pickled_one_gives_the_same_batches(tmp_path, name):
    datamodule = small_module(name, tmp_path)
    copy = pickle.loads(pickle.dumps(datamodule))
    first = batches(datamodule)
    assert same(first, batches(copy))
    again = [list(batch) for batch in pickle.loads(pickle.dumps(datamodule)).train_dataloader()]
    assert same(first, again)


@every
def test_whole_set_without_a_fault_has_none(tmp_path, name, monkeypatch):
    monkeypatch.setattr("datamodules.facades.COUNTS", {"train": 12, "val": 2, "test": 3})  # as many as were made
    assert list(small_module(name, tmp_path).faults()) == []
