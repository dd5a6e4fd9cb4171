"""Randomness that is the same in every run."""

from __future__ import annotations

from hashlib import shake_256


class SeededEntropy:
    """`kernel.ports.Entropy` from a seed: the same seed gives the same bytes in the same order. Never for keys that protect anything."""

    def __init__(self, seed: object) -> None:
        self._seed = f"omega test entropy {seed} ".encode()
        self._taken = 0

    def take(self, size: int) -> bytes:
        """The next `size` bytes."""
        self._taken += 1
        return shake_256(self._seed + str(self._taken).encode()).digest(size)
