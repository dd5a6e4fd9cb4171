"""Payloads: values on their way into sealed rows and out of them: packed, put elsewhere when they are large, and read again.

    value ──pack──▶ packed ──seal──▶ payload of the row                               (`kernel.packing`, `trust.sealing`)
                      └─ above BLOB_FROM, where blobs are configured ─▶ vault ─▶ blob
                         and what is sealed into the row is the content key that opens it

A value that rests on an earlier row is read by reading that row first, down the chain and up again; the last few are remembered, so reading
a history in order reads each row once. Nothing is remembered beyond a few values of one execution.

A blob lies under an address that only the tenant's key can make, sealed under a content key that stands nowhere but in sealed rows. When
the keys of all executions that refer to it are gone, nothing opens it any more; `sweep` then takes it away. docs/adr/0012 has the reasons.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from omega.kernel.errors import IntegrityError, StorageError
from omega.kernel.journal import Row, name_of
from omega.kernel.packing import ELSEWHERE, PACK_FROM, Base, base_of, next_base, pack, unpack
from omega.kernel.ports import Blobs, Reader, Sealer, Search
from omega.trust.sealing import KEY_SIZE, Vault

BLOB_FROM = 64 << 10
"""Smallest packed value that is put into a blob, in bytes: below it a round trip costs more than the row."""

MAX_REMEMBERED = 4
"""Values of one execution that are kept as bases: the state that a loop hands on, and what it is made from."""

MAX_BASE = 4 << 20
"""Largest value kept as a base, in bytes."""

REFERENCE = b"\x02"
"""First byte of a payload that refers to a blob: its address follows in clear, so that blobs nobody refers to can be found."""

REDACTED = b"\x03"
"""First byte of a payload that holds what was left of a value, under a key of its own: what it commits to is gone (docs/adr/0029)."""

ADDRESS_SIZE = 32
SWEEP_PAGE = 500


@dataclass(frozen=True, slots=True)
class Attic:
    """Where one tenant's large values go, and the keys that they are kept under."""

    blobs: Blobs
    vault: Vault


@dataclass(frozen=True, slots=True)
class Stowed:
    """A value that was made ready for its row: packed, and put elsewhere if `address` says so."""

    plain: bytes
    packed: bytes
    rests_on: Base | None = None
    address: bytes = b""


class Payloads:
    """The payloads of one execution, under its sealer. `rows` is its history so far; `reread` reads it again when a row is not in there."""

    __slots__ = ("_attic", "_brought", "_known", "_reread", "_rows", "_sealer")

    def __init__(
        self, sealer: Sealer, rows: Sequence[Row] = (), *, attic: Attic | None = None, reread: Callable[[], Sequence[Row]] | None = None
    ) -> None:
        self._sealer = sealer
        self._rows = rows
        self._attic = attic
        self._reread = reread
        self._known: OrderedDict[int, tuple[str, Base]] = OrderedDict()
        self._brought: tuple[str, bytes] = ("", b"")

    def onward(self, rows: Sequence[Row]) -> Payloads:
        """Those of a fork, which begins with `rows`, under the same keys."""
        return Payloads(self._sealer, rows, attic=self._attic)

    def commit(self, plain: bytes) -> bytes:
        """The salted commitment to a value of this execution."""
        return self._sealer.commit(plain, b"")

    # -- in

    def is_large(self, plain: bytes) -> bool:
        """Whether `stow` might put `plain` elsewhere."""
        return self._attic is not None and len(plain) >= BLOB_FROM

    async def stow(self, plain: bytes, position: str) -> Stowed:
        """Make `plain` ready for its row at `position`; when it stays large, it is in a blob and durable there when this returns.

        Raises StorageError (OMG-S004) when the blob store fails.
        """
        packed, rests_on = pack(plain, self._base(position))
        if self._attic is None or len(packed) < BLOB_FROM:
            return Stowed(plain, packed, rests_on)
        blob = self._attic.vault.seal(pack(plain)[0])
        await self._attic.blobs.put(blob.address.hex(), blob.body)
        return Stowed(plain, ELSEWHERE + blob.key, None, blob.address)

    def seal(self, execution: str, seq: int, position: str, plain: bytes | Stowed) -> bytes:
        """`plain` as the payload of that row."""
        context = b"%b %d" % (execution.encode(), seq)
        if isinstance(plain, bytes) and len(plain) < PACK_FROM and plain[:1] > ELSEWHERE:  # most values
            return self._sealer.seal(plain, context)
        ready = plain if isinstance(plain, Stowed) else Stowed(plain, *pack(plain, self._base(position)))
        self._remember(position, next_base(seq, ready.plain, ready.packed, ready.rests_on))
        sealed = self._sealer.seal(ready.packed, context)
        return REFERENCE + ready.address + sealed if ready.address else sealed

    # -- out

    def open(self, row: Row) -> bytes:
        """The value of a row. Raises IntegrityError: OMG-T004 when it was erased or changed, OMG-S005 when what it rests on is not there;
        StorageError (OMG-S004) when its blob cannot be reached."""
        chain = [(row, self._unsealed(row))]
        base: Base | None = None
        while (below := base_of(chain[-1][1])) is not None:
            known = self._known.get(below)
            if known is not None:
                base = known[1]
                break
            if below >= chain[-1][0].seq:
                raise IntegrityError("OMG-S005", f"row {row.seq} of {row.execution} rests on a later one")
            chain.append((self._row(below, row), b""))
            chain[-1] = (chain[-1][0], self._unsealed(chain[-1][0]))
        plain = b""
        for each, packed in reversed(chain):
            rests_on = base if base_of(packed) is not None else None
            plain = self._fetched(each, packed) if packed[:1] == ELSEWHERE else unpack(packed, None if rests_on is None else rests_on.plain)
            base = next_base(each.seq, plain, packed, rests_on)
        if base is not None:
            self._remember(row.position, base)
        return plain

    async def bring(self, row: Row) -> None:
        """Get the blob of a row, if it has one, without holding up the event loop: `open` finds it then."""
        if self._attic is not None and is_elsewhere(row):
            address = next(iter(addresses([row])))
            self._brought = (address, await asyncio.to_thread(self._attic.blobs.get, address))

    def _unsealed(self, row: Row) -> bytes:
        return self._sealer.open(sealed_of(row), place_of(row))

    def _fetched(self, row: Row, packed: bytes) -> bytes:
        if self._attic is None:
            raise StorageError(
                "OMG-S004", f"row {row.seq} of {row.execution} lies in a blob, and no blob store is configured", advice="set OMEGA_BLOBS"
            )
        key = packed[1 : 1 + KEY_SIZE]
        address = self._attic.vault.address(key).hex()
        brought, self._brought = self._brought, ("", b"")
        body = brought[1] if brought[0] == address else self._attic.blobs.get(address)
        return unpack(self._attic.vault.open(key, body))

    def _row(self, seq: int, above: Row) -> Row:
        if seq >= len(self._rows) and self._reread is not None:
            self._rows = self._reread()
        if seq >= len(self._rows):
            raise IntegrityError("OMG-S005", f"row {above.seq} of {above.execution} rests on row {seq}, which is not there")
        return self._rows[seq]

    # -- bases

    def _base(self, position: str) -> Base | None:
        """The newest value that a step of the same name gave, else the newest."""
        name = name_of(position)
        for known, base in reversed(self._known.values()):
            if known == name:
                return base
        return next(reversed(self._known.values()))[1] if self._known else None

    def _remember(self, position: str, base: Base) -> None:
        if PACK_FROM <= len(base.plain) <= MAX_BASE:
            self._known[base.seq] = (name_of(position), base)
            self._known.move_to_end(base.seq)
            if len(self._known) > MAX_REMEMBERED:
                self._known.popitem(last=False)


def place_of(row: Row) -> bytes:
    """What a payload is sealed for: its row. The first rows of a fork name its origin, where they were written."""
    return b"%b %d" % (row.execution.encode(), row.seq)


def sealed_of(row: Row) -> bytes:
    """The sealed value of a row, without what stands before it."""
    payload = row.payload or b""
    if payload[:1] == REFERENCE:
        return payload[1 + ADDRESS_SIZE :]
    return payload[1:] if payload[:1] == REDACTED else payload


def is_redacted(row: Row) -> bool:
    """Whether a row holds what was left of its value: it can be read, and neither compared with what it commits to nor gone on with."""
    return row.payload is not None and row.payload[:1] == REDACTED


def is_elsewhere(row: Row) -> bool:
    """Whether the value of a row lies in a blob."""
    return row.payload is not None and row.payload[:1] == REFERENCE


def addresses(rows: Sequence[Row]) -> set[str]:
    """The blobs that rows refer to."""
    return {(row.payload or b"")[1 : 1 + ADDRESS_SIZE].hex() for row in rows if is_elsewhere(row)}


async def sweep(reader: Reader, blobs: Blobs, *, before_us: int) -> int:
    """Delete the blobs written before `before_us` that no row refers to; gives how many.

    `before_us` lies at least a day back: what was put just now may get its row in a moment. Reads every journal, a page at a time.
    """
    sweeping = Sweep(reader, blobs, before_us=before_us)
    while True:
        gone = await sweeping.step()
        if gone is not None:
            return gone


class Sweep:
    """One sweep, a page of executions at a time, so that whoever does it between other things never holds those up for long.

    Blobs go by whole sweeps: none is deleted before every journal was read. What is put again meanwhile is young again, and stays.
    """

    def __init__(self, reader: Reader, blobs: Blobs, *, before_us: int, page: int = SWEEP_PAGE) -> None:
        self._reader, self._blobs, self._before_us, self._page = reader, blobs, before_us, page
        self._wanted: set[str] = set()
        self._older = ""

    async def step(self) -> int | None:
        """Read one page more; the last step deletes, and gives how many blobs. None: there is more to read. Raises StorageError."""
        page = self._reader.search(Search(older_than=self._older, limit=self._page))
        for line in page:
            self._wanted |= addresses(self._reader.rows(line.execution))
        if len(page) == self._page:
            self._older = page[-1].execution
            return None
        gone = 0
        for address, at_us in self._blobs.held():
            if at_us < self._before_us and address not in self._wanted:
                await self._blobs.delete(address)  # at once: the longer after the look, the likelier that the same value was put again
                gone += 1
        return gone
