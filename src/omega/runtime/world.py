"""What the engine stands on: the ports it was given, and the moments it tells those who watch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from omega.kernel.adapt import Memory
from omega.kernel.compose import AnyFlow
from omega.kernel.errors import Denied
from omega.kernel.ports import Blobs, Clock, Effector, Entropy, Letter, Reader, Store, Wakeups
from omega.runtime.kept import Kept
from omega.runtime.lease import LEASE_US
from omega.runtime.payloads import Attic
from omega.runtime.streaming import Streams
from omega.trust.passport import Authority
from omega.trust.sealing import Keyring
from omega.warden.admit import Warden
from omega.warden.guard.rules import Guards


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """Something that just happened, for progress bars: `kind` is started, began, ended, failed, denied, waiting, paused, part (of a
    stream: `note` is how it begins), recalled or finished."""

    kind: str
    execution: str
    position: str = ""
    flow: str = ""
    effect: str = ""
    took_s: float = 0.0
    note: str = ""


Watch = Callable[[Moment], None]


def as_written(leaf: AnyFlow) -> AnyFlow:
    """No descriptions are known."""
    return leaf


def unwatched(moment: Moment) -> None:
    """Nobody looks."""


def no_second_factor(tenant: str, principal: str, sent: Mapping[str, Any]) -> bool:
    """Nobody has one."""
    return False


def no_passkey(tenant: str, principal: str, about: Sequence[str], said: Any) -> str:
    """Nobody has one."""
    raise Denied("OMG-T011", "the passkey does not hold: none is registered here")


class Inbox(Protocol):
    """Decisions on their way to the engine that owns the execution, kept by the store."""

    def letters(self, after: int = 0) -> list[Letter]:
        """Letters with a number above `after`, the oldest first; those about executions that another engine owns may be left out."""
        ...

    def settle(self, number: int) -> None:
        """Remove a letter that was acted on."""
        ...

    def post(self, execution: str, verb: str, body: Mapping[str, Any], at_us: int) -> int:
        """Leave a letter about `execution`; gives its number."""
        ...


def as_given(tenant: str, flow: AnyFlow, data: bytes, labels: Mapping[str, str]) -> Mapping[str, str]:
    """The labels of an execution are those that its call gives."""
    return labels


def unnoticed(tenant: str, execution: str, flow: AnyFlow) -> None:
    """Nobody waits for executions to end."""


@dataclass(slots=True, kw_only=True)
class World:
    """The ports of one engine, wired by the host (or by `omega.testing`)."""

    store: Store
    reader: Reader
    clock: Clock
    entropy: Entropy
    warden: Warden
    keyring: Keyring
    authority: Authority
    effectors: Mapping[str, Effector]
    owner: str = "embedded"
    bind: Callable[[AnyFlow], AnyFlow] = as_written
    """Gives a tool leaf the effect, schema and pin of its accepted description."""
    kept: Kept = field(default_factory=Kept)
    memory: Memory = field(default_factory=Memory)
    streams: Streams = field(default_factory=Streams)
    watch: Watch = unwatched
    label: Callable[[str, AnyFlow, bytes, Mapping[str, str]], Mapping[str, str]] = as_given
    """Gives the labels that an execution begins with: from its tenant, flow, input (JSON) and the labels of its call."""
    rested: Callable[[str, str, AnyFlow], None] = unnoticed
    """Is told tenant, execution and flow whenever one has ended or stands still; it must not raise."""
    lease_us: int = LEASE_US
    """How long an execution is owned without a sign of life, in microseconds."""
    park_s: float | None = None
    """Waits with more than this left (seconds) are not held in memory: the execution stands still and is due when they are over.
    None holds them all."""
    wakeups: Wakeups | None = None
    """Where workers are told that something is due; None where no worker listens."""
    inbox: Inbox | None = None
    """Where letters to other engines go; None where there is no other."""
    guards: Guards = field(default_factory=Guards)
    """What is looked for in the arguments and results of tools and models."""
    second_factor: Callable[[str, str, Mapping[str, Any]], bool] = no_second_factor
    """Whether what a person (tenant, principal) sent with an approval proves their second factor; using it up is part of it."""
    passkey: Callable[[str, str, Sequence[str], Any], str] = no_passkey
    """The name of the passkey with which a person (tenant, principal) answered what was asked about a decision (its verb, execution and
    step); using the answer up is part of it. Raises Denied (OMG-T011, OMG-T012)."""
    blobs: Blobs | None = None
    """Where large values go; None keeps them in the store."""

    def attic(self, tenant: str) -> Attic | None:
        """Where the large values of `tenant` go, and under which keys."""
        return None if self.blobs is None else Attic(self.blobs, self.keyring.vault(tenant))
