"""What `genmodels edit` knows of the attributes of a checkpoint's samples, and the file beside the checkpoint."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from lightning_genmodels.editing import AttributeAccuracy
from lightning_genmodels.errors import GenmodelsError
from lightning_genmodels.networks.attribute_classifier import AttributeClassifier

PREFIX = "classifier."  # of the names of its weights


@dataclass
class KnownAttributes:
    """A classifier of attributes, and what it says of a checkpoint's samples.

    Attributes:
        names: of the A attributes.
        image_shape: (C, S, S) of the images that it reads.
        data: what it learned from, in words.
        classifier: in eval mode.
        accuracy: of the classifier, on held-out images.
        checkpoint: digest of the checkpoint whose samples were read; empty before.
        scores: (M, A) logits of the samples.
    """

    names: tuple[str, ...]
    image_shape: tuple[int, int, int]
    data: str
    classifier: AttributeClassifier
    accuracy: AttributeAccuracy
    checkpoint: str
    scores: Tensor


def digest_of(path: Path) -> str:
    """The same for files of the same content only."""
    return hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()


def place_beside(checkpoint: Path) -> Path:
    """`last.attributes.safetensors` for `last.ckpt`."""
    return checkpoint.with_name(f"{checkpoint.stem}.attributes.safetensors")


def save_attributes(known: KnownAttributes, path: Path) -> None:
    """Writes the file, whole or not at all; OSError where that fails."""
    weights = {PREFIX + name: weight for name, weight in known.classifier.state_dict().items()}
    right, frequent = known.accuracy
    tensors = {**weights, "right": right, "frequent": frequent, "scores": known.scores}
    metadata = {
        "names": json.dumps(known.names),
        "image_shape": json.dumps(known.image_shape),
        "data": known.data,
        "checkpoint": known.checkpoint,
    }
    content = save({name: tensor.cpu().contiguous() for name, tensor in tensors.items()}, metadata)
    partial = path.with_suffix(".partial")
    try:
        partial.write_bytes(content)
        partial.replace(path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise


def load_attributes(path: Path, device: torch.device) -> KnownAttributes:
    """Reads the file.

    Raises:
        GenmodelsError: where it is damaged, or something else.
    """
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata()
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # it is no dict
        names, image_shape = json.loads(metadata["names"]), json.loads(metadata["image_shape"])
        classifier = AttributeClassifier(image_shape, len(names))
        classifier.load_state_dict({n.removeprefix(PREFIX): t for n, t in tensors.items() if n.startswith(PREFIX)})
        return KnownAttributes(
            names=tuple(names),
            image_shape=tuple(image_shape),
            data=metadata["data"],
            classifier=classifier.eval().requires_grad_(False).to(device),
            accuracy=AttributeAccuracy(tensors["right"], tensors["frequent"]),
            checkpoint=metadata["checkpoint"],
            scores=tensors["scores"],
        )
    except (SafetensorError, OSError, RuntimeError, LookupError, TypeError, ValueError) as error:
        raise GenmodelsError(
            f"{path} is damaged or not of genmodels edit; expected what it writes: without the file it trains anew."
        ) from error
