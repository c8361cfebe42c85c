"""Makes the pictures of the documentation, on a CPU and from data that need no download.

    OMP_NUM_THREADS=1 python docs/make_pictures.py --output FOLDER

Each model is trained through the command line, by the options that stand in the table, and its best.ckpt draws. A run
that is in FOLDER/runs already is taken as it is, so that a picture can be drawn anew alone. All together take half
an hour of one core, StyleGAN a third of it; --only NAME makes one.
"""

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

import datamodules
from lightning_genmodels import load_model
from lightning_genmodels.cli import main as genmodels
from lightning_genmodels.editing import mixing_grid
from lightning_genmodels.pictures import Picture, bars, depth_panel, image_grid, save_png
from lightning_genmodels.pictures import with_caption as captioned

PICTURES = Path(__file__).parent.resolve() / "pictures"
DIGITS, PHOTOS = "--data DigitsDataModule", "--data SamplePhotosDataModule"
COLUMNS = 10


class Made(NamedTuple):
    """How a picture is made.

    Attributes:
        run: what its runs are named after.
        options: of `genmodels fit`.
        data: a data module, for what is drawn of test items.
        draw: a model and a source of draws, and a batch of the test split -> the picture.
    """

    run: str
    options: str
    data: str
    draw: Callable[[Any, torch.Generator, Any], Picture]


def rows(*images: Tensor, smallest: int = 48) -> Picture:
    """One row for each batch (N, C, H, W) in [0, 1]."""
    size = max(image.shape[-1] for image in images)
    same = [functional.interpolate(image, scale_factor=size / image.shape[-1]) for image in images]
    return image_grid(torch.cat(same).clamp(0, 1), columns=len(images[0]), smallest=smallest)


def reconstructions(model: Any, generator: torch.Generator, batch: Any) -> Picture:
    """Test images, and below each what the model makes of it."""
    images = batch.image[:COLUMNS]
    return rows(images, model.reconstruct(images))


def mended(model: Any, generator: torch.Generator, batch: Any) -> Picture:
    """Test images, corrupted, and mended."""
    images = batch.image[:COLUMNS]
    corrupted = model.corrupt(images, generator=generator)
    return rows(images, corrupted, model.reconstruct(corrupted))


def filters(model: Any, generator: torch.Generator, batch: Any) -> Picture:
    """What 40 units look for."""
    return image_grid(model.filters()[: 4 * COLUMNS], columns=COLUMNS, smallest=48)


@torch.no_grad()
def activations(model: Any, generator: torch.Generator, batch: Any) -> Picture:
    """The mean activation of each unit over the test images."""
    return bars(model.encode(batch.image).mean(0), model.rho, height=160)


@torch.no_grad()
def plane(model: Any, generator: torch.Generator, batch: Any) -> Picture:
    """What the decoder makes of a code of two numbers, at equally likely places of N(0, I)."""
    shares = (torch.arange(12) + 0.5) / 12
    places = torch.special.ndtri(shares)
    codes = torch.cartesian_prod(places.flip(0), places).flip(1)
    return image_grid(model.decode(codes).clamp(0, 1), columns=12, smallest=40)


def samples(model: Any, generator: torch.Generator, batch: Any) -> Picture:
    """40 samples, the first ones of the seed."""
    return image_grid(model.sample(4 * COLUMNS, generator=generator), columns=COLUMNS, smallest=48)


def of_each_class(model: Any, generator: torch.Generator, batch: Any) -> Picture:
    """A column for each class, a row for each latent."""
    latents = generator.get_state()
    columns = []
    for label in range(10):
        generator.set_state(latents)
        columns.append(model.sample(5, labels=torch.full((5,), label), generator=generator))
    return image_grid(torch.stack(columns, 1).flatten(0, 1), columns=10, smallest=48)


def translations(model: Any, generator: torch.Generator, batch: Any) -> Picture:
    """Label maps, what is made of each, and the façade that it was drawn with."""
    source, target = batch.source[:6], batch.target[:6]
    return rows(source, model.translate(source, generator=generator), target, smallest=128)


def denoised(model: Any, generator: torch.Generator, batch: Any) -> Picture:
    """Patches with noise, what is left without it, and the patches: of a hundred three, from much detail to little."""
    detail = batch.image.diff(dim=-1).abs().mean((1, 2, 3))
    clean = batch.image[detail.argsort(descending=True)[[0, 25, 50]]]
    noisy = model.degrade(clean, generator=generator)
    return rows(noisy, model.translate(noisy), clean, smallest=128)


def enlarged(model: Any, generator: torch.Generator, batch: Any) -> Picture:
    """Small façades, enlarged by bicubic interpolation and by the model, and the façades that they were made of."""
    large = batch.target[:5]
    small = model.degrade(large)
    smooth = functional.interpolate(small, large.shape[-2:], mode="bicubic")
    return rows(small, smooth, model.translate(small), large, smallest=128)


def depth(model: Any, generator: torch.Generator, batch: Any) -> Picture:
    """Rooms, their depth as estimated and as it is, and the error."""
    source, target = batch.source[:4], batch.target[:4]
    shown, scales = depth_panel(source, model.translate(source), target)
    return captioned(image_grid(torch.cat(shown), columns=4, smallest=150), scales)


def mixed(model: Any, generator: torch.Generator, batch: Any) -> Picture:
    """Rows have the coarse styles of the first column, columns the fine ones of the first row."""
    grid = mixing_grid(model, 5, 9, model.style_layers // 2, generator=generator, truncation=0.7)
    return image_grid(grid, columns=COLUMNS, smallest=48)


PLAIN = "--trainer.check_val_every_n_epoch 20 --trainer.log_every_n_steps 10 --trainer.max_epochs"
MADE = {
    "autoencoder": Made("autoencoder_digits", "--config autoencoder_digits", "Digits", reconstructions),
    "k_sparse_autoencoder": Made(
        "ksparseautoencoder_digits",
        f"--model KSparseAutoencoder {DIGITS} --model.latent_dim 100 --model.k 10 {PLAIN} 300",
        "Digits",
        filters,
    ),
    "sparse_autoencoder": Made(
        "sparseautoencoder_digits",
        f"--model SparseAutoencoder {DIGITS} --model.latent_dim 100 --model.schedule cosine {PLAIN} 300",
        "Digits",
        activations,
    ),
    "denoising_autoencoder": Made(
        "denoisingautoencoder_digits", f"--model DenoisingAutoencoder {DIGITS} {PLAIN} 300", "Digits", mended
    ),
    "vae": Made("vae_digits", "--config vae_digits", "Digits", plane),
    "gan": Made("gan_digits", "--config gan_digits", "Digits", samples),
    "conditional_gan": Made(
        "conditionalgan_digits", f"--model ConditionalGAN {DIGITS} {PLAIN} 460", "Digits", of_each_class
    ),
    "pix2pix": Made("pix2pix_shapes", "--config pix2pix_shapes --trainer.max_epochs 6", "ShapePairs", translations),
    "image_regression": Made(
        "imageregression_samplephotos",
        f"--model ImageRegression {PHOTOS} --data.image_size 32 --data.batch_size 16 --model.width 16 "
        "--model.batch_norm false --model.learning_rate 2e-3 --model.schedule cosine --trainer.max_epochs 24 "
        "--trainer.check_val_every_n_epoch 6 --trainer.precision bf16-mixed",
        "SamplePhotos",
        denoised,
    ),
    "super_resolution": Made(
        "superresolution_shapepairs",
        "--model SuperResolution --data ShapePairsDataModule --data.direction AtoB --data.batch_size 8 "
        "--model.blocks 4 --model.learning_rate 1e-3 --model.schedule linear --trainer.max_epochs 10 "
        "--trainer.precision bf16-mixed",
        "ShapePairs",
        enlarged,
    ),
    "depth_estimation": Made("depth_scenes", "--config depth_scenes --trainer.max_epochs 12", "DepthScenes", depth),
    "stylegan": Made("stylegan_digits", "--config stylegan_digits", "Digits", mixed),
}


def make(name: str) -> None:
    """Trains where there is no run, and draws."""
    made = MADE[name]
    checkpoint = Path("runs", made.run, "0/checkpoints/best.ckpt")
    if not checkpoint.is_file():
        quiet = "--trainer.accelerator cpu --trainer.enable_progress_bar false --trainer.enable_model_summary false"
        if genmodels(["fit", *made.options.split(), *quiet.split()]) != 0:
            raise SystemExit(f"{name}: the training failed")
    data = getattr(datamodules, f"{made.data}DataModule")(batch_size=180)  # all test items of any of them
    data.setup("test")
    batch = data.to_float(next(iter(data.test_dataloader())))
    picture = made.draw(load_model(checkpoint), torch.Generator().manual_seed(0), batch)
    save_png(picture, PICTURES / f"{name}.png")
    print(f"{PICTURES / name}.png: {picture.shape[1]}x{picture.shape[0]} pixels", flush=True)


def main() -> None:
    """Makes all, or one."""
    parser = argparse.ArgumentParser(description="The pictures of the documentation.")
    parser.add_argument("--output", required=True, help="folder of the runs")
    parser.add_argument("--only", choices=MADE, help="one of them (default: all)")
    options = parser.parse_args()
    Path(options.output).mkdir(parents=True, exist_ok=True)
    os.chdir(options.output)
    for name in [options.only] if options.only else MADE:
        make(name)


if __name__ == "__main__":
    main()
