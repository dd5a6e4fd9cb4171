"""Events: what happened, as typed facts, and the envelope in which they travel (CloudEvents 1.0, JSON format).

    area:verb          data                    told by
    flow:created       FlowCreated             the record: an execution was admitted
    flow:executed      FlowExecuted            the record: an execution ended well
    flow:error         FlowError               the record: an execution failed or was cancelled
    call:denied        CallDenied              the record: the gate said no
    tool:accepted      ToolAccepted            the record: descriptions of tools were accepted
    user:action        UserAction              the record: a person approved, resolved, cancelled or administered
    log:flagged        LogFlagged              the record: something to look at that none of the above tells
    agent:asked        AgentAsked              the roster, when an agent at a host of its own has work
    agent:completed    AgentCompleted          the roster, when one of its agents has done its work
    node:joined        NodeJoined              an engine that takes work from records that several share
    node:left          NodeLeft                the same, when it stops; one that is killed says nothing
    model:loaded       ModelLoaded             the service of models, when a model is kept under a name
    workspace:changed  WorkspaceChanged        whoever keeps the workspace, by `publish`

Those of the record say in `flags` why somebody who watches over an installation wants to see them (`denied`, `guard`, `in doubt`, ...; see
docs/privacy.md), and whoever asks for `log:flagged` gets every event that has flags, whatever its type.

Those of the record are read from the sealed log, so nothing can happen without its event and no event can be told of what did not
happen; nobody may publish them. Those of the roster, the nodes and the models the house alone publishes: whoever follows them acts on them
(the host of an agent does what `agent:asked` says), so nobody may from outside, and one that names an execution is told by that one. A
type that is not in the table is as good as any: its data is plain, and its owner says what is in it.

An event has a *position*: the index of its leaf in the log of its tenant. Positions grow and have gaps. Its *key* is what it is about (an
execution, a node, a workspace): the events of one key come in the order in which they happened. Whoever remembers the position of the last
event that it dealt with goes on after it, and so sees each event at least once. A published event is told for as long as the payloads of
its execution are kept; the others stay with the log.

Format: https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md, with the documented extensions `partitionkey`
(the key) and `sequence` (the position, with leading zeros, so that it sorts as text).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from typing import Any, ClassVar, Final

from omega.kernel.errors import InputError

SPEC_VERSION: Final = "1.0"
CONTENT_TYPE: Final = "application/cloudevents+json"
BATCH_TYPE: Final = "application/cloudevents-batch+json"

MAX_TYPE: Final = 64
MAX_KEY: Final = 256
"""Longest type and key of an event, in characters."""

MAX_DATA: Final = 32 << 10
"""Largest data of an event as JSON, in bytes: with its envelope below the 64 KiB that CloudEvents asks every carrier to forward."""

_TYPE = re.compile(r"[a-z][a-z0-9-]{0,31}:[a-z][a-z0-9-]{0,30}")
_PATTERN = re.compile(r"\*|[a-z][a-z0-9-]{0,31}:(?:\*|[a-z][a-z0-9-]{0,30})")
_SEQUENCE_DIGITS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """The data of a typed event: flat, plain, and about one thing, which `key` names."""

    type: ClassVar[str] = ""
    derived: ClassVar[bool] = False
    """Whether the record alone tells it, so that nobody may publish it."""

    house: ClassVar[bool] = False
    """Whether the house alone publishes it, from within its own flows; an execution that it names is the one that tells it."""

    @property
    def key(self) -> str:
        """What the event is about."""
        return str(getattr(self, fields(self)[0].name))


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowCreated(Fact):
    """An execution of `flow` was admitted for `principal`."""

    type: ClassVar[str] = "flow:created"
    derived: ClassVar[bool] = True
    execution: str
    flow: str
    effect: str = ""
    principal: str = ""
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowExecuted(Fact):
    """An execution ended well. Money is in millionths of the currency of its budget."""

    type: ClassVar[str] = "flow:executed"
    derived: ClassVar[bool] = True
    execution: str
    flow: str = ""
    principal: str = ""
    cost_micros: int = 0
    tokens: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowError(Fact):
    """An execution ended in `code`, or was cancelled (`status`)."""

    type: ClassVar[str] = "flow:error"
    derived: ClassVar[bool] = True
    execution: str
    flow: str = ""
    principal: str = ""
    status: str = "failed"
    code: str = ""
    cost_micros: int = 0
    tokens: int = 0
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CallDenied(Fact):
    """The gate said no to a step (or to the whole execution, where `step` is empty), by which policies."""

    type: ClassVar[str] = "call:denied"
    derived: ClassVar[bool] = True
    execution: str
    step: str = ""
    flow: str = ""
    principal: str = ""
    code: str = ""
    policies: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentCompleted(Fact):
    """The agent `agent` did a task. `took_us` is microseconds, money in millionths: 0 where the end of the execution tells it."""

    type: ClassVar[str] = "agent:completed"
    house: ClassVar[bool] = True
    agent: str
    principal: str = ""
    took_us: int = 0
    cost_micros: int = 0
    tokens: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentAsked(Fact):
    """The agent `agent`, which works at a host of its own, is asked to do a task (`task` is JSON). Its answer is a signal called `signal`
    to `execution`: {"answer": ...}, or {"error": "why not"}."""

    type: ClassVar[str] = "agent:asked"
    house: ClassVar[bool] = True
    agent: str
    version: str
    execution: str
    signal: str
    task: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolAccepted(Fact):
    """Descriptions of tools were accepted, in that execution."""

    type: ClassVar[str] = "tool:accepted"
    derived: ClassVar[bool] = True
    execution: str
    principal: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class UserAction(Fact):
    """A person did `action` (approve, resolve, cancel, admin) to an execution, at `step` where it was about one."""

    type: ClassVar[str] = "user:action"
    derived: ClassVar[bool] = True
    execution: str
    action: str
    step: str = ""
    principal: str = ""
    status: str = ""
    reason: str = ""
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LogFlagged(Fact):
    """Something happened in an execution that somebody should see: `flags` say what about, `raised` what raised the first of them."""

    type: ClassVar[str] = "log:flagged"
    derived: ClassVar[bool] = True
    execution: str
    flags: tuple[str, ...]
    raised: str = ""
    step: str = ""
    flow: str = ""
    principal: str = ""
    code: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeJoined(Fact):
    """A node that takes work is there; `roles` says for what."""

    type: ClassVar[str] = "node:joined"
    house: ClassVar[bool] = True
    node: str
    roles: tuple[str, ...] = ()
    version: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeLeft(Fact):
    """A node is gone, and why."""

    type: ClassVar[str] = "node:left"
    house: ClassVar[bool] = True
    node: str
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelLoaded(Fact):
    """A model can be asked, by `provider`."""

    type: ClassVar[str] = "model:loaded"
    house: ClassVar[bool] = True
    model: str
    provider: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkspaceChanged(Fact):
    """Something in a workspace changed: `what` names it."""

    type: ClassVar[str] = "workspace:changed"
    workspace: str
    what: str
    principal: str = ""


FACTS: Final[Mapping[str, type[Fact]]] = {
    kind.type: kind
    for kind in (
        AgentAsked,
        AgentCompleted,
        CallDenied,
        FlowCreated,
        FlowError,
        FlowExecuted,
        LogFlagged,
        ModelLoaded,
        NodeJoined,
        NodeLeft,
        ToolAccepted,
        UserAction,
        WorkspaceChanged,
    )
}
"""The typed events, by type."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One event of `tenant`, at its `position` in the tenant's log, about `key`, at `at_us` (Unix microseconds)."""

    type: str
    tenant: str
    position: int
    key: str
    at_us: int
    data: Mapping[str, Any] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """What tells it from every other event of the installation: the same each time it is told."""
        return f"{self.tenant}.{self.position}"

    def fact(self) -> Fact | None:
        """Its data as the type that stands in the table; None for another type, or when the data does not fit it."""
        kind = FACTS.get(self.type)
        if kind is None:
            return None
        known = {each.name for each in fields(kind)}
        try:
            return kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in self.data.items() if name in known})
        except TypeError:
            return None

    def cloud(self) -> dict[str, Any]:
        """As a CloudEvents 1.0 document."""
        return {
            "specversion": SPEC_VERSION,
            "id": self.id,
            "source": f"/tenants/{self.tenant}",
            "type": self.type,
            "subject": self.key,
            "time": datetime.fromtimestamp(self.at_us / 1_000_000, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
            "datacontenttype": "application/json",
            "partitionkey": self.key,
            "sequence": f"{self.position:0{_SEQUENCE_DIGITS}d}",
            "data": dict(self.data),
        }

    @classmethod
    def read(cls, document: Any) -> Event:
        """From a CloudEvents document that `cloud` made. Raises InputError (OMG-I001) for anything else."""
        try:
            if document["specversion"] != SPEC_VERSION:
                raise InputError("OMG-I001", f"CloudEvents {str(document['specversion'])[:16]} is not read here, only {SPEC_VERSION}")
            tenant = str(document["source"]).removeprefix("/tenants/")
            at = datetime.fromisoformat(document["time"])
            data = document.get("data", {})
            if not isinstance(data, Mapping) or at.tzinfo is None:
                raise ValueError
            return cls(
                type=checked_type(document["type"]),
                tenant=tenant,
                position=int(document["sequence"]),
                key=str(document["subject"]),
                at_us=round(at.timestamp() * 1_000_000),
                data=data,
            )
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise InputError("OMG-I001", "that is no event of Omega in the CloudEvents format") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Interest:
    """Which events somebody wants: of these types (`flow:*`, `*`; `log:flagged` for all that have flags), about these keys; empty for all.
    Raises InputError (OMG-I001)."""

    types: Sequence[str] = ()
    keys: Sequence[str] = ()

    def __post_init__(self) -> None:
        for each in self.types:
            if not isinstance(each, str) or _PATTERN.fullmatch(each) is None:
                raise InputError("OMG-I001", f"{str(each)[:MAX_TYPE]!r} is no type of event", advice="write it as area:verb, area:* or *")

    def wants(self, event: Event) -> bool:
        """Whether `event` is one of them."""
        kinds = (event.type, LogFlagged.type) if event.data.get("flags") and _is_derived(event.type) else (event.type,)
        return (not self.keys or event.key in self.keys) and (
            not self.types or any(_fits(each, kind) for each in self.types for kind in kinds)
        )


def _is_derived(kind: str) -> bool:
    known = FACTS.get(kind)
    return known is not None and known.derived


def _fits(pattern: str, kind: str) -> bool:
    return pattern in ("*", kind) or (pattern.endswith(":*") and kind.startswith(pattern[:-1]))


def checked_type(kind: Any) -> str:
    """`kind`, if it can be the type of an event. Raises InputError (OMG-I001)."""
    if not isinstance(kind, str) or _TYPE.fullmatch(kind) is None:
        raise InputError("OMG-I001", f"{str(kind)[:MAX_TYPE]!r} is no type of event", advice="write it as area:verb in lower-case letters")
    return kind


def of_ones_own(kind: str) -> None:
    """Refuse a type that is not for everybody to publish. Raises InputError (OMG-I001) for those of the record and of the house."""
    known = FACTS.get(kind)
    if known is not None and (known.derived or known.house):
        by = "the record" if known.derived else "the house"
        raise InputError("OMG-I001", f"{kind} is told by {by} alone", advice="publish an event of a type of your own")


def in_place(kind: str, data: Mapping[str, Any], execution: str) -> None:
    """Refuse an event of the house that names another execution than the one that tells it. Raises InputError (OMG-I001)."""
    known = FACTS.get(kind)
    if known is not None and known.house and data.get("execution", execution) != execution:
        raise InputError("OMG-I001", f"{kind} names another execution than the one that tells it")


def checked(kind: str, key: str, data: Mapping[str, Any]) -> dict[str, Any]:
    """What somebody wants to publish, as it is kept: `type`, `key`, `data`.

    Raises InputError (OMG-I001): for a type of the record, data that does not fit a type of the table, and what is over a limit.
    """
    kind = checked_type(kind)
    known = FACTS.get(kind)
    if known is not None and known.derived:
        raise InputError("OMG-I001", f"{kind} is told by the record alone", advice="publish an event of a type of your own")
    if not isinstance(key, str) or not 0 < len(key) <= MAX_KEY or not key.isprintable():
        raise InputError("OMG-I001", f"the key of an event has 1 to {MAX_KEY} printable characters")
    data = dict(data)
    if known is not None and Event(type=kind, tenant="", position=0, key=key, at_us=0, data=data).fact() is None:
        raise InputError("OMG-I001", f"the data does not fit {kind}, which takes {', '.join(each.name for each in fields(known))}")
    if len(json.dumps(data).encode()) > MAX_DATA:
        raise InputError("OMG-I001", f"the data of an event is at most {MAX_DATA:,} bytes", advice="keep it elsewhere and send a reference")
    return {"type": kind, "key": key, "data": data}


def plain(fact: Fact) -> dict[str, Any]:
    """The data of a typed event as JSON-ready values."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(fact).items()}
