"""Ports: what the kernel and the runtime ask of the world, each with one to three methods and a conformance suite.

Adapters implement them, the host wires them, `omega.testing` ships fakes that pass the same suites (`omega.testing.conformance`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from omega.kernel.effects import Receipt, Request
from omega.kernel.journal import Row
from omega.kernel.queueing import Limits
from omega.kernel.verdict import Permit


class Road(Protocol):
    """The one face of the one road: who is it, may they, do it, what happened. Implemented once, in `omega.runtime.road`."""

    async def call(self, call: Call) -> Outcome:
        """Take `call` down the road to its end. Errors come back inside the Outcome, never as exceptions of the callee."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A request from an entrance: a passport (compact JWT), the flow by value or target, its input as plain data, and limits.

    `trace` is the W3C trace id (32 hex digits) that the call belongs to; empty where it begins one. `origin` says where it came from, as
    the entrance saw it: `address` of the peer, `agent` as it named itself. It goes into the entry's leaf and nowhere else.

    `untold` says that nobody is told of the execution before it ends or a second has passed: then its start goes to disk with what comes
    next, not before.
    """

    passport: str
    flow: Any
    input: Any
    execution: str = ""
    target: str = ""
    budget: Any = None
    timeout_s: float | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    trace: str = ""
    origin: Mapping[str, str] = field(default_factory=dict)
    untold: bool = False


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
    data key to keep with a new execution. `wake` names other executions of the same tenant that may now go on (a parent whose child
    ended): see `Store.wake`.
    """

    tenant: str
    execution: str
    epoch: int
    rows: Sequence[Row] = ()
    leaves: Sequence[bytes] = ()
    head: Head | None = None
    key: bytes | None = None
    wake: Sequence[str] = ()


NEVER = 0
"""A `due_us` that means: no worker takes it up until somebody wakes it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The line of an execution that lists and searches read: changed with the rows that justify it.

    `digest` is what the flow is pinned to (`Flow.pin`: definition and code), `queue` (with `key` and `priority`, see `kernel.queueing`)
    the queue it is worked off from, `parent` the execution that started it, `labels` what it can be searched by; all of these are set when
    the line is made, and `digest` again when it is carried over to another version. A line that is made and ends in one batch says with
    `started_us` when it was begun; 0 is `at_us`.
    `due_us` is the moment from which a worker may take it up (Unix microseconds; NEVER: not until it is woken; None: as it was). A line
    that was woken since it was last claimed and is now given a later moment, or NEVER, keeps the moment of the wake instead: no wake is
    lost between the last look and standing still. An execution that ends is never due. A status that is not running drops the owner
    and the lease in the same transaction, and `tries` begin anew: what stands still is nobody's.
    `origin` and `origin_rows` make a fork: its history begins with that many rows of `origin`, whose key it shares.
    """

    status: str
    flow: str = ""
    version: str = ""
    principal: str = ""
    target: str = ""
    at_us: int = 0
    started_us: int = 0
    create: bool = False
    digest: str = ""
    queue: str = ""
    key: str = ""
    priority: int = 0
    due_us: int | None = None
    parent: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    origin: str = ""
    origin_rows: int = 0


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
    digest: str = ""
    queue: str = ""
    key: str = ""
    priority: int = 0
    due_us: int = NEVER
    tries: int = 0
    parent: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    origin: str = ""
    origin_rows: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """Which executions a list shows; empty fields do not narrow it. `labels` must all match; `after` and `before` bound `started_us`
    (from, until exclusive); `older_than` is the execution after which the page begins. Newest first."""

    tenant: str = ""
    status: Sequence[str] = ()
    flow: str = ""
    digest: str = ""
    queue: str = ""
    key: str = ""
    principal: str = ""
    parent: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    after_us: int = 0
    before_us: int = 0
    older_than: str = ""
    limit: int = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Want:
    """What a worker can take up: at most `most` executions of the flows in `digests` from `queues`, under the limits given per queue
    (the same for all workers), to own until `lease_us`."""

    owner: str
    digests: Sequence[str]
    queues: Sequence[str]
    limits: Mapping[str, Limits]
    most: int
    now_us: int
    lease_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """An execution that was just taken up: `tries` counts how often in a row this happened without its standing still or ending
    (1 the first time). Whether it got on meanwhile is in its journal (`runtime.supervision`)."""

    execution: str
    epoch: int
    digest: str
    queue: str
    tries: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Erased:
    """What an erasure came to: the executions that are `gone`, and those `left` because they, or what rests on them, have not ended."""

    gone: tuple[str, ...] = ()
    left: tuple[str, ...] = ()


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

    async def release(self, execution: str) -> None:
        """Give `execution` back before its lease ends; nothing happens when this store's owner does not hold it."""
        ...

    async def take(self, want: Want) -> list[Taken]:
        """Own what is due and may run now, chosen by `kernel.queueing.choose` over every line with

            status not ended, 0 < due_us <= now, lease over, digest and queue wanted

        and begin it: epoch one higher, owner and lease set, `tries` one higher, status running, no wake pending. Two workers never
        get the same one, and limits hold over all of them.
        """
        ...

    async def wake(self, executions: Sequence[str], now_us: int) -> None:
        """Make each due now (those that are due earlier stay as they are; those that ended or are unknown are left alone), also one that
        is just being run: then it becomes due when it next stands still."""
        ...

    async def next_due(self, queues: Sequence[str], now_us: int) -> int | None:
        """The earliest moment after `now_us` at which something in `queues` becomes due or its lease ends; None when nothing will."""
        ...

    async def compact(self, tenant: str, ended_before_us: int, limit: int) -> int:
        """Destroy the payloads and the key of at most `limit` executions that ended before that moment, unless a fork that has not been
        compacted rests on them, or their parent has not ended; gives how many. Rows, digests and leaves stay: what happened can still be
        proved, not read."""
        ...

    async def erase(self, tenant: str, executions: Sequence[str]) -> Erased:
        """Destroy the payloads, the key, the labels and the partition key of these executions of `tenant`, of their forks and of their
        children, all the way down. What has not ended is left, and so is what it rests on or what its parent has yet to read."""
        ...

    async def redact(self, tenant: str, execution: str, payloads: Mapping[int, bytes], key: bytes, label: str) -> bool:
        """Put `payloads` (by row number) and `key` in the place of all payloads and the key of an execution that ended, and drop its
        label of that name; whether it was done. Not for what was compacted, a fork or what forks rest on, nor while a parent goes on."""
        ...

    async def prune(self, tenant: str, leaves: Mapping[int, bytes]) -> None:
        """Put what stays of them (`chronicle.pruned`) in the place of leaves of the tenant's log, by index. Its tree and its checkpoints
        stay as they are: whoever calls this answers for the hashes."""
        ...


class Wakeups(Protocol):
    """Hints that something may be due: to wait on instead of asking the store over and over. Losing every hint costs one sweep of latency
    and nothing else; a hint too many costs one look."""

    async def hint(self, queue: str) -> None:
        """Tell the workers of `queue` to look. Never raises: a hint that cannot be sent is lost."""
        ...

    async def wait(self, queues: Sequence[str], timeout_s: float) -> bool:
        """Whether a hint for one of `queues` came within `timeout_s`; one that came since the last wait counts."""
        ...

    async def aclose(self) -> None: ...


class Subscription(Protocol):
    """What one subscriber hears. `missed` counts the messages that were dropped because it read too slowly: it reads the record then."""

    missed: int

    async def next(self, timeout_s: float) -> tuple[str, bytes] | None:
        """The next message as (topic, body), or None when none came within `timeout_s`."""
        ...

    async def aclose(self) -> None: ...


class Bus(Protocol):
    """Carries messages to whoever listens now. Messages of one publisher and topic come in order, at most once, or not at all: what must
    not be lost is read from the record. A topic is words joined by dots; in a pattern `*` stands for one word and a last `>` for the rest.
    """

    async def publish(self, topic: str, body: bytes) -> None:
        """Tell everybody who listens. Never raises for a message that cannot be sent: it is lost. Raises InputError (OMG-I001) for a topic
        or a size that no bus carries."""
        ...

    async def subscribe(self, pattern: str) -> Subscription:
        """Hear what is published from now on. Raises InputError (OMG-I001)."""
        ...

    async def aclose(self) -> None: ...


class Reader(Protocol):
    """Reads what is durable; works beside a live engine, in another process too. `rows` of a fork begin with those of its origin."""

    def lines(self, *, tenant: str | None = None, status: str | None = None, limit: int = 50) -> list[Line]: ...

    def search(self, search: Search) -> list[Line]: ...

    def line(self, execution: str) -> Line | None: ...

    def rows(self, execution: str) -> list[Row]: ...

    def key(self, execution: str) -> bytes | None: ...

    def leaves(self, tenant: str, start: int = 0, end: int | None = None) -> list[bytes]: ...

    def checkpoints(self, tenant: str, after: int = -1) -> list[tuple[int, bytes]]: ...

    def tenants(self) -> list[str]: ...


class Blobs(Protocol):
    """Large values beside the store, each under the address that its content has: hex of 64 letters, made under the tenant's key, so that
    nobody guesses one. What lies there is sealed; a store of blobs sees sizes and nothing else."""

    async def put(self, address: str, body: bytes) -> None:
        """Keep `body` under `address`; on disk when this returns. The same address is the same content: once is enough.

        Raises StorageError (OMG-S004), FlowError (OMG-R003) above the store's limit.
        """
        ...

    def get(self, address: str) -> bytes:
        """What lies there. Raises IntegrityError (OMG-S005) when nothing does, StorageError (OMG-S004) when it cannot be reached."""
        ...

    async def delete(self, address: str) -> None:
        """Take it away; nothing happens when it is not there."""
        ...

    def held(self) -> Iterable[tuple[str, int]]:
        """Every address with when it was put, in Unix microseconds. Raises StorageError (OMG-S004)."""
        ...


class TableSession(Protocol):
    """The tables of one feature as one tenant sees them, inside one transaction. Statements are SQLAlchemy Core, never text."""

    def execute(self, statement: Any) -> int:
        """Carry out an insert, update or delete; gives how many rows it changed. A row of another tenant cannot be written."""
        ...

    def rows(self, statement: Any) -> list[dict[str, Any]]:
        """The rows of a select, by column name. Rows of other tenants are not there."""
        ...

    def row(self, statement: Any) -> dict[str, Any] | None:
        """The first row of a select; None when there is none."""
        ...


Transaction = Callable[[TableSession, str, Mapping[str, Any]], Any]
"""One change or question: (session, tenant, values) to plain data. A plain function: it may be run again, so it does nothing else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schema:
    """What a feature keeps in tables: `tables` is a SQLAlchemy `MetaData`; each table is called `NAME_...` and has a column `tenant`.

    `changes` and `looks` are the transactions by name. `version` counts the shapes of the tables from 1; `migrations` holds for each later
    version the statements that lead to it from the one before, and these only ever add.
    """

    name: str
    version: int
    tables: Any
    changes: Mapping[str, Transaction]
    looks: Mapping[str, Transaction]
    migrations: Mapping[int, Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """For whom, and for which step of which execution, tables are changed. `at_us` is the moment, in Unix microseconds."""

    tenant: str
    execution: str
    step: str
    epoch: int
    at_us: int


class Tables(Protocol):
    """Tables of features, each tenant's apart."""

    async def change(self, schema: Schema, name: str, values: Mapping[str, Any], turn: Turn) -> Any:
        """Carry out the change `name` once for the step of `turn`: what a step has changed before is given back, not done again.

        Raises InputError (OMG-I001) for a change that is not known, or one that a rule of the tables refuses; FlowError (OMG-R015) when the
        step has made another change before; StorageError OMG-S006 for a stale epoch, OMG-S003 for newer tables, OMG-S004.
        """
        ...

    async def look(self, schema: Schema, name: str, values: Mapping[str, Any], tenant: str) -> Any:
        """The answer to the question `name`. Raises InputError (OMG-I001), StorageError."""
        ...

    async def stands(self) -> bool:
        """Whether there may be tables at all: where none were ever made, nothing is opened, made or loaded to find that out."""
        ...

    async def erase(self, schema: Schema, name: str, values: Mapping[str, Any], turn: Turn, executions: Sequence[str] = ()) -> Any:
        """Carry out the change `name`, which destroys what is kept of somebody, as often as it is asked for: `values` and, under `made`,
        what the changes gave that steps of `executions` had made.

        It is not noted. The notes of the feature's changes lose their digests, from which a value could be guessed, and their result where
        it holds one of `values["subjects"]`. Nothing of it is in the files afterwards. Raises InputError (OMG-I001), StorageError.
        """
        ...

    async def purge(self, tenant: str) -> int:
        """Delete every row of `tenant` in every feature's tables; gives how many there were. Raises StorageError."""
        ...

    async def aclose(self) -> None: ...


class Effector(Protocol):
    """Touches the world for one kind of request, with a Permit it spends first."""

    port: str

    async def perform(self, permit: Permit, request: Request, *, execution: str, step: str) -> tuple[Any, Receipt]:
        """Do `request` once and give its result and what it cost.

        Raises UpstreamError or InputError (codes P and M; OMG-P007 where none fits). When the request may have left before the error,
        say so with `details={"sent": True}`: a write is then in doubt instead of failed. Anything else that it raises counts as sent.
        """
        ...


@runtime_checkable
class Foretelling(Protocol):
    """What an effector that serves models offers besides, so that money is set aside before it is spent."""

    async def foretell(self, tenant: str, request: Request) -> Receipt:
        """What `request` of `tenant` can come to at most: `perform` gives a receipt with no more money and no more tokens, unless whoever
        bills counts in another way. `priced` is false where nobody knows the price. Touches nothing. Raises InputError as `perform`."""
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
