"""The difference between two byte strings, as pieces: what stays is named by where it stood, what is new is written out.

A state that grows by a kilobyte a step is stored as a kilobyte a step, whatever its serialised form: a list that got longer (its header
changes, its elements move), a field replaced in the middle, a message that was stored before as a task's write. All searching and comparing
is done by `bytes` itself, on blocks; no byte is looked at in Python.

    pieces    a literal (bytes), or (start, length) in the base
    base      the earlier value, followed by whatever else the reader has at hand

Values are read backwards from the newest: a range of it is looked up in its base, and so on, until it is all literals. That takes time in
the size of the value and the number of pieces met, not in the sizes of all versions between.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

Piece = bytes | tuple[int, int]

BLOCK = 32
"""Length of a match worth naming, in bytes: naming it costs up to eight."""

PROBES = 8
"""Places of the base from which a match is looked for, in each part that is left over."""

MAX_DEPTH = 12
"""How often what is left over around a match is searched again."""

STRIDE = 4096
"""Bytes compared at once."""


def difference(base: bytes, new: bytes, *, start: int = 0, end: int | None = None) -> list[Piece]:
    """Pieces that make `new` out of `base`, using of it only what lies between `start` and `end`."""
    pieces: list[Piece] = []
    _between(base, start, len(base) if end is None else end, new, 0, len(new), MAX_DEPTH, pieces)
    return pieces


def _between(  # noqa: PLR0917 - two ranges, as everywhere in this file
    base: bytes, low: int, high: int, new: bytes, first: int, last: int, depth: int, out: list[Piece]
) -> None:
    """Append the pieces of `new[first:last]`, from `base[low:high]`."""
    head = _common(base, low, high, new, first, last)
    if head < BLOCK:
        head = 0
    low, first = low + head, first + head
    tail = _common_end(base, low, high, new, first, last)
    if tail < BLOCK:
        tail = 0
    high, last = high - tail, last - tail
    if head:
        out.append((low - head, head))
    match = _match(base, low, high, new, first, last) if depth else None
    if match is not None:
        at, to, length = match
        _between(base, low, at, new, first, to, depth - 1, out)
        out.append((at, length))
        _between(base, at + length, high, new, to + length, last, depth - 1, out)
    elif last > first:
        out.append(new[first:last])
    if tail:
        out.append((high, tail))


def _match(base: bytes, low: int, high: int, new: bytes, first: int, last: int) -> tuple[int, int, int] | None:
    """Some block of the base that occurs in the new value, made as long as it goes: (where it stood, where it stands, length)."""
    span = high - low - BLOCK
    if span < 0 or last - first < BLOCK:
        return None
    offset = min(BLOCK, span)  # the first bytes are the likeliest to have changed: they say how long what follows is
    for place in sorted({offset, *(span * probe // PROBES for probe in range(PROBES + 1))}):
        at = low + place
        to = new.find(base[at : at + BLOCK], first, last)
        if to >= 0:
            back = _common_end(base, low, at, new, first, to)
            length = back + _common(base, at, high, new, to, last)
            return at - back, to - back, length
    return None


def _common(base: bytes, low: int, high: int, new: bytes, first: int, last: int) -> int:
    """How many bytes from `low` and `first` on are the same."""
    limit, same = min(high - low, last - first), 0
    while same < limit:
        step = min(STRIDE, limit - same)
        if base[low + same : low + same + step] != new[first + same : first + same + step]:
            return same + _agreeing(base[low + same : low + same + step], new[first + same : first + same + step])
        same += step
    return same


def _common_end(base: bytes, low: int, high: int, new: bytes, first: int, last: int) -> int:
    """How many bytes before `high` and `last` are the same."""
    limit, same = min(high - low, last - first), 0
    while same < limit:
        step = min(STRIDE, limit - same)
        old, now = base[high - same - step : high - same], new[last - same - step : last - same]
        if old != now:
            return same + _agreeing(old[::-1], now[::-1])
        same += step
    return same


def _agreeing(one: bytes, other: bytes) -> int:
    """The length of the common beginning of two strings of the same length that differ."""
    low, high = 0, len(one)
    while low < high:
        middle = (low + high + 1) // 2
        if one[:middle] == other[:middle]:
            low = middle
        else:
            high = middle - 1
    return low


@dataclass(frozen=True, slots=True, eq=False)
class Value:
    """A stored byte string: its pieces, and the base they refer to (an earlier value, then `others` end to end)."""

    pieces: Sequence[Piece]
    size: int
    base: Value | None = None
    others: Sequence[bytes] = field(default=())

    @classmethod
    def whole(cls, plain: bytes) -> Value:
        """A value written out."""
        return cls((plain,), len(plain))

    @classmethod
    def after(cls, base: Value | None, others: Sequence[bytes], plain: bytes, *, known: bytes | None = None) -> Value:
        """`plain` as its difference from `base` and `others`, or written out where that is shorter.

        `known` is what `base.read()` would give, where the caller has it.
        """
        if base is None and not others:
            return cls.whole(plain)
        earlier = b"" if base is None else base.read() if known is None else known
        more = b"".join(others)
        pieces = difference(earlier, plain)
        if more:
            pieces = [part for piece in pieces for part in _elsewhere(piece, more, len(earlier))]
        if sum(len(piece) if isinstance(piece, bytes) else BLOCK // 4 for piece in pieces) >= len(plain):
            return cls.whole(plain)
        return cls(tuple(pieces), len(plain), base, tuple(others))

    @property
    def depth(self) -> int:
        """How many values this one follows."""
        depth, value = 0, self.base
        while value is not None:
            depth, value = depth + 1, value.base
        return depth

    @property
    def written(self) -> int:
        """Bytes written out in this value itself."""
        return sum(len(piece) for piece in self.pieces if isinstance(piece, bytes))

    def read(self) -> bytes:
        """The bytes. Raises ValueError when the pieces do not fit their base."""
        out: list[bytes] = []
        todo: list[tuple[Value, int, int]] = [(self, 0, self.size)]
        while todo:
            value, start, end = todo.pop()
            todo.extend(reversed(value._parts(start, end, out)))
        plain = b"".join(out)
        if len(plain) != self.size:
            raise ValueError(f"a value of {self.size} bytes came out with {len(plain)}")
        return plain

    def _parts(self, start: int, end: int, out: list[bytes]) -> list[tuple[Value, int, int]]:
        """What bytes `start` to `end` are made of. Literals at the beginning go to `out`, the rest comes back as ranges of values."""
        parts: list[tuple[Value, int, int]] = []
        at, base_size = 0, 0 if self.base is None else self.base.size
        for piece in self.pieces:
            length = len(piece) if isinstance(piece, bytes) else piece[1]
            low, high = max(start, at), min(end, at + length)
            if low < high:
                if isinstance(piece, bytes):
                    self._literal(piece[low - at : high - at], parts, out)
                else:
                    begin = piece[0] + low - at
                    self._copied(begin, begin + high - low, base_size, parts, out)
            at += length
            if at >= end:
                break
        return parts

    def _literal(self, plain: bytes, parts: list[tuple[Value, int, int]], out: list[bytes]) -> None:
        if parts:
            parts.append((Value.whole(plain), 0, len(plain)))
        else:
            out.append(plain)

    def _copied(self, low: int, high: int, base_size: int, parts: list[tuple[Value, int, int]], out: list[bytes]) -> None:
        if self.base is not None and low < base_size:
            parts.append((self.base, low, min(high, base_size)))
        at = base_size
        for other in self.others:
            begin, stop = max(low, at), min(high, at + len(other))
            if begin < stop:
                self._literal(other[begin - at : stop - at], parts, out)
            at += len(other)


def _elsewhere(piece: Piece, more: bytes, offset: int) -> list[Piece]:
    """A literal as pieces of what else is at hand, which begins at `offset` of the base."""
    if not isinstance(piece, bytes) or len(piece) < BLOCK:
        return [piece]
    return [part if isinstance(part, bytes) else (part[0] + offset, part[1]) for part in difference(more, piece)]
