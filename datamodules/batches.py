"""The batches that the data modules yield."""

from typing import NamedTuple

from torch import Tensor


class ImageBatch(NamedTuple):
    """Images with their labels; unpacks as a tuple.

    Attributes:
        image: (N, C, H, W), uint8 in [0, 255] from a loader, float32 in [0, 1] once in the model's hands; points in the
            plane, (N, 2, 1, 1), are floats from the loader on.
        label: (N,), int64: classes; or (N, attributes), float32 once in the model's hands.
    """

    image: Tensor
    label: Tensor


class PairBatch(NamedTuple):
    """Images with what is to be made of them; unpacks as a tuple.

    Attributes:
        source: (N, C, H, W), uint8 in [0, 255] from a loader, float32 in [0, 1] once in the model's hands.
        target: an image as `source` is; or depth, float32 (N, 1, H, W) in metres, 0 where there is no measurement; or
            classes, uint8 (N, 1, H, W) from a loader, int64 (N, H, W) once in the model's hands.
    """

    source: Tensor
    target: Tensor
