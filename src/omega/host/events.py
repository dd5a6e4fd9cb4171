"""Events, read from the record: the feed of a tenant's log, and the effector by which flows publish and read.

There is no second way to write an event. Those of the record are what its leaves say; a published one is the result of a step of the flow
`events.publish`, so it is journaled, sealed and committed with that step or not at all (docs/adr/0041).

    leaf                              event
    entry                             flow:created
    end            status done        flow:executed
    end, cancel    any other          flow:error
    admin          status dead        flow:error
    deny                              call:denied
    pin                               tool:accepted
    approve, resolve, admin, handover user:action       (and a cancel that is still to be undone)
    outcome        of events.publish  what was published, if the effector's mark on it is sound
    any other      with flags         log:flagged

What somebody should see (`omega.chronicle.flags`) is named in the `flags` of the event.

Leaves hold names and digests alone, so the last one alone looks into the journal. The mark is a MAC under a key of the tenant over event
and place: a flow that only calls itself `events.publish` cannot make one, and so cannot tell of anything without the right to publish.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from omega.chronicle.flags import flags_of
from omega.chronicle.record import Leaf, decode
from omega.contracts.events import (
    CallDenied,
    Event,
    Fact,
    FlowCreated,
    FlowError,
    FlowExecuted,
    Interest,
    LogFlagged,
    ToolAccepted,
    UserAction,
    checked,
    in_place,
    plain,
)
from omega.contracts.publishing import MAX_PAGE, MAX_WAIT_S, PUBLISH, Publish, ReadEvents
from omega.kernel.effects import Receipt, Request
from omega.kernel.errors import InputError, IntegrityError
from omega.kernel.journal import Kind, Row, Status
from omega.kernel.ports import Blobs, Line, Reader
from omega.kernel.verdict import Permit
from omega.runtime.payloads import Attic, Payloads
from omega.runtime.recovery import sealer_of
from omega.trust.sealing import Keyring

BEGINNING = -1
"""The position before the first event."""

LEAVES_AT_ONCE = 2_000
"""Most leaves that are looked at for one page: most of them tell of no event, and a page must not hold up its engine."""

LOOK_S = 0.2
"""How often a reader that waits looks for new leaves, in seconds: one read by index."""


@dataclass(frozen=True, slots=True)
class Page:
    """Some events in order, the `position` to go on after, and whether there may be `more` right behind it."""

    events: tuple[Event, ...]
    position: int
    more: bool

    def record(self) -> dict[str, Any]:
        """As data: events as CloudEvents documents."""
        return {"events": [event.cloud() for event in self.events], "position": self.position, "more": self.more}


class Feed:
    """Reads events of any tenant from what is committed. Every method raises StorageError when the store fails."""

    def __init__(self, reader: Reader, keyring: Keyring, blobs: Blobs | None = None) -> None:
        self._reader, self._keyring, self._blobs = reader, keyring, blobs

    def read(self, tenant: str, after: int = BEGINNING, interest: Interest | None = None, limit: int = 100) -> Page:
        """At most `limit` events of `tenant` after a position. Reads a bounded part of the log: `more` says to ask again."""
        wanted = interest or Interest()
        leaves = self._reader.leaves(tenant, after + 1, after + 1 + LEAVES_AT_ONCE)
        journals = _Journals(self._reader, self._keyring, self._blobs)
        found: list[Event] = []
        position = after
        for raw in leaves:
            event = self._told(tenant, position + 1, raw, journals)
            position += 1
            if event is not None and wanted.wants(event):
                found.append(event)
                if len(found) == limit:
                    break
        return Page(tuple(found), position, position < after + len(leaves) or len(leaves) == LEAVES_AT_ONCE)

    def newest(self, tenant: str) -> int:
        """The position of the newest leaf: whoever goes on after it is told of what happens from now on."""
        points = self._reader.checkpoints(tenant)
        size = points[-1][0] if points else 0
        while grown := len(self._reader.leaves(tenant, size, size + LEAVES_AT_ONCE)):
            size += grown
        return size - 1

    async def wait(self, tenant: str, after: int, interest: Interest, *, limit: int, wait_s: float) -> Page:
        """A page; while there is nothing to tell, up to `wait_s` seconds of waiting for it."""
        loop = asyncio.get_running_loop()
        until = loop.time() + wait_s
        while True:
            page = self.read(tenant, after, interest, limit)
            left = until - loop.time()
            if page.events or (left <= 0 and not page.more):
                return page
            after = page.position
            if not page.more:
                await asyncio.sleep(min(LOOK_S, left))
            else:
                await asyncio.sleep(0)

    async def follow(self, tenant: str, after: int, interest: Interest | None = None) -> AsyncIterator[Event]:
        """Every event after a position as it comes, for ever."""
        while True:
            page = await self.wait(tenant, after, interest or Interest(), limit=MAX_PAGE, wait_s=MAX_WAIT_S)
            for event in page.events:
                yield event
            after = page.position

    def _told(self, tenant: str, position: int, raw: bytes, journals: _Journals) -> Event | None:
        try:
            leaf = decode(raw)
        except IntegrityError:  # `omega verify` names it; the events after it are told all the same
            return None
        if leaf.kind == "outcome" and leaf.status == Status.DONE and leaf.flow == PUBLISH:
            return journals.published(leaf, tenant, position)
        fact = _flagged(leaf, _fact(leaf, journals))
        if fact is None:
            return None
        return Event(type=fact.type, tenant=tenant, position=position, key=fact.key or leaf.principal, at_us=leaf.at_us, data=plain(fact))


def _fact(leaf: Leaf, journals: _Journals) -> Fact | None:
    """What a leaf tells by itself."""
    execution, principal = leaf.execution, leaf.principal
    if leaf.kind == "entry":
        return FlowCreated(execution=execution, flow=leaf.flow, effect=leaf.effect, principal=principal)
    if leaf.kind == "deny":
        return CallDenied(execution=execution, step=leaf.step, flow=leaf.flow, principal=principal, code=leaf.code, policies=leaf.policies)
    if leaf.kind == "pin":
        return ToolAccepted(execution=execution, principal=principal, reason=leaf.reason)
    if _ends(leaf):
        flow = journals.flow(execution)
        spent: dict[str, Any] = {"cost_micros": leaf.cost_micros, "tokens": leaf.tokens}
        if leaf.status == Status.DONE:
            return FlowExecuted(execution=execution, flow=flow, principal=principal, **spent)
        return FlowError(execution=execution, flow=flow, principal=principal, status=leaf.status, code=leaf.code, **spent)
    if leaf.kind in ("approve", "resolve", "cancel", "admin", "handover"):
        return UserAction(
            execution=execution, action=leaf.kind, step=leaf.step, principal=principal, status=leaf.status, reason=leaf.reason
        )
    return None


def _flagged(leaf: Leaf, fact: Fact | None) -> Fact | None:
    """`fact` with the flags of `leaf`; where the leaf tells nothing else, the flags themselves."""
    flags = flags_of(leaf)
    if not flags:
        return fact
    names = tuple(str(flag.kind) for flag in flags)
    if fact is None:
        about = {"step": leaf.step, "flow": leaf.flow, "principal": leaf.principal, "code": leaf.code}
        return LogFlagged(execution=leaf.execution, flags=names, raised=flags[0].raised, **about)
    return replace(fact, flags=names) if isinstance(fact, (CallDenied, FlowCreated, FlowError, UserAction)) else fact


def _ends(leaf: Leaf) -> bool:
    """Whether nothing more happens in the execution until somebody says so."""
    return leaf.kind == "end" or (leaf.kind, leaf.status) in (("cancel", Status.CANCELLED), ("admin", Status.DEAD))


class _Journals:
    """What one page needs of the journals: each execution is looked up once."""

    def __init__(self, reader: Reader, keyring: Keyring, blobs: Blobs | None) -> None:
        self._reader, self._keyring, self._blobs = reader, keyring, blobs
        self._lines: dict[str, Line | None] = {}
        self._rows: dict[str, list[Row]] = {}

    def line(self, execution: str) -> Line | None:
        if execution not in self._lines:
            self._lines[execution] = self._reader.line(execution)
        return self._lines[execution]

    def flow(self, execution: str) -> str:
        line = self.line(execution)
        return line.flow if line is not None else ""

    def row(self, leaf: Leaf) -> Row | None:
        """The row that holds what the step of `leaf` gave: the last one that the leaf covers."""
        if leaf.execution not in self._rows:
            self._rows[leaf.execution] = self._reader.rows(leaf.execution)
        rows = self._rows[leaf.execution]
        if not 0 < leaf.rows <= len(rows) or rows[leaf.rows - 1].kind != Kind.DONE:
            return None
        return rows[leaf.rows - 1]

    def published(self, leaf: Leaf, tenant: str, position: int) -> Event | None:
        """What a step of `events.publish` published; None when its payload was erased, or the mark is not the effector's."""
        row, line = self.row(leaf), self.line(leaf.execution)
        if row is None or line is None or line.tenant != tenant:
            return None
        try:
            sealer = sealer_of(self._reader, self._keyring, line)
            if sealer is None:
                return None
            attic = None if self._blobs is None else Attic(self._blobs, self._keyring.vault(tenant))
            result = json.loads(Payloads(sealer, self._rows[leaf.execution], attic=attic).open(row))
            told = _checked(result, leaf.execution)
            mark = str(result["mark"])
        except (IntegrityError, InputError, KeyError, TypeError, ValueError):
            return None
        if not hmac.compare_digest(mark, _mark(self._keyring, tenant, leaf.execution, told)):
            return None
        return Event(type=told["type"], tenant=tenant, position=position, key=told["key"], at_us=leaf.at_us, data=told["data"])


def _checked(notice: Mapping[str, Any], execution: str) -> dict[str, Any]:
    """What `execution` publishes, or has published. Raises InputError (OMG-I001)."""
    told = checked(notice["type"], notice["key"], notice["data"])
    in_place(told["type"], told["data"], execution)
    return told


def _mark(keyring: Keyring, tenant: str, execution: str, told: Mapping[str, Any]) -> str:
    """The effector's word, in hex, that it published `told` in `execution`. No tenant is named like this vault: names have no spaces."""
    said = json.dumps([execution, told["type"], told["key"], told["data"]], sort_keys=True, separators=(",", ":")).encode()
    return keyring.vault(f"events of {tenant}").address(hashlib.sha256(said).digest()).hex()


class EventsEffector:
    """Serves `Publish` and `ReadEvents`. The tenant comes from the permit, never from the request."""

    port = Publish.port

    def __init__(self, feed: Callable[[], Feed], keyring: Keyring) -> None:
        self._feed, self._keyring = feed, keyring

    async def perform(self, permit: Permit, request: Request, *, execution: str, step: str) -> tuple[Any, Receipt]:
        """Gives the marked event, or a page as data (`Page.record`). Raises InputError (OMG-I001) for what cannot be published or read."""
        permit.spend(self.port)
        if isinstance(request, Publish):
            told = _checked({"type": request.type, "key": request.key, "data": request.data}, execution)
            return told | {"mark": _mark(self._keyring, permit.tenant, execution, told)}, Receipt()
        if not isinstance(request, ReadEvents):
            raise InputError("OMG-I001", f"events are published and read, there is no {type(request).__name__}")
        interest = _asked(request)
        page = await self._feed().wait(permit.tenant, request.after, interest, limit=request.limit, wait_s=request.wait_s)
        return page.record(), Receipt()


def _asked(request: ReadEvents) -> Interest:
    if request.after < BEGINNING or not 0 < request.limit <= MAX_PAGE or not 0 <= request.wait_s <= MAX_WAIT_S:
        raise InputError("OMG-I001", f"a page holds 1 to {MAX_PAGE} events after a position and comes within {MAX_WAIT_S:.0f} seconds")
    return Interest(types=_texts(request.types), keys=_texts(request.keys))


def _texts(words: Sequence[str]) -> tuple[str, ...]:
    return tuple(str(each) for each in words)
