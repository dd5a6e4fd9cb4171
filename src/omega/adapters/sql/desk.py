"""The writing side of a store as its callers see it: whatever they ask goes into the queue of the one writer, and they wait for its answer.

A batch is written with its neighbours; anything else is a chore, a change that the writer makes with its ledger, in order with the batches.
A ledger may be synchronous or not: its writer knows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from omega.adapters.sql.batches import measure
from omega.adapters.sql.queue import Counts, Entry
from omega.kernel.ports import Batch, Committed, Erased, Taken, Want


class Writing(Protocol):
    """What a desk needs of a writer."""

    @property
    def counts(self) -> Counts: ...

    @property
    def lost(self) -> str: ...

    def submit(self, entry: Entry) -> None: ...


class Desk:
    """Implements the asynchronous half of `kernel.ports.Store`; its methods may be awaited from any event loop.

    A cancelled call is carried out nevertheless: only its answer is lost.
    """

    _writer: Writing

    @property
    def counts(self) -> Counts:
        """What was written since this store was opened."""
        return self._writer.counts

    @property
    def lost(self) -> str:
        """Why nothing can be written by this store any more; empty while it can."""
        return self._writer.lost

    async def commit(self, batch: Batch) -> Committed:
        """See `kernel.ports.Store.commit`."""
        committed: Committed = await self._ask_writer(batch=batch, size=measure(batch))
        return committed

    def behind(self, batch: Batch) -> None:
        """See `kernel.ports.Store.behind`. Blocks only while the queue is full."""
        self._writer.submit(Entry(batch=batch, size=measure(batch)))

    async def flush(self) -> None:
        """Return when everything handed to `behind` so far is on disk or refused."""
        await self._ask_writer()

    async def claim(self, execution: str, *, owner: str, lease_us: int, now_us: int) -> int:
        """See `kernel.ports.Store.claim`."""
        epoch: int = await self._ask_writer(chore=lambda ledger: ledger.claim(execution, owner, lease_us, now_us))
        return epoch

    async def renew(self, execution: str, epoch: int, lease_us: int) -> None:
        """See `kernel.ports.Store.renew`; raises InputError (OMG-I003) when there is none of that id."""
        await self._ask_writer(chore=lambda ledger: ledger.renew(execution, epoch, lease_us))

    async def release(self, execution: str) -> None:
        """See `kernel.ports.Store.release`; an execution that ends is given back by its last head."""
        await self._ask_writer(chore=lambda ledger: ledger.release(execution))

    async def take(self, want: Want) -> list[Taken]:
        """See `kernel.ports.Store.take`."""
        taken: list[Taken] = await self._ask_writer(chore=lambda ledger: ledger.take(want))
        return taken

    async def wake(self, executions: Sequence[str], now_us: int) -> None:
        """See `kernel.ports.Store.wake`."""
        if executions:
            await self._ask_writer(chore=lambda ledger: ledger.wake(executions, now_us))

    async def compact(self, tenant: str, ended_before_us: int, limit: int) -> int:
        """See `kernel.ports.Store.compact`."""
        count: int = await self._ask_writer(chore=lambda ledger: ledger.compact(tenant, ended_before_us, limit))
        return count

    async def erase(self, tenant: str, executions: Sequence[str]) -> Erased:
        """See `kernel.ports.Store.erase`."""
        erased: Erased = await self._ask_writer(chore=lambda ledger: ledger.erase(tenant, executions))
        return erased

    async def redact(self, tenant: str, execution: str, payloads: Mapping[int, bytes], key: bytes, label: str) -> bool:
        """See `kernel.ports.Store.redact`."""
        done: bool = await self._ask_writer(chore=lambda ledger: ledger.redact(tenant, execution, payloads, key, label))
        return done

    async def purge(self, tenant: str) -> int:
        """Remove everything of `tenant`, its log too; gives how many executions there were. For tenants whose end takes all with it."""
        count: int = await self._ask_writer(chore=lambda ledger: ledger.purge(tenant))
        return count

    async def prune(self, tenant: str, leaves: Mapping[int, bytes]) -> None:
        """See `kernel.ports.Store.prune`."""
        await self._ask_writer(chore=lambda ledger: ledger.prune(tenant, leaves))

    async def _ask_writer(self, *, batch: Batch | None = None, chore: Callable[[Any], Any] | None = None, size: int = 0) -> Any:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        self._writer.submit(Entry(batch=batch, chore=chore, future=future, loop=loop, size=size))
        return await future
