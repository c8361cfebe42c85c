"""Small models for tests of the engine, importable by the command line's subprocesses as well."""

import os
import signal

import torch
from lightning.pytorch import Trainer
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_genmodels import GAN
from lightning_genmodels.losses.penalties import r1_penalty
from lightning_genmodels.models.base import AdversarialModel

BATCHES = 12
BATCH_SIZE = 8


class Toy(AdversarialModel):
    """Batches are (x, z): the latents come with the data, so that nothing is drawn."""

    def __init__(self, width: int = 4, norm: bool = False, r1: bool = False, **options):
        super().__init__(**{"learning_rate": 1e-2, **options})
        self.save_hyperparameters()
        self.width, self.norm, self.r1 = width, norm, r1
        self.build_networks()

    def build_generator(self):
        middle = nn.BatchNorm1d(8) if self.norm else nn.Identity()
        return nn.Sequential(nn.Linear(self.width, 8), middle, nn.ReLU(), nn.Linear(8, 3))

    def build_discriminator(self):
        middle = nn.BatchNorm1d(8) if self.norm else nn.Identity()
        return nn.Sequential(nn.Linear(3, 8), middle, nn.Tanh(), nn.Linear(8, 1), nn.Flatten(0))

    def generate(self, batch):
        return self.generator(batch[1])

    def discriminator_loss(self, batch, fake):
        loss = (self.discriminator(batch[0]).float() - 1).square().mean() + self.discriminator(
            fake
        ).float().square().mean()
        terms = {"discriminator": loss}
        if self.r1:
            terms["r1"] = r1_penalty(self.discriminator.forward, batch[0], fake)
        return terms

    def generator_loss(self, batch, fake):
        return {"generator": (self.discriminator(fake).float() - 1).square().mean()}

    def validation_step(self, batch, batch_idx):
        self.log("val/score", batch[0].mean())


class DropoutGAN(GAN):
    """A GAN in which everything random is at work: latents, dropout, shuffling.

    The environment can end its process at a step, as a power cut would or as Ctrl-C does.
    """

    def on_train_batch_start(self, batch, batch_idx):
        for name, number in (("TOY_KILL_AT", signal.SIGKILL), ("TOY_INTERRUPT_AT", signal.SIGINT)):
            if os.environ.get(name) == str(self.trainer.global_step):
                os.kill(os.getpid(), number)

    def build_discriminator(self):
        return nn.Sequential(
            nn.Flatten(), nn.Linear(64, 32), nn.LeakyReLU(0.2), nn.Dropout(0.5), nn.Linear(32, 1), nn.Flatten(0)
        )


class LatentsFromImages(GAN):
    """A GAN without batch normalisation whose latents are a function of the images."""

    def build_generator(self):
        return nn.Sequential(
            nn.Linear(self.latent_dim, 32), nn.ReLU(), nn.Linear(32, 64), nn.Tanh(), nn.Unflatten(1, (1, 8, 8))
        )

    def generate(self, batch):
        return self.generator(batch[0].flatten(1)[:, : self.latent_dim] - 0.5)


class BuggyGAN(GAN):
    """A GAN with a bug in its loss."""

    def generator_loss(self, batch, fake):
        return {"generator": self.no_such_attribute}


class BrokenGAN(GAN):
    """A GAN with a bug in its constructor."""

    def build_generator(self):
        raise ZeroDivisionError("a bug")


def toy_loader(batches=BATCHES, batch_size=BATCH_SIZE):
    draw = torch.Generator().manual_seed(1)
    data = TensorDataset(
        torch.randn(batches * batch_size, 3, generator=draw), torch.randn(batches * batch_size, 4, generator=draw)
    )
    return DataLoader(data, batch_size)


def fit(model, loader=None, **options):
    defaults = {
        "accelerator": "cpu",
        "max_epochs": 1,
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
    }
    ckpt_path = options.pop("ckpt_path", None)
    val = options.pop("val_loader", None)
    trainer = Trainer(**{**defaults, **options})
    trainer.fit(model, toy_loader() if loader is None else loader, val, ckpt_path=ckpt_path, weights_only=True)
    return trainer


def toy(seed=0, **options):
    torch.manual_seed(seed)
    return Toy(**options)


def same_weights(one, other):
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


def checkpoint_of(model, path):
    """Of a model after one batch of images."""
    images = torch.rand(4, *model.image_shape, generator=torch.Generator().manual_seed(0))
    fit(model, DataLoader([(images,)], batch_size=None)).save_checkpoint(path)
    return path
