"""Seeds of what is drawn at random."""

import hashlib

import torch


def batch_generator(seed: int, batch: int, rank: int) -> torch.Generator:
    """A generator on the CPU for one batch's draws: the same after a resume, another for each process."""
    digest = hashlib.blake2b(repr((seed, batch, rank)).encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "little") >> 1)
