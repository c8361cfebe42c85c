"""Modes of Stacked MNIST that a GAN finds, by the protocol of PacGAN or that of EnGAN, plain and packed.

    python benchmarks/stacked_mnist.py pacgan --data_dir DATA --packing 2 --steps 5000 --output FOLDER

"pacgan" (Lin et al. 2018, the nets of VEEGAN): DCGAN, batches of 64 packs, two generator steps to one of the
discriminator, 128,000 stacks of all 70,000 digits, 100,000 batches (50 epochs). "engan" (Kumar et al. 2019): WGAN-GP,
the critic without normalisation, five steps of it to one of the generator, 100,000 generator steps. `--steps` counts a
protocol's own: batches, or generator steps. 26,000 samples are counted.

A run that is stopped, by `--minutes` too, goes on where it was when the same command is given again.
"""

import argparse
import logging
import time
import warnings
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer, seed_everything
from torch import Tensor, nn

from datamodules import StackedMNISTDataModule
from lightning_genmodels import GAN
from lightning_genmodels.callbacks import ExactResume, LastCheckpoint
from lightning_genmodels.metrics import ModeCoverage
from lightning_genmodels.networks.initialization import init_dcgan
from lightning_genmodels.pictures import image_grid, save_png

COUNT = 26_000
WIDTHS = (64, 128, 256, 512)  # of maps of 14, 7, 4 and 2 pixels
PROTOCOLS: dict[str, dict[str, Any]] = {
    "pacgan": {"latent_dim": 100, "penalty": "none", "learning_rate": 2e-4, "betas": (0.5, 0.999),
               "generator_steps": 2},
    "engan": {"latent_dim": 128, "adversarial_loss": "wasserstein", "penalty": "gradient_penalty",
              "penalty_weight": 10.0, "penalty_interval": 1, "learning_rate": 1e-4, "betas": (0.5, 0.9),
              "discriminator_steps": 5},
}  # fmt: skip


def init_small(module: nn.Module) -> None:
    """DCGAN's first weights, of linear layers too."""
    init_dcgan(module)
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, 0.0, 0.02)
        nn.init.zeros_(module.bias)


class Affine(nn.Module):
    """x -> scale x + shift."""

    def __init__(self, scale: float, shift: float) -> None:
        super().__init__()
        self.scale, self.shift = scale, shift

    def forward(self, x: Tensor) -> Tensor:
        """Of any shape."""
        return self.scale * x + self.shift


class StackedGAN(GAN):
    """The networks that both protocols have, of 5x5 convolutions."""

    def build_generator(self) -> nn.Module:
        """(N, latent_dim) -> (N, 3, 28, 28) in [-1, 1], by maps of 2, 4, 7 and 14 pixels."""
        layers: list[nn.Module] = [nn.Linear(self.latent_dim, WIDTHS[-1] * 4), nn.Unflatten(1, (WIDTHS[-1], 2, 2))]
        for width, after, odd in zip(WIDTHS[::-1], (*WIDTHS[-2::-1], 3), (False, True, False, False), strict=True):
            layers += [nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
            layers += [nn.ConvTranspose2d(width, after, 5, stride=2, padding=2, output_padding=0 if odd else 1)]
        return nn.Sequential(*layers, nn.Tanh()).apply(init_small)

    def build_discriminator(self) -> nn.Module:
        """(N, 3 packing, 28, 28) in [-1, 1] -> (N,) logits."""
        layers: list[nn.Module] = []
        before = 3 * self.packing
        for width in WIDTHS:
            layers += [nn.Conv2d(before, width, 5, stride=2, padding=2)]
            layers += [nn.BatchNorm2d(width)] if before >= WIDTHS[0] and self.penalty == "none" else []
            layers += [nn.LeakyReLU(0.2, inplace=True)]
            before = width
        return nn.Sequential(*layers, nn.Flatten(), nn.Linear(before * 4, 1), nn.Flatten(0)).apply(init_small)


class PacGANsProtocol(StackedGAN):
    """What that paper's code does, and its text does not say.

    The networks see stacks in [0, 1], though the generator ends in a hyperbolic tangent: it begins at an empty
    background. Each place of a pack is normalised by itself. All steps on a batch have the same latents, which are
    uniform.
    """

    def build_generator(self) -> nn.Module:
        """As the others', to be shown in [0, 1], where it may leave that."""
        return nn.Sequential(super().build_generator(), Affine(2, -1))

    def build_discriminator(self) -> nn.Module:
        """As the others', of images in [0, 1]."""
        return nn.Sequential(Affine(0.5, 0.5), super().build_discriminator())

    def generate(self, batch: Any) -> Tensor:
        """Images in [-1, 1], each place of the packs a batch of its own."""
        self.check_batch(batch)
        self._seed_noise()
        latents = self._latents(len(batch[0]), self.noise)
        return torch.stack([self.generator(part) for part in latents.chunk(self.packing)], 1).flatten(0, 1)

    def _latents(self, n: int, generator: torch.Generator | None) -> Tensor:
        return 2 * torch.special.ndtr(super()._latents(n, generator)) - 1


class Clock(Callback):
    """Counts the seconds of a training, over all its runs, and stops this one after some minutes.

    Lightning's own `max_time` is of all runs together: one that it stopped never goes on.
    """

    def __init__(self, minutes: float | None) -> None:
        self.end = time.perf_counter() + 60 * minutes if minutes else float("inf")
        self.seconds = 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Lightning's hook."""
        self.last = time.perf_counter()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Lightning's hook."""
        now = time.perf_counter()
        self.seconds, self.last = self.seconds + now - self.last, now
        trainer.should_stop |= now > self.end

    def state_dict(self) -> dict[str, Any]:
        """The seconds so far."""
        return {"seconds": self.seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes up the seconds of the runs before."""
        self.seconds = state_dict["seconds"]


def main() -> None:
    """Trains, or goes on, and prints the row."""
    parser = argparse.ArgumentParser(description="Modes of Stacked MNIST that a GAN finds.")
    parser.add_argument("protocol", choices=list(PROTOCOLS))
    parser.add_argument("--data_dir", required=True, help="folder with MNIST/raw")
    parser.add_argument("--output", required=True, help="folder of the checkpoints and pictures")
    parser.add_argument("--packing", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=100_000, help="batches, or generator steps (default: %(default)s)")
    parser.add_argument("--precision", default="bf16-mixed")
    parser.add_argument("--minutes", type=float, help="stop after as many, to go on another time")
    options = parser.parse_args()
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")
    name = f"{options.protocol}-packing{options.packing}-{options.steps}-seed{options.seed}"
    folder = Path(options.output)
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint = folder / f"{name}.ckpt"
    seed_everything(options.seed, verbose=False)
    settings = PROTOCOLS[options.protocol]
    protocol = PacGANsProtocol if options.protocol == "pacgan" else StackedGAN
    model = protocol((3, 28, 28), packing=options.packing, ema_decay=0, **settings)
    data = StackedMNISTDataModule(
        options.data_dir, digits="all", batch_size=64 * options.packing, seed=options.seed, download=False
    )
    batches = options.steps * settings.get("discriminator_steps", 1)
    clock = Clock(options.minutes)
    trainer = Trainer(
        accelerator="auto", devices=1, precision=options.precision, max_steps=batches, limit_val_batches=0,
        logger=False, enable_progress_bar=False, enable_model_summary=False,
        callbacks=[ExactResume(), clock, LastCheckpoint(checkpoint, every_n_steps=500)],
    )  # fmt: skip
    device = trainer.strategy.root_device
    trainer.fit(model, datamodule=data, ckpt_path=checkpoint if checkpoint.exists() else None)
    model.to(device)  # Lightning brings it back to the CPU
    modes = ModeCoverage("stacked_digits").to(model.device)
    generator = torch.Generator().manual_seed(options.seed)
    for _ in range(COUNT // 1000):
        modes.update(model.sample(1000, generator=generator))
    save_png(image_grid(model.sample(100, generator=generator)), folder / f"{name}.png")
    found, divergence, quality = (value.item() for value in modes.compute().values())
    print(
        f"| {options.protocol} | {options.packing} | {options.seed} | {trainer.global_step} of {batches} batches | "
        f"{found:.0f} | {divergence:.3f} | {quality:.3f} | {clock.seconds / 60:.1f} | "
        f"torch {torch.__version__}, {device}, {torch.get_num_threads()} threads |"
    )


if __name__ == "__main__":
    main()
