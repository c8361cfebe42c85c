"""The autoencoder family on MNIST, beside the figures that were published.

    python benchmarks/autoencoders.py ROW --data_dir DATA

ROW is pca, deep, k_sparse, denoising, kl_sparse or vae. Each trains through the command line, from the packaged
configuration of its model where there is one; the checkpoint scored is its best.ckpt. What is to be chosen is chosen
on the validation split; the figures are those of the 10,000 test images. `--output FOLDER` keeps the runs; one that is
already there is scored without being trained again. Options after `--` go to genmodels fit.
"""

import argparse
import itertools
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer
from sklearn.decomposition import PCA
from torch import Tensor

from datamodules import MNISTDataModule
from lightning_genmodels import load_model
from lightning_genmodels.cli import main
from lightning_genmodels.cli.data import data_of
from lightning_genmodels.metrics import UnitActivity, probe_codes

INVERSE_PENALTIES = (0.003, 0.01, 0.03, 0.1, 0.3)
ALPHAS = (1, 2, 3, 4)
K_START = {40: 40}  # by the error on validation; for all others as in the configuration
Split = tuple[Tensor, Tensor]


def trained(name: str, arguments: list[str], options: argparse.Namespace) -> tuple[Any, MNISTDataModule, float]:
    """Trains in the folder `name`, if nothing was yet: the best model, its data and the minutes that it took."""
    folder = options.output / name
    folder.mkdir(exist_ok=True, parents=True)
    minutes = 0.0
    if not list(folder.glob("runs/*/0/checkpoints/best.ckpt")):
        os.chdir(folder)
        start = time.perf_counter()
        status = main(["fit", *arguments, "--data.data_dir", options.data_dir, "--trainer.enable_progress_bar", "false",
                       "--trainer.enable_model_summary", "false", *options.options])  # fmt: skip
        if status:
            raise SystemExit("training failed")
        minutes = (time.perf_counter() - start) / 60
    checkpoint = next(folder.glob("runs/*/0/checkpoints/best.ckpt"))
    data: Any = data_of(argparse.Namespace(checkpoint=checkpoint, config=None, data_dir=options.data_dir))
    return load_model(checkpoint), data, minutes


def splits(data: MNISTDataModule) -> tuple[Split, Split, Split]:
    """Images in [0, 1] and labels of the training, validation and test split."""
    loaders: Any = (data.train_dataloader(), data.val_dataloader(), data.test_dataloader())
    train, val, test = ([data.to_float(batch) for batch in loader] for loader in loaders)
    return tuple((torch.cat([b.image for b in s]), torch.cat([b.label for b in s])) for s in (train, val, test))  # type: ignore[return-value]


@torch.no_grad()
def encoded(model: Any, images: Tensor) -> Tensor:
    """(N, Z) codes."""
    return torch.cat([model.encode(part) for part in images.split(5000)])


def probe(train: Split, other: Split, inverse_penalty: float) -> float:
    """Error of the logistic regression, in percent."""
    return 100 * probe_codes(*train, *other, inverse_penalty=inverse_penalty, neighbours=0)["logistic"]


def best_probe(codes: list[Split]) -> tuple[float, float, float]:
    """Validation error, test error and penalty, the latter chosen by the former."""
    train, val, test = codes
    chosen = min((probe(train, val, c), c) for c in INVERSE_PENALTIES)
    return chosen[0], probe(train, test, chosen[1]), chosen[1]


def squared_error(drawn: Tensor, images: Tensor) -> float:
    """Summed over pixels, in the mean over images."""
    return (drawn - images).flatten(1).square().sum(1).double().mean().item()


def pca_error(components: int, train: Tensor, images: Tensor) -> float:
    """That of principal component analysis."""
    pca = PCA(components, svd_solver="covariance_eigh").fit(train.flatten(1).double().numpy())
    pixels = images.flatten(1).double().numpy()
    return squared_error(torch.from_numpy(pca.inverse_transform(pca.transform(pixels))), torch.from_numpy(pixels))


@torch.no_grad()
def pca(options: argparse.Namespace) -> None:
    """A linear tied autoencoder against principal component analysis."""
    arguments = ["--model", "Autoencoder", "--model.hidden_sizes", "[]", "--model.latent_dim", "32", "--model.tied",
                 "true", "--model.output_activation", "linear", "--model.schedule", "cosine", "--data",
                 "MNISTDataModule", "--data.batch_size", "256", "--trainer.max_epochs", "40",
                 "--trainer.check_val_every_n_epoch", "5"]  # fmt: skip
    model, data, minutes = trained("pca", arguments, options)
    (train, _), _, (test, _) = splits(data)
    for name, images in (("training", train), ("test", test)):
        ours = squared_error(model.decode(encoded(model, images)), images)
        theirs = pca_error(32, train, images)
        print(f"{name} images: autoencoder {ours:.4f}, PCA {theirs:.4f}, ratio {ours / theirs:.4f}; {minutes:.1f} min")


@torch.no_grad()
def deep(options: argparse.Namespace) -> None:
    """784-1000-500-250-30 against principal component analysis."""
    model, data, minutes = trained("deep", ["--config", "autoencoder_mnist"], options)
    (train, _), _, (test, _) = splits(data)
    drawn = torch.cat([model.decode(model.encode(part)) for part in test.split(5000)])
    print(f"autoencoder {squared_error(drawn, test):.3f}, PCA {pca_error(30, train, test):.2f}; {minutes:.1f} min")


def k_sparse(options: argparse.Namespace) -> None:
    """The probe on the features of alpha * k units; alpha and the penalty chosen on the validation split."""
    table: dict[int, list[float]] = {}
    for k, seed in itertools.product(options.k, range(options.seeds)):
        arguments = ["--config", "k_sparse_autoencoder_mnist", "--model.k", str(k), "--seed_everything", str(seed),
                     "--data.seed", "0", *(["--model.k_start", str(K_START[k])] if k in K_START else [])]  # fmt: skip
        model, data, minutes = trained(f"k_sparse-{k}-{seed}", arguments, options)
        start = time.perf_counter()
        sets = splits(data)
        choices = []
        for alpha in ALPHAS:
            model.alpha = alpha
            train, val = ((encoded(model, images), labels) for images, labels in sets[:2])
            choices.append((probe(train, val, 0.01), alpha))
        model.alpha = min(choices)[1]
        val_error, test_error, penalty = best_probe([(encoded(model, i), labels) for i, labels in sets])
        table.setdefault(k, []).append(test_error)
        print(f"k {k}, seed {seed}: test error {test_error:.2f} %, validation {val_error:.2f} %, alpha {model.alpha}, "
              f"C {penalty}; trained {minutes:.1f} min, probed {(time.perf_counter() - start) / 60:.1f} min; "
              f"validation by alpha: {', '.join(f'{a}: {e:.2f}' for e, a in choices)}", flush=True)  # fmt: skip
    for k, errors in table.items():
        print(f"k {k}: mean {statistics.mean(errors):.2f} %, {len(errors)} seed(s)")


def denoising(options: argparse.Namespace) -> None:
    """The probe on a denoising autoencoder's codes."""
    model, data, minutes = trained("denoising", ["--config", "denoising_autoencoder_mnist"], options)
    val_error, test_error, penalty = best_probe([(encoded(model, i), labels) for i, labels in splits(data)])
    print(f"test error {test_error:.2f} %, validation {val_error:.2f} %, C {penalty}; {minutes:.1f} min")


def kl_sparse(options: argparse.Namespace) -> None:
    """The activations of each unit, and the probe beside that on raw pixels."""
    model, data, minutes = trained("kl_sparse", ["--config", "sparse_autoencoder_mnist"], options)
    sets = splits(data)
    activity = UnitActivity(model.latent_dim)
    activity.update(encoded(model, sets[2][0]))
    found = activity.compute()
    near = ((found["mean"] - model.rho).abs() <= 0.2 * model.rho).double().mean().item()
    print(f"units within 20 % of rho: {100 * near:.1f} %; mean activations {found['mean'].min():.4f} to "
          f"{found['mean'].max():.4f}; least standard deviation {found['std'].min():.4f} "
          f"(rho/4 is {model.rho / 4}); {minutes:.1f} min")  # fmt: skip
    codes = [(encoded(model, images), labels) for images, labels in sets]
    print(
        f"probe: {best_probe(codes)[1]:.2f} %, raw pixels {best_probe([(i.flatten(1), n) for i, n in sets])[1]:.2f} %"
    )


def vae(options: argparse.Namespace) -> None:
    """The bound and the importance-weighted estimate in nats, on statically binarised test images."""
    model, data, minutes = trained("vae", ["--config", "vae_mnist"], options)
    trainer = Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False)
    found = trainer.test(model, datamodule=data, verbose=False)[0]
    print(f"binarize {data.binarize}: NLL {found['test/nll']:.2f} ({model.importance_samples} importance samples), "
          f"ELBO {found['test/elbo']:.2f}; {minutes:.1f} min")  # fmt: skip


ROWS = {function.__name__: function for function in (pca, deep, k_sparse, denoising, kl_sparse, vae)}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("row", choices=ROWS)
    parser.add_argument("--data_dir", required=True, help="the folder of the data sets; MNIST/raw lies in it")
    parser.add_argument("--output", type=Path, help="folder of the runs; a temporary one where none is given")
    parser.add_argument("--seeds", type=int, default=3, help="of k_sparse")
    parser.add_argument("--k", type=int, nargs="+", default=[10, 25, 40], help="of k_sparse")
    words = [*sys.argv[1:], "--"]
    end = words.index("--")  # argparse would not take positional arguments in two places
    chosen = parser.parse_args(words[:end])
    chosen.options = words[end + 1 : -1]
    chosen.data_dir = str(Path(chosen.data_dir).absolute())
    chosen.output = (chosen.output or Path(tempfile.mkdtemp())).absolute()
    ROWS[chosen.row](chosen)
