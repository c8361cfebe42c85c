"""`genmodels probe`: how much of the classes a checkpoint's codes tell."""

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from lightning_genmodels.cli.data import add_data_arguments, data_of, float_batches
from lightning_genmodels.cli.small import SmallParser, add_model_arguments, model_on_device
from lightning_genmodels.errors import GenmodelsError
from lightning_genmodels.metrics import probe_codes


def probe(argv: list[str]) -> None:
    """Runs the command."""
    parser = SmallParser(
        "probe",
        "Trains a logistic regression and a k-nearest-neighbours classifier on the codes of the training split, and "
        "prints their error on the test split, or on the validation split while something is still to be chosen.",
    )
    add_model_arguments(parser)
    add_data_arguments(parser)
    parser.add_argument("--train_count", type=int, help="training images to use (default: a whole epoch's)")
    parser.add_argument("--split", choices=["test", "val"], default="test", help="images to judge by (default: test)")
    parser.add_argument("--inverse_penalty", type=float, default=0.1, help="C of the logistic regression (default: .1)")
    parser.add_argument("--neighbours", type=int, default=5, help="k of the nearest neighbours (default: 5)")
    options = parser.parse_args(argv)
    if options.neighbours < 1:
        raise GenmodelsError(f"--neighbours is {options.neighbours}; expected 1 or more.")
    if options.train_count is not None and options.train_count < options.neighbours:
        raise GenmodelsError(
            f"--train_count is {options.train_count}; expected {options.neighbours} or more, the number of neighbours."
        )
    if not 0 < options.inverse_penalty < math.inf:
        raise GenmodelsError(f"--inverse_penalty is {options.inverse_penalty}; expected above 0, and finite.")
    model: Any = model_on_device(options)
    if not hasattr(model, "encode"):
        raise GenmodelsError(
            f"--checkpoint {options.checkpoint} has no codes: its model is {type(model).__name__}; expected an "
            "autoencoder."
        )
    datamodule = data_of(options)
    train_codes, train_labels = codes_of(model, float_batches(model, datamodule, datamodule.train_dataloader()))
    judged = datamodule.test_dataloader() if options.split == "test" else datamodule.val_dataloader()
    if not judged:
        raise GenmodelsError("--split is val, but the run kept no validation images; expected test.")
    codes, labels = codes_of(model, float_batches(model, datamodule, judged))
    errors = probe_codes(
        train_codes[: options.train_count],
        train_labels[: options.train_count],
        codes,
        labels,
        inverse_penalty=options.inverse_penalty,
        neighbours=options.neighbours,
    )
    print(
        f"{len(codes)} {options.split} images, classifiers trained on {len(train_codes[: options.train_count])} codes"
    )
    print(f"logistic regression: {100 * errors['logistic']:.2f} % wrong")
    print(f"{options.neighbours} nearest neighbours: {100 * errors['knn']:.2f} % wrong")


@torch.no_grad()
def codes_of(model: Any, batches: Iterator[tuple[Tensor, ...]]) -> tuple[Tensor, Tensor]:
    """(M, Z) codes and (M,) labels of all batches, on the CPU.

    Raises:
        GenmodelsError: where the batches hold no classes.
    """
    codes, labels = [], []
    for batch in batches:
        if len(batch) < 2 or batch[1].ndim != 1 or batch[1].is_floating_point():
            raise GenmodelsError("probe: the data hold no classes; expected batches of images and whole-number labels.")
        codes.append(model.encode(batch[0].to(model.device)).cpu())
        labels.append(batch[1].cpu())
    return torch.cat(codes), torch.cat(labels)
