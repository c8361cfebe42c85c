"""Training time of our GAN under Lightning, as a multiple of a bare PyTorch loop over the same networks.

    python benchmarks/training_overhead.py

The bare loop does the same work: fused Adam for both networks, one generator forward for both steps, the lazy R1
penalty, the discriminator frozen in the generator's step, the averaged generator, batches indexed from the same
uint8 tensors and converted to floats. It checks nothing, logs nothing and cannot be resumed. The two take turns,
so that whatever else the machine does meets both, and each turn starts from new networks of the same seed.

Under Lightning the Trainer's set-up is not counted: the clock runs from the end of the last warm-up batch to the
end of the last batch.
"""

import argparse
import contextlib
import logging
import os
import statistics
import sys
import tempfile
import time
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from datamodules.in_memory import InMemoryDataModule
from lightning_genmodels import GAN
from lightning_genmodels.losses.penalties import r1_penalty
from lightning_genmodels.models.gan import to_signed

BATCH_SIZE = 64
SIZES: dict[str, dict[str, Any]] = {
    "dcgan, 28 px": {"network": "dcgan", "image_shape": (1, 28, 28)},
    "mlp, 28 px": {"network": "mlp", "image_shape": (1, 28, 28)},
    "mlp, 8 px": {"network": "mlp", "image_shape": (1, 8, 8)},
}
GOALS = {"dcgan, 28 px": 1.05, "mlp, 28 px": 1.10, "mlp, 8 px": 1.10}
# glibc hands large blocks back to the system after every step and takes them anew, by the luck of their order: up to
# a tenth of a DCGAN step, on either side. Both sides keep them here.
ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": "1000000000", "MALLOC_TRIM_THRESHOLD_": "2000000000"}


class Noise(InMemoryDataModule):
    """Random bytes, one epoch of them: as costly as images, and of any number."""

    def __init__(self, image_size: int, batches: int) -> None:
        super().__init__(
            batch_size=BATCH_SIZE,
            num_workers=0,
            image_size=image_size,
            val_fraction=0.0,
            seed=0,
            binarize="none",
            augment=0.0,
        )
        generator = torch.Generator().manual_seed(0)
        shape = (batches * BATCH_SIZE, 1, image_size, image_size)
        self.images = torch.randint(256, shape, dtype=torch.uint8, generator=generator)
        self.labels = torch.zeros(len(self.images), dtype=torch.int64)

    def load(self, train: bool) -> tuple[Tensor, Tensor]:
        """The same for every split."""
        return self.images, self.labels


class Clock(Callback):
    """Seconds from the end of the last warm-up batch to the end of the last batch."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.first, self.last = options.warm_up - 1, options.warm_up + options.steps - 1
        self.now = options.clock
        self.start = self.seconds = 0.0

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Lightning's hook."""
        if batch_idx == self.first:
            self.start = self.now()
        elif batch_idx == self.last:
            self.seconds = self.now() - self.start


def new_gan(size: str) -> GAN:
    """The model with its defaults, the same weights each time."""
    torch.manual_seed(0)
    return GAN(**SIZES[size])


def time_lightning(size: str, data: Noise, options: argparse.Namespace, progress_bar: bool) -> float:
    """Seconds of `steps` batches in a plain Trainer with a CSV logger."""
    model, clock = new_gan(size), Clock(options)
    with (
        tempfile.TemporaryDirectory() as folder,
        open(os.devnull, "w") as nowhere,
        contextlib.redirect_stdout(nowhere),
        contextlib.redirect_stderr(nowhere),
    ):
        trainer = Trainer(
            max_epochs=1,
            accelerator="cpu",
            logger=CSVLogger(folder),
            log_every_n_steps=50,
            enable_progress_bar=progress_bar,
            enable_model_summary=False,
            callbacks=[clock],
            default_root_dir=folder,
        )
        trainer.fit(model, data)
    return clock.seconds


def time_bare(size: str, data: Noise, options: argparse.Namespace) -> float:
    """Seconds of `steps` batches in a loop of our own."""
    gan = new_gan(size)
    generator, discriminator, average = gan.generator, gan.discriminator, gan.generator_ema
    assert isinstance(average, nn.Module)
    parameters, kept = list(generator.parameters()), list(average.parameters())
    buffers = list(zip(average.buffers(), generator.buffers(), strict=True))
    frozen = list(discriminator.parameters())
    update_average = get_ema_multi_avg_fn(gan.ema_decay)
    adam_g, adam_d = (
        torch.optim.Adam(network.parameters(), lr=rate, betas=betas, fused=True)
        for network, rate, betas in zip((generator, discriminator), gan.learning_rates, gan.betas, strict=True)
    )
    order = torch.randperm(len(data.images))
    start = 0.0
    for step in range(options.warm_up + options.steps):
        if step == options.warm_up:
            start = options.clock()
        index = order[step * BATCH_SIZE : (step + 1) * BATCH_SIZE]
        real = to_signed(data.images[index].float().div_(255))
        fake = generator(torch.randn(BATCH_SIZE, gan.latent_dim))

        loss = gan.loss.discriminator(discriminator(real), discriminator(fake.detach()))
        if step % gan.penalty_interval == 0:
            loss = loss + gan.penalty_weight * gan.penalty_interval * r1_penalty(discriminator, real, fake)
        adam_d.zero_grad()
        loss.backward()
        adam_d.step()

        for parameter in frozen:
            parameter.requires_grad_(False)
        adam_g.zero_grad()
        gan.loss.generator(discriminator(fake), None).backward()
        adam_g.step()
        for parameter in frozen:
            parameter.requires_grad_(True)

        with torch.no_grad():
            update_average(kept, parameters, 0)
            for own, current in buffers:
                own.copy_(current)
    return options.clock() - start


def measure(size: str, options: argparse.Namespace) -> dict[str, list[float]]:
    """Seconds of each way, one number a repetition."""
    data = Noise(SIZES[size]["image_shape"][1], options.warm_up + options.steps)
    seconds: dict[str, list[float]] = {"bare": [], "ours": [], "ours, with progress bar": []}
    for _ in range(options.repetitions):
        seconds["bare"].append(time_bare(size, data, options))
        seconds["ours"].append(time_lightning(size, data, options, progress_bar=False))
        seconds["ours, with progress bar"].append(time_lightning(size, data, options, progress_bar=True))
    return seconds


def table(size: str, seconds: dict[str, list[float]], options: argparse.Namespace) -> list[str]:
    """The rows of a Markdown table. The ratio is the median of a turn's over the bare one's beside it."""
    lines = []
    for way, found in seconds.items():
        rate = options.steps / statistics.median(found)
        rates = f"{options.steps / max(found):.1f} - {options.steps / min(found):.1f}"
        pairs = [own / bare for own, bare in zip(found, seconds["bare"], strict=True)]
        ratio = statistics.median(pairs)
        goal = GOALS[size] if way == "ours" else ""
        lines.append(
            f"| {size} | {way} | {rate:.1f} | {rates} | {ratio:.3f} | {min(pairs):.3f} - {max(pairs):.3f} | {goal} |"
        )
    return lines


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description="Training time under Lightning against a bare PyTorch loop.")
    parser.add_argument("--steps", type=int, default=100, help="batches timed in a turn (default: %(default)s)")
    parser.add_argument("--warm_up", type=int, default=20, help="batches before them (default: %(default)s)")
    parser.add_argument("--repetitions", type=int, default=15, help="turns of each side (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="torch's threads (default: %(default)s)")
    parser.add_argument(
        "--cpu_time", action="store_true", help="count this process's CPU time, on a machine that does other work too"
    )
    parser.add_argument("--only", choices=["dcgan", "mlp"], help="measure one network (default: both)")
    options = parser.parse_args()
    if min(options.steps, options.warm_up, options.repetitions, options.threads) < 1:
        parser.error("expected 1 or more steps, warm_up, repetitions and threads")
    options.clock = time.process_time if options.cpu_time else time.perf_counter
    torch.set_num_threads(options.threads)
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    print(
        f"torch {torch.__version__}, {options.threads} threads, batches of {BATCH_SIZE}, "
        f"{options.repetitions} x {options.steps} steps, {'CPU' if options.cpu_time else 'wall-clock'} time\n"
    )
    print("| network | loop | steps/s, median | min - max | time / bare | min - max | goal |")
    print("|---|---|---:|---:|---:|---:|---:|")
    for size in SIZES:
        if options.only is None or size.startswith(options.only):
            print("\n".join(table(size, measure(size, options), options)), flush=True)


if __name__ == "__main__":
    if not ALLOCATOR.items() <= os.environ.items():  # read once, when a process starts
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **ALLOCATOR})
    main()
