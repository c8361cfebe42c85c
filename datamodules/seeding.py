"""Seeds of what is drawn at random."""

import hashlib

import torch


def batch_generator(seed: int, batch: int, rank: int) -> torch.Generator:
    """A generator on the CPU for one batch's draws: the same after a resume, another for each process."""
    digest = hashlib.blake2b(repr((seed, batch, rank)).encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "little") >> 1)


def item_generators(split: str, train_count: int) -> list[torch.Generator]:
    """A generator for each item of a made set, the same for everyone; "val" and "test" have a fifth of the items."""
    count = train_count if split == "train" else max(1, train_count // 5)
    place = ("train", "val", "test").index(split)
    return [batch_generator(place, number, 0) for number in range(count)]
