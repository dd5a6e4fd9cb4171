"""The Merkle tree of RFC 6962 and RFC 9162, section 2.1: hashes, a compact range to grow it, a tree to prove from, and both verifiers.

Theory. The tree over n leaves is not padded: a node at level k, index j covers the leaves [j << k, (j + 1) << k) and never changes once
all of them exist. Two consequences carry this module:

* What must be kept to grow the tree is one full node per set bit of n, the *peaks*. A `Range` is that list; adding leaves is binary
  addition with carries, done here a level at a time so that a thousand leaves cost a thousand leaf hashes and a thousand node hashes.
* At each level only the last node may be incomplete. It is then either its only child, promoted unchanged, or the hash of its children. The
  incomplete nodes of one size form the *border*, one per level, with the root on top. Every proof is made of full nodes and at
  most a few border nodes, so a `Tree` keeps the full nodes by level and computes the border once per size.

Leaves are hashed with the prefix 0x00 and nodes with 0x01, so that neither can be passed off as the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import sha256

from omega.kernel.errors import IntegrityError

HASH_SIZE = 32
"""Bytes of one hash."""

MAX_LEVELS = 63
"""Longest proof in hashes, and bits of the largest size: far above any log, far below any harm."""

EMPTY_ROOT = sha256(b"").digest()
"""The root of the tree without leaves (RFC 9162, 2.1.1)."""


def leaf_hash(leaf: bytes) -> bytes:
    """The hash of one leaf: SHA-256(0x00 || leaf)."""
    return sha256(b"\x00" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of an inner node: SHA-256(0x01 || left || right)."""
    return sha256(b"\x01" + left + right).digest()


class Range:
    """The compact range [0, size): all that is needed to grow a log and to know its root.

    The state is `size` (8 bytes, big-endian) and one 32-byte peak per set bit of it, the lowest level first.
    """

    __slots__ = ("_peaks", "size")

    def __init__(self) -> None:
        self.size = 0
        self._peaks: list[bytes | None] = []

    @classmethod
    def restore(cls, state: bytes) -> Range:
        """The range that `state` describes; an empty state is the empty range. Raises IntegrityError (OMG-S005) on any other length."""
        found = cls()
        if not state:
            return found
        size = int.from_bytes(state[:8], "big")
        if len(state) != 8 + HASH_SIZE * size.bit_count() or size.bit_length() > MAX_LEVELS:
            raise IntegrityError("OMG-S005", f"a log state of {len(state)} bytes does not fit its size {size}")
        found.size = size
        at = 8
        for level in range(size.bit_length()):
            if size >> level & 1:
                found._peaks.append(state[at : at + HASH_SIZE])
                at += HASH_SIZE
            else:
                found._peaks.append(None)
        return found

    def state(self) -> bytes:
        """The range as bytes for `restore`."""
        return self.size.to_bytes(8, "big") + b"".join(peak for peak in self._peaks if peak is not None)

    def append(self, leaf: bytes) -> None:
        """Add one leaf."""
        self.extend_hashed([leaf_hash(leaf)])

    def extend(self, leaves: Iterable[bytes]) -> None:
        """Add `leaves` in order; one call with many is several times cheaper than many calls with one."""
        self.extend_hashed([sha256(b"\x00" + leaf).digest() for leaf in leaves])

    def extend_hashed(self, hashes: list[bytes]) -> None:
        """Add leaves of which the hashes are known. The list is used up."""
        self.size += len(hashes)
        peaks = self._peaks
        level = 0
        while hashes:
            if level == len(peaks):
                peaks.append(None)
            peak = peaks[level]
            if peak is not None:
                hashes.insert(0, peak)
            peaks[level] = hashes.pop() if len(hashes) & 1 else None
            pairs = iter(hashes)
            hashes = [sha256(b"\x01" + left + right).digest() for left, right in zip(pairs, pairs, strict=True)]
            level += 1

    def root(self) -> bytes:
        """The root hash of the tree over all leaves so far."""
        root: bytes | None = None
        for peak in self._peaks:
            if peak is not None:
                root = peak if root is None else node_hash(peak, root)
        return EMPTY_ROOT if root is None else root


class Tree:
    """A tree that can prove: keeps every full node, two hashes per leaf. Sizes up to the present one can be asked about."""

    def __init__(self, leaves: Iterable[bytes] = ()) -> None:
        self._levels: list[list[bytes]] = [[]]
        self._border_size = 0
        self._border: list[bytes] = []
        self.extend(leaves)

    @property
    def size(self) -> int:
        """Leaves so far."""
        return len(self._levels[0])

    def append(self, leaf: bytes) -> None:
        """Add one leaf."""
        self.extend((leaf,))

    def extend(self, leaves: Iterable[bytes]) -> None:
        """Add `leaves` in order."""
        self.extend_hashed([sha256(b"\x00" + leaf).digest() for leaf in leaves])

    def extend_hashed(self, hashes: Iterable[bytes]) -> None:
        """Add leaves of which the hashes are known, in order."""
        levels = self._levels
        levels[0].extend(hashes)
        level = 0
        while len(levels[level]) > 1:
            if level + 1 == len(levels):
                levels.append([])
            below, here = levels[level], levels[level + 1]
            start, end = 2 * len(here), len(below) & ~1
            here.extend([sha256(b"\x01" + below[at] + below[at + 1]).digest() for at in range(start, end, 2)])
            level += 1

    def root(self, size: int | None = None) -> bytes:
        """The root over the first `size` leaves (all by default). Raises IndexError for a size that is not there."""
        size = self._checked(self.size if size is None else size)
        return self._border_of(size)[-1] if size else EMPTY_ROOT

    def inclusion(self, index: int, size: int | None = None) -> list[bytes]:
        """The proof that leaf `index` is in the tree of `size` (RFC 9162, 2.1.3.1). Raises IndexError when it is not."""
        size = self._checked(self.size if size is None else size)
        if not 0 <= index < size:
            raise IndexError(f"leaf {index} is not in a tree of {size}")
        return self._climb(index, size - 1, 0, self._border_of(size))

    def consistency(self, old: int, size: int | None = None) -> list[bytes]:
        """The proof that the tree of `old` is a prefix of that of `size` (RFC 9162, 2.1.4.1). Raises IndexError unless 0 <= old <= size."""
        size = self._checked(self.size if size is None else size)
        if not 0 <= old <= size:
            raise IndexError(f"a tree of {old} is no prefix of one of {size}")
        if old in (0, size):
            return []
        node, last, level = old - 1, size - 1, 0
        while node & 1:  # the largest full node that ends the old tree: the verifier knows it when it is the whole old tree
            node, last, level = node >> 1, last >> 1, level + 1
        start = [self._levels[level][node]] if node else []
        return start + self._climb(node, last, level, self._border_of(size))

    def _climb(self, node: int, last: int, level: int, border: list[bytes]) -> list[bytes]:
        """The siblings on the way from (level, node) to the root; `last` is the index of the last node of that level."""
        levels, proof = self._levels, []
        while last:
            sibling = node ^ 1
            if sibling < last:
                proof.append(levels[level][sibling])
            elif sibling == last:
                proof.append(border[level])
            node, last, level = node >> 1, last >> 1, level + 1
        return proof

    def _border_of(self, size: int) -> list[bytes]:
        """The last node of each level of the tree of `size` >= 1, leaf first, root last."""
        if self._border_size != size:
            last = size - 1
            here = self._levels[0][last]
            border = [here]
            level = 0
            while last:
                if last & 1:
                    here = node_hash(self._levels[level][last - 1], here)
                border.append(here)
                last, level = last >> 1, level + 1
            self._border, self._border_size = border, size
        return self._border

    def _checked(self, size: int) -> int:
        if not 0 <= size <= self.size:
            raise IndexError(f"the tree has {self.size} leaves, not {size}")
        return size


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> bool:
    """Whether `proof` shows that the leaf hash `leaf` is at `index` of the tree of `size` with `root` (RFC 9162, 2.1.3.2)."""
    if not 0 <= index < size or len(proof) > MAX_LEVELS:
        return False
    node, last, here = index, size - 1, leaf
    for sibling in proof:
        if not last or len(sibling) != HASH_SIZE:
            return False
        if node & 1 or node == last:
            here = sha256(b"\x01" + sibling + here).digest()
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            here = sha256(b"\x01" + here + sibling).digest()
        node, last = node >> 1, last >> 1
    return not last and here == root


def verify_consistency(old: int, size: int, proof: Sequence[bytes], old_root: bytes, root: bytes) -> bool:
    """Whether `proof` shows that the tree of `old` with `old_root` is a prefix of that of `size` with `root` (RFC 9162, 2.1.4.2)."""
    if not 0 <= old <= size or len(proof) > MAX_LEVELS or any(len(step) != HASH_SIZE for step in proof):
        return False
    if old == size:
        return not proof and old_root == root
    if old == 0:
        return not proof and old_root == EMPTY_ROOT
    steps = [old_root, *proof] if old & (old - 1) == 0 else list(proof)
    if not steps:
        return False
    node, last = old - 1, size - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    before = after = steps[0]
    for step in steps[1:]:
        if not last:
            return False
        if node & 1 or node == last:
            before, after = node_hash(step, before), node_hash(step, after)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            after = node_hash(after, step)
        node, last = node >> 1, last >> 1
    return not last and before == old_root and after == root
