"""What the gate says, and the permit without which no effector moves.

A `Permit` is process-local and single-use: it is bound to one execution, step, epoch and input, made by the warden's mint alone
(`mint_permit`, which only `omega.warden` may import) and spent by the effector before it touches anything. It cannot be copied,
serialised or sent to another host: admission happens where the effect does.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NoReturn

from omega.kernel.budget import NOTHING, Spent
from omega.kernel.effects import Effect
from omega.kernel.errors import Denied
from omega.kernel.ids import span_of
from omega.kernel.scope import Scope


class Decision(StrEnum):
    """Allow, deny, or: not yet, a person must do something first."""

    ALLOW = "allow"
    DENY = "deny"
    NEEDS = "needs"


class Gate(StrEnum):
    """Which of the gated things is asked for (architecture: entry, touch, crossing)."""

    ENTRY = "entry"
    TOUCH = "touch"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One question to the warden: may this scope do this step now? Facts only; the warden never calls out for more.

    `action` is `entry` or `touch`; `flow` the flow's name (for a tool `server/tool`); `needs` the capabilities it declares.
    `approvals` are the principals who approved this very step, `approver_role` the role that the flow itself demands
    (empty: none), `resource` facts about the target for policies to read, `now` Unix seconds, `left` what the
    execution may still spend, `estimate` what this call will at most spend.
    """

    gate: Gate
    scope: Scope
    execution: str
    step: str
    epoch: int
    flow: str
    flow_digest: str
    effect: Effect
    input_commitment: bytes
    now: float
    needs: frozenset[str] = frozenset()
    kind: str = "task"
    approver_role: str = ""
    approvals: tuple[str, ...] = ()
    resource: Mapping[str, Any] = field(default_factory=dict)
    left: Any = None
    estimate: Spent = NOTHING


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The warden's answer. `policies` are the ids that decided, `where` their file and line, `reason` one plain sentence,
    `how` the way to ask for access, `role` whose approval is needed when the decision is NEEDS, `bundle` the digest of the
    policy set that was asked, `code` the error code of a denial (OMG-W...)."""

    decision: Decision
    policies: tuple[str, ...] = ()
    where: str = ""
    reason: str = ""
    how: str = ""
    role: str = ""
    bundle: str = ""
    code: str = ""
    errors: tuple[str, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)

    def record(self) -> dict[str, Any]:
        """The verdict as data: journaled with the intent, sealed into the leaf, shown by `omega policy explain`."""
        return {
            "decision": self.decision.value,
            "policies": list(self.policies),
            "where": self.where,
            "reason": self.reason,
            "how": self.how,
            "role": self.role,
            "bundle": self.bundle,
            "code": self.code,
            "errors": list(self.errors),
            "details": dict(self.details),
        }


_TOKEN = object()


class Permit:
    """The right to touch the world once. Opaque: an effector calls `spend` and reads nothing else."""

    __slots__ = ("_clock", "_commitment", "_expires_at", "_spent", "epoch", "execution", "port", "principal", "step", "tenant", "trace")

    def __init__(  # noqa: PLR0913 - a permit is bound to this many things, each named by the mint
        self,
        token: object,
        *,
        tenant: str,
        execution: str,
        step: str,
        epoch: int,
        port: str,
        commitment: bytes,
        ttl_s: float,
        clock: Callable[[], float],
        principal: str = "",
        trace: str = "",
    ) -> None:
        if token is not _TOKEN:
            raise Denied("OMG-W006", "a permit was made outside the warden")
        self.tenant = tenant
        self.principal = principal
        self.trace = trace
        self.execution = execution
        self.step = step
        self.epoch = epoch
        self.port = port
        self._commitment = commitment
        self._clock = clock
        self._expires_at = clock() + ttl_s
        self._spent = False

    def spend(self, port: str) -> None:
        """Use the permit up for one touch through `port`. Raises Denied (OMG-W006) when it was used, is for another port, or is too old."""
        if self._spent:
            raise Denied("OMG-W006", f"the permit of {self.step} was already used", advice="make a step of its own for each touch")
        self._spent = True
        if port != self.port:
            raise Denied("OMG-W006", f"the permit of {self.step} is for {self.port}, not for {port}")
        if self._clock() > self._expires_at:
            raise Denied("OMG-W006", f"the permit of {self.step} expired", details={"expired": True})

    def covers(self, commitment: bytes) -> bool:
        """Whether the permit was given for this very input (constant time)."""
        return hmac.compare_digest(self._commitment, commitment)

    def idempotency_key(self) -> str:
        """The key that an idempotent target may use to drop repeats: the same for each attempt at this step."""
        return f"{self.execution}/{self.step}"

    def traceparent(self) -> str:
        """The trace that whoever is touched goes on with (W3C Trace Context), the same for each attempt; empty where there is none."""
        return f"00-{self.trace}-{span_of(self.trace, self.execution, self.step)}-01" if self.trace else ""

    def __reduce__(self) -> NoReturn:
        raise Denied("OMG-W006", "a permit never leaves its process")

    def __copy__(self) -> NoReturn:
        raise Denied("OMG-W006", "a permit is never copied")

    def __deepcopy__(self, memo: object) -> NoReturn:
        raise Denied("OMG-W006", "a permit is never copied")

    def __repr__(self) -> str:
        return f"<permit {self.execution} {self.step} {self.port} {'spent' if self._spent else 'open'}>"


def mint_permit(  # noqa: PLR0913 - a permit is bound to this much, each named by its caller
    *,
    tenant: str,
    execution: str,
    step: str,
    epoch: int,
    port: str,
    commitment: bytes,
    ttl_s: float,
    clock: Callable[[], float],
    principal: str = "",
    trace: str = "",
) -> Permit:
    """Make a Permit that lasts `ttl_s` seconds by `clock`; `principal` is who touches, for targets with credentials of a person's own;
    `trace` (32 hex digits) is what the touch belongs to, for targets that say so in turn.

    For `omega.warden` alone, after it has said ALLOW.
    """
    return Permit(
        _TOKEN,
        tenant=tenant,
        execution=execution,
        step=step,
        epoch=epoch,
        port=port,
        commitment=commitment,
        ttl_s=ttl_s,
        clock=clock,
        principal=principal,
        trace=trace,
    )
