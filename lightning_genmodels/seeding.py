"""One seed from several numbers."""

import hashlib


def derive_seed(*numbers: int) -> int:
    """Mixes e.g. (seed, batch, rank) into one seed for a `torch.Generator`, the same on every machine.

    A hash, and not a sum: seeds 0 and 1 must not share their batches' draws shifted by one.
    """
    digest = hashlib.blake2b(repr(numbers).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1
