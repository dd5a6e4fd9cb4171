"""Questions for tests of the gate: callers as trust would mint them, asks with sensible defaults."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from omega.kernel.budget import Spent
from omega.kernel.effects import Effect
from omega.kernel.scope import Scope, mint_scope
from omega.kernel.verdict import Ask, Gate

NOW = 1_700_000_000.0
EXPIRES = 1_700_003_600
COMMITMENT = b"\7" * 32

PERMIT_ALL = '@id("all")\n@reason("anybody may do anything")\npermit (principal, action, resource);\n'


def caller(
    principal: str = "person:ada",
    *,
    groups: Iterable[str] = ("owner",),
    actors: Iterable[str] = (),
    capabilities: Iterable[str] = ("*",),
    tenant: str = "local",
) -> Scope:
    """A scope, by default of the owner of a fresh installation."""
    return mint_scope(
        tenant=tenant,
        principal=principal,
        groups=groups,
        actors=actors,
        capabilities=capabilities,
        passport="pas_1",
        epoch=0,
        expires_at=EXPIRES,
    )


def agent(name: str = "reviewer", **changes: Any) -> Scope:
    """The scope of an agent without groups."""
    return caller(f"agent:{name}", **{"groups": (), **changes})


def touch(
    scope: Scope | None = None,
    flow: str = "git/git_log",
    effect: str = "read",
    *,
    gate: Gate = Gate.TOUCH,
    needs: Iterable[str] = ("tools:call",),
    approvals: tuple[str, ...] = (),
    role: str = "",
    resource: Mapping[str, Any] | None = None,
    left: Any = None,
    estimate: Spent = Spent(),  # noqa: B008 - immutable
    now: float = NOW,
    step: str = "findings.1/log",
) -> Ask:
    """The question of one step."""
    return Ask(
        gate=gate,
        scope=scope or caller(),
        execution="exe_1",
        step=step,
        epoch=3,
        flow=flow,
        flow_digest="d" * 64,
        effect=Effect(effect),
        input_commitment=COMMITMENT,
        now=now,
        needs=frozenset(needs),
        kind="tool" if "/" in flow else "task",
        approver_role=role,
        approvals=approvals,
        resource=resource or {},
        left=left,
        estimate=estimate,
    )


def policy(id: str, text: str, *notes: str) -> str:
    """Cedar text of one policy with its mandatory annotations."""
    return "\n".join((f'@id("{id}")', f'@reason("because of {id}")', *notes, text, ""))
