"""Ports: what the kernel and the runtime ask of the world, each with one to three methods and a conformance suite.

Adapters implement them, the host wires them, `omega.testing` ships fakes that pass the same suites (`omega.testing.conformance`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from omega.kernel.effects import Receipt, Request
from omega.kernel.journal import Row
from omega.kernel.verdict import Permit


class Road(Protocol):
    """The one face of the one road: who is it, may they, do it, what happened. Implemented once, in `omega.runtime.road`."""

    async def call(self, call: Call) -> Outcome:
        """Take `call` down the road to its end. Errors come back inside the Outcome, never as exceptions of the callee."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A request from an entrance: a passport (compact JWT), the flow by value or target, its input as plain data, and limits."""

    passport: str
    flow: Any
    input: Any
    execution: str = ""
    target: str = ""
    budget: Any = None
    timeout_s: float | None = None
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a call ended:

    `status` as in the journal, `value` when done, `error` (an `OmegaError.record()`) otherwise, and the sealed leaf.
    """

    execution: str
    status: str
    value: Any = None
    error: Mapping[str, Any] | None = None
    leaf: int | None = None
    tenant: str = ""
    cost_micros: int = 0


@dataclass(slots=True, kw_only=True)
class Batch:
    """What one execution wants written together, or not at all.

    `epoch` must equal the execution's epoch in the store, else the whole batch is refused (OMG-S006). `head` changes the
    execution's line in the same transaction; with `head.create` the line is made, and a second one of that id is refused
    (OMG-R010). `leaves` are canonical bytes for the tenant's log, ordered after those of earlier batches. `key` is the wrapped
    data key to keep with a new execution.
    """

    tenant: str
    execution: str
    epoch: int
    rows: Sequence[Row] = ()
    leaves: Sequence[bytes] = ()
    head: Head | None = None
    key: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The line of an execution that lists and searches read: changed with the rows that justify it."""

    status: str
    flow: str = ""
    version: str = ""
    principal: str = ""
    target: str = ""
    at_us: int = 0
    create: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Committed:
    """A durable batch: `leaves` are the indexes its leaves got in the tenant's log (0-based, in order), `size` the log's size after it."""

    leaves: tuple[int, ...] = ()
    size: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One execution as a list shows it. Times are Unix microseconds."""

    execution: str
    tenant: str
    flow: str
    version: str
    status: str
    principal: str
    target: str
    epoch: int
    owner: str
    lease_us: int
    started_us: int
    updated_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """Something that another process asks of the engine: `verb` is cancel, approve, resolve or signal; `body` is JSON-ready."""

    number: int
    execution: str
    verb: str
    body: Mapping[str, Any]
    at_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Grown:
    """A tenant's log after some leaves:

    `state` is the compact range to start from next time, `checkpoint` the signed note, `size` leaves in all.
    """

    state: bytes
    size: int
    checkpoint: bytes


class Sequencer(Protocol):
    """Grows a tenant's Merkle log: a pure function of (state, leaves), called by the store inside its transaction."""

    def grow(self, tenant: str, state: bytes, leaves: Sequence[bytes], *, at_us: int) -> Grown:
        """The log after `leaves`, with a signed checkpoint. `state` is empty for a log that does not exist yet."""
        ...


class Store(Protocol):
    """The system of record. A batch is written whole or not at all: rows, leaves, head and epoch check in one transaction."""

    async def commit(self, batch: Batch) -> Committed:
        """Write `batch` and everything handed to `behind` before it; return when it is on disk.

        Raises StorageError: OMG-S006 for a stale epoch, OMG-S004 when the disk failed (then every later call fails too).
        """
        ...

    def behind(self, batch: Batch) -> None:
        """Write `batch` soon, before anything committed later. A failure shows at the next `commit` of that execution."""
        ...

    async def claim(self, execution: str, *, owner: str, lease_us: int, now_us: int) -> int:
        """Own `execution` until `lease_us`; gives its new epoch, one higher than before.

        Raises StorageError OMG-R010 while another owner's lease runs, InputError OMG-I003 when there is none of that id.
        """
        ...

    async def renew(self, execution: str, epoch: int, lease_us: int) -> None:
        """Stay the owner until `lease_us`. Raises StorageError OMG-S006 for a stale epoch."""
        ...


class Reader(Protocol):
    """Reads what is durable; works beside a live engine, in another process too."""

    def lines(self, *, tenant: str | None = None, status: str | None = None, limit: int = 50) -> list[Line]: ...

    def line(self, execution: str) -> Line | None: ...

    def rows(self, execution: str) -> list[Row]: ...

    def key(self, execution: str) -> bytes | None: ...

    def leaves(self, tenant: str, start: int = 0, end: int | None = None) -> list[bytes]: ...

    def checkpoints(self, tenant: str) -> list[tuple[int, bytes]]: ...

    def tenants(self) -> list[str]: ...


class Effector(Protocol):
    """Touches the world for one kind of request, with a Permit it spends first."""

    port: str

    async def perform(self, permit: Permit, request: Request, *, execution: str, step: str) -> tuple[Any, Receipt]:
        """Do `request` once and give its result and what it cost.

        Raises UpstreamError or InputError (codes P and M; OMG-P007 where none fits). When the request may have left before the error,
        say so with `details={"sent": True}`: a write is then in doubt instead of failed. Anything else that it raises counts as sent.
        """
        ...


class Clock(Protocol):
    """Time. Wall time may jump; `monotonic` never goes back."""

    def now_us(self) -> int: ...

    def monotonic(self) -> float: ...

    async def sleep(self, seconds: float) -> None: ...


class Entropy(Protocol):
    """Randomness."""

    def take(self, size: int) -> bytes: ...


class Signer(Protocol):
    """Signs with one named key that it never shows."""

    name: str
    public: bytes

    def sign(self, message: bytes) -> bytes: ...


class Sealer(Protocol):
    """Seals and commits to the payloads of one execution under keys that die with it."""

    def seal(self, plain: bytes, context: bytes) -> bytes: ...

    def open(self, sealed: bytes, context: bytes) -> bytes: ...

    def commit(self, plain: bytes, context: bytes) -> bytes: ...
