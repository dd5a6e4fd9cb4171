"""Packing: how a value is made smaller before it is sealed, and what it was read again from.

A stored value is JSON, which begins with none of the bytes below; so a value that is not worth packing is stored as it is.

    JSON                                                     as it is
    1 | size | deflated value                                where a sample shows that it pays
    2 | base | size | checksum | copies | literals           as what differs from an earlier value of the same execution, row `base`
    3 | size | content key                                   elsewhere: see `omega.runtime.payloads`

A state that grows by a kilobyte in each of 400 steps is so stored as 400 kilobytes and not as 80 megabytes. A difference is a list of
copies from the base with what stands between them; it is looked for from both ends and, in between, by a bounded number of probes, because
all that it costs is room. Chains of differences are bounded in length, in bytes and in what it takes to unfold them: past that a value is
stored whole.

Sizes and checksums are of the value; numbers are LEB128. What is read is checked against its limits before anything is made of it.
Packing sees values of one execution only, so what one party wrote never shows in the size of another's; docs/adr/0012 says more.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from omega.kernel.errors import IntegrityError
from omega.kernel.journal import MAX_PAYLOAD

PACK_FROM = 1 << 10
"""Smallest value that is packed, in bytes: below it the head and the work cost more than is saved."""

MAX_CHAIN = 1_024
"""Most differences that rest on one another: each is one more copy of the value for whoever reads the last."""

MAX_UNFOLDED = 256 << 20
"""Most bytes, about, that are copied on the way to a value that rests on others: for whoever reads it alone, part of a second."""

MIN_COPY = 64
"""Shortest run that is looked for in the base, in bytes."""

MAX_PROBES = 64
"""Most runs looked for between the common ends; each may cost one pass over the base."""

MAX_MISSES = 10
"""Probes that fail in a row before the rest counts as new."""

DEFLATE_TO = 256 << 10
"""Largest run of bytes that is deflated: about ten milliseconds in which nothing else of the process runs."""

SAMPLE = 4 << 10
"""Bytes deflated to see whether the rest is worth it."""

DEFLATED, DIFFERENCE, ELSEWHERE = b"\x01", b"\x02", b"\x03"
_PAYS = 0.75
_BLOCK = 4 << 10
_LEVEL = 1


@dataclass(frozen=True, slots=True)
class Base:
    """An earlier value of the same execution: its row, how many differences it rests on, and how many bytes they took."""

    seq: int
    plain: bytes
    depth: int = 0
    spent: int = 0


def pack(plain: bytes, base: Base | None = None) -> tuple[bytes, Base | None]:
    """`plain` in its smallest form; the second is `base` when it rests on that, else None."""
    if plain[:1] and plain[:1] <= ELSEWHERE:  # no JSON: marked, so that it is never taken for a packed one
        return DEFLATED + _written(len(plain)) + zlib.compress(plain, _LEVEL), None
    if len(plain) < PACK_FROM:
        return plain, None
    if base is not None and base.depth < MAX_CHAIN and base.depth * len(plain) < MAX_UNFOLDED:
        packed = _difference(plain, base)
        if len(packed) <= len(plain) * _PAYS and base.spent + len(packed) < len(plain) * 2:
            return packed, base
    return _deflated(plain), None


def base_of(packed: bytes) -> int | None:
    """The row that a packed value rests on. Raises IntegrityError (OMG-S005) for one that does not parse."""
    return _number(packed, 1)[0] if packed[:1] == DIFFERENCE else None


def unpack(packed: bytes, base: bytes | None = None) -> bytes:
    """The value again; `base` is the value of the row that `base_of` names. Raises IntegrityError (OMG-S005)."""
    form = packed[:1]
    if form == DEFLATED:
        size, at = _number(packed, 1)
        return _inflate(packed[at:], size)
    if form == DIFFERENCE:
        if base is None:
            raise IntegrityError("OMG-S005", "a packed value rests on a row that is not there")
        return _apply(packed, base)
    return packed


def next_base(seq: int, plain: bytes, packed: bytes, rests_on: Base | None) -> Base:
    """What the value of row `seq` is as a base for later ones."""
    if rests_on is None:
        return Base(seq, plain)
    return Base(seq, plain, rests_on.depth + 1, rests_on.spent + len(packed))


# -- deflating


def _deflated(plain: bytes) -> bytes:
    if len(plain) > DEFLATE_TO or (len(plain) > SAMPLE and len(zlib.compress(plain[:SAMPLE], _LEVEL)) > SAMPLE * _PAYS):
        return plain
    packed = DEFLATED + _written(len(plain)) + zlib.compress(plain, _LEVEL)
    return packed if len(packed) <= len(plain) * _PAYS else plain


def _inflate(data: bytes, size: int) -> bytes:
    """The `size` bytes that `data` deflates. Never makes more than that, whatever the stream says."""
    if size > MAX_PAYLOAD:
        raise IntegrityError("OMG-S005", f"a packed value claims {size:,} bytes, {MAX_PAYLOAD:,} are allowed")
    stream = zlib.decompressobj()
    try:
        plain = stream.decompress(data, size + 1)
    except zlib.error as error:
        raise IntegrityError("OMG-S005", "a packed value does not inflate") from error
    if len(plain) != size or not stream.eof or stream.unused_data:
        raise IntegrityError("OMG-S005", "a packed value has another size than it claims")
    return plain


# -- differences


def _difference(plain: bytes, base: Base) -> bytes:
    copies, literals = bytearray(), bytearray()
    at = 0
    count = 0
    for literal, start, length in _runs(base.plain, plain):
        copies += _written(literal) + _written(start) + _written(length)
        literals += plain[at : at + literal]
        at += literal + length
        count += 1
    rest = _deflated(bytes(literals)) if len(literals) >= PACK_FROM else bytes(literals)
    deflated = len(rest) < len(literals)
    head = _written(base.seq) + _written(len(plain)) + zlib.crc32(plain).to_bytes(4, "big")
    return DIFFERENCE + head + _written(count) + copies + (b"\x01" if deflated else b"\x00") + rest


def _apply(packed: bytes, base: bytes) -> bytes:
    _, at = _number(packed, 1)
    size, at = _number(packed, at)
    check, at = int.from_bytes(packed[at : at + 4], "big"), at + 4
    count, at = _number(packed, at)
    if size > MAX_PAYLOAD or count > len(packed):
        raise IntegrityError("OMG-S005", f"a packed value claims {size:,} bytes in {count:,} pieces")
    copies = []
    for _ in range(count):
        literal, at = _number(packed, at)
        start, at = _number(packed, at)
        length, at = _number(packed, at)
        copies.append((literal, start, length))
    literals = unpack(packed[at + 1 :]) if packed[at : at + 1] == b"\x01" else packed[at + 1 :]
    if sum(literal for literal, _, _ in copies) + sum(length for _, _, length in copies) != size:
        raise IntegrityError("OMG-S005", "the pieces of a packed value are not its size")
    plain = _joined(base, literals, copies)
    if len(plain) != size or zlib.crc32(plain) != check:
        raise IntegrityError("OMG-S005", "a packed value does not come out as it went in")
    return plain


def _joined(base: bytes, literals: bytes, copies: list[tuple[int, int, int]]) -> bytes:
    pieces: list[bytes] = []
    at = 0
    for literal, start, length in copies:
        pieces += (literals[at : at + literal], base[start : start + length])
        at += literal
    return b"".join(pieces)


def _runs(base: bytes, plain: bytes) -> Iterator[tuple[int, int, int]]:
    """`plain` as (literal bytes, start of a copy in `base`, its length), one after the other."""
    head = _common_start(base, 0, plain, 0, len(plain))
    tail = _common_end(base, plain, min(len(base), len(plain)) - head)
    end = len(plain) - tail
    yield 0, 0, head
    at = literal = head
    probes = misses = 0
    stride = MIN_COPY
    while at + MIN_COPY <= end and probes < MAX_PROBES and misses < MAX_MISSES:
        probes += 1
        found = base.find(plain[at : at + MIN_COPY])
        if found < 0:
            misses, at, stride = misses + 1, at + stride, stride * 2
            continue
        length = MIN_COPY + _common_start(base, found + MIN_COPY, plain, at + MIN_COPY, end)
        while at > literal and found > 0 and plain[at - 1] == base[found - 1]:  # a stride may have gone past the beginning of the run
            at, found, length = at - 1, found - 1, length + 1
        yield at - literal, found, length
        at = literal = at + length
        misses, stride = 0, MIN_COPY
    yield end - literal, len(base) - tail, tail


def _common_start(base: bytes, i: int, plain: bytes, j: int, end: int) -> int:
    """How many bytes from base[i] and plain[j] on are the same, up to plain[end]."""
    length, most = 0, min(len(base) - i, end - j)
    while length < most:
        size = min(_BLOCK, most - length)
        if not plain.startswith(base[i + length : i + length + size], j + length):
            break
        length += size
    low, high = length, min(length + _BLOCK, most)
    while low < high:
        middle = (low + high + 1) // 2
        if plain.startswith(base[i + length : i + middle], j + length):
            low = middle
        else:
            high = middle - 1
    return low


def _common_end(base: bytes, plain: bytes, most: int) -> int:
    """How many of the last bytes are the same, at most `most`."""
    low, high = 0, max(0, most)
    length = 0
    while length < high:
        size = min(_BLOCK, high - length)
        if not plain.endswith(base[len(base) - length - size : len(base) - length], 0, len(plain) - length):
            break
        length += size
    low, high = length, min(length + _BLOCK, high)
    while low < high:
        middle = (low + high + 1) // 2
        if plain.endswith(base[len(base) - middle : len(base) - length], 0, len(plain) - length):
            low = middle
        else:
            high = middle - 1
    return low


# -- numbers


def _written(number: int) -> bytes:
    """LEB128, as in DWARF and WebAssembly: seven bits a byte, the lowest first."""
    written = bytearray()
    while number > 0x7F:
        written.append(number & 0x7F | 0x80)
        number >>= 7
    written.append(number)
    return bytes(written)


def _number(data: bytes, at: int) -> tuple[int, int]:
    """A LEB128 number of at most 35 bits, and where the next thing begins."""
    number = shift = 0
    while True:
        if at >= len(data) or shift > 28:
            raise IntegrityError("OMG-S005", "a packed value does not parse")
        byte = data[at]
        number |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return number, at
