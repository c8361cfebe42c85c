"""How far images lie apart for the eye, and how evenly a generator's images change with its latents."""

import os
from collections.abc import Callable
from functools import lru_cache
from http.client import HTTPException
from itertools import chain
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional
from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity

from lightning_genmodels.errors import GenmodelsError
from lightning_genmodels.modes import in_eval_mode

Distance = Callable[[Tensor, Tensor], Tensor]
DistanceName = Literal["pyramid", "lpips"]
SpaceName = Literal["z", "w"]

EDGES = 4.0  # weight of squared slopes beside squared colours
VGG_SIZES = (64, 256)  # the smaller side of what VGG sees, at least and at most
STEP = 1e-4  # between the two images of a pair, as a share of the way
PAIRS = 32  # made at a time
PERCENTILES = (0.01, 0.99)


def pyramid_distance(x: Tensor, y: Tensor) -> Tensor:
    """The squared difference of two images, their edges stressed, at all scales; it needs no weights.

    The difference of the images is halved, by means of 2x2 pixels, down to one pixel. At each scale count the mean
    square of its colours and, four times, those of its slopes, from pixel to pixel, along rows and along columns; the
    distance is the mean over the scales. So a shape that is a little off is nearer than one that is missing, and what
    the eye notices first weighs most: with the same mean squared error, a change of brightness counts 1 and less
    contrast 2.2, but blur 2.9, compression 3.1, noise 3.2 and a missing part 6 (photographs of 64 pixels).

    It is a quadratic form of the difference, and has no scale of its own: plain images that differ by c are c^2 apart,
    whatever their size.

    Args:
        x: (N, C, H, W) in [0, 1], or around it; any size.
        y: the same shape.

    Returns:
        (N,) of 0 or more, float32 or the images' own float64, with a graph.

    Raises:
        GenmodelsError: for images of different shapes, or of whole numbers.
    """
    check_pair(x, y)
    precision = torch.promote_types(x.dtype, torch.float32)
    difference = x.to(precision) - y.to(precision)
    height, width = difference.shape[-2:]
    levels = [_energy(difference)]
    while max(height, width) > 1:
        height, width = max(1, height // 2), max(1, width // 2)
        # As avg_pool2d; at odd sides windows overlap, so that no pixel is left out or counts alone.
        difference = functional.adaptive_avg_pool2d(difference, (height, width))
        levels.append(_energy(difference))
    return torch.stack(levels).mean(0)


def _energy(difference: Tensor) -> Tensor:
    """(N, C, H, W) -> (N,), of one scale."""
    slopes = [difference.diff(dim=side) for side in (2, 3) if difference.shape[side] > 1]
    return _mean_square(difference) + EDGES * sum(_mean_square(slope) for slope in slopes)


def _mean_square(x: Tensor) -> Tensor:
    return x.square().flatten(1).mean(1)


def lpips_distance(x: Tensor, y: Tensor) -> Tensor:
    """LPIPS by VGG (Zhang et al. 2018): how differently a classifier of photographs sees two images.

    Images whose smaller side is below 64 pixels are enlarged to it, those above 256 are made smaller, as the scores of
    StyleGAN have it. Grey images are repeated to three channels. VGG's weights, half a GB, are downloaded once.

    Args:
        x: (N, C, H, W) in [0, 1], or around it, C 1 or 3.
        y: the same shape.

    Returns:
        (N,) of 0 or more, float32 or the images' own float64, with a graph.

    Raises:
        GenmodelsError: for images of different shapes, of whole numbers, or of other channels; where the download
            fails.
    """
    check_pair(x, y)
    if x.shape[1] not in (1, 3):
        raise GenmodelsError(f"distance 'lpips': images have {x.shape[1]} channels; expected 1 or 3.")
    network = _lpips(x.device, torch.promote_types(x.dtype, torch.float32))
    distances: Tensor = network(_for_vgg(x), _for_vgg(y))
    return distances.flatten()


def _for_vgg(images: Tensor) -> Tensor:
    """(N, C, H, W) in [0, 1] -> (N, 3, H', W') in [-1, 1]."""
    images = images.to(torch.promote_types(images.dtype, torch.float32)).expand(-1, 3, -1, -1)
    height, width = images.shape[-2:]
    side = min(height, width)
    wanted = min(max(side, VGG_SIZES[0]), VGG_SIZES[1])
    if wanted != side:
        size = (round(height * wanted / side), round(width * wanted / side))
        images = functional.interpolate(images, size, mode="bilinear" if wanted > side else "area")
    return 2 * images - 1


@lru_cache
def _lpips(device: torch.device, precision: torch.dtype) -> nn.Module:
    """(N, 3, H, W) twice, in [-1, 1] -> (N, 1, 1, 1); loaded once, its weights downloaded into torch's caches."""
    with torch.inference_mode(False):  # what is kept has to serve for gradients too
        try:
            network: nn.Module = LearnedPerceptualImagePatchSimilarity("vgg").net
        except (OSError, HTTPException, RuntimeError) as error:
            raise GenmodelsError(
                f"distance 'lpips': the download of VGG's weights failed ({' '.join(str(error).split())}); expected "
                f"a working network, or the file in {os.path.join(torch.hub.get_dir(), 'checkpoints')}."
            ) from error
        return network.to(device, precision)


def check_pair(x: Tensor, y: Tensor) -> None:
    """Raises GenmodelsError unless both are floating point (N, C, H, W), of one shape."""
    if x.ndim != 4 or x.shape != y.shape or not (x.is_floating_point() and y.is_floating_point()):
        raise GenmodelsError(
            f"images to compare are {x.dtype} {tuple(x.shape)} and {y.dtype} {tuple(y.shape)}; expected floating point "
            "(N, C, H, W) twice."
        )


DISTANCES: dict[DistanceName, Distance] = {"pyramid": pyramid_distance, "lpips": lpips_distance}


def check_distance(owner: str, name: str) -> None:
    """Raises GenmodelsError, which begins with `owner`, unless the name is one of `DISTANCES`."""
    if name not in DISTANCES:
        raise GenmodelsError(f"{owner}: distance is {name!r}; expected one of {', '.join(DISTANCES)}.")


class _Methods(nn.Module):
    """A model's methods as one forward pass, which `functional_call` can do with other weights."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, method: str, *arguments: Any) -> Tensor:
        made: Tensor = getattr(self.model, method)(*arguments)
        return made


@torch.no_grad()
def perceptual_path_length(
    model: Any,
    *,
    samples: int = 10_000,
    distance: DistanceName = "pyramid",
    space: SpaceName = "w",
    generator: torch.Generator | None = None,
) -> dict[str, float]:
    """Perceptual path length (Karras et al. 2018): how fast images change on the way between two latents.

    The mean of d(G(t), G(t + e)) / e^2, e = 0.0001, over pairs of drawn latents and a drawn t in [0, 1]; both images
    have the same noise. What lies beyond the 1st and the 99th percentile is left out. Low is smooth: no way leads
    through images that are unlike both of its ends. Values by one distance, in one space, compare; others do not.

    In float32 the difference of so near images would partly be rounding, and in TF32 or bfloat16 nothing else. The
    weights are therefore taken as float64, but on MPS, which has none: of untrained StyleGANs of 16 and 64 pixels the
    score is then within 0.0001 of that without any rounding, as a share.

    Args:
        model: a module with `latent_dim`, `styles(z)`, `synthesize(styles, noises)` and `draw_noises(n, generator)`,
            e.g. a `StyleGAN`; it stays as it is.
        samples: pairs, 1 or more; the paper has 100,000.
        distance: of images, one of `DISTANCES`; the paper's is "lpips".
        space: where the way lies: "z", on a circle through the one latent, around the origin, to the direction of the
            other; "w", on a straight line between their styles.
        generator: source of latents, places and noise.

    Returns:
        One number of 0 or more, whose name tells what it is, e.g. {"ppl_w_pyramid": …}.

    Raises:
        GenmodelsError: for an option out of its range; as the distance does.
    """
    if samples < 1:
        raise GenmodelsError(f"perceptual_path_length: samples is {samples}; expected 1 or more.")
    check_distance("perceptual_path_length", distance)
    if space not in get_args(SpaceName):
        raise GenmodelsError(f"perceptual_path_length: space is {space!r}; expected one of z, w.")
    device = next(model.parameters()).device
    precision = torch.float32 if device.type == "mps" else torch.float64
    generator = generator or torch.Generator(device).manual_seed(int(torch.randint(2**62, ())))
    methods = _Methods(model)
    weights = {
        name: weight.to(precision)
        for name, weight in chain(methods.named_parameters(), methods.named_buffers())
        if weight.is_floating_point()
    }

    def call(method: str, *arguments: Any) -> Tensor:
        made: Tensor = functional_call(methods, weights, (method, *arguments))
        return made.to(precision)

    lengths = []
    with in_eval_mode(model):
        for first in range(0, samples, PAIRS):
            n = min(PAIRS, samples - first)
            z = torch.randn(2 * n, model.latent_dim, generator=generator, device=generator.device)
            start = torch.rand(n, 1, generator=generator, device=generator.device).to(device, precision)
            noises = model.draw_noises(n, generator)
            places = (start, start + STEP)
            z0, z1 = z.to(device, precision).chunk(2)
            if space == "w":
                w0, w1 = call("styles", z0), call("styles", z1)
                styles = [w0.lerp(w1, place) for place in places]
            else:
                styles = [call("styles", _on_circle(z0, z1, place)) for place in places]
            near = [call("synthesize", style, noises) for style in styles]
            lengths.append(DISTANCES[distance](near[0], near[1]) / STEP**2)
    return {f"ppl_{space}_{distance}": _trimmed_mean(torch.cat(lengths))}


def _on_circle(z0: Tensor, z1: Tensor, place: Tensor) -> Tensor:
    """(N, Z) twice, (N, 1) in [0, 1] -> (N, Z), from z0 to the direction of z1, all of the length of z0.

    Like its ends every place on it is of N(0, I), if these are.
    """
    direction = functional.normalize(z0)
    cosine = (direction * functional.normalize(z1)).sum(1, keepdim=True).clamp(-1, 1)
    across = functional.normalize(z1 - (z1 * direction).sum(1, keepdim=True) * direction)
    angle = place * cosine.acos()
    length: Tensor = z0.norm(dim=1, keepdim=True)
    return length * (angle.cos() * direction + angle.sin() * across)


def _trimmed_mean(values: Tensor) -> float:
    """Of what lies within the percentiles, these included."""
    low, high = (
        torch.quantile(values, share, interpolation=side)
        for share, side in zip(PERCENTILES, ("lower", "higher"), strict=True)
    )
    return values[(values >= low) & (values <= high)].mean().item()
