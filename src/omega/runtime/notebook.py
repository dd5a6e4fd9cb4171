"""Notebooks: executions whose entries come from another framework, which decides its own steps and wants them kept.

A notebook is an ordinary execution of a flow that waits for a signal that nobody sends. Its entries are signals of another name: sealed
rows, chained into the execution's digest, covered by a leaf of the tenant's log at each commit, fenced by the execution's epoch. Nothing
about it is special to store, verifier or retention: one that was closed has ended, and its payloads go when those of ended executions do.

    find    what is recorded, for reading; claims nothing
    take    made on first use (entry gate, start record) or claimed: from then on a writer that took it earlier is refused (OMG-S006)
    close   ended; the next one of that name is a new execution (its generation one higher)

A name may be anything, also personal: it stands in the sealed start record, and an execution's id holds only its digest.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256

from omega.kernel.compose import AnyFlow
from omega.kernel.context import Context
from omega.kernel.definition import flow
from omega.kernel.errors import Denied, FlowError, InputError, IntegrityError, OmegaError, StorageError, from_record
from omega.kernel.journal import MAX_PAYLOAD, Kind, Note, Row, Status
from omega.kernel.ports import Head, Line, Search
from omega.kernel.scope import Scope
from omega.runtime.book import MAX_ROWS, Book
from omega.runtime.engine import Engine
from omega.runtime.recovery import load
from omega.warden.approvals import OWNER

CLOSED = "closed"
"""The signal that the flow of a notebook waits for. Nobody sends it: a notebook is ended by `close`."""

SQUEEZED_BYTES = 128
"""Entries from this size on are compressed where that makes them smaller: sealed bytes cannot be compressed any more."""

QUICKLY_FROM = 64 << 10
"""Entries from this size on are compressed quickly rather than well: nothing else of the process runs meanwhile."""

_PLAIN, _SQUEEZED = b"p", b"z"  # none of the marks of `kernel.packing`, which would take its turn at compressing what is compressed

MAX_GENERATIONS = 10_000
"""How often a name can be closed and used again."""

PAGE = 500
"""Notebooks listed at once."""


def notebook_flow(name: str) -> AnyFlow:
    """The flow behind the notebooks of one framework: it touches nothing and waits."""
    return flow(name=name)(_wait_for_the_end)


async def _wait_for_the_end(ctx: Context, name: str) -> None:
    """Kept for another framework, which adds entries as it goes."""
    await ctx.signal(CLOSED)


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry: what sort it is, and its plain bytes."""

    sort: str
    plain: bytes


class Notebook:
    """One notebook in hand. `entries` gives what was recorded when it was opened; what is added later its holder knows already."""

    def __init__(self, engine: Engine, book: Book, rows: list[Row], scope: Scope, name: str) -> None:
        self.name = name
        self.execution = book.execution
        self._engine = engine
        self._book = book
        self._rows = rows
        self._scope = scope

    @property
    def epoch(self) -> int:
        """The epoch it is held under: lower than the store's once another has taken it."""
        return self._book.epoch

    def entries(self) -> Iterator[Entry]:
        """The entries in order, opened. Raises IntegrityError (OMG-T004) for one that was erased or changed."""
        for row in self._rows:
            if row.kind == Kind.SIGNAL:
                yield Entry(row.position, _unpacked(self._book.open(row)))

    def add(self, sort: str, plain: bytes) -> None:
        """Write an entry soon: it is on disk within the store's bound for rows written behind, and before any later commit.

        Raises Denied (OMG-T001) when the passport was revoked, FlowError (OMG-R003, OMG-R016) over a limit.
        """
        row, _ = self._row(sort, plain)
        self._book.behind(row)

    async def commit(self, sort: str, plain: bytes) -> None:
        """Write an entry with a leaf that covers it and all before it; return when they are on disk.

        Raises what `add` raises, and StorageError (OMG-S006) when another has taken the notebook since.
        """
        row, now = self._row(sort, plain)
        leaf = self._book.leaf("admin", at_us=now, step=sort, reason=f"entry by {self._scope.principal}")
        await self._book.commit(row, leaves=(leaf,), head=Head(status=Status.WAITING, at_us=now))

    async def flush(self) -> None:
        """Return when everything that was added is on disk. Raises what `commit` raises."""
        await self._book.commit()

    async def close(self) -> None:
        """End it: nothing can be added, and its name is free for a new one."""
        book, now = self._book, self._engine.world.clock.now_us()
        output = book.commitment(b"null")
        row = book.row(Kind.FINISHED, "", Note(by=self._scope.principal, at_us=now, status=Status.DONE, output=output), b"null")
        leaf = book.leaf("end", at_us=now, status=Status.DONE, output=output.hex(), reason=f"by {self._scope.principal}")
        await book.commit(row, leaves=(leaf,), head=Head(status=Status.DONE, at_us=now))

    def _row(self, sort: str, plain: bytes) -> tuple[Row, int]:
        self._engine.world.authority.check(self._scope)
        if len(plain) > MAX_PAYLOAD:
            raise FlowError("OMG-R003", f"an entry of {len(plain):,} bytes is over the limit of {MAX_PAYLOAD:,}")
        if self._book.seq >= MAX_ROWS:
            raise FlowError("OMG-R016", f"the notebook holds {MAX_ROWS:,} rows", advice="prune it, or begin a new one")
        now = self._engine.world.clock.now_us()
        packed = _packed(plain)
        note = Note(by=self._scope.principal, at_us=now, output=self._book.commitment(packed))
        return self._book.row(Kind.SIGNAL, sort, note, packed), now


class Notebooks:
    """The notebooks of one framework in one engine. `scope` is asked for whenever one is opened: who reads and writes here."""

    def __init__(self, engine: Engine, keeper: AnyFlow, scope: Callable[[], Scope]) -> None:
        self._engine = engine
        self._keeper = keeper
        self._scope = scope
        self._generations: dict[str, int] = {}

    def find(self, name: str) -> Notebook | None:
        """The open notebook of that name, for reading; None when there is none."""
        scope = self._scope()
        line = self._line(scope, name)
        return None if line is None else self._read(line.execution, scope)

    def is_current(self, notebook: Notebook) -> bool:
        """Whether nobody has taken or closed `notebook` since it was opened: one indexed read."""
        line = self._engine.world.reader.line(notebook.execution)
        return line is not None and line.epoch == notebook.epoch and not Status(line.status).ended

    async def take(self, name: str) -> Notebook:
        """The notebook of that name, to add to; made when there is none. Whoever took it earlier is refused from now on.

        Raises Denied when the entry gate says no, or when another principal's notebook is not this one's to write.
        """
        scope = self._scope()
        line = self._line(scope, name)
        execution = self._id(scope, name) if line is None else line.execution
        if line is None:
            await self._make(execution, name, scope)
        return await self._claimed(execution, scope)

    async def _claimed(self, execution: str, scope: Scope) -> Notebook:
        world, now = self._engine.world, self._engine.world.clock.now_us()
        # Without a lease: two web servers may serve one thread in turn, and the epoch alone fences the one that is late.
        epoch = await world.store.claim(execution, owner=world.owner, lease_us=now, now_us=now)
        notebook = self._read(execution, scope)
        notebook._book.epoch = epoch
        return notebook

    async def replace(self, notebook: Notebook, entries: Sequence[tuple[str, bytes]]) -> None:
        """Close `notebook` and go on under its name in a new one that begins with `entries`.

        The new one is complete on disk before the old one ends: after a crash in between, the old one is still the one that is found.
        """
        scope, name = self._scope(), notebook.name
        try:
            fresh = await self._next(name, scope)
            for sort, plain in entries:
                fresh.add(sort, plain)
            await fresh.flush()
            await notebook.close()
        except OmegaError:
            self._generations.pop(name, None)  # the old one still counts, wherever it is looked for
            raise

    async def _next(self, name: str, scope: Scope) -> Notebook:
        """A new notebook of the generation after the present one, past those that an engine left half made when it died."""
        while True:
            self._generations[name] = self._generations.get(name, 0) + 1
            execution = self._id(scope, name)
            if self._engine.world.reader.line(execution) is None:
                await self._make(execution, name, scope)
                return await self._claimed(execution, scope)
            await (await self._claimed(execution, scope)).close()

    def names(self) -> list[str]:
        """The names of the open notebooks that the scope may read, the latest first: those of its tenant for an owner, else its own."""
        scope, world = self._scope(), self._engine.world
        mine = "" if OWNER in scope.groups else scope.principal
        names: list[str] = []
        page = Search(tenant=scope.tenant, flow=self._keeper.name, status=(Status.WAITING,), principal=mine, limit=PAGE)
        while lines := world.reader.search(page):
            names += (str(load(world, line.execution)[2].input) for line in lines)
            page = replace(page, older_than=lines[-1].execution)
        return names

    def _line(self, scope: Scope, name: str) -> Line | None:
        """The line of the open notebook of `name`, past those that were closed."""
        start = self._generations.get(name, 0)
        for generation in range(start, MAX_GENERATIONS):
            self._generations[name] = generation
            line = self._engine.world.reader.line(self._id(scope, name))
            if line is None or not Status(line.status).ended:
                return line
        raise FlowError("OMG-R016", f"a notebook was closed and begun again {MAX_GENERATIONS:,} times", advice="use another name")

    def _id(self, scope: Scope, name: str) -> str:
        digest = sha256("\0".join((self._keeper.name, scope.tenant, name)).encode("utf-8", "surrogatepass")).hexdigest()
        return f"nbk-{digest[:32]}.{self._generations.get(name, 0)}"

    def _read(self, execution: str, scope: Scope) -> Notebook:
        past, book, record = load(self._engine.world, execution)
        if book.scope.tenant != scope.tenant or record.digest != self._keeper.digest:
            raise InputError("OMG-I003", f"{execution} is no notebook of {self._keeper.name}")
        if book.scope.principal != scope.principal and OWNER not in scope.groups:
            raise Denied("OMG-W001", f"{scope.principal} neither began this notebook nor is an owner", advice="use a name of your own")
        return Notebook(self._engine, book, past.rows, scope, str(record.input))

    async def _make(self, execution: str, name: str, scope: Scope) -> None:
        try:
            await self._engine.start(self._keeper, name, scope, execution=execution)
        except (InputError, StorageError) as error:
            if error.code != "OMG-R010":  # another made it meanwhile: as good
                raise
        outcome = await self._engine.outcome(execution)
        if outcome.status != Status.WAITING:
            raise from_record(outcome.error) if outcome.error else _not_begun(execution)


def _packed(plain: bytes) -> bytes:
    squeezed = zlib.compress(plain, 1 if len(plain) >= QUICKLY_FROM else 6) if len(plain) >= SQUEEZED_BYTES else plain
    return _SQUEEZED + squeezed if len(squeezed) < len(plain) else _PLAIN + plain


def _unpacked(packed: bytes) -> bytes:
    """The entry that was packed. Raises IntegrityError (OMG-S005) for one that does not unpack, or to more than an entry may hold."""
    if packed[:1] == _PLAIN:
        return packed[1:]
    unpacker = zlib.decompressobj()
    try:
        plain = unpacker.decompress(packed[1:], MAX_PAYLOAD)
    except zlib.error as error:
        raise IntegrityError("OMG-S005", "an entry of a notebook does not unpack") from error
    if packed[:1] != _SQUEEZED or not unpacker.eof:
        raise IntegrityError("OMG-S005", "an entry of a notebook does not unpack")
    return plain


def _not_begun(execution: str) -> OmegaError:
    return StorageError("OMG-S004", f"the notebook {execution} did not begin")
