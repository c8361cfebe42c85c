"""What scores compare images by."""

import os
from collections.abc import Callable
from functools import lru_cache
from http.client import HTTPException
from importlib.util import find_spec
from typing import Any, Literal

import torch
from torch import Tensor

from lightning_genmodels.errors import GenmodelsError
from lightning_genmodels.networks.digit_classifier import digit_classifier

FeaturesName = Literal["pixels", "digits", "inception"]

TOLERANCE = 0.01  # of what resizing may leave outside [0, 1]
PART = 250  # images that go through a network at a time: Inception takes .7 GB for so many


def check_floats(images: Tensor) -> None:
    """Raises GenmodelsError unless the images are floating point (N, C, H, W)."""
    if images.ndim != 4 or not images.is_floating_point():
        raise GenmodelsError(
            f"images to score are {images.dtype} {tuple(images.shape)}; expected floating point (N, C, H, W) in [0, 1]."
        )


def check_unit(images: Tensor) -> None:
    """Raises GenmodelsError unless the images are floating point (N, C, H, W) in [0, 1], give or take a hundredth."""
    check_floats(images)
    if images.numel():
        low, high = (value.item() for value in images.aminmax())
        if not (low >= -TOLERANCE and high <= 1 + TOLERANCE):
            raise GenmodelsError(f"images to score lie in [{low:.3g}, {high:.3g}]; expected [0, 1].")


def to_bytes(images: Tensor) -> Tensor:
    """Floats (N, C, H, W) in [0, 1] -> uint8 in [0, 255], rounded, where they lie; GenmodelsError for others."""
    check_unit(images)
    return images.float().clamp(0, 1).mul(255).round().to(torch.uint8)


def pixels(images: Tensor) -> Tensor:
    """(N, C, H, W), floating point -> (N, C H W), the images as they are; GenmodelsError for others."""
    check_floats(images)
    return images.float().flatten(1)


def digits(images: Tensor) -> Tensor:
    """(N, C, H, W) in [0, 1] -> (N, 128), what the packaged `DigitClassifier` sees."""
    check_unit(images)
    return digit_classifier(images.device).features(images.float())


def inception(images: Tensor) -> Tensor:
    """(N, C, H, W) in [0, 1], C 1 or 3 -> (N, 2048), Inception's last pooling (Szegedy et al. 2016; FID's weights).

    As published scores have it: bytes, resized to 299 pixels as TensorFlow 1 did. Grey images are repeated to three
    channels.
    """
    if images.shape[1] not in (1, 3):
        raise GenmodelsError(f"features 'inception': images have {images.shape[1]} channels; expected 1 or 3.")
    features: Tensor = _inception(images.device)(to_bytes(images).expand(-1, 3, -1, -1))[0]
    return features.flatten(1)


@lru_cache
def _inception(device: torch.device) -> Any:
    """The network, loaded once a device; its weights are downloaded once into torch's folder of caches."""
    # Not torchmetrics' own, which resizes in another way from one version to the next.
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    with torch.inference_mode(False):  # as for the classifier of digits
        try:
            network = FeatureExtractorInceptionV3("inception-v3-compat", ["2048"])
        except (OSError, HTTPException, RuntimeError) as error:
            raise GenmodelsError(
                f"features 'inception': the download of the weights failed ({' '.join(str(error).split())}); expected "
                f"a working network, or the file in {os.path.join(torch.hub.get_dir(), 'checkpoints')}."
            ) from error
        return network.eval().to(device)


FEATURES: dict[FeaturesName, Callable[[Tensor], Tensor]] = {
    "pixels": pixels,
    "digits": digits,
    "inception": inception,
}


def check_features(owner: object, name: str) -> None:
    """Raises GenmodelsError unless the name is one of `FEATURES` whose package is there."""
    if name not in FEATURES:
        raise GenmodelsError(f"{type(owner).__name__}: features is {name!r}; expected one of {list(FEATURES)}.")
    if name == "inception" and find_spec("torch_fidelity") is None:
        raise GenmodelsError(
            f"{type(owner).__name__}: features 'inception' needs the package torch-fidelity; expected it installed, "
            "e.g. by pip install torch-fidelity."
        )


def features_of(images: Tensor, name: FeaturesName) -> Tensor:
    """(N, C, H, W) float in [0, 1] -> (N, F) float32, without a gradient."""
    return _in_parts(FEATURES[name], images)


def digit_logits(images: Tensor) -> Tensor:
    """(N, C, H, W) float in [0, 1] -> (N, 10) float32 of the packaged classifier, without a gradient."""
    check_unit(images)
    return _in_parts(lambda part: digit_classifier(part.device)(part.float()), images)


def _in_parts(function: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    # In full precision, whatever the precision around: a score must not depend on how a model is trained.
    with torch.no_grad(), torch.autocast(images.device.type, enabled=False):
        return torch.cat([function(part) for part in images.split(PART)])
