"""Weights by the names of the well-known PyTorch implementation of pix2pix."""

import torch


def published_unet_state(depth=7, width=4, channels=(3, 2)):
    """As that implementation names the weights of its U-Net: blocks within blocks."""
    widths = [width * min(2**level, 8) for level in range(depth)]
    state = {}

    def norm(name, size):
        state.update({f"{name}.weight": torch.randn(size), f"{name}.bias": torch.randn(size)})
        state.update({f"{name}.running_mean": torch.randn(size), f"{name}.running_var": torch.rand(size)})
        state[f"{name}.num_batches_tracked"] = torch.tensor(7)

    state["model.model.0.weight"] = torch.randn(width, channels[0], 4, 4)
    block = "model.model.1.model"
    for level in range(1, depth):
        innermost = level == depth - 1
        state[f"{block}.1.weight"] = 0.1 * torch.randn(widths[level], widths[level - 1], 4, 4)
        up = widths[level] * (1 if innermost else 2), widths[level - 1], 4, 4
        state[f"{block}.{3 if innermost else 5}.weight"] = 0.1 * torch.randn(up)
        norm(f"{block}.{4 if innermost else 6}", widths[level - 1])
        if not innermost:
            norm(f"{block}.2", widths[level])
        block += ".3.model"
    state["model.model.3.weight"] = 0.1 * torch.randn(2 * width, channels[1], 4, 4)
    state["model.model.3.bias"] = torch.randn(channels[1])
    return state


def published_discriminator_state(halvings=3, prefix="model"):
    """As that implementation names them: convolution, normalisation and activation in one sequence."""
    widths = [64 * min(2**level, 8) for level in range(max(halvings, 1) + 1)]
    size = 1 if prefix == "net" else 4
    state = {f"{prefix}.0.weight": torch.randn(64, 5, size, size), f"{prefix}.0.bias": torch.randn(64)}
    for layer in range(1, len(widths)):
        place, shape = 3 * layer - 1, (widths[layer], widths[layer - 1], size, size)
        state[f"{prefix}.{place}.weight"] = 0.1 * torch.randn(shape)
        for name in ("weight", "bias", "running_mean", "running_var"):
            state[f"{prefix}.{place + 1}.{name}"] = torch.rand(widths[layer])
    state[f"{prefix}.{3 * len(widths) - 1}.weight"] = 0.1 * torch.randn(1, widths[-1], size, size)
    if prefix == "model":
        state[f"{prefix}.{3 * len(widths) - 1}.bias"] = torch.randn(1)
    return state
