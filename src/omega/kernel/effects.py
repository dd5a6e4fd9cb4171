"""What a flow does to the world, and the requests with which a step may touch it.

One declaration drives caching, retries, journaling, replay, approvals and dry runs; nothing else in Omega asks "is this safe to do again?".

    effect        cache   retry   journaled                      replay re-executes   in doubt after a crash
    pure          yes     yes     write-behind                   yes                  never
    read          no      yes     intent, then result            never                never (read again)
    idempotent    no      yes     intent, then result            never                never (sent again, same key)
    write         no      no      intent, then result            never                yes
    irreversible  no      no      intent, then result            never                yes

Unknown is `write`: never repeated by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar


class Effect(StrEnum):
    """The class of what a flow does to the world, from harmless to final."""

    PURE = "pure"
    READ = "read"
    IDEMPOTENT = "idempotent"
    WRITE = "write"
    IRREVERSIBLE = "irreversible"

    @property
    def rank(self) -> int:
        """0 (pure) .. 4 (irreversible): a composite has the highest rank of its children."""
        return _RANK[self]

    @property
    def gated(self) -> bool:
        """Whether each call takes the whole road: everything but pure."""
        return self is not Effect.PURE

    @property
    def repeatable(self) -> bool:
        """Whether doing it twice does no harm, so that retries and recovery may."""
        return self.rank <= Effect.IDEMPOTENT.rank


_RANK: dict[Effect, int] = {effect: rank for rank, effect in enumerate(Effect)}


def strongest(*effects: Effect) -> Effect:
    """The effect of a composite: that of its most consequential part; pure when there is none."""
    return max(effects, key=lambda effect: effect.rank, default=Effect.PURE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One touch of the world, as data: what an Effector is asked to do. `port` names the Effector, `says` the fields whose texts leave for
    somebody who reads them: guards look at those, and at what comes back."""

    port: ClassVar[str] = ""
    says: ClassVar[tuple[str, ...]] = ()

    @property
    def to(self) -> str:
        """What rules about guards call who is spoken to: `server/tool`, `model/NAME`, `agent/NAME`; empty where nobody is."""
        return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Command(Request):
    """Run one outside program to its end. No shell; the environment holds only what is listed in `env` and a minimal PATH, HOME, LANG.

    `accept` lists the exit codes that are answers, not failures (linters exit 1 when they find something).
    `stdout_limit` is in bytes; a program that prints more is stopped.
    """

    port: ClassVar[str] = "process"
    argv: tuple[str, ...]
    cwd: str | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    stdin: bytes = b""
    timeout_s: float = 60.0
    accept: tuple[int, ...] = (0,)
    stdout_limit: int = 64 << 20


@dataclass(frozen=True, slots=True)
class CommandResult:
    """What a `Command` gave: exit code, standard output and error (bytes), wall seconds."""

    code: int
    stdout: bytes
    stderr: bytes
    duration_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadFile(Request):
    """Read one file of at most `limit` bytes; gives `bytes`."""

    port: ClassVar[str] = "files"
    path: str
    limit: int = 64 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteFiles(Request):
    """Write several files, each whole or not at all (temporary name, fsync, rename).

    Folders are made as needed. Gives the list of paths written.
    """

    port: ClassVar[str] = "files"
    files: Mapping[str, bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall(Request):
    """Call one tool of a known MCP server; gives the tool's structured content, or its text when it has none."""

    port: ClassVar[str] = "mcp"
    says: ClassVar[tuple[str, ...]] = ("arguments",)
    server: str
    tool: str
    arguments: Mapping[str, Any]
    timeout_s: float = 60.0
    cwd: str | None = None

    @property
    def to(self) -> str:
        return f"{self.server}/{self.tool}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCall(Request):
    """Ask a configured model once; gives its text. Raises OMG-X002 when none is configured.

    `model` names a model or a route that is known where it runs; empty is the one for everything.
    """

    port: ClassVar[str] = "model"
    says: ClassVar[tuple[str, ...]] = ("instructions", "prompt")
    instructions: str
    prompt: str
    max_tokens: int = 2_000
    timeout_s: float = 120.0
    model: str = ""

    @property
    def to(self) -> str:
        return f"model/{self.model or 'default'}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ListExecutions(Request):
    """List executions of the caller's tenant, newest first; gives `omega.kernel.ports.Line`s.

    `status` narrows the list where it is given, `after_us` to those that began at that moment (Unix microseconds) or later.
    """

    port: ClassVar[str] = "records"
    status: str = ""
    limit: int = 1_000
    after_us: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Transact(Request):
    """Carry out one named change of a feature's tables (`kernel.ports.Schema`) in the caller's tenant; gives what the change gives.

    A feature has a subclass of its own, whose `port` is the feature's name. The change and the note that this step made it are one database
    transaction: a repeated step gets the noted result, so a step with a Transact is `idempotent`. One step makes one change.
    """

    name: str
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Consult(Request):
    """Read a feature's tables by one named question, in the caller's tenant; nothing can be changed by it. `port` as with `Transact`."""

    name: str
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Notify(Request):
    """Tell people something through the alert channel `channel` of the caller's tenant. `key` names what it is about: `severity` is `page`
    or `ticket`, `title` a line, `text` a few."""

    port: ClassVar[str] = "alerts"
    channel: str
    severity: str
    title: str
    text: str
    key: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What a touch cost, reported by the Effector beside its result: money in millionths of the budget's currency, tokens, bytes moved."""

    cost_micros: int = 0
    tokens: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    priced: bool = True

    def __add__(self, other: Receipt) -> Receipt:
        return Receipt(
            cost_micros=self.cost_micros + other.cost_micros,
            tokens=self.tokens + other.tokens,
            bytes_in=self.bytes_in + other.bytes_in,
            bytes_out=self.bytes_out + other.bytes_out,
            priced=self.priced and other.priced,
        )
