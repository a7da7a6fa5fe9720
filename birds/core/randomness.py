"""Randomness is an argument: every consumer draws from its own stream, named by (seed, purpose,
position).

A stream is a pure function of its name, so a resumed run draws what an undisturbed one would have
drawn, and a new consumer never shifts the numbers of an old one.
"""

import hashlib

import numpy as np


def stream_seed(seed: int, purpose: str, *position: int) -> int:
    """A 63-bit seed for the stream (seed, purpose, position): equal names give equal seeds, on
    every machine.
    """
    name = "/".join([str(seed), purpose, *map(str, position)])
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") >> 1


def stream(seed: int, purpose: str, *position: int) -> np.random.Generator:
    """The numpy generator of the stream (seed, purpose, position)."""
    return np.random.default_rng(stream_seed(seed, purpose, *position))
