"""The batches that the data modules yield."""

from typing import NamedTuple

from torch import Tensor


class ImageBatch(NamedTuple):
    """Images with their labels; unpacks as a tuple.

    Attributes:
        image: (N, C, H, W), uint8 in [0, 255] from a loader, float32 in [0, 1] once in the model's hands.
        label: (N,), int64.
    """

    image: Tensor
    label: Tensor
