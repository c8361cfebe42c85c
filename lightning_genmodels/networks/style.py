"""The networks of StyleGAN (Karras et al. 2018), and those of its successor (Karras et al. 2020) by option.

In shapes N is images, C an image's channels, S its size in pixels, Z the length of latents and of styles, K the
channels of a feature map, L the layers that take a style: two for each of the sizes 4, 8, 16, … S. Images are in
[-1, 1]; those of a generator whose output is linear are not clamped.

Both networks hold `detail`, how far they have grown: 0 is 4 pixels, 1 is 8, and 1.25 a quarter of the way from 8 to 16.
Networks that do not grow are at their last.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

SLOPE = 0.2  # of the leaky ReLUs
GAIN = math.sqrt(2)  # of the layers that one follows
GROUP = 4  # images whose deviation the discriminator sees
MAPPING_RATE = 0.01  # the mapping network learns by a hundredth of the rate
EPSILON = 1e-8


def style_levels(size: int) -> int:
    """How many sizes lie above 4 pixels up to that one, a power of two: 2 for 16."""
    return size.bit_length() - 3


def channels_at(size: int, width: int) -> int:
    """Channels of the feature maps of that size in pixels: `width`, and from 64 pixels on half as many a step."""
    return max(1, min(width, 32 * width // size))


class EqualizedLinear(nn.Module):
    """A linear layer whose weights are drawn from N(0, 1) and scaled as they are used (Karras et al. 2017).

    So Adam, whose steps are of one size, moves every layer by the same share of its range.

    Args:
        before: length of the input.
        after: length of the output.
        gain: standard deviation of the output for inputs of N(0, 1).
        rate: what the learning rate is multiplied by, for the bias too.
    """

    def __init__(self, before: int, after: int, gain: float = GAIN, rate: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(after, before) / rate)
        self.bias = nn.Parameter(torch.zeros(after))
        self.scale, self.rate = gain / math.sqrt(before) * rate, rate

    def forward(self, x: Tensor) -> Tensor:
        """(N, before) -> (N, after)."""
        return functional.linear(x, self.weight * self.scale, self.bias * self.rate)


class EqualizedConv2d(nn.Module):
    """The same as a convolution that keeps the size; `kernel` is odd."""

    def __init__(self, before: int, after: int, kernel: int, gain: float = GAIN, bias: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(after, before, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(after)) if bias else None
        self.scale, self.padding = gain / math.sqrt(before * kernel**2), kernel // 2

    def forward(self, x: Tensor) -> Tensor:
        """(N, before, H, W) -> (N, after, H, W)."""
        return functional.conv2d(x, self.weight * self.scale, self.bias, padding=self.padding)

    def enlarge(self, x: Tensor) -> Tensor:
        """(N, before, H, W) -> (N, after, 2 H, 2 W): `forward` of the enlarged x, in less than half of the operations.

        The kernel, of 3 pixels, is summed over the two places that a repeated pixel has.
        """
        kernel = _overlapped(self.weight * self.scale).transpose(0, 1).flip(2, 3)
        return functional.conv_transpose2d(x, kernel, self.bias, stride=2, padding=1)

    def shrink(self, x: Tensor) -> Tensor:
        """(N, before, H, W) -> (N, after, H / 2, W / 2): the shrunk `forward` of x, in as much less."""
        kernel = _overlapped(self.weight * self.scale) / 4
        return functional.conv2d(x, kernel, self.bias, stride=2, padding=1)


def _overlapped(kernel: Tensor) -> Tensor:
    """(…, 3, 3) -> (…, 4, 4): the sum of the kernel at four places, one pixel apart."""
    padded = functional.pad(kernel, (1, 1, 1, 1))
    return padded[..., 1:, 1:] + padded[..., :-1, 1:] + padded[..., 1:, :-1] + padded[..., :-1, :-1]


def blur(x: Tensor) -> Tensor:
    """(N, K, H, W) under the window [1, 2, 1] x [1, 2, 1] / 16; beyond the border are zeros."""
    line = torch.tensor([0.25, 0.5, 0.25], dtype=x.dtype, device=x.device)
    window = line.outer(line).expand(x.shape[1], 1, 3, 3)
    return functional.conv2d(x, window, padding=1, groups=x.shape[1])


def enlarge(x: Tensor, factor: int = 2) -> Tensor:
    """(N, K, H, W) -> (N, K, factor H, factor W): each pixel repeated."""
    return functional.interpolate(x, scale_factor=factor, mode="nearest")


def shrink(x: Tensor, factor: int = 2) -> Tensor:
    """(N, K, H, W) -> (N, K, H / factor, W / factor): means of squares."""
    return functional.avg_pool2d(x, factor)


def adaptive_normalization(x: Tensor, style: Tensor) -> Tensor:
    """Adaptive instance normalisation, AdaIN: each channel of each image gets the deviation and mean of its style.

    Args:
        x: (N, K, H, W).
        style: (N, 2 K), the scales, of which 0 stands for 1, then the means.
    """
    scale, shift = style[:, :, None, None].chunk(2, 1)
    precise = x.to(torch.promote_types(x.dtype, torch.float32))
    return functional.instance_norm(precise, eps=EPSILON).to(x) * (scale + 1) + shift


def batch_deviation(x: Tensor) -> Tensor:
    """(N, K, H, W) -> (N, K + 1, H, W): the last channel is the mean deviation within groups of 4 images, or fewer.

    The group is the largest number up to 4 that divides N. By it the discriminator sees images that are too alike.
    """
    group = next(size for size in range(GROUP, 0, -1) if len(x) % size == 0)
    grouped = x.float().unflatten(0, (group, -1))
    deviation = (grouped.var(0, unbiased=False) + EPSILON).sqrt().mean((1, 2, 3))  # (N / group,)
    channel = deviation.repeat(group).view(-1, 1, 1, 1).expand(-1, 1, *x.shape[2:])
    return torch.cat([x, channel.to(x)], 1)


class MappingNetwork(nn.Sequential):
    """(N, Z) latents, scaled to the length sqrt(Z) -> (N, Z) styles, whose places need not be Gaussian."""

    def __init__(self, latent_dim: int, depth: int) -> None:
        super().__init__()
        for _ in range(depth):
            self.append(EqualizedLinear(latent_dim, latent_dim, rate=MAPPING_RATE))
            self.append(nn.LeakyReLU(SLOPE))

    def forward(self, z: Tensor) -> Tensor:
        """See the class."""
        styles: Tensor = super().forward(z * (z.square().mean(1, keepdim=True) + EPSILON).rsqrt())
        return styles


class StyleLayer(nn.Module):
    """What becomes of a feature map: enlarged or not, convolved, noise of each pixel added, styled.

    Args:
        before: channels of the input; 0 where there is no convolution, after the constant.
        after: channels of the output.
        style_dim: Z.
        enlarges: twice as many pixels a side.
    """

    def __init__(self, before: int, after: int, style_dim: int, enlarges: bool) -> None:
        super().__init__()
        self.enlarges = enlarges
        self.conv = EqualizedConv2d(before, after, 3, bias=False) if before else None
        self.noise_weight = nn.Parameter(torch.zeros(after, 1, 1))
        self.bias = nn.Parameter(torch.zeros(after, 1, 1))
        self.style = EqualizedLinear(style_dim, 2 * after, gain=1)

    def forward(self, x: Tensor, style: Tensor, noise: Tensor | None) -> Tensor:
        """(N, before, H, W), (N, Z), (N, 1, H', W') noise or none -> (N, after, H', W')."""
        if self.conv is not None:
            x = blur(self.conv.enlarge(x)) if self.enlarges else self.conv(x)
        if noise is not None:
            x = x + self.noise_weight * noise.to(x)
        return adaptive_normalization(functional.leaky_relu(x + self.bias, SLOPE), self.style(style))


class Synthesis(nn.Module):
    """(N, L, Z) styles -> (N, C, S, S), from a learned constant of 4 pixels.

    Args:
        size: S, a power of two of 8 or more.
        channels: C.
        style_dim: Z.
        width: channels of the feature maps of up to 32 pixels.
        growing: the image is that of the last size, and while that fades in, the one before (Karras et al. 2018); else
            the sum over all sizes, of which each adds its own (Karras et al. 2020).
        bounded: the image is the tanh of that.
    """

    detail: Tensor

    def __init__(
        self, size: int, channels: int, style_dim: int, width: int, growing: bool, bounded: bool = False
    ) -> None:
        super().__init__()
        self.growing, self.last, self.bounded = growing, style_levels(size), bounded
        self.register_buffer("detail", torch.tensor(float(self.last)))
        self.layers, self.to_image = nn.ModuleList(), nn.ModuleList()
        before = channels_at(4, width)
        self.constant = nn.Parameter(torch.ones(1, before, 4, 4))
        for level in range(self.last + 1):
            after = channels_at(4 << level, width)
            self.layers.append(StyleLayer(before if level else 0, after, style_dim, enlarges=level > 0))
            self.layers.append(StyleLayer(after, after, style_dim, enlarges=False))
            self.to_image.append(EqualizedConv2d(after, channels, 1, gain=1))
            before = after

    def draw_noises(self, n: int, generator: torch.Generator) -> list[Tensor]:
        """(n, 1, H, W) of N(0, 1) for each layer in use, on the generator's device."""
        sizes = [4 << number // 2 for number in range(2 * math.ceil(self.detail.item()) + 2)]
        return [torch.randn(n, 1, size, size, generator=generator, device=generator.device) for size in sizes]

    def forward(self, styles: Tensor, noises: list[Tensor] | None = None) -> Tensor:
        """See the class; `noises` has one for each layer in use, None adds none."""
        detail = self.detail.item()
        first, last = math.floor(detail) if self.growing else 0, math.ceil(detail)  # of the sizes that show
        image = x = self.constant.expand(len(styles), -1, -1, -1)
        for level in range(last + 1):
            for number in (2 * level, 2 * level + 1):
                x = self.layers[number](x, styles[:, number], None if noises is None else noises[number])
            if level < first:
                continue
            own = self.to_image[level](x)
            if level == first:
                image = own
            elif self.growing:
                image = enlarge(image).lerp(own, detail - first)
            else:
                image = blur(enlarge(image)) + own
        image = image.tanh() if self.bounded else image
        return enlarge(image, 1 << (self.last - last)) if last < self.last else image


class StyleGenerator(nn.Module):
    """(N, Z) styles, or (N, L, Z), one for each layer -> (N, C, S, S); `styles` makes them of latents.

    Its arguments are those of its two networks. `style_average` (Z,), the mean of the styles of late, is kept by the
    training.
    """

    style_average: Tensor

    def __init__(
        self,
        size: int,
        channels: int,
        latent_dim: int,
        width: int,
        mapping_depth: int,
        growing: bool,
        bounded: bool = False,
    ) -> None:
        super().__init__()
        self.mapping = MappingNetwork(latent_dim, mapping_depth)
        self.synthesis = Synthesis(size, channels, latent_dim, width, growing, bounded)
        self.register_buffer("style_average", torch.zeros(latent_dim))

    def styles(self, z: Tensor, truncation: float = 1.0) -> Tensor:
        """(N, Z) latents -> (N, Z) styles, moved to within that share of their way from the mean style."""
        styles: Tensor = self.mapping(z)
        return styles if truncation == 1 else self.style_average.to(styles).lerp(styles, truncation)

    def forward(self, styles: Tensor, noises: list[Tensor] | None = None) -> Tensor:
        """See the class; `noises` as of `Synthesis`."""
        styles = styles[:, None].expand(-1, len(self.synthesis.layers), -1) if styles.ndim == 2 else styles
        images: Tensor = self.synthesis(styles, noises)
        return images


class ShrinkingBlock(nn.Module):
    """(N, before, H, W) -> (N, after, H / 2, W / 2): two convolutions, and by option a way around them."""

    def __init__(self, before: int, after: int, residual: bool) -> None:
        super().__init__()
        self.conv0 = EqualizedConv2d(before, before, 3)
        self.conv1 = EqualizedConv2d(before, after, 3)
        self.around = EqualizedConv2d(before, after, 1, gain=1, bias=False) if residual else None

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        made = functional.leaky_relu(self.conv0(x), SLOPE)
        made = functional.leaky_relu(self.conv1.shrink(blur(made)), SLOPE)
        if self.around is None:
            return made
        shortened: Tensor = self.around(shrink(blur(x)))
        return (made + shortened) / math.sqrt(2)


class StyleDiscriminator(nn.Module):
    """(N, C, S, S) -> (N,) logits.

    Args:
        size: S, a power of two of 8 or more.
        channels: C.
        width: channels of the feature maps of up to 32 pixels.
        growing: images enter at the size that is reached, and while that fades in, at the one before too (Karras et al.
            2018); else at the last, and each block has a way around it (Karras et al. 2020).
    """

    detail: Tensor

    def __init__(self, size: int, channels: int, width: int, growing: bool) -> None:
        super().__init__()
        self.growing, self.last = growing, style_levels(size)
        self.register_buffer("detail", torch.tensor(float(self.last)))
        widths = [channels_at(4 << level, width) for level in range(self.last + 1)]
        entries = widths if growing else widths[-1:]
        self.from_image = nn.ModuleList(EqualizedConv2d(channels, after, 1) for after in entries)
        self.blocks = nn.ModuleList(
            ShrinkingBlock(widths[level + 1], widths[level], residual=not growing) for level in range(self.last)
        )
        self.conv = EqualizedConv2d(widths[0] + 1, widths[0], 3)
        self.linear = EqualizedLinear(16 * widths[0], widths[0])
        self.head = EqualizedLinear(widths[0], 1, gain=1)

    def forward(self, images: Tensor) -> Tensor:
        """See the class."""
        detail = self.detail.item()
        top = math.ceil(detail)
        images = shrink(images, 1 << (self.last - top)) if top < self.last else images
        x = self._entered(images, top)
        for level in reversed(range(top)):
            x = self.blocks[level](x)
            if level == top - 1 and detail < top:
                x = self._entered(shrink(images), level).lerp(x, detail - level)
        x = functional.leaky_relu(self.conv(batch_deviation(x)), SLOPE)
        x = functional.leaky_relu(self.linear(x.flatten(1)), SLOPE)
        logits: Tensor = self.head(x).flatten()
        return logits

    def _entered(self, images: Tensor, level: int) -> Tensor:
        return functional.leaky_relu(self.from_image[level if self.growing else 0](images), SLOPE)
