"""What the suites of the store work with: batches of one made-up flow, a sequencer that shows what it was given, and one open store."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeVar

import pytest

from omega.kernel.errors import OmegaError, StorageError
from omega.kernel.journal import Kind, Row
from omega.kernel.ports import Batch, Committed, Grown, Head, Letter, Reader, Sequencer, Store

T = TypeVar("T")

START_US = 1_767_225_600_000_000
LEASE_US = 30_000_000
TENANT = "ten_one"


class FullStore(Store, Reader, Protocol):
    """What an engine uses of a store beyond the two ports."""

    async def renew(self, execution: str, epoch: int, lease_us: int) -> None: ...

    async def release(self, execution: str) -> None: ...

    async def flush(self) -> None: ...

    def post(self, execution: str, verb: str, body: Mapping[str, Any], at_us: int) -> int: ...

    def letters(self, after: int = 0) -> list[Letter]: ...

    def settle(self, number: int) -> None: ...

    def inbox_changed(self) -> bool: ...

    def put_document(self, kind: str, name: str, body: bytes, at_us: int) -> None: ...

    def swap_document(self, kind: str, name: str, was: bytes | None, body: bytes, at_us: int) -> bool: ...

    def document(self, kind: str, name: str) -> bytes | None: ...

    def documents(self, kind: str, prefix: str = "") -> list[tuple[str, bytes]]: ...

    def drop_document(self, kind: str, name: str) -> bool: ...

    def close(self) -> None: ...


class NoteSequencer:
    """A sequencer whose note shows what it was given: a hash chain over the leaves and their number. Refuses a leaf that says so."""

    REFUSED = b"refuse this leaf"

    def grow(self, tenant: str, state: bytes, leaves: Sequence[bytes], *, at_us: int) -> Grown:
        """The chain after `leaves`; the state is the size (8 bytes) and the last link."""
        size, link = int.from_bytes(state[:8], "big"), state[8:]
        for leaf in leaves:
            if leaf == self.REFUSED:
                raise StorageError("OMG-S004", "the sequencer refused a leaf")
            link = hashlib.sha256(link + leaf).digest()
        size += len(leaves)
        return Grown(state=size.to_bytes(8, "big") + link, size=size, checkpoint=f"{tenant} {size} {link.hex()}".encode())


def note_over(tenant: str, leaves: Sequence[bytes]) -> bytes:
    """The note that `NoteSequencer` gives for a whole log."""
    return NoteSequencer().grow(tenant, b"", leaves, at_us=0).checkpoint


def rows(execution: str, start: int, count: int = 1, *, payload: bytes | None = b"sealed") -> list[Row]:
    """`count` rows of an execution from `start`, each with its own position and meta."""
    return [Row(execution, seq, Kind.DONE, f"flow/step#{seq}", b"meta %d" % seq, payload) for seq in range(start, start + count)]


def birth(execution: str, *, tenant: str = TENANT, leaves: Sequence[bytes] = (), at_us: int = START_US) -> Batch:
    """The first batch of an execution: its line, its key and row 0."""
    head = Head(status="running", flow="review", version="1.0.0", principal="person:ada", target="review.py", at_us=at_us, create=True)
    key = b"wrapped " + execution.encode()
    return Batch(tenant=tenant, execution=execution, epoch=1, rows=rows(execution, 0), leaves=leaves, head=head, key=key)


def step(
    execution: str, seq: int, *, epoch: int = 1, leaves: Sequence[bytes] = (), head: Head | None = None, tenant: str = TENANT
) -> Batch:
    """One later batch with one row."""
    return Batch(tenant=tenant, execution=execution, epoch=epoch, rows=rows(execution, seq), leaves=leaves, head=head)


def refusal(code: str, kind: type[OmegaError] = StorageError) -> Any:
    """The expectation that an error of this family and code is raised."""
    return pytest.raises(kind, match=f"^{code} ")


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in an event loop of its own: a store serves one loop after another."""
    return asyncio.run(main)


async def together(store: FullStore, batches: Sequence[Batch]) -> list[Committed | BaseException]:
    """Commit all of `batches` at once; give answers and errors in their order."""
    return await asyncio.gather(*(store.commit(batch) for batch in batches), return_exceptions=True)


class StoreFixtures:
    """What the suites of the store are given. The two fixtures to override are described in `omega.testing.conformance.store`."""

    @pytest.fixture
    def open_store(self) -> Callable[..., FullStore]:
        """To be overridden: opens the store on this test's data."""
        raise pytest.UsageError("override the fixture open_store")

    @pytest.fixture
    def open_reader(self) -> Callable[[], Reader]:
        """To be overridden: opens a reader on this test's data."""
        raise pytest.UsageError("override the fixture open_reader")

    @pytest.fixture
    def sequencer(self) -> Sequencer:
        """How logs grow in this suite."""
        return NoteSequencer()

    @pytest.fixture
    def store(self, open_store: Callable[..., FullStore], sequencer: Sequencer) -> Iterator[FullStore]:
        """One open store, closed at the end."""
        store = open_store(owner="engine-1", sequencer=sequencer, now_us=lambda: START_US)
        yield store
        store.close()
