"""Seeds of what is drawn at random."""

import hashlib
from collections.abc import Callable

import torch
from torch import Tensor


class BatchGenerator(torch.Generator):
    """A source of draws on the CPU that knows which part of the batch, shared by processes, is drawn for."""

    rank = 0
    world_size = 1


def batch_generator(seed: int, batch: int, rank: int = 0, world_size: int = 1) -> BatchGenerator:
    """A generator for one batch's draws: the same after a resume and, by `draw`, with any number of processes."""
    digest = hashlib.blake2b(repr((seed, batch, 0)).encode(), digest_size=8).digest()
    generator = BatchGenerator()
    generator.manual_seed(int.from_bytes(digest, "little") >> 1)
    generator.rank, generator.world_size = rank, world_size
    return generator


def draw(function: Callable[..., Tensor], generator: torch.Generator, n: int, *shape: int) -> Tensor:
    """(n, *shape) of `torch.rand` or `torch.randn`: drawn for the whole batch; a process takes its own rows."""
    world_size = getattr(generator, "world_size", 1)
    rows = slice(getattr(generator, "rank", 0) * n, None)
    return function(n * world_size, *shape, generator=generator)[rows][:n]


def item_generators(split: str, train_count: int) -> list[torch.Generator]:
    """A generator for each item of a made set, the same for everyone; "val" and "test" have a fifth of the items."""
    count = train_count if split == "train" else max(1, train_count // 5)
    place = ("train", "val", "test").index(split)
    return [batch_generator(place, number, 0) for number in range(count)]
