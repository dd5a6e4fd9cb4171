"""A log as static files: C2SP tlog-tiles, which any web server, bucket or disk can hold and other implementations read without Omega.

    checkpoint                   the newest signed checkpoint
    tile/entries/<N>             256 leaves, each after its length (2 bytes, big-endian)
    tile/<L>/<N>                 256 hashes of 32 bytes: the nodes of the tree at level 8 x L
    tile/<L>/<N>.p/<W>           the last one of a level, with only W of them

N is written in groups of three digits, all but the last after an `x`: 1234067 is `x001/x234/067`. A full tile never changes; so a
second export from where the first one ended writes few files, and a cache may keep the others for ever. Partial tiles of older sizes
may stay: each is true for its size.

Written last is the checkpoint: whoever reads it finds everything that it covers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256

from omega.chronicle.pruned import hash_of, is_pruned
from omega.kernel.errors import IntegrityError
from omega.kernel.ports import Reader, Signer
from omega.trust import checkpoint
from omega.trust.checkpoint import Checkpoint, VerifierKey
from omega.trust.merkle import EMPTY_ROOT, HASH_SIZE, Range, leaf_hash, node_hash

WIDTH = 256
"""Hashes or entries of a full tile: eight levels of the tree."""

MAX_SIZE = 1 << 40
"""Most leaves of a log that is written or read as tiles: five levels of them."""

BUNDLES = 16
"""Bundles of leaves read from a store at once."""


def tile_path(level: int | str, number: int, width: int = WIDTH) -> str:
    """Where tile `number` of `level` lies, or of the leaves when `level` is `entries`; `width` below 256 makes it a partial one."""
    groups = [f"{number % 1000:03}"]
    while number >= 1000:
        number //= 1000
        groups.insert(0, f"x{number % 1000:03}")
    partial = "" if width == WIDTH else f".p/{width}"
    return f"tile/{level}/{'/'.join(groups)}{partial}"


def export_tiles(reader: Reader, tenant: str, write: Callable[[str, bytes], None], *, since: int = 0, lasting: Signer | None = None) -> int:
    """Write the log of `tenant` as tiles through `write(path, body)`; gives the number of leaves.

    With `since`, the size at an earlier export into the same place, files that cannot have changed are left out. `lasting` signs the
    checkpoint too (ML-DSA-65).
    Raises IntegrityError (OMG-C001) when the leaves are not those of the newest checkpoint, or leaf by leaf cannot be such.
    """
    points = reader.checkpoints(tenant)
    if not points:
        return 0
    size, note = points[-1]
    root = checkpoint.parse(note).checkpoint.root
    levels: list[_Level] = []
    whole = Range()
    for number, bundle in enumerate(_bundles(reader, tenant, size)):
        if number >= since // WIDTH and not any(map(is_pruned, bundle)):
            write(tile_path("entries", number, len(bundle)), pack(bundle))
        hashes = [hash_of(leaf) for leaf in bundle]
        whole.extend_hashed(list(hashes))
        _climb(levels, hashes, write, since)
    if whole.size != size or whole.root() != root:
        raise IntegrityError("OMG-C001", f"the leaves of {tenant} are not those of its newest checkpoint")
    for level in levels:
        level.close(write)
    write("checkpoint", note if lasting is None else checkpoint.also_signed(note, lasting))
    return size


def pack(leaves: Sequence[bytes]) -> bytes:
    """A bundle of entries. Raises IntegrityError (OMG-C001) for a leaf that two bytes cannot measure."""
    if any(len(leaf) >= 1 << 16 for leaf in leaves):
        raise IntegrityError("OMG-C001", "a leaf is too long for a tile")
    return b"".join(len(leaf).to_bytes(2, "big") + leaf for leaf in leaves)


def unpack(bundle: bytes) -> list[bytes]:
    """The leaves in a bundle of entries. Raises IntegrityError (OMG-C001) when it is cut short."""
    found, at = [], 0
    while at < len(bundle):
        end = at + 2 + int.from_bytes(bundle[at : at + 2], "big")
        if end > len(bundle) or at + 2 > len(bundle):
            raise IntegrityError("OMG-C001", "a bundle of leaves is cut short")
        found.append(bundle[at + 2 : end])
        at = end
    return found


def read_tiles(read: Callable[[str], bytes], *, keys: Sequence[VerifierKey], origin: str) -> Iterator[list[bytes]]:
    """The leaves of a log that lies as tiles, 256 at a time, each bundle held against the tiles above it up to the signed root.

    `read(path)` gives a file. The whole right edge is checked before the first leaf is given. Raises IntegrityError (OMG-C001) for a
    checkpoint that none of `keys` signed for `origin`, and for any tile that is not the one it covers; what `read` raises passes through.
    """
    point = checkpoint.verify(read("checkpoint"), keys, origin=origin)
    if point.size > MAX_SIZE:
        raise IntegrityError("OMG-C001", f"a log of more than {MAX_SIZE} leaves is not read")
    tiles = _Tiles(read, point)
    tiles.check_root()
    for number in range(-(-point.size // WIDTH)):
        hashes = tiles.hashes(0, number)
        leaves = unpack(read(tile_path("entries", number, len(hashes))))
        if [leaf_hash(leaf) for leaf in leaves] != hashes:
            raise IntegrityError("OMG-C001", f"leaves {number * WIDTH} to {number * WIDTH + len(hashes) - 1} are not those of the log")
        yield leaves


class _Level:
    """Tiles of one level as they fill up."""

    def __init__(self, number: int) -> None:
        self._level = number
        self._full = 0
        self._hashes: list[bytes] = []

    def add(self, hashes: Sequence[bytes], write: Callable[[str, bytes], None], since: int) -> list[bytes]:
        """Take hashes, write each tile that is now full and not below `since` leaves; gives the hashes of those tiles."""
        self._hashes += hashes
        done = []
        while len(self._hashes) >= WIDTH:
            tile, self._hashes = self._hashes[:WIDTH], self._hashes[WIDTH:]
            if self._full >= since // WIDTH ** (self._level + 1):
                write(tile_path(self._level, self._full), b"".join(tile))
            self._full += 1
            done.append(subtree(tile))
        return done

    def close(self, write: Callable[[str, bytes], None]) -> None:
        """Write the last tile when it is partial."""
        if self._hashes:
            write(tile_path(self._level, self._full, len(self._hashes)), b"".join(self._hashes))


class _Tiles:
    """Tiles under one checkpoint, each checked against the one above it; the tiles last used of each level are kept."""

    def __init__(self, read: Callable[[str], bytes], point: Checkpoint) -> None:
        self._read = read
        self._point = point
        self._held: dict[int, tuple[int, list[bytes]]] = {}

    def check_root(self) -> None:
        """Whether the partial tiles at the right edge make the signed root. Raises IntegrityError (OMG-C001)."""
        root: bytes | None = None
        size, level = self._point.size, 0
        while size:
            if size % WIDTH:
                edge = self._load(level, size // WIDTH, size % WIDTH)
                for peak in reversed(_peaks(edge)):
                    root = peak if root is None else node_hash(peak, root)
                self._held[level] = (size // WIDTH, edge)
            size, level = size // WIDTH, level + 1
        if (EMPTY_ROOT if root is None else root) != self._point.root:
            raise IntegrityError("OMG-C001", "the tiles do not make the root that is signed")

    def hashes(self, level: int, number: int) -> list[bytes]:
        """The hashes of a tile, checked."""
        held = self._held.get(level)
        if held is not None and held[0] == number:
            return held[1]
        at_level = self._point.size // WIDTH**level
        width = min(WIDTH, at_level - number * WIDTH)
        if width < WIDTH:  # at the right edge: checked by `check_root`, but no longer held
            self.check_root()
            return self._held[level][1]
        found = self._load(level, number, WIDTH)
        above = self.hashes(level + 1, number // WIDTH)
        if subtree(found) != above[number % WIDTH]:
            raise IntegrityError("OMG-C001", f"tile {number} of level {level} is not the one that the log covers")
        self._held[level] = (number, found)
        return found

    def _load(self, level: int, number: int, width: int) -> list[bytes]:
        raw = self._read(tile_path(level, number, width))
        if len(raw) != width * HASH_SIZE:
            raise IntegrityError("OMG-C001", f"tile {number} of level {level} has a wrong length")
        return [raw[at : at + HASH_SIZE] for at in range(0, len(raw), HASH_SIZE)]


def subtree(hashes: Sequence[bytes]) -> bytes:
    """The root over a power of two of nodes."""
    level = list(hashes)
    while len(level) > 1:
        pairs = iter(level)
        level = [sha256(b"\x01" + left + right).digest() for left, right in zip(pairs, pairs, strict=True)]
    return level[0]


def _peaks(hashes: Sequence[bytes]) -> list[bytes]:
    """The full subtrees in a partial tile, largest first."""
    found, at = [], 0
    for bit in range(len(hashes).bit_length() - 1, -1, -1):
        if len(hashes) >> bit & 1:
            found.append(subtree(hashes[at : at + (1 << bit)]))
            at += 1 << bit
    return found


def _climb(levels: list[_Level], hashes: Sequence[bytes], write: Callable[[str, bytes], None], since: int) -> None:
    level = 0
    while hashes:
        if level == len(levels):
            levels.append(_Level(level))
        hashes = levels[level].add(hashes, write, since)
        level += 1


def _bundles(reader: Reader, tenant: str, size: int) -> Iterator[list[bytes]]:
    for start in range(0, size, WIDTH * BUNDLES):
        leaves = reader.leaves(tenant, start, min(size, start + WIDTH * BUNDLES))
        for at in range(0, len(leaves), WIDTH):
            yield leaves[at : at + WIDTH]
