"""Images of any size through networks that halve them."""

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional


def at_any_size(network: Callable[[Tensor], Tensor], images: Tensor, multiple: int) -> Tensor:
    """What the network makes of images (N, C, H, W) whose sides need not be multiples of a number.

    They are continued to the right and below by their last pixels, and the result is cut back.

    Args:
        network: (N, C, H', W') -> (N, C', H', W'), for sides that are multiples.
        images: the images.
        multiple: the number.
    """
    height, width = images.shape[-2:]
    padded = functional.pad(images, (0, -width % multiple, 0, -height % multiple), mode="replicate")
    return network(padded)[..., :height, :width]
